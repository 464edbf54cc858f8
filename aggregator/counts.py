"""What a batch of blocks adds up to: plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tally.deltas import Place, Sample
from tally.rejections import Reason, reason_totals


@dataclass(slots=True)
class NameCounts:
    """Events of one window, or of all time: how many of each type, how many of each word.

    `by_type` are those of the words that stand in events of one type, of types whose words are counted apart.
    """

    types: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    by_type: dict[str, Counter[str]] = field(default_factory=dict)

    @classmethod
    def sum_of(cls, parts: list[NameCounts]) -> NameCounts:
        """Return what these come to. The only one is returned itself."""
        if len(parts) == 1:
            return parts[0]
        # The largest is copied at once, while the names of the others are gone through in Python.
        largest_first = sorted(parts, key=lambda each: len(each.words), reverse=True)
        whole = cls()
        for part in largest_first:
            whole.types.update(part.types)
            whole.words.update(part.words)
            for event_type, words in part.by_type.items():
                if (of_type := whole.by_type.get(event_type)) is None:
                    whole.by_type[event_type] = words.copy()
                else:
                    of_type.update(words)
        return whole


@dataclass(slots=True)
class SourceCounts:
    """Lines by what their source is called, those of them that were rejected, and when the newest was appended."""

    lines: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    newest_ms: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Counts:
    """A batch: counts by window, those of all time, rejected lines, bytes.

    An event is in exactly one window, the shortest that reached back to it when it was added up, or in none if no
    length does; it is in `whole` always. Where one window has all events, `whole` is that same object.

    `newest_seconds` is the time of the newest event, None without any.
    `padded` is how many lines, rejected and blank ones among them, had NULs or byte order marks in front of them.
    """

    windows: dict[Place, NameCounts] = field(default_factory=dict)
    whole: NameCounts = field(default_factory=NameCounts)
    rejected_by_reason: Counter[Reason] = field(default_factory=Counter)
    padded: int = 0
    bytes: int = 0
    samples: list[Sample] = field(default_factory=list)
    newest_seconds: float | None = None
    sources: SourceCounts = field(default_factory=SourceCounts)

    @property
    def events(self) -> int:
        return self.whole.types.total()

    @property
    def words(self) -> int:
        return self.whole.words.total()

    @property
    def rejected(self) -> int:
        return self.rejected_by_reason.total()

    def totals(self, *, blocks: int) -> dict[str, int]:
        """Return what this adds to the totals, with the number of blocks that it is of."""
        return {
            "events": self.events,
            "words": self.words,
            "rejected": self.rejected,
            "padded": self.padded,
            "lines": self.events + self.rejected,
            "bytes": self.bytes,
            "blocks": blocks,
            **reason_totals(self.rejected_by_reason),
        }
