"""What a batch of blocks adds up to: plain data, and how two of them merge."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class WindowCounts:
    """Events of one window: how many of each type, how many of each word."""

    types: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Sample:
    """A rejected line as it is kept: its first KiB, why, and the name of its source."""

    line: bytes
    reason: str
    source: str


@dataclass(slots=True)
class Counts:
    """A batch: counts by start of window (Unix seconds, of the shortest length), rejected lines, bytes."""

    windows: dict[int, WindowCounts] = field(default_factory=dict)
    rejected: int = 0
    bytes: int = 0
    samples: list[Sample] = field(default_factory=list)

    @property
    def events(self) -> int:
        return sum(window.types.total() for window in self.windows.values())

    @property
    def words(self) -> int:
        return sum(window.words.total() for window in self.windows.values())

    def merge(self, other: Counts) -> None:
        """Add `other` to this one."""
        for start, theirs in other.windows.items():
            ours = self.windows.setdefault(start, WindowCounts())
            ours.types.update(theirs.types)
            ours.words.update(theirs.words)
        self.rejected += other.rejected
        self.bytes += other.bytes
        self.samples += other.samples
