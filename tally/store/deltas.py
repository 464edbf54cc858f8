"""What a batch adds up to, on its way from the stream into the hashes: staged, settled, and applied chunk by chunk.

No method holds Redis for more than a few milliseconds. Every one may be called again after a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tally.deltas import Chunk
from tally.store.blocks import Missing, PendingBlock, Settled
from tally.store.shard import ShardStore

#: Bytes of settled chunks that wait to be applied, over which no more are settled.
MAX_DELTA_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class NextChunk:
    """The chunk that is to be applied next: the key of its list, its number, and where its counts go."""

    list: str
    number: int
    targets: bytes


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What became of a chunk, and what comes next.

    `applied`: its counts are in the hashes. `moved`: another one is next by now; nothing was written. `poison`: it
    cannot be read, and is a dead letter now. `lost`: somebody deleted it; the batch's blocks count as lost.

    `next` is the chunk behind it, None if there is none. `floors` are the starts of the oldest window of each length
    that still gets counts, the shortest first, None where all is kept; empty if the chunk was moved. `overdue`: there
    are windows to fold or to drop.
    """

    word: Literal["applied", "moved", "poison", "lost"]
    next: NextChunk | None = None
    floors: tuple[int | None, ...] = ()
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How many chunks were ever settled, and how many of them were ever applied. All are when both are equal."""

    settled: int
    applied: int


class DeltaStore(ShardStore):
    """The batches of one shard that have left the stream, or are about to."""

    async def stage(self, *, name: str, first: int, chunks: Sequence[Chunk]) -> Literal["staged", "stale", "full"]:
        """Put chunks of a batch onto the list `name`, as its chunks from the number `first` on, counted from 0.

        The name is used for this try to count this batch and never again. The list expires after STAGED_SECONDS
        without another call. `stale`: it has expired in between, so that chunks before `first` are missing; begin again
        under a new name. `full`: so much waits to be applied that no more is taken; apply some, then call again.
        Raises StoreUnavailable; may be called again then with the same arguments.
        """
        raise NotImplementedError

    async def settle(
        self, *, consumer: str, blocks: Sequence[PendingBlock], name: str, chunks: Sequence[Chunk]
    ) -> Settled | Missing | Literal["stale", "full"]:
        """Take these blocks off the stream and have the list `name` applied, if this consumer holds all of them.

        `chunks` are all that were staged under this name. `Missing`: others hold or have counted some; after a failure
        it may have been this very call. The list is gone then, if it is not settled. `stale`: it has expired, or lacks
        chunks; stage again under a new name. `full`: so much waits to be applied that no more is taken; apply some,
        then call again. Raises StoreUnavailable (it may have happened all the same) or GroupMissing (it has not).
        """
        raise NotImplementedError

    async def next_chunk(self) -> NextChunk | None:
        """Return the chunk that is to be applied next; None if all are. Raises StoreUnavailable."""
        raise NotImplementedError

    async def apply(self, chunk: NextChunk) -> ApplyResult:
        """Add a chunk to the hashes, if it is still the next one. Raises StoreUnavailable.

        Also raises it, with key and types, if one of the keys has another type than it should: nothing was written
        then, and the chunk waits until that is mended.
        """
        raise NotImplementedError

    async def progress(self) -> Progress:
        """Return how many chunks were settled and applied. Raises StoreUnavailable."""
        raise NotImplementedError
