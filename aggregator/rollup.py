"""Roll-ups: when a longer window is over, its parts are added to it, one part a script; then the oldest are dropped.

An hour is over when its end has passed on the clock and there are events of a later window. A late event is added
to the rolled minute and to its hour, so rolling early costs a little time and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from tally.clock import SYSTEM, Clock
from tally.settings import Settings
from tally.store import WindowStore
from tally.telemetry import get_logger

#: Windows that are rolled up, and dropped, in one round trip. Redis answers no other client meanwhile, so few of the
#: former: each may hold TALLY_MAX_WINDOW_WORDS words.
ROLL_AT_ONCE, DROP_AT_ONCE = 4, 100


class RollUp:
    """Keeps the windows of one shard in bounds. Any number of aggregators may do this at once."""

    def __init__(self, store: WindowStore, *, settings: Settings, clock: Clock = SYSTEM) -> None:
        self._store = store
        self._lengths = settings.window_lengths
        self._clock = clock

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Roll what is over and drop what is too much, until `stop` is set. Raises StoreUnavailable."""
        rolled = dropped = 0
        for level, length in enumerate(self._lengths):
            windows = await self._store.windows()  # anew, for the level before has added to this one
            if not windows[0].starts:
                return
            over_until = min(self._clock.time(), windows[0].starts[-1])
            found = windows[level]
            surplus = found.starts[: max(0, len(found.starts) - length.kept)]
            too_many = frozenset(surplus)
            if level < len(self._lengths) - 1:
                longer = self._lengths[level + 1]
                over = [
                    start
                    for start in found.starts
                    if start not in found.rolled
                    and (longer.start_of(start) + longer.seconds <= over_until or start in too_many)
                ]
                for slice_ in _slices(over, ROLL_AT_ONCE, stop):
                    rolled += (await self._store.roll(level=level, starts=slice_)).count("rolled")
            for slice_ in _slices(surplus, DROP_AT_ONCE, stop):
                dropped += (await self._store.drop_rolled(level=level, starts=slice_)).count("dropped")
        if rolled or dropped:
            get_logger().debug("windows rolled up", rolled=rolled, dropped=dropped)


def _slices(starts: Sequence[int], size: int, stop: asyncio.Event | None) -> Iterator[Sequence[int]]:
    for first in range(0, len(starts), size):
        if stop is not None and stop.is_set():
            return
        yield starts[first : first + size]
