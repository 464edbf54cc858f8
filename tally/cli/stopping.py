"""How a command that writes is stopped: it undoes, or gives back, what it must, and says what is so then."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from tally.runtime import Failure, cancel_and_wait, stop_on_signals

T = TypeVar("T")


async def until_stopped(work: Coroutine[Any, Any, T], *, but: str) -> T:
    """Return what some work returns. At SIGINT or SIGTERM it is cancelled, and Failure raised that says `but` what.

    A second signal ends the process.
    """
    stop = asyncio.Event()
    with stop_on_signals(stop):
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            with suppress(asyncio.CancelledError):
                await cancel_and_wait(working)
                return working.result()  # it came to its end meanwhile
            raise Failure(f"stopped: {but}")
        finally:
            working.cancel()
            stopping.cancel()
