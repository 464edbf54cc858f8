"""Roll-ups: when a longer window is over, its parts are added to it, one part a script; then the oldest are dropped.

An hour is over when its end has passed on the clock and there are events of a later window. Whoever comes late is added
to the rolled minute and to its hour, so rolling early costs a little time and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tally.settings import Settings
from tally.store import WindowStore
from tally.telemetry import get_logger


class RollUp:
    """Keeps the windows of one shard in bounds. Any number of aggregators may do this at once."""

    def __init__(self, store: WindowStore, *, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._lengths = settings.window_lengths
        self._clock = clock

    async def run(self) -> None:
        """Roll what is over and drop what is too much. Raises StoreUnavailable."""
        rolled = dropped = 0
        for level, length in enumerate(self._lengths):
            windows = await self._store.windows()  # anew, for the level before has added to this one
            if not windows[0].starts:
                return
            over_until = min(self._clock(), windows[0].starts[-1])
            found = windows[level]
            surplus = found.starts[: max(0, len(found.starts) - length.kept)]
            if level < len(self._lengths) - 1:
                longer = self._lengths[level + 1]
                for start in found.starts:
                    over = longer.start_of(start) + longer.seconds <= over_until
                    if start not in found.rolled and (over or start in surplus):
                        rolled += await self._store.roll(level=level, start=start) == "rolled"
            for start in surplus:
                dropped += await self._store.drop(level=level, start=start) == "dropped"
        if rolled or dropped:
            get_logger().debug("windows rolled up", rolled=rolled, dropped=dropped)
