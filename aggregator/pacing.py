"""How much is read at once, and how much makes a batch.

Large batches are cheap: a name that occurs often is updated once a batch. But all of a batch is in our memory, what it
counts is seen only when it is done, and it is to be settled long before another aggregator would claim its blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tally.store import Entry
from tally.store.blocks import PendingBlock

#: Bytes of blocks that are read at once, about; never more than the larger of these, unless blocks of other clients are
#: larger than ours may be. Redis answers nobody else while it hands them out.
READ_BYTES, MOST_READ_BYTES = 4 << 20, 16 << 20

#: What bounds a batch: names, each once for each window that has it; bytes of lines; blocks; seconds that it
#: grows although it could be settled.
BATCH_NAMES = 150_000
BATCH_BYTES = 64 << 20
BATCH_BLOCKS = 512
BATCH_SECONDS = 0.5

#: A batch is to be settled within this part of the time after which its blocks are claimed: a third.
PARTS_OF_CLAIM_IDLE = 3


@dataclass(slots=True)
class Batch:
    """Blocks that are pending to us, and since when: when the first was read, or we showed last that we work on them.

    That is when the server reckons from until they are claimed; in monotonic seconds.
    """

    since_seconds: float
    blocks: list[PendingBlock] = field(default_factory=list)


class Pace:
    """How many blocks are read at once, and when what is held has been held for long.

    A batch that took more than half of its time makes the next reads smaller, down to a block; one that took less lets
    them grow again, to twice as many each time. Half, because the next is read while this one is settled, and waits.
    """

    def __init__(self, *, claim_idle_seconds: float, max_block_bytes: int) -> None:
        self._due_seconds = claim_idle_seconds / PARTS_OF_CLAIM_IDLE / 2
        self._most = max(1, MOST_READ_BYTES // max_block_bytes)
        self._by_size = max(1, READ_BYTES // max_block_bytes)
        self._fit = BATCH_BLOCKS

    @property
    def blocks(self) -> int:
        """Return how many blocks the next read may give."""
        return min(self._most, self._by_size, self._fit)

    def read(self, entries: Sequence[Entry]) -> None:
        """Note what was read: the smaller blocks are, the more are read at once."""
        if entries:
            mean_bytes = sum(len(entry.lines or b"") for entry in entries) // len(entries)
            self._by_size = max(1, READ_BYTES // max(1, mean_bytes))

    def settled(self, batch: Batch, *, now_seconds: float) -> None:
        """Note that a batch is settled, and with that how long it took."""
        seconds = now_seconds - batch.since_seconds
        if seconds > self._due_seconds:
            self._fit = max(1, int(len(batch.blocks) * self._due_seconds / seconds))
        else:
            self._fit = min(BATCH_BLOCKS, 2 * self._fit)

    def is_due(self, since_seconds: float, *, now_seconds: float) -> bool:
        """Return whether it is time to settle what is added up, or to show that we still work on the rest."""
        return now_seconds - since_seconds > self._due_seconds
