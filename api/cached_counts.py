"""Counts of Redis as the routes ask for them: rankings and comparisons behind snapshots, and series."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

from api.comparison import Comparison, Rise, rising
from api.freshness import RANKING_SECONDS
from api.gauges import NAME_BYTES, SumGauge
from api.listing import NUMBER_BYTES, WHOLE_BYTES, Listing, Whole
from api.matching import NameFilter
from api.memory import RETRY_AFTER_SECONDS, Memory, NoRoom
from api.params import TimeRangeParams
from api.ranking import MAKING_BYTES_PER_NAME, Ranking
from api.series import Seen, Series, add_up_cells, cut_into_cells, first_seen, last_seen
from api.snapshot import Snapshot, Snapshots
from api.work import Busy, Work
from tally.clock import SYSTEM, Clock
from tally.keys import OTHER
from tally.ranges import TimeRange, Windows, last_windows
from tally.refused import Refused
from tally.selections import Asked, TypesOf
from tally.store import StoreUnavailable
from tally.store.counting import Counting
from tally.store.merged_reads import Reader
from tally.store.moved import WindowsMoved, again_while_moved
from tally.store.status import Status
from tally.telemetry import shared_context

#: How many windows before the present one are the baseline of what is trending.
BASELINE_WINDOWS = 4

#: How often all words of several shards are read at the most to tell how many there are, and of how many.
UNITE_SECONDS, MOST_UNITED = 60.0, 2_000_000

#: [from, to) in Unix seconds.
Bounds = tuple[int, int]


class CachedCounts:
    """Everything that can be asked. Every method raises StoreUnavailable, those about names NoRoom and Busy, too."""

    def __init__(
        self, reader: Reader, *, memory: Memory, work: Work, clock: Clock = SYSTEM, missing: tuple[int, ...] = ()
    ) -> None:
        self.reader = reader
        self.missing = missing  # the shards that are not asked, see Parts
        self.work = work
        self.clock = clock
        self.memory = memory
        self._counting = Snapshot(version=self._now, load=reader.counting, clock=clock)
        self._rankings: Snapshots[Ranking] = Snapshots(make=self._ranking_snapshot, memory=memory)
        self._top_words = Snapshot(version=self._words_version, load=self._load_top_words, clock=clock)
        self._status = Snapshot(version=self._now, load=self._load_status, clock=clock)
        self._uniting: asyncio.Task[None] | None = None
        self._unite_due = -math.inf  # in seconds of the monotonic clock
        self._united = 0  # how often that was done

    def of_part(self, reader: Reader, *, missing: tuple[int, ...]) -> CachedCounts:
        """Return what is read by another reader, of all shards but these, within the same bounds. To be closed."""
        return CachedCounts(reader, memory=self.memory, work=self.work, clock=self.clock, missing=missing)

    def close(self) -> None:
        """Forget what was read."""
        self._rankings.close()

    async def counting(self) -> Counting:
        """Return how lines are counted."""
        return await self._counting.get()

    async def all_time(self, kind: Asked, *, top: int | None = None) -> Ranking:
        """Return counts of all time; with `top`, if the first so many are enough, without reading all words.

        Of several shards all are read where these do not prove so many to be the first.
        """
        if top is not None:
            ranking = await self.first(kind)
            if ranking.complete or top <= len(ranking):
                return ranking
        return await self._rankings.get((kind, None, None))

    async def first(self, kind: Asked) -> Ranking:
        """Return counts of all time of as many of the first names as are known without reading all words."""
        return await (self._top_words.get() if kind == "words" else self._rankings.get((kind, None, None)))

    async def time_range(self, kind: Asked, start: int, end: int) -> Ranking:
        """Return counts of [start, end), in Unix seconds, widened to what is kept."""
        return await self._rankings.get((kind, start, end))

    async def comparison(self, kind: Asked, asked: TimeRangeParams) -> Comparison | None:
        """Return what is over of a time range, and the equally long one before; None if the two cannot be had.

        Both are in windows as short as those that are kept as far back as the earlier one begins: widened each by
        itself they would be of unequal length, and overlap.
        """

        lengths, now = (await self.counting()).lengths, self.clock.time()

        def choose(windows: Windows) -> tuple[Bounds, Bounds] | None:
            for length in lengths:
                bounds = asked.closed(unit_seconds=length.seconds, now=now)
                if bounds is None:
                    continue
                start, end = bounds
                before = start - (end - start)
                if windows.has(before, start) and windows.has(start, end):
                    return (before, start), (start, end)
            return None

        return await self._pair(kind, choose)

    async def against_baseline(self, kind: Asked, seconds: int) -> Comparison:
        """Return the last so many seconds, up to now, and the BASELINE_WINDOWS times as long time range before them.

        Only that the two do not overlap matters: shares are compared, not counts.
        """
        unit_seconds = (await self.counting()).unit_seconds
        start, end = last_windows(seconds, unit_seconds=unit_seconds, now=self.clock.time())

        def choose(windows: Windows) -> tuple[Bounds, Bounds]:
            before, now = windows.apart(start - BASELINE_WINDOWS * (end - start), start, end)
            return (before.start, before.end), (now.start, now.end)

        found = await self._pair(kind, choose)
        assert found is not None
        return found

    async def _pair(self, kind: Asked, choose: Callable[[Windows], tuple[Bounds, Bounds] | None]) -> Comparison | None:
        """Return two time ranges, the earlier first, that are chosen among the windows there are; None if none are."""

        async def read() -> Comparison | None:
            chosen = choose(await self.reader.windows())
            if chosen is None:
                return None
            previous, present = [await self.time_range(kind, *bounds) for bounds in chosen]
            if ((previous.start, previous.end), (present.start, present.end)) != chosen:
                raise WindowsMoved  # they are wider where windows were dropped meanwhile
            return Comparison(present=present, previous=previous)

        return await again_while_moved(read)

    async def status(self) -> tuple[Status, float]:
        """Return the state of the pipeline, and when it was read."""
        return await self._status.get()

    async def rises(
        self, comparison: Comparison, *, limit: int, least_ratio: float, excluded: Collection[str]
    ) -> list[Rise]:
        """Return what rises in the present time range against the previous one, but for these names. Raises Busy."""
        now, baseline = comparison.ranges
        rise = partial(rising, limit=limit, least_ratio=least_ratio, excluded=excluded)
        return await self.work.answer(len(now) + len(baseline), rise, now, baseline, step=self.work.step)

    async def changes(self, comparison: Comparison, among: Ranking, wanted: NameFilter) -> Ranking:
        """Return names by how their counts changed, see Comparison.changes. Raises NoRoom, Busy."""
        names = len(among) + sum(map(len, comparison.ranges))
        with self.memory.claim() as claim:
            claim.grow_to(names * (MAKING_BYTES_PER_NAME + 2 * NAME_BYTES))
            made = await self.work.answer(wanted.effort(names), comparison.changes, among, wanted, step=self.work.step)
        self.memory.hold(made, made.size_bytes)
        return made

    async def whole(self, listing: Listing) -> Whole:
        """Return all of a list in its order. Raises NoRoom, Busy."""
        names = len(listing.listed)
        with self.memory.claim() as claim:
            claim.grow_to(WHOLE_BYTES + (2 * NUMBER_BYTES + 1) * names)  # those that match, flags, and the order
            made = await self.work.answer(listing.effort(0), listing.whole, step=self.work.step)
        self.memory.hold(made, made.own_bytes)
        return made

    async def _load_status(self) -> tuple[Status, float]:
        as_of = self.clock.time()
        return await self.reader.status(), as_of

    async def _load_top_words(self) -> Ranking:
        as_of = self.clock.time()
        counts = await self.reader.top_words()
        names = await self.reader.names("words")
        total = (await self.reader.totals())["words"]
        ranking = Ranking.of({name.encode(): count for name, count in counts.items()}, as_of=as_of)
        # Of a batch that is being applied the counts come first, and the totals last.
        ranking.total = max(total, ranking.total + names.other)
        ranking.distinct, ranking.distinct_at_most, ranking.other = names.distinct, names.at_most, names.other
        if names.distinct < names.at_most <= MOST_UNITED:
            self._begin_to_unite()
        return ranking

    async def _words_version(self) -> object:
        return await self.reader.version(), self._united

    def _begin_to_unite(self) -> None:
        """Read all words beside what is answered, so that soon it is known how many there are, and not only about."""
        now = self.clock.monotonic()
        if self._uniting is None and now >= self._unite_due:
            self._unite_due = now + UNITE_SECONDS
            self._uniting = asyncio.create_task(self._unite(), name="read all words", context=shared_context())

    async def _unite(self) -> None:
        try:
            await self._rankings.get(("words", None, None))
            self._united += 1
        except (NoRoom, Busy, StoreUnavailable, Refused):
            pass  # who asks for all of them is told; how many there are stays between its bounds
        finally:
            self._uniting = None

    def _ranking_snapshot(self, key: Hashable) -> Snapshot[Ranking]:
        kind, start, end = cast("tuple[Asked, int | None, int | None]", key)
        refusal: NoRoom | None = None
        refused_until = 0.0

        async def load() -> Ranking:
            nonlocal refusal, refused_until
            if refusal is not None and self.clock.monotonic() < refused_until:
                raise NoRoom(str(refusal))  # as it was just found out, with much reading
            try:
                return await self._load_ranking(kind, start, end)
            except NoRoom as error:
                refusal, refused_until = error.with_traceback(None), self.clock.monotonic() + RETRY_AFTER_SECONDS
                raise

        async def version() -> object:
            return await self.reader.version(), await self.reader.numbers()

        version_of = self.reader.version if isinstance(kind, str) else version
        return Snapshot(version=version_of, load=load, most_seconds=RANKING_SECONDS, clock=self.clock)

    async def _load_by_word(self, kind: TypesOf, start: int | None, end: int | None) -> Ranking:
        """Return the types that have these words, or may, by how often; under OTHER how often they are elsewhere."""
        as_of = self.clock.time()
        async with AsyncExitStack() as held:
            gauge = SumGauge(held.enter_context(self.memory.claim()), self.work, held)
            if start is None or end is None:
                found = await self.reader.all_by_word(kind, gauge=gauge)
            else:
                time_range, found = await self.reader.range_by_word(kind, start, end, gauge=gauge)
                start, end = time_range.start, time_range.end
            counts = {name: count for name, count in found.counts.items() if count or name in found.hidden}
            counts[OTHER.encode()] = found.elsewhere
            ranking = Ranking.of(counts, as_of=as_of, start=start, end=end, hidden=found.hidden)
            self.memory.hold(ranking, ranking.size_bytes)
            return ranking

    async def _load_ranking(self, kind: Asked, start: int | None, end: int | None) -> Ranking:
        if isinstance(kind, TypesOf):
            return await self._load_by_word(kind, start, end)
        as_of = self.clock.time()
        async with AsyncExitStack() as held:
            gauge = SumGauge(held.enter_context(self.memory.claim()), self.work, held)
            if start is None or end is None:
                counts = await self.reader.sum_all(kind, gauge=gauge)
            else:
                found, counts = await self.reader.sum_range(kind, start, end, gauge=gauge)
                start, end = found.start, found.end
            make = partial(Ranking.of, counts, as_of=as_of, start=start, end=end, step=self.work.step)
            ranking = await self.work.in_thread(make) if gauge.has_slot else make()
            self.memory.hold(ranking, ranking.size_bytes)
            return ranking

    async def _now(self) -> float:
        return self.clock.time()

    # Grids.

    async def series(self, kind: Asked, names: Sequence[str], start: int, end: int, step: int | None) -> Series:
        """Return counts of each name (of all events, if there is none) in each cell. Raises WrongStep."""
        as_of = self.clock.time()

        def cut(windows: Windows) -> list[TimeRange]:
            return cut_into_cells(windows, start, end, step)

        windows, counted = await self.reader.counts_in(
            kind, names, lambda windows: (window for cell in cut(windows) for window in cell.windows)
        )
        return add_up_cells(cut(windows), counted, names=max(1, len(names)), as_of=as_of)

    # One name.

    async def seen(self, kind: Asked, name: str) -> tuple[Seen | None, Seen | None]:
        """Return the first and the last window, as short as is kept, in which this name was counted."""
        windows, counted = await self.reader.counts_in(kind, [name], Windows.all)
        wholes = windows.whole({window: count for window, (count,) in counted.items()})
        return first_seen(wholes), last_seen(wholes)
