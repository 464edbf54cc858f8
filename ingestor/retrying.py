"""Waiting that ends when the service is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from tally.backoff import Backoff
from tally.clock import SYSTEM, Clock
from tally.log_throttle import Outage
from tally.store import StoreUnavailable
from tally.telemetry import Logger

T = TypeVar("T")


async def or_stop(work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T | None:
    """Return the result of some work; None, and the work is called off, when `stop` is set first."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()


async def ask(
    question: Callable[[], Awaitable[T]], *, stop: asyncio.Event, log: Logger, clock: Clock = SYSTEM
) -> T | None:
    """Ask Redis until it answers; None when `stop` is set first."""
    outage = Outage(log, clock=clock)
    backoff = Backoff(clock=clock)
    while not stop.is_set():
        try:
            answer = await question()
            outage.is_over()
            return answer
        except StoreUnavailable as error:
            delay_seconds = backoff.next_seconds()
            outage.lasts(error, retry_in_seconds=delay_seconds)
            await clock.wait(stop, delay_seconds)
    return None
