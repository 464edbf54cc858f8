"""What tests put in the place of the clock and of the log."""

from __future__ import annotations

import asyncio
from typing import Any


class FakeClock:
    """A `tally.clock.Clock` whose time passes only when told to, or when somebody waits: then at once."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.waits: list[float] = []  # how long was waited for each time, in seconds

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
