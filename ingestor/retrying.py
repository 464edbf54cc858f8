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


class Tries:
    """What is tried again and again while Redis is unavailable: for as long as it takes, or some time after a stop."""

    def __init__(
        self, log: Logger, *, stop: asyncio.Event, clock: Clock, backoff: Backoff | None, seconds_after_stop: float
    ) -> None:
        self._outage = Outage(log, clock=clock)
        self._stop = stop
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._seconds_after_stop = seconds_after_stop
        self._give_up_at: float | None = None  # in monotonic seconds, once we are to stop

    def note_answer(self, *, is_progress: bool) -> None:
        """Note that Redis has answered, and whether more is done than before."""
        self._outage.is_over()
        if is_progress:
            self._backoff.reset()

    async def wait(self, error: StoreUnavailable, *, also_after_stop: bool) -> bool:
        """Wait before the next try; False when we are to stop and there is no use in another one."""
        delay_seconds = self._backoff.next_seconds()
        self._outage.lasts(error, retry_in_seconds=delay_seconds)
        if not self._stop.is_set():
            await self._clock.wait(self._stop, delay_seconds)
            return True
        self._give_up_at = self._give_up_at or self._clock.monotonic() + self._seconds_after_stop
        if self._clock.monotonic() > self._give_up_at or not also_after_stop:
            return False
        await self._clock.wait(asyncio.Event(), delay_seconds)
        return True
