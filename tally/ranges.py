"""Which windows add up to a time range. Pure: no I/O, no clock.

A window of a longer length holds the counts of those shorter ones that are rolled, and of events that came when their
shorter window was no longer kept. So a time range is the sum of its longest whole windows, of the shorter ones inside
them that are not rolled yet, and of shorter ones at its two ends: a few hundred hashes for a year.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tally.windows import WindowLength


@dataclass(frozen=True, slots=True)
class WindowStarts:
    """The windows of one length, as starts in Unix seconds, oldest first, and those of them that are rolled.

    Before `whole_since` some were dropped; None if none ever was. Before `floor` nothing is kept, or it is kept in
    longer windows; None while all is there.
    """

    starts: tuple[int, ...]
    rolled: frozenset[int] = frozenset()
    whole_since: int | None = None
    floor: int | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """One window: its length and its start, in seconds."""

    seconds: int
    start: int


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A time range as it can be answered: from (inclusive), to (exclusive), in Unix seconds; what to add up."""

    start: int
    end: int
    windows: tuple[Window, ...]


class Windows:
    """The windows that there are at one moment, shortest length first."""

    def __init__(
        self, lengths: Sequence[WindowLength], found: Sequence[WindowStarts], folds: Mapping[int, int] | None = None
    ) -> None:
        self._lengths = lengths
        #: Start of a window of the longest length -> the number of the last fold of a shorter one inside it.
        self.folds = folds or {}
        self._found = found
        self._horizons = [_horizon(length, each) for length, each in zip(lengths, found, strict=True)]

    def resolution(self, at: float) -> WindowLength:
        """Return the shortest length kept, with all longer ones, as far back as this moment; else the longest."""
        return self._shortest_kept_since([at] * len(self._lengths))

    def time_range(self, start: float, end: float) -> TimeRange:
        """Return what is known of [start, end): widened to whole windows of the length that is kept that far back, and
        cut off where nothing is kept any more.
        """
        oldest = self._horizons[-1]
        if oldest is not None:
            start, end = max(start, oldest), max(end, oldest)
        first = self.resolution(start).start_of(start)
        last = self._end_length(first, end).end_of(end)
        return TimeRange(first, last, tuple(self._cover(len(self._lengths) - 1, first, last)))

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
            horizon = self._horizons[level]
            if horizon is not None and moments[level] < horizon:
                return self._lengths[level + 1]
        return self._lengths[0]

    def all(self) -> list[Window]:
        """Return every window, of every length, the shortest first."""
        return [
            Window(length.seconds, each)
            for length, found in zip(self._lengths, self._found, strict=True)
            for each in found.starts
        ]

    def _cover(self, level: int, start: int, end: int) -> list[Window]:
        """Return the windows that add up to [start, end), whose ends are whole windows of some length."""
        seconds = self._lengths[level].seconds
        if level == 0:
            return [Window(seconds, each) for each in _between(self._found[0].starts, start, end)]
        first = -(-start // seconds) * seconds
        last = end // seconds * seconds
        if first >= last:
            return self._cover(level - 1, start, end)
        whole = [Window(seconds, each) for each in _between(self._found[level].starts, first, last)]
        return [
            *self._cover(level - 1, start, first),
            *whole,
            *self._unrolled(level - 1, first, last),
            *self._cover(level - 1, last, end),
        ]

    def _unrolled(self, level: int, start: int, end: int) -> list[Window]:
        """Windows of this length and shorter ones whose counts are in no longer window yet."""
        found = self._found[level]
        here = [
            Window(self._lengths[level].seconds, each)
            for each in _between(found.starts, start, end)
            if each not in found.rolled
        ]
        return here + (self._unrolled(level - 1, start, end) if level else [])


def _horizon(length: WindowLength, found: WindowStarts) -> int | None:
    """From when on the windows of a length are all there, with all that they should hold; None if they always were.

    Those before the kept-th newest may lack events that came late. Where fewer were kept once, there are fewer now.
    """
    horizons = [found.whole_since] if found.whole_since is not None else []
    if len(found.starts) >= length.kept:
        horizons.append(found.starts[-length.kept])
    return max(horizons, default=None)


def _between(starts: Sequence[int], start: int, end: int) -> Sequence[int]:
    return starts[bisect_left(starts, start) : bisect_left(starts, end)]
