"""How many lines of a batch came from each source. Pure."""

from __future__ import annotations

from aggregator.counts import SourceCounts
from tally.keys import OTHER
from tally.sources import MAX_SOURCE_BYTES, called

#: So many characters are never too many bytes.
_SURELY_SHORT = MAX_SOURCE_BYTES // 4


class BySource:
    """Adds up lines by the names that sources have in the store, a block at a time."""

    def __init__(self) -> None:
        self._lines: dict[str, list[float]] = {}  # events, rejected, and when the newest block was appended

    def add(self, name: str, events: float, rejected: float, appended_seconds: float) -> None:
        """Add a block, with how many lines of it are events and how many are not."""
        lines = self._lines.get(name)
        if lines is None:
            self._lines[name] = [events, rejected, appended_seconds]
            return
        lines[0] += events
        lines[1] += rejected
        if appended_seconds > lines[2]:
            lines[2] = appended_seconds

    def counts(self) -> SourceCounts:
        """Return what it comes to, by what the sources are called."""
        merged = BySource()
        for name, (events, rejected, appended_seconds) in self._lines.items():
            merged.add(called(name), events, rejected, appended_seconds)
        long = [name for name in merged._lines if len(name) > _SURELY_SHORT and len(name.encode()) > MAX_SOURCE_BYTES]
        for name in long:
            merged.add(OTHER, *merged._lines.pop(name))
        found = merged._lines.items()
        return SourceCounts(
            {name: int(events + rejected) for name, (events, rejected, _) in found},
            {name: int(rejected) for name, (_, rejected, _) in found},
            {name: round(appended_seconds * 1000) for name, (_, _, appended_seconds) in found},
        )
