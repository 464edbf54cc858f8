"""The clock, as an argument of what asks it or waits: tests pass one that they move by hand."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def time(self) -> float:
        """Return the time of day in Unix seconds. It may be set back."""

    def monotonic(self) -> float:
        """Return seconds since some moment. They never go back: for spans and deadlines."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait until `event` is set, `seconds` at the most; return whether it is set."""

    async def sleep(self, seconds: float) -> None:
        """Wait so long: for what is ended by being cancelled, and is told nothing meanwhile."""

    def block(self, seconds: float) -> None:
        """Wait so long, and let the whole thread wait: for what runs without an event loop."""


class SystemClock:
    """The clock of this machine."""

    def time(self) -> float:
        """Return the time of day in Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since the machine was started, or so."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait until `event` is set, `seconds` at the most; return whether it is set."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # before Python 3.12 wait_for may lose a cancellation
                await event.wait()
        return event.is_set()

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        await asyncio.sleep(seconds)

    def block(self, seconds: float) -> None:
        """Wait so long, and let the whole thread wait."""
        time.sleep(seconds)


#: The default.
SYSTEM: Clock = SystemClock()
