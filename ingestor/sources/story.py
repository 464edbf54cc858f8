"""The demo's story as a source: its past at once, then each line when it is due.

It can be read again, although nothing holds it: what it says is determined by its name, which has the seed, the second
in which the story began, and the minute from which on a day of it is told. So after a restart it goes on where it was,
and tells at once what has happened meanwhile; nothing of its past is counted twice. Each day is a source of its own in
the store, because to find a position again the day is told again from its start, unheard.
"""

from __future__ import annotations

import asyncio
from bisect import bisect
from collections.abc import AsyncIterator, Collection, Sequence
from typing import NamedTuple

from ingestor.fingerprints import FINGERPRINT_BYTES
from ingestor.sources.base import Another, Lookup
from tally.clock import SYSTEM, Clock
from tally.store import Known
from tally.story import DAY_MINUTES, PAST_MINUTES, Line, Story, StorySpec

#: How the names of its days begin in the store.
_BEGINNING = "demo:story#"

#: How often lines are given that are due, at the most.
_TICK_SECONDS = 0.1


class Day(NamedTuple):
    """The name in the store of a day of a story: from its first minute on, or from where the telling began."""

    seed: int
    began: int
    first: int

    @classmethod
    def parse(cls, name: str) -> Day | None:
        """Read a stored name; None if it is another source's."""
        parts = name.removeprefix(_BEGINNING).split("-")
        if name.startswith(_BEGINNING) and len(parts) == len(cls._fields) and all(map(str.isdecimal, parts)):
            return cls(*map(int, parts))
        return None

    def __str__(self) -> str:
        return f"{_BEGINNING}{self.seed}-{self.began}-{self.first}"

    @property
    def minutes(self) -> range:
        """The numbers of its minutes in the story."""
        return range(self.first, (self.first // DAY_MINUTES + 1) * DAY_MINUTES)

    @property
    def next(self) -> Day:
        """The day after it."""
        return self._replace(first=self.minutes.stop)


class DemoStory:
    """The demo's story: what happened before it is first told, then what happens."""

    label = "demo:"
    replayable = True
    finite = False

    def __init__(self, spec: StorySpec, *, clock: Clock = SYSTEM) -> None:
        self._spec = spec
        self._story = Story(spec)
        self._clock = clock
        self._today: Day | None = None
        self._over: tuple[Day, int] | None = None  # the last day that was told to its end, and its bytes
        self.is_bulk = True  # it tells what is past

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        stored = await ask(beginnings=[f"{_BEGINNING}{self._spec.seed}-"])
        days = {day: known for name, known in stored.items() if (day := Day.parse(name)) is not None}
        self._today = self._day_to_tell(days, never)
        return days.get(self._today, Known(str(self._today)))

    def _day_to_tell(self, days: dict[Day, Known], never: Collection[str]) -> Day:
        began = int(self._clock.time()) // 60 * 60 - PAST_MINUTES * 60
        latest = max(days, default=None)
        if latest is None or _was_seen_before(days[latest], began):
            return Day(self._spec.seed, began, self._spec.first_minute)
        if str(latest) in never:
            # Another version told it otherwise. Only what happens from now on cannot have been counted.
            return Day(self._spec.seed, max(began, latest.began + 60), PAST_MINUTES)
        is_told = self._over == (latest, days[latest].position)
        return latest.next if is_told else latest

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        assert self._today is not None
        today, told = self._today, 0
        start = max(0, position - FINGERPRINT_BYTES)
        self.is_bulk = True
        for number in today.minutes:
            await asyncio.sleep(0)  # the past is told without a pause, and others want to go on, too
            begins = today.began + number * 60
            lines = self._story.minute(number, began=today.began)
            while lines:
                due = bisect(lines, self._clock.time() - begins, key=lambda line: line.seconds)
                due = max(due, _lines_of(lines, position - told))  # what was told before, whatever the clock says now
                if due:
                    chunk = b"".join(line.text for line in lines[:due])
                    del lines[:due]
                    skipped = max(0, start - told)
                    told += len(chunk)
                    if told > start:
                        yield chunk[skipped:]
                else:
                    self.is_bulk = False
                    await self._clock.sleep(max(_TICK_SECONDS, begins + lines[0].seconds - self._clock.time()))
        self._over = (today, told)
        raise Another


def _lines_of(lines: Sequence[Line], size: int) -> int:
    """Return how many lines the first so many bytes are of."""
    count = 0
    while size > 0 and count < len(lines):
        size -= len(lines[count].text)
        count += 1
    return count


def _was_seen_before(known: Known, seconds: int) -> bool:
    return known.seen_ms is not None and known.seen_ms < seconds * 1000
