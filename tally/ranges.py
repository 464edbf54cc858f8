"""Which windows add up to a time range. Pure: no I/O, no clock.

The shortest length is a copy: what is in a minute is in its hour, too. Of the longer ones a count is in exactly one
window, the shortest that reached back to it, until it is folded into the next longer one. So a time range is the sum
of all longer windows inside it, and of shortest ones at its two ends: less than a thousand hashes for a year. Where
there is one length alone, a time range is the sum of its windows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tally.windows import WindowLength


@dataclass(frozen=True, slots=True)
class WindowStarts:
    """The windows of one length, as starts in Unix seconds, oldest first.

    Since `floor` they have all that belongs to them, but for what is in shorter ones inside them; None: all have. Those
    before it are being dropped, or folded into longer ones.
    """

    starts: tuple[int, ...]
    floor: int | None = None

    def between(self, start: int, end: int) -> Sequence[int]:
        """Return the starts in [start, end)."""
        return self.starts[bisect_left(self.starts, start) : bisect_left(self.starts, end)]

    def has(self, start: int) -> bool:
        """Return whether there is the window that begins then."""
        at = bisect_left(self.starts, start)
        return at < len(self.starts) and self.starts[at] == start


@dataclass(frozen=True, slots=True)
class Window:
    """One window: its length and its start, in seconds."""

    seconds: int
    start: int

    @property
    def end(self) -> int:
        """Return where it ends."""
        return self.start + self.seconds


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A time range as it can be answered: from (inclusive), to (exclusive), in Unix seconds; what to add up."""

    start: int
    end: int
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """From when (inclusive) to when (exclusive) there are windows, in Unix seconds."""

    start: int
    end: int

    def as_dict(self) -> dict[str, int]:
        """Return it as the ends of a time range of an answer."""
        return {"from": self.start, "to": self.end}


def kept(lengths: Sequence[WindowLength], found: Sequence[WindowStarts]) -> Kept | None:
    """Return from when to when there are windows; None if there are none. Of each length only two matter, its ends.

    Both ends are told as finely as they are kept: the last window of the shortest length is the newest of all, and the
    first one may have a shorter one inside of it, if that length reaches as far back.
    """
    levels = [(length, each) for length, each in zip(lengths, found, strict=True) if each.starts]
    if not levels:
        return None
    outer, first = min(reversed(levels), key=lambda level: level[1].starts[0])
    start, end = first.starts[0], levels[0][1].starts[-1] + levels[0][0].seconds
    for length, each in reversed(levels):
        reaches = each.floor is None or each.floor <= start
        if length.seconds < outer.seconds and reaches and each.starts[0] < start + outer.seconds:
            start, outer = each.starts[0], length
    return Kept(start, end)


#: Of each length, the shortest first, since when windows have all that belongs to them; None: all have.
Floors = Sequence[int | None]


def highest(floors: Sequence[Floors]) -> Floors:
    """Return since when all shards have what belongs to their windows, of each length; these are the floors of each."""
    return tuple(
        max((floor for floor in level if floor is not None), default=None) for level in zip(*floors, strict=True)
    )


class Windows:
    """The windows that there are at one moment, shortest length first.

    `folds` has the number of the last fold of a shorter window inside each of the longest ones, by the start of that.
    """

    def __init__(
        self, lengths: Sequence[WindowLength], found: Sequence[WindowStarts], folds: Mapping[int, int] | None = None
    ) -> None:
        self._lengths = lengths
        self._found = found
        self._folds = folds or {}
        self._levels = {length.seconds: level for level, length in enumerate(lengths)}
        self._longest = lengths[-1]
        #: The first level that is not a copy.
        self._base = 1 if len(lengths) > 1 else 0

    @property
    def lengths(self) -> tuple[WindowLength, ...]:
        """Return the lengths, the shortest first."""
        return tuple(self._lengths)

    @property
    def floors(self) -> Floors:
        """Return since when each length has all that belongs to it, the shortest first; None: since ever."""
        return tuple(found.floor for found in self._found)

    def resolution(self, at: float) -> WindowLength:
        """Return the shortest length kept, with all longer ones, as far back as this moment; else the longest."""
        return self._shortest_kept_since([at] * len(self._lengths))

    def time_range(self, start: float, end: float) -> TimeRange:
        """Return what is known of [start, end): widened to whole windows of the length that is kept that far back, and
        cut off where nothing is kept any more.
        """
        oldest = self._oldest()
        if oldest is not None:
            start, end = max(start, oldest), max(end, oldest)
        first = self.resolution(start).start_of(start)
        last = self._end_length(first, end).end_of(end)
        return TimeRange(first, last, tuple(self._inside(first, last)))

    def _oldest(self) -> int | None:
        """Return since when anything is kept; None if all is.

        That is the longest windows' floor, but where these were not counted from the beginning on: then shorter ones
        may reach back further.
        """
        floors = [found.floor for found in self._found[self._base :]]
        return None if None in floors else min(floor for floor in floors if floor is not None)

    def apart(self, before: float, start: float, end: float) -> tuple[TimeRange, TimeRange]:
        """Return what is known of [before, start) and of [start, end), so that the second begins where the first ends.

        They meet at `start`, or so much earlier as the windows are long that are kept there: widened each by itself,
        both would have the window that `start` is in.
        """
        first = self.resolution(before).start_of(before)
        meeting = self._end_length(first, start).start_of(start)
        return self.time_range(before, meeting), self.time_range(meeting, end)

    def has(self, start: int, end: int) -> bool:
        """Return whether [start, end) can be answered as it is, neither widened nor cut off."""
        found = self.time_range(start, end)
        return (found.start, found.end) == (start, end)

    def _end_length(self, start: int, end: float) -> WindowLength:
        """Return the shortest length that is kept for all that the time range has in the longer window it ends in."""
        return self._shortest_kept_since([max(start, longer.start_of(end)) for longer in self._lengths[1:]])

    def _shortest_kept_since(self, moments: Sequence[float]) -> WindowLength:
        """Return the shortest length of which, as of all longer ones, all is kept since the moment given for it."""
        for level in range(len(self._lengths) - 2, -1, -1):
            floor = self._found[level].floor
            if floor is not None and moments[level] < floor:
                return self._lengths[level + 1]
        return self._lengths[0]

    def _inside(self, start: int, end: int) -> Iterator[Window]:
        """Yield the windows that add up to [start, end), whose ends are whole windows of lengths that reach back."""
        if self._base:
            seconds = self._lengths[0].seconds
            first, last = self._lengths[1].end_of(start), self._lengths[1].start_of(end)
            parts = [(start, first), (last, end)] if first < last else [(start, end)]
            for part in parts:
                yield from (Window(seconds, each) for each in self._found[0].between(*part))
        for length, found in zip(self._lengths[self._base :], self._found[self._base :], strict=True):
            yield from (Window(length.seconds, each) for each in found.between(start, end - length.seconds + 1))

    # What is read while aggregators move it.

    def parts(self, found: TimeRange) -> list[TimeRange]:
        """Return the parts of a time range in which counts may be folded, one for each of the longest windows.

        The first one is all the rest of it, with the ends of the whole.
        """
        apart: dict[int, list[Window]] = {}
        for window in found.windows:
            apart.setdefault(self._longest.start_of(window.start), []).append(window)
        rest, parts = [], []
        for start, windows in sorted(apart.items()):
            if any(self._base <= self._levels[window.seconds] < len(self._lengths) - 1 for window in windows):
                ends = max(found.start, start), min(found.end, start + self._longest.seconds)
                parts.append(TimeRange(*ends, tuple(windows)))
            else:
                rest += windows
        return [TimeRange(found.start, found.end, tuple(rest)), *parts]

    def stands(self, window: Window, *, since: Windows) -> bool:
        """Return whether what was read of a window between `since` and these belongs to what was read of others.

        It does not if it was dropped meanwhile, or anything in the longest one that it is in was folded.
        """
        level = self._levels.get(window.seconds)
        if level is None or not self._found[level].has(window.start):
            return False
        if level < self._base:
            return True
        longest = self._longest.start_of(window.start)
        return self._folds.get(longest) == since._folds.get(longest)

    # Several shards.

    def since(self, floors: Floors) -> Windows:
        """Return the same windows, as if of each length all that belongs to it were there only since these floors.

        As far back as other shards reach, that is: what is asked of all is cut and widened alike.
        """
        both = zip(self._found, highest([self.floors, floors]), strict=True)
        found = [WindowStarts(each.starts, floor=floor) for each, floor in both]
        return Windows(self._lengths, found, self._folds)

    @classmethod
    def of_all(cls, shards: Sequence[Windows]) -> Windows:
        """Return the windows of several shards as one: those that any of them has, as far back as all of them reach.

        All have the same lengths. What was folded is not told: each shard's own windows tell whether they stand.
        """
        found = [
            WindowStarts(tuple(sorted(set().union(*(each.starts for each in level)))), floor=floor)
            for level, floor in zip(
                zip(*(shard._found for shard in shards), strict=True),
                highest([shard.floors for shard in shards]),
                strict=True,
            )
        ]
        return cls(shards[0].lengths, found)

    # One name.

    def all(self) -> list[Window]:
        """Return every window, of every length, the shortest first."""
        return [
            Window(length.seconds, each)
            for length, found in zip(self._lengths, self._found, strict=True)
            for each in found.starts
        ]

    def whole(self, counts: Mapping[Window, int]) -> list[dict[Window, int]]:
        """Return what was counted in each window that is known whole: of each length, the shortest first.

        `counts` has what is in each window by itself, which of a longer one is only what is in no shorter one.
        """
        wholes: list[dict[Window, int]] = []
        for level, (length, found) in enumerate(zip(self._lengths, self._found, strict=True)):
            floor = found.floor
            sums: dict[Window, int] = {}
            for window, count in counts.items():
                if self._base <= self._levels[window.seconds] <= level or window.seconds == length.seconds:
                    start = length.start_of(window.start)
                    if count and (floor is None or start >= floor):
                        whole = Window(length.seconds, start)
                        sums[whole] = sums.get(whole, 0) + count
            wholes.append(sums)
        return wholes


def last_windows(seconds: int, *, unit_seconds: int, now: float) -> tuple[int, int]:
    """Return [from, to): the last so many seconds, in whole windows of `unit_seconds`, the current one among them."""
    return int((now - seconds) // unit_seconds) * unit_seconds, (int(now // unit_seconds) + 1) * unit_seconds
