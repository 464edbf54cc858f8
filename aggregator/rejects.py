"""Lines of a batch that are no events: how many for which reason, and samples of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

from tally.deltas import Sample
from tally.padding import NUL, padding_bytes
from tally.rejections import Reason

#: How much of a rejected line is kept.
SAMPLE_BYTES = 1024

#: How many rejected lines of one batch are kept, so that a flood of garbage costs Redis no more than a trickle.
MAX_SAMPLES = 20


class Rejects:
    """How many lines of a batch were rejected by reason, and the newest: (line, source, why, unless the line shows it).

    How many there are in all, and how many lines had padding, whether or not they were rejected.
    """

    def __init__(self) -> None:
        self.by_reason: Counter[Reason] = Counter()
        self.padded = 0
        self.lines = 0
        self.newest: deque[tuple[bytes, str, str]] = deque(maxlen=MAX_SAMPLES)

    def add(self, lines: list[bytes], reasons: Iterable[Reason], source: str, *, why: str = "") -> None:
        """Add lines, with the reason of each; `why` says it as a sentence where the line does not show it."""
        self.by_reason.update(reasons)
        self.lines += len(lines)
        self.newest.extend((line, source, why) for line in lines[-MAX_SAMPLES:])

    def samples(self, reason: Callable[[bytes], str | None]) -> list[Sample]:
        """Return the newest as they are kept; `reason` tells of a line why it is rejected."""
        return [Sample(beginning(line), why or reason(line) or "", source) for line, source, why in self.newest]


def beginning(line: bytes) -> bytes:
    """Return what is kept of a line as a sample. Of much padding a NUL, or nothing else might be seen of it."""
    if len(line) > SAMPLE_BYTES and (padding := padding_bytes(line)):
        line = NUL + line[padding:]
    return line[:SAMPLE_BYTES]
