"""What was counted of each source, shared by all who ask, with how many lines come from each."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from api.cached_counts import CachedCounts
from api.snapshot import Snapshot
from api.source_params import SourceOrder
from tally.clock import SYSTEM, Clock
from tally.keys import OTHER
from tally.refused import Refused
from tally.runtime import cancel_and_wait
from tally.store import StoreUnavailable
from tally.store.source_counts import SourceCount

#: How often the lines of each source are noted, and over how long their rate is told.
SAMPLE_SECONDS, RATE_SECONDS = 5.0, 30.0

#: For how long they are noted after somebody has asked.
LINGER_SECONDS = 60.0

#: What a row has, as CSV and NDJSON, and an item.
SOURCE_COLUMNS = (
    *("name", "lines", "rejected", "rejected_share", "lines_per_second"),
    *("newest_at", "seen_at", "lag_seconds"),
)

#: By what sources may be ordered, and what of an item that is.
ORDERED_BY = {
    "lines": "lines",
    "rejected": "rejected",
    "share": "rejected_share",
    "rate": "lines_per_second",
    "newest": "newest_at",
    "lag": "lag_seconds",
    "name": "name",
}


@dataclass(frozen=True, slots=True)
class SourcesNow:
    """The sources that have a name of their own, and what the rest comes to, as items of an answer."""

    items: Sequence[dict[str, Any]]
    other: dict[str, Any] | None
    as_of: float

    def matching(self, *, prefix: str, contains: str, order: SourceOrder) -> list[dict[str, Any]]:
        """Return those whose names begin and are so, without regard to case, in this order.

        What is not known is behind all else; of what is alike the names are in their order.
        """
        begin, part = prefix.casefold(), contains.casefold()
        found = [
            item for item in self.items if (folded := item["name"].casefold()).startswith(begin) and part in folded
        ]
        found.sort(key=lambda item: str(item["name"]))
        by, falling = ORDERED_BY[order.removeprefix("-")], order.startswith("-")
        known = [item for item in found if item[by] is not None]
        known.sort(key=lambda item: item[by], reverse=falling)
        return known + [item for item in found if item[by] is None]


class Sources:
    """Reads them, at most twice a second; and for a while after that notes them, so that rates are known."""

    def __init__(self, counts: CachedCounts, *, clock: Clock = SYSTEM) -> None:
        self._reader = counts.reader
        self._clock = clock
        self._snapshot = Snapshot(version=self._now, load=self._load, clock=clock)
        self._samples: deque[tuple[float, dict[str, int]]] = deque(maxlen=round(RATE_SECONDS / SAMPLE_SECONDS) + 1)
        self._sampling: asyncio.Task[None] | None = None
        self._wanted_until = -math.inf

    async def now(self) -> SourcesNow:
        """Return the sources as they are. Raises StoreUnavailable."""
        self._wanted_until = self._clock.monotonic() + LINGER_SECONDS
        found = await self._snapshot.get()
        if self._sampling is None or self._sampling.done():
            self._sampling = asyncio.create_task(self._sample(), name="note lines of sources")
        return found

    async def close(self) -> None:
        """Note them no more."""
        if self._sampling is not None:
            await cancel_and_wait(self._sampling)
            with suppress(asyncio.CancelledError):
                await self._sampling

    async def _sample(self) -> None:
        while self._clock.monotonic() < self._wanted_until:
            await self._clock.sleep(SAMPLE_SECONDS)
            try:
                await self._snapshot.get()
            except (StoreUnavailable, Refused):
                self._samples.clear()
        self._samples.clear()

    async def _now(self) -> float:
        return self._clock.monotonic()

    async def _load(self) -> SourcesNow:
        as_of, at = self._clock.time(), self._clock.monotonic()
        counted = await self._reader.source_counts()
        lines = {each.name: each.lines for each in counted}
        if self._samples and sum(lines.values()) < sum(self._samples[-1][1].values()):
            self._samples.clear()  # Redis lost its data, or what was counted of some was forgotten
        items = [self._item(each, at) for each in counted]
        if not self._samples or at - self._samples[-1][0] >= SAMPLE_SECONDS * 0.9:
            self._samples.append((at, lines))
        other = next((item for item in items if item["name"] == OTHER), None)
        return SourcesNow([item for item in items if item is not other], other, as_of)

    def _item(self, source: SourceCount, at: float) -> dict[str, Any]:
        return {
            "name": source.name,
            "lines": source.lines,
            "rejected": source.rejected,
            "rejected_share": round(source.rejected / source.lines, 6) if source.lines else 0.0,
            "lines_per_second": self._rate(source, at),
            "newest_at": source.newest_at,
            "seen_at": source.seen_at,
            "lag_seconds": source.lag_seconds,
        }

    def _rate(self, source: SourceCount, at: float) -> float | None:
        """Return how many lines came a second since the oldest sample; None as long as there is none so old."""
        since, before = next(
            ((then, lines) for then, lines in self._samples if at - then <= RATE_SECONDS + SAMPLE_SECONDS), (at, {})
        )
        if at - since < SAMPLE_SECONDS * 0.9:
            return None
        return round(max(0, source.lines - before.get(source.name, 0)) / (at - since), 2)
