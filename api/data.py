"""What the routes ask: counts of Redis behind snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import cast

from api.memory import RETRY_AFTER_SECONDS, Claim, Memory, NoRoom
from api.params import Span, last_windows
from api.ranking import MAKING_BYTES_PER_NAME, Comparison, Ranking, Rise, rising
from api.snapshot import Snapshot, Snapshots
from api.work import Work
from tally.ranges import TimeRange, Window, Windows
from tally.store.client import StoreUnavailable
from tally.store.reads import RANGE_TRIES, Counting, CountReader, Kind, Status

#: Ranking a million words takes seconds of our own time: then the answer may be so old.
MAX_SCAN_AGE_SECONDS = 10.0

#: A sum of more names than these is made with a seat: a few at once.
FEW_SUMMED = 20_000

#: The bytes of a name as long as most are, to tell before any is read what they will take.
_NAME_BYTES = 8

#: Cells of a series at the most.
MOST_CELLS = 2000

#: A series without a step gets the shortest of these that makes at most DEFAULT_CELLS cells.
STEPS = (60, 300, 900, 3600, 21_600, 86_400, 604_800)
DEFAULT_CELLS = 400

_TOO_FAST = "windows are rolled up faster than they can be read; ask again"

#: How many windows before the present one are the baseline of what is trending.
BASELINE_WINDOWS = 4

#: [from, to) in Unix seconds.
Bounds = tuple[int, int]


class BadStep(ValueError):
    """A step that no series can have; the text says which could be had."""


@dataclass(frozen=True, slots=True)
class Series:
    """Counts on a regular grid: a row a name, a column a cell of `step` seconds that begins at `times`."""

    step: int
    start: int
    end: int
    times: list[int]
    counts: list[list[int]]
    as_of: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A window in which a name was counted."""

    start: int
    seconds: int


class Data:
    """Everything that can be asked. Every method raises StoreUnavailable, those about names NoRoom and Busy, too."""

    def __init__(self, reader: CountReader, *, memory: Memory, work: Work) -> None:
        self.reader = reader
        self.work = work
        self._memory = memory
        self._counting = Snapshot(version=self._now, load=reader.counting)
        self._rankings: Snapshots[Ranking] = Snapshots(make=self._ranking_snapshot, memory=memory)
        self._top_words = Snapshot(version=reader.totals, load=self._load_top_words)
        self._status = Snapshot(version=self._now, load=reader.status)

    async def counting(self) -> Counting:
        """How lines are counted."""
        return await self._counting.get()

    async def all_time(self, kind: Kind, *, top: int | None = None) -> Ranking:
        """Counts of all time; with `top`, if the first so many are enough, without reading all words."""
        if kind == "words" and top is not None:
            ranking = await self._top_words.get()
            if ranking.complete or top <= len(ranking):
                return ranking
        return await self._rankings.get((kind, None, None))

    async def time_range(self, kind: Kind, start: int, end: int) -> Ranking:
        """Counts of [start, end), in Unix seconds, widened to what is kept."""
        return await self._rankings.get((kind, start, end))

    async def comparison(self, kind: Kind, span: Span) -> Comparison | None:
        """Return what is over of a time range, and the equally long one before; None if the two cannot be had.

        Both are in windows as short as those that are kept as far back as the earlier one begins: widened each by
        itself they would be of unequal length, and overlap.
        """

        lengths = (await self.counting()).lengths

        def choose(windows: Windows) -> tuple[Bounds, Bounds] | None:
            for length in lengths:
                bounds = span.closed(unit_seconds=length.seconds)
                if bounds is None:
                    continue
                start, end = bounds
                before = start - (end - start)
                if windows.has(before, start) and windows.has(start, end):
                    return (before, start), (start, end)
            return None

        found = await self._pairs([kind], choose)
        return None if found is None else found[kind]

    async def against_baseline(self, seconds: int) -> dict[Kind, Comparison]:
        """Types and words of the last so many seconds, up to now, and of some such time ranges before them.

        The bounds are those of both kinds. Only that the two do not overlap matters: shares are compared, not counts.
        """
        start, end = last_windows(seconds, unit_seconds=(await self.counting()).unit_seconds)

        def choose(windows: Windows) -> tuple[Bounds, Bounds]:
            before, now = windows.apart(start - BASELINE_WINDOWS * (end - start), start, end)
            return (before.start, before.end), (now.start, now.end)

        found = await self._pairs(["types", "words"], choose)
        assert found is not None
        return found

    async def _pairs(
        self, kinds: Sequence[Kind], choose: Callable[[Windows], tuple[Bounds, Bounds] | None]
    ) -> dict[Kind, Comparison] | None:
        """Return a pair of time ranges, the earlier first, chosen among the windows there are; None if none is."""
        for _ in range(RANGE_TRIES):
            chosen = choose(await self.reader.windows())
            if chosen is None:
                return None
            found = {}
            for kind in kinds:
                previous, present = [await self.time_range(kind, *bounds) for bounds in chosen]
                found[kind] = Comparison(present=present, previous=previous)
            # They are wider where windows were dropped meanwhile.
            if all(
                ((each.previous.start, each.previous.end), (each.present.start, each.present.end)) == chosen
                for each in found.values()
            ):
                return found
        raise StoreUnavailable(_TOO_FAST)

    async def status(self) -> Status:
        """The state of the pipeline."""
        return await self._status.get()

    async def rises(self, comparison: Comparison, *, limit: int) -> list[Rise]:
        """What rises in the present time range against the previous one. Raises Busy."""
        now, baseline = comparison.ranges
        return await self.work.answer(len(now) + len(baseline), rising, now, baseline, limit=limit, step=self.work.step)

    async def changes(
        self, comparison: Comparison, among: Ranking, *, prefix: str | None, contains: str | None
    ) -> Ranking:
        """Names by how their counts changed, see Comparison.changes. Raises NoRoom, Busy."""
        names = len(among) + sum(map(len, comparison.ranges))
        with self._memory.claim() as claim:
            claim.grow_to(names * (MAKING_BYTES_PER_NAME + 2 * _NAME_BYTES))
            made = await self.work.answer(
                names, comparison.changes, among, prefix=prefix, contains=contains, step=self.work.step
            )
        self._memory.hold(made, made.size_bytes)
        return made

    async def _load_top_words(self) -> Ranking:
        counts = await self.reader.top_words()
        distinct, other = await self.reader.distinct("words")
        total = (await self.reader.totals())["words"]
        ranking = Ranking.of({name.encode(): count for name, count in counts.items()}, as_of=time.time())
        ranking.total, ranking.distinct, ranking.other = total, distinct, other
        return ranking

    def _ranking_snapshot(self, key: Hashable) -> Snapshot[Ranking]:
        kind, start, end = cast("tuple[Kind, int | None, int | None]", key)
        refusal: NoRoom | None = None
        refused_until = 0.0

        async def load() -> Ranking:
            nonlocal refusal, refused_until
            if refusal is not None and time.monotonic() < refused_until:
                raise NoRoom(str(refusal))  # as it was just found out, with much reading
            try:
                return await self._load_ranking(kind, start, end)
            except NoRoom as error:
                refusal, refused_until = error.with_traceback(None), time.monotonic() + RETRY_AFTER_SECONDS
                raise

        return Snapshot(version=self.reader.totals, load=load, max_age_seconds=MAX_SCAN_AGE_SECONDS)

    async def _load_ranking(self, kind: Kind, start: int | None, end: int | None) -> Ranking:
        async with AsyncExitStack() as held:
            gauge = _Gauge(held.enter_context(self._memory.claim()), self.work, held)
            if start is None or end is None:
                counts = await self.reader.sum_all(kind, gauge=gauge)
            else:
                found, counts = await self.reader.sum_range(kind, start, end, gauge=gauge)
                start, end = found.start, found.end
            make = partial(Ranking.of, counts, as_of=time.time(), start=start, end=end, step=self.work.step)
            ranking = await self.work.in_thread(make) if gauge.has_seat else make()
            self._memory.hold(ranking, ranking.size_bytes)
            return ranking

    async def _now(self) -> float:
        return time.time()

    # Grids.

    async def series(self, kind: Kind, names: Sequence[str], start: int, end: int, step: int | None) -> Series:
        """Counts of each name (of all events, if there is none) in each cell. Raises BadStep."""
        for _ in range(RANGE_TRIES):
            cells = await self._cells(start, end, step)
            windows = [window for cell in cells for window in cell.windows]
            if names:
                rows = await self.reader.counts_in(kind, names, windows)
            else:
                rows = [[events] for events in await self.reader.events_in(windows)]
            if cells == await self._cells(start, end, step):
                return _series(cells, rows, max(1, len(names)))
        raise StoreUnavailable(_TOO_FAST)

    async def _cells(self, start: int, end: int, step: int | None) -> list[TimeRange]:
        windows = await self.reader.windows()
        finest = windows.resolution(start).seconds
        if step is None:
            fitting = [each for each in STEPS if each % finest == 0 and (end - start) / each <= DEFAULT_CELLS]
            step = fitting[0] if fitting else -(-(end - start) // DEFAULT_CELLS // finest) * finest
        if step % finest:
            raise BadStep(
                f"that far back, counts are kept in windows of {finest} s: give a multiple of it, as in {finest}s"
            )
        first, last = start // step * step, -(-end // step) * step
        if (last - first) // step > MOST_CELLS:
            raise BadStep(f"that makes over {MOST_CELLS} cells; give at least {-(-(end - start) // MOST_CELLS)}s")
        cells = []
        for at in range(first, last, step):
            found = windows.time_range(at, at + step)
            # What begins before anything is kept has no windows, and counts as nothing.
            inside = found.windows if (found.start, found.end) == (at, at + step) else ()
            cells.append(TimeRange(at, at + step, inside))
        return cells

    # One name.

    async def seen(self, kind: Kind, name: str) -> tuple[Seen | None, Seen | None]:
        """The first and the last window, as short as is kept, in which this name was counted."""
        windows = (await self.reader.windows()).all()
        rows = await self.reader.counts_in(kind, [name], windows)
        found = [window for window, row in zip(windows, rows, strict=True) if row[0]]
        if not found:
            return None, None
        # Shorter windows tell more: of those that hold the first or the last moment the shortest is given.
        first = min(found, key=lambda window: (window.start, window.seconds))
        first = min((each for each in found if _inside(each, first)), key=lambda each: (each.seconds, each.start))
        last = max(found, key=lambda window: (window.start + window.seconds, -window.seconds))
        last = min((each for each in found if _inside(each, last)), key=lambda each: (each.seconds, -each.start))
        return Seen(first.start, first.seconds), Seen(last.start, last.seconds)


class _Gauge:
    """Claims memory for a sum, and takes a seat for one that is large. Both are given back with `held`."""

    def __init__(self, claim: Claim, work: Work, held: AsyncExitStack) -> None:
        self._claim = claim
        self._work = work
        self._held = held
        self.has_seat = False

    async def expect(self, *, at_least: int, at_most: int) -> None:
        """Wait for a seat, and claim what the names will take at least. Raises Busy, NoRoom."""
        if at_most > FEW_SUMMED and not self.has_seat:
            await self._held.enter_async_context(self._work.making.take())
            self.has_seat = True
        self.hold(at_least, _NAME_BYTES * at_least)

    def hold(self, names: int, name_bytes: int) -> None:
        """Claim what is held. Raises NoRoom, and Stopping when the service stops."""
        self._work.step()
        self._claim.grow_to(MAKING_BYTES_PER_NAME * names + 2 * name_bytes)


def _inside(inner: Window, outer: Window) -> bool:
    return outer.start <= inner.start and inner.start + inner.seconds <= outer.start + outer.seconds


def _series(cells: Sequence[TimeRange], rows: Sequence[Sequence[int]], width: int) -> Series:
    counts = [[0] * len(cells) for _ in range(width)]
    at = 0
    for column, cell in enumerate(cells):
        for row in rows[at : at + len(cell.windows)]:
            for name, count in enumerate(row):
                counts[name][column] += count
        at += len(cell.windows)
    step = cells[0].end - cells[0].start
    return Series(step, cells[0].start, cells[-1].end, [cell.start for cell in cells], counts, time.time())
