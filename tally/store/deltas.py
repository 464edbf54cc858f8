"""What a batch adds up to, on its way from the stream into the hashes: staged, settled, and applied chunk by chunk.

No script holds Redis for more than a few milliseconds, and no round trip for more than ten or so. Every method may be
called again after a failure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tally.deltas import Chunk
from tally.keys import (
    GROUP,
    OTHER,
    SOURCE_NEWEST,
    SOURCE_TABLES,
    TOP_WORDS,
    TYPES,
    WORDS,
)
from tally.store.blocks import Missing, PendingBlock, Settled
from tally.store.client import StoreUnavailable, errors_translated
from tally.store.lua import ReadingScript, WritingScript
from tally.store.samples import ACCEPTED_SECONDS
from tally.store.shard import ShardStore
from tally.store.targets import WORDS_OF_A_TYPE, hashes_of
from tally.store.windows import floors_of, levels_of, raise_wrong_type
from tally.words_by_type import Numbered

_stage, _settle, _apply = WritingScript("stage"), WritingScript("settle"), WritingScript("apply")
_next_chunk = ReadingScript("next_chunk")

#: Bytes of settled chunks that wait to be applied, over which no more are settled.
MAX_DELTA_BYTES = 16 << 20

#: How long a staged list stays without another call, in seconds.
STAGED_SECONDS = 120

#: How many chunks are applied in one round trip at the most. Redis answers nobody else meanwhile, and each chunk is
#: bounded by its updates; one by one it would have nothing to do while we decode.
APPLIED_TOGETHER = 3

#: Bytes of chunks that one call of stage.lua takes, about.
STAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class NextChunk:
    """The chunk that is to be applied next: the key of its list, its number, and where its counts go.

    `behind` says the same of some chunks that come after it in the same batch.
    """

    list: str
    number: int
    targets: bytes
    behind: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What became of a chunk, and what comes next.

    `applied`: its counts are in the hashes. `moved`: another one is next by now; nothing was written. `poison`: it
    cannot be read, and is a dead letter now. `lost`: somebody deleted it; the batch's blocks count as lost.

    `next` is the chunk that is next then, None if there is none; of several that were applied together the last one
    tells. `floors` are the starts of the oldest window of each length that still gets counts, the shortest first, None
    where all is kept; empty if the chunk was moved. `overdue`: there are windows to fold or to drop.
    """

    word: Literal["applied", "moved", "poison", "lost"]
    next: NextChunk | None = None
    floors: tuple[int | None, ...] = ()
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class UsedNumbers:
    """The numbers that a batch was made with: those of the types that have their words apart in it, or any other one.

    `numbered` is how many were given by then, of all types: one that has got its number since would lack some words.
    """

    numbered: int
    by_type: Mapping[str, Numbered]


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
        keys = (self._keys.delta(name), self._keys.backlog, self._keys.deltas)
        limits = {"expires_ms": STAGED_SECONDS * 1000, "max_delta_bytes": MAX_DELTA_BYTES}
        done = 0
        while done < len(chunks):
            values: list[bytes] = []
            size, at = 0, first + done
            while done < len(chunks) and (not values or size + chunks[done].bytes <= STAGE_BYTES):
                size += chunks[done].bytes
                values += (chunks[done].targets, chunks[done].body)
                done += 1
            word: bytes = await _stage.run(
                self._redis, keys, {**limits, "first": at}, values, layout=self._layout.whole
            )
            if word == b"full":
                return "full"
            if word != b"staged":
                return "stale"
        return "staged"

    async def settle(
        self,
        *,
        consumer: str,
        blocks: Sequence[PendingBlock],
        name: str,
        chunks: Sequence[Chunk],
        numbers: UsedNumbers | None = None,
    ) -> Settled | Missing | Literal["stale", "full", "renumbered"]:
        """Take these blocks off the stream and have the list `name` applied, if this consumer holds all of them.

        `chunks` are all that were staged under this name. `Missing`: others hold or have counted some; after a failure
        it may have been this very call. The list is gone then, if it is not settled. `stale`: it has expired, or lacks
        chunks; stage again under a new name. `full`: so much waits to be applied that no more is taken; apply some,
        then call again. `renumbered`: the types have other numbers than `numbers` tells, or some have got theirs since;
        the list is gone. Raises StoreUnavailable (it may have happened all the same) or GroupMissing (it has not).
        """
        at = self._keys
        arguments = {
            "group": GROUP,
            "consumer": consumer,
            "ids": [block.id for block in blocks],
            "sizes": [block.backlog_bytes for block in blocks],
            "appended_ms": min(block.appended_or_id_ms for block in blocks),
            "chunks": len(chunks),
            "delta_bytes": sum(chunk.bytes for chunk in chunks),
            "max_delta_bytes": MAX_DELTA_BYTES,
            "expires_ms": STAGED_SECONDS * 1000,
        }
        if numbers is not None:
            used = numbers.by_type
            arguments |= {"numbered": numbers.numbered, "types": list(used), "numbers": list(map(str, used.values()))}
        word, *rest = await _settle.run(
            self._redis,
            (at.stream, at.deltas, at.delta(name), at.backlog, at.totals, at.types_numbers, at.types_numbered),
            arguments,
            layout=self._layout.whole,
        )
        raise_wrong_type(word, rest)
        if word == b"missing":
            return Missing(ids=frozenset(id_.decode() for id_ in rest))
        if word == b"settled":
            return Settled(number=rest[0])
        other: Literal["stale", "full", "renumbered"] = word.decode()
        return other

    async def next_chunk(self) -> NextChunk | None:
        """Return the chunk that is to be applied next; None if all are. Raises StoreUnavailable."""
        at = self._keys
        while True:
            with errors_translated():
                head = await self._redis.lindex(at.deltas, 0)
            if head is None:
                return None
            key = _list_of(head, at.deltas)
            reply = await _next_chunk.run(self._redis, (at.deltas, key), {"most": APPLIED_TOGETHER})
            if reply:
                return NextChunk(key, reply[0], reply[1], tuple(reply[2:]))

    async def apply(self, chunk: NextChunk) -> ApplyResult:
        """Add a chunk to the hashes, if it is still the next one. Raises StoreUnavailable.

        Also raises it, with key and types, if one of the keys has another type than it should: nothing was written
        then, and the chunk waits until that is mended.
        """
        (result,) = await self._apply([chunk])
        return result

    async def apply_together(self, chunk: NextChunk) -> list[ApplyResult]:
        """Apply a chunk and those behind it, in one round trip; return what became of each. Raises as `apply` does."""
        behind = enumerate(chunk.behind, chunk.number + 1)
        return await self._apply([chunk, *(NextChunk(chunk.list, number, targets) for number, targets in behind)])

    async def _apply(self, chunks: Sequence[NextChunk]) -> list[ApplyResult]:
        calls = [(*self._apply_call(chunk), ()) for chunk in chunks]
        replies = await _apply.run_each(self._redis, calls, layout=self._layout.whole)
        results = [_result(chunk, reply) for chunk, reply in zip(chunks, replies, strict=True)]
        if results[-1].next is None and results[-1].word != "moved":
            results[-1] = replace(results[-1], next=await self.next_chunk())
        return results

    def _apply_call(self, chunk: NextChunk) -> tuple[list[str], dict[str, Any]]:
        at, settings, lengths = self._keys, self._settings, self._settings.window_lengths
        keys = [at.deltas, chunk.list, at.backlog, at.totals, at.rejected, at.dead_letters, at.top, at.floors]
        keys += (at.types_numbers, at.accepted)
        keys += (at.windows(length.seconds) for length in lengths)
        hashes = hashes_of(chunk.targets, at, lengths)
        return keys + (hashes or []), {
            "number": chunk.number,
            "unreadable": hashes is None,
            "levels": levels_of(lengths),
            "tables": {
                TYPES: {"most": settings.max_types, "most_in_window": settings.max_types},
                WORDS: {"most": settings.max_words, "most_in_window": settings.max_window_words},
                WORDS_OF_A_TYPE: {"most": settings.max_type_words, "most_in_window": settings.max_type_words},
                **{table: {"most": settings.max_sources} for table in SOURCE_TABLES},
            },
            "other": OTHER,
            "ranked": WORDS,
            "largest": SOURCE_NEWEST,
            "max_top": TOP_WORDS,
            "max_samples": settings.max_rejected_samples,
            "max_accepted": settings.accepted_samples,
            "accepted_seconds": ACCEPTED_SECONDS,
            "upcoming": APPLIED_TOGETHER,
        }

    async def progress(self) -> Progress:
        """Return how many chunks were settled and applied. Raises StoreUnavailable."""
        with errors_translated():
            settled, applied = await self._redis.hmget(self._keys.backlog, ["settled", "applied"])
        return Progress(int(settled or 0), int(applied or 0))


def _result(chunk: NextChunk, reply: Sequence[Any]) -> ApplyResult:
    """Return what apply.lua tells of a chunk, with those behind it in its batch."""
    word, *rest = reply
    raise_wrong_type(word, rest)
    if word == b"moved":
        return ApplyResult("moved")
    upcoming, floors, overdue = rest
    following = NextChunk(chunk.list, chunk.number + 1, upcoming[0], tuple(upcoming[1:])) if upcoming else None
    return ApplyResult(word.decode(), following, floors_of(floors), bool(overdue))


def _list_of(head: bytes, key: str) -> str:
    """Return the key of the chunks of a settled batch."""
    try:
        return str(json.loads(head)["list"])
    except (ValueError, TypeError, KeyError):
        raise StoreUnavailable(f"the first of {key} is none that an aggregator has put there: {head[:100]!r}") from None
