"""A model of the windows in Redis: what aggregators write and move, one script a step. No I/O.

Each count is given to its window of the shortest length, if that is still kept, and to that of the first longer length
that reaches back to it. What a floor has passed is dropped, or folded into a longer window in slices. Beside it stands
the truth: every count with its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from tally.ranges import Window, Windows, WindowStarts
from tally.windows import WindowLength

#: Names a slice of a fold.
SLICE = 2


class WindowsModel:
    """The windows of some lengths, the shortest first."""

    def __init__(self, lengths: Sequence[WindowLength]) -> None:
        self.lengths = lengths
        self.base = 1 if len(lengths) > 1 else 0
        self.last = len(lengths) - 1
        self.hashes: list[dict[int, Counter[str]]] = [{} for _ in lengths]
        self.floors: list[int | None] = [None] * len(lengths)
        self.folds: dict[int, int] = {}
        self.folded = 0
        self.newest: int | None = None
        self.truth: list[tuple[int, str]] = []

    # What aggregators do.

    def count(self, at: int, names: Sequence[str]) -> None:
        """Count events of this time."""
        self.truth += ((at, name) for name in names)
        start = self.lengths[0].start_of(at)
        self.newest = start if self.newest is None else max(self.newest, start)
        self._raise_floors()
        if self.base and start >= (self.floors[0] or start):
            self._add(0, start, names)
        self._add_to_base(self.base, at, names)

    def _raise_floors(self) -> None:
        assert self.newest is not None
        longer: int | None = None
        for level in range(self.last - 1, -1, -1):
            length = self.lengths[level]
            floor = length.start_of(self.newest) - (length.kept - 1) * length.seconds
            longer = floor if longer is None else max(floor, longer)
            self.floors[level] = longer if self.floors[level] is None else max(longer, self.floors[level] or 0)

    def _add_to_base(self, level: int, at: int, names: Sequence[str]) -> None:
        """Add counts to the first length from this level on that reaches back; to nothing if none does."""
        for reached in range(level, len(self.lengths)):
            start, floor = self.lengths[reached].start_of(at), self.floors[reached]
            if floor is None or start >= floor:
                self._add(reached, start, names)
                return

    def _add(self, level: int, start: int, names: Sequence[str]) -> None:
        self.hashes[level].setdefault(start, Counter()).update(names)
        kept = self.lengths[level].kept
        if level == self.last and len(self.hashes[level]) >= kept:
            self.floors[level] = max(sorted(self.hashes[level])[-kept], self.floors[level] or -(10**9))

    def drop(self, level: int, at: int) -> None:
        """Drop a window that is behind the floor, of the shortest or of the longest length."""
        behind = self._behind(level)
        if behind and (level < self.base or level == self.last):
            start = behind[at % len(behind)]
            del self.hashes[level][start]
            if level == self.last:
                self.folds.pop(start, None)

    def fold(self, level: int, at: int) -> None:
        """Fold a slice of a window that is behind the floor."""
        behind = self._behind(level)
        if not behind or not self.base <= level < self.last:
            return
        start = behind[at % len(behind)]
        counts = self.hashes[level][start]
        for name in list(counts)[:SLICE]:
            self._add_to_base(level + 1, start, [name] * counts.pop(name))
        if not counts:
            del self.hashes[level][start]
        self.folded += 1
        self.folds[self.lengths[-1].start_of(start)] = self.folded

    def _behind(self, level: int) -> list[int]:
        floor = self.floors[level]
        return [] if floor is None else [start for start in sorted(self.hashes[level]) if start < floor]

    # What readers do.

    def look(self, between: Callable[[], None] = lambda: None) -> Windows:
        """Return what windows there are, in the order in which a reader asks; `between` is called in between."""
        folds, starts = dict(self.folds), []
        for hashes in self.hashes:
            between()
            starts.append(tuple(sorted(hashes)))
        between()
        both = zip(starts, self.floors, strict=True)
        return Windows(self.lengths, [WindowStarts(each, floor=floor) for each, floor in both], folds)

    def of(self, window: Window) -> Counter[str]:
        """Return what is in a window."""
        level = [length.seconds for length in self.lengths].index(window.seconds)
        return Counter(self.hashes[level].get(window.start, {}))

    def counted(self, start: int, end: int) -> Counter[str]:
        """Return the truth about [start, end)."""
        return Counter(name for at, name in self.truth if start <= at < end)

    def moments(self) -> Iterator[int]:
        """Yield the starts and ends of all windows in which anything was ever counted."""
        for length in self.lengths:
            for at, _ in self.truth:
                yield length.start_of(at)
                yield length.start_of(at) + length.seconds
