"""What a batch of blocks adds up to: plain data, and how two of them merge."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


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
