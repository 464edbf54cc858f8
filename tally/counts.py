"""What a batch of blocks adds up to: plain data, and how two of them merge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tally.windows import WindowLength


@dataclass(slots=True)
class WindowCounts:
    """Events of one window: how many of each type, how many of each word."""

    types: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)

    def merge(self, other: WindowCounts) -> None:
        """Add `other` to this one."""
        self.types.update(other.types)
        self.words.update(other.words)


@dataclass(frozen=True, slots=True)
class Sample:
    """A rejected line as it is kept: its first KiB, why, and the name of its source."""

    line: bytes
    reason: str
    source: str


@dataclass(slots=True)
class Counts:
    """A batch: counts by start of window (Unix seconds, of the shortest length), rejected lines, bytes.

    `padded` is how many lines, rejected and blank ones among them, had NULs or byte order marks in front of them.
    """

    windows: dict[int, WindowCounts] = field(default_factory=dict)
    rejected: int = 0
    padded: int = 0
    bytes: int = 0
    samples: list[Sample] = field(default_factory=list)

    @property
    def events(self) -> int:
        return sum(window.types.total() for window in self.windows.values())

    @property
    def words(self) -> int:
        return sum(window.words.total() for window in self.windows.values())


@dataclass(frozen=True, slots=True)
class Section:
    """What a batch has for one window of the length number `level`, or for none if there is no such length."""

    level: int
    start: int
    counts: WindowCounts


def sections(windows: Mapping[int, WindowCounts], lengths: Sequence[WindowLength]) -> Iterator[Section]:
    """Return what goes into which window, the newest first: of each length as many as are kept at the most.

    What is older than those is too old for that length as soon as they are counted, whatever there was before. So it is
    added up to the next length here, and a batch of years of history makes no more windows than one of an hour.
    """
    for level, length in enumerate(lengths):
        newest_first = sorted(windows, reverse=True)
        for start in newest_first[: length.kept]:
            yield Section(level, start, windows[start])
        older: dict[int, WindowCounts] = {}
        for start in newest_first[length.kept :]:
            longer = lengths[level + 1].start_of(start) if level + 1 < len(lengths) else 0
            older.setdefault(longer, WindowCounts()).merge(windows[start])
        windows = older
    for counts in windows.values():
        yield Section(len(lengths), 0, counts)
