"""What the routes ask: counts of Redis behind snapshots."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import cast

from api.params import Span, last_windows
from api.ranking import Comparison, Ranking
from api.snapshot import Snapshot, Snapshots
from tally.ranges import Stretch, Window, Windows
from tally.store.client import StoreUnavailable
from tally.store.reads import STRETCH_TRIES, Counting, CountReader, Kind, Status

#: Ranking a million words takes seconds of our own time: then the answer may be so old.
MAX_SCAN_AGE_SECONDS = 10.0

#: Stretches of time whose rankings are remembered.
MOST_STRETCHES = 64

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
    """Everything that can be asked. Every method raises StoreUnavailable."""

    def __init__(self, reader: CountReader) -> None:
        self.reader = reader
        self._counting = Snapshot(version=self._now, load=reader.counting)
        self._all = {
            kind: Snapshot(version=reader.totals, load=self._loader(kind), max_age_seconds=MAX_SCAN_AGE_SECONDS)
            for kind in ("types", "words")
        }
        self._top_words = Snapshot(version=reader.totals, load=self._load_top_words)
        self._stretches: Snapshots[Ranking] = Snapshots(most=MOST_STRETCHES, make=self._stretch_snapshot)
        self._status = Snapshot(version=self._now, load=reader.status)

    async def counting(self) -> Counting:
        """How lines are counted."""
        return await self._counting.get()

    async def all_time(self, kind: Kind, *, top: int | None = None) -> Ranking:
        """Counts of all time; with `top`, if the first so many are enough, without reading all words."""
        if kind == "words" and top is not None:
            ranking = await self._top_words.get()
            if ranking.complete or top <= len(ranking.counts):
                return ranking
        return await self._all[kind].get()

    async def stretch(self, kind: Kind, start: int, end: int) -> Ranking:
        """Counts of [start, end), in Unix seconds, widened to what is kept."""
        return await self._stretches.get((kind, start, end))

    async def comparison(self, kind: Kind, span: Span) -> Comparison | None:
        """What is over of a stretch, and the stretch before, equally long; None if the two cannot be had.

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
        """Types and words of the last so many seconds, up to now, and of some such stretches before them.

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
        """A pair of stretches, the earlier first, that is chosen among the windows that there are; None if none is."""
        for _ in range(STRETCH_TRIES):
            chosen = choose(await self.reader.windows())
            if chosen is None:
                return None
            found = {}
            for kind in kinds:
                previous, present = [await self.stretch(kind, *bounds) for bounds in chosen]
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

    def _loader(self, kind: str) -> Callable[[], Awaitable[Ranking]]:
        async def load() -> Ranking:
            read = self.reader.types if kind == "types" else self.reader.words
            return Ranking.of(await read(), as_of=time.time())

        return load

    async def _load_top_words(self) -> Ranking:
        counts = await self.reader.top_words()
        distinct, other = await self.reader.distinct("words")
        total = (await self.reader.totals())["words"]
        return Ranking(counts, total, distinct, other, time.time())

    def _stretch_snapshot(self, key: Hashable) -> Snapshot[Ranking]:
        kind, start, end = cast("tuple[Kind, int, int]", key)

        async def load() -> Ranking:
            stretch, counts = await self.reader.sum_stretch(kind, start, end)
            return Ranking.of(counts, as_of=time.time(), start=stretch.start, end=stretch.end)

        return Snapshot(version=self.reader.totals, load=load, max_age_seconds=MAX_SCAN_AGE_SECONDS)

    async def _now(self) -> float:
        return time.time()

    # Grids.

    async def series(self, kind: Kind, names: Sequence[str], start: int, end: int, step: int | None) -> Series:
        """Counts of each name (of all events, if there is none) in each cell. Raises BadStep."""
        for _ in range(STRETCH_TRIES):
            cells = await self._cells(start, end, step)
            windows = [window for cell in cells for window in cell.windows]
            if names:
                rows = await self.reader.counts_in(kind, names, windows)
            else:
                rows = [[events] for events in await self.reader.events_in(windows)]
            if cells == await self._cells(start, end, step):
                return _series(cells, rows, max(1, len(names)))
        raise StoreUnavailable(_TOO_FAST)

    async def _cells(self, start: int, end: int, step: int | None) -> list[Stretch]:
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
            found = windows.stretch(at, at + step)
            # What begins before anything is kept has no windows, and counts as nothing.
            inside = found.windows if (found.start, found.end) == (at, at + step) else ()
            cells.append(Stretch(at, at + step, inside))
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


def _inside(inner: Window, outer: Window) -> bool:
    return outer.start <= inner.start and inner.start + inner.seconds <= outer.start + outer.seconds


def _series(cells: Sequence[Stretch], rows: Sequence[Sequence[int]], width: int) -> Series:
    counts = [[0] * len(cells) for _ in range(width)]
    at = 0
    for column, cell in enumerate(cells):
        for row in rows[at : at + len(cell.windows)]:
            for name, count in enumerate(row):
                counts[name][column] += count
        at += len(cell.windows)
    step = cells[0].end - cells[0].start
    return Series(step, cells[0].start, cells[-1].end, [cell.start for cell in cells], counts, time.time())
