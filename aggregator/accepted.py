"""Samples of the lines of a batch that are events, where some are to be kept. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from aggregator.rejects import beginning
from tally.deltas import Sample

#: How many accepted lines of one batch are kept at the most: they are looked for among so many last lines of a block.
MAX_SAMPLES = 5


class Accepted:
    """The last lines of the newest blocks of a batch."""

    def __init__(self) -> None:
        self._newest: deque[tuple[bytes, str]] = deque(maxlen=MAX_SAMPLES)

    def add(self, block: bytes, source: str) -> None:
        """Add a block that has events: its last lines, whatever they are."""
        found: list[tuple[bytes, str]] = []
        end = len(block)
        while end >= 0 and len(found) < MAX_SAMPLES:
            begin = block.rfind(b"\n", 0, end) + 1
            found.append((block[begin:end], source))
            end = begin - 1
        self._newest.extend(reversed(found))

    def samples(self, is_event: Callable[[bytes], bool]) -> list[Sample]:
        """Return those that are events, as they are kept."""
        return [Sample(beginning(line), "", source, accepted=True) for line, source in self._newest if is_event(line)]
