"""How far back each length of window reaches: the oldest start that still gets counts. Pure.

The longest length is kept by number: its floor is the oldest of its newest windows, once there are as many as are kept.
The others are kept by span behind the newest window of the shortest length. Floors only rise, so what is behind one
that was true once is behind the one that is true now.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tally.windows import WindowLength

#: The floor of each length, the shortest first, as far as Redis has told; None where it has not.
Known = Sequence[int | None]

#: Nothing is known.
UNKNOWN: Known = ()


class Floors:
    """The floor of each length, in Unix seconds; -inf while nothing is too old for it. A level counts from 1."""

    def __init__(self, lengths: Sequence[WindowLength], known: Known = UNKNOWN) -> None:
        self._lengths = lengths
        self.starts = [-math.inf if start is None else start for start in known] or [-math.inf] * len(lengths)

    def raise_to(self, newest_seconds: float) -> None:
        """Take note of an event, whose time in Unix seconds may be newer than any before."""
        starts, lengths = self.starts, self._lengths
        for at in range(len(lengths) - 2, -1, -1):
            length = lengths[at]
            start: float = length.start_of(newest_seconds) - (length.kept - 1) * length.seconds
            if at < len(lengths) - 2:
                start = max(start, starts[at + 1])
            starts[at] = max(starts[at], start)

    def raise_longest(self, starts: Iterable[int]) -> None:
        """Take note of windows of the longest length."""
        longest = self._lengths[-1]
        newest_first = sorted(starts, reverse=True)
        if len(newest_first) >= longest.kept:
            self.starts[-1] = max(self.starts[-1], newest_first[longest.kept - 1])

    def level_of(self, level: int, start: int) -> int | None:
        """Return the first level from `level` on that reaches back to its window that holds this start, or None."""
        for at in range(level - 1, len(self._lengths)):
            if self._lengths[at].start_of(start) >= self.starts[at]:
                return at + 1
        return None


class NoFloors(Floors):
    """Nothing is ever too old for the shortest length."""

    def raise_to(self, newest_seconds: float) -> None: ...

    def raise_longest(self, starts: Iterable[int]) -> None: ...
