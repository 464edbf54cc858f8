"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


def wait_until(condition: Callable[[], bool], *, what: str, seconds: float = 60.0, pause_seconds: float = 0.01) -> None:
    """Return as soon as the condition holds; fail when it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(pause_seconds)


async def wait_until_async(condition: Callable[[], Awaitable[bool]], *, what: str, seconds: float = 60.0) -> None:
    """The same for a condition that is awaited."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        await asyncio.sleep(0.01)
