"""How large a batch may be, so that it is counted long before another aggregator would claim its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tally.store import Entry

#: Blocks in a batch, while they are large and while they are small. Larger batches are cheaper for Redis, which spends
#: its time on each distinct word of a batch; but all of it is in our memory, twice.
LARGE_BLOCKS, SMALL_BLOCKS = 32, 256
SMALL_BATCH_BYTES = 1 << 20

#: A batch is to be counted within this part of the time after which its blocks are claimed: a third.
PARTS_OF_CLAIM_IDLE = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks that are pending to us, and since when: when they were read, or we showed last that we work on them.

    That is when the server reckons from until they are claimed; in monotonic seconds.
    """

    entries: Sequence[Entry]
    since_seconds: float


class Pace:
    """How many blocks are read at once, and when what is held has been held for long.

    A batch that took more than half of its time makes the next ones smaller, down to a block; one that took less lets
    them grow again, to twice as many each time. Half, because the next is read while this one is counted, and waits.
    """

    def __init__(self, *, claim_idle_seconds: float) -> None:
        self._due_seconds = claim_idle_seconds / PARTS_OF_CLAIM_IDLE / 2
        self._fit = SMALL_BLOCKS
        self._most = LARGE_BLOCKS

    @property
    def blocks(self) -> int:
        """Return how many blocks the next batch may have."""
        return min(self._most, self._fit)

    def read(self, entries: Sequence[Entry]) -> None:
        """Note what was read: while blocks are small, more of them make a batch."""
        batch_bytes = sum(len(entry.lines or b"") for entry in entries)
        self._most = SMALL_BLOCKS if batch_bytes < SMALL_BATCH_BYTES else LARGE_BLOCKS

    def counted(self, batch: Batch, *, now_seconds: float) -> None:
        """Note that a batch is counted, and with that how long it took."""
        seconds = now_seconds - batch.since_seconds
        if seconds > self._due_seconds:
            self._fit = max(1, int(len(batch.entries) * self._due_seconds / seconds))
        else:
            self._fit = min(SMALL_BLOCKS, 2 * self._fit)

    def is_due(self, batch: Batch, *, now_seconds: float) -> bool:
        """Return whether it is time to count what is decoded, or to show that we still work on the rest."""
        return now_seconds - batch.since_seconds > self._due_seconds
