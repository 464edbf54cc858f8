"""What tests put in the place of the clock and of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class FakeClock:
    """A `tally.clock.Clock` whose time passes only when told to, or when somebody waits for an event: then at once.

    Somebody who sleeps is awake when so much has passed.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Event]] = []
        self.waits: list[float] = []  # how long was waited for an event each time, in seconds
        self.sleeps: list[float] = []  # how long somebody wanted to sleep

    @property
    def now(self) -> float:
        """The time. To set it lets it pass."""
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        self._now = now
        for until, awake in self._sleepers:
            if until <= now:
                awake.set()

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        await asyncio.sleep(0)  # others run meanwhile, and one of them may set it
        if not event.is_set():
            self.waits.append(seconds)
            self.now += seconds
        return event.is_set()

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        awake = asyncio.Event()
        sleeper = (self.now + seconds, awake)
        self._sleepers.append(sleeper)
        try:
            await awake.wait()
        finally:
            self._sleepers.remove(sleeper)

    def block(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    @property
    def sleeping(self) -> bool:
        """Whether somebody sleeps."""
        return bool(self._sleepers)

    async def passes_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of this work; whenever it sleeps, the time that it sleeps passes at once."""
        working = asyncio.ensure_future(work)
        while not working.done():
            await asyncio.sleep(0)
            if self._sleepers:
                self.now = min(until for until, _ in self._sleepers)
        return working.result()


class FakeLog:
    """Stands in for the logger: keeps each event with its fields, whatever its level and whatever is bound to it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    @property
    def events(self) -> list[str]:
        """Return what was logged, without the fields."""
        return [event for event, _ in self.said]

    def fields(self, event: str) -> list[dict[str, Any]]:
        """Return what was logged along with this event, each time."""
        return [fields for said, fields in self.said if said == event]

    def bind(self, **_: Any) -> FakeLog:
        return self

    def info(self, event: str, **fields: Any) -> None:
        self.said.append((event, fields))

    debug = warning = error = exception = info

    async def says(self, event: str) -> None:
        """Wait until it has logged this event."""
        async with asyncio.timeout(10):
            while event not in self.events:
                await asyncio.sleep(0)
