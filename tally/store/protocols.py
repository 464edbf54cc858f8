"""What each user of the stores asks of them, and no more: a test fakes that with a plain class, and mypy compares both.

They stand here, beside the stores, and not where they are used: sources, lanes, folders and the HTTP source share
them. What each method does, returns and raises is said once, in the stores.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from tally.deltas import Chunk
from tally.store.aggregator import DeadLetterWord, RemovalWord
from tally.store.blocks import (
    Append,
    Block,
    Consumer,
    Entry,
    Missing,
    Oldest,
    PendingBlock,
    Settled,
)
from tally.store.deltas import ApplyResult, NextChunk, Progress, UsedNumbers
from tally.store.held import Held
from tally.store.idempotent import Body, OnceWord
from tally.store.known import Known
from tally.store.windows import FoldWord, Overdue
from tally.words_by_type import Numbers


class SourceStore(Protocol):
    """What is stored of sources; of IngestorStore."""

    async def known(self, *, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> dict[str, Known]: ...

    async def register_sources(self, names: Sequence[str]) -> int: ...

    async def renew_sources(self, names: Sequence[str]) -> None: ...

    async def forget_sources(self, names: Sequence[str], *, unseen_since_ms: int | None = None) -> object: ...


class DurabilityStore(Protocol):
    """Whether what was appended is on the server's disk; of IngestorStore."""

    async def wait_until_durable(self, source: str, *, timeout_seconds: float) -> bool: ...


class LaneStore(DurabilityStore, Protocol):
    """What a lane into the stream asks; of IngestorStore."""

    async def append(self, *, source: str, blocks: Sequence[Block], bulk: bool = False) -> list[Append]: ...

    async def has_room(self, *, bulk: bool = False) -> bool: ...

    async def held(self) -> Held | None: ...

    async def reconcile_backlog(self) -> int: ...

    async def position(self, source: str) -> int: ...


class AppenderStore(SourceStore, Protocol):
    """What appends a source asks; of IngestorStore, or IngestorStores."""

    @property
    def shards(self) -> Sequence[LaneStore]: ...


class BodyStore(Protocol):
    """What the HTTP source asks to append bodies; of IngestorStore."""

    async def append_once(self, *, source: str, bodies: Sequence[Body]) -> list[OnceWord]: ...


class ShardAppends(AppenderStore, LaneStore, BodyStore, Protocol):
    """What sources of all kinds ask of one shard; of IngestorStore."""


class ContextStore(AppenderStore, Protocol):
    """What sources of all kinds ask; of IngestorStore, or IngestorStores."""

    @property
    def shards(self) -> Sequence[ShardAppends]: ...


class BatchStore(Protocol):
    """What reads batches asks; of AggregatorStore."""

    async def read(self, *, consumer: str, count: int, block_ms: int | None) -> list[Entry]: ...

    async def renew_pending(self, *, consumer: str, ids: Sequence[str]) -> frozenset[str]: ...


class StagingStore(Protocol):
    """What settles batches asks; of AggregatorStore."""

    async def number_types(self, types: Collection[str]) -> Numbers: ...

    async def renew_pending(self, *, consumer: str, ids: Sequence[str]) -> frozenset[str]: ...

    async def stage(self, *, name: str, first: int, chunks: Sequence[Chunk]) -> Literal["staged", "stale", "full"]: ...

    async def settle(
        self,
        *,
        consumer: str,
        blocks: Sequence[PendingBlock],
        name: str,
        chunks: Sequence[Chunk],
        numbers: UsedNumbers | None,
    ) -> Settled | Missing | Literal["stale", "full", "renumbered"]: ...


class ApplyingStore(Protocol):
    """What applies chunks asks; of AggregatorStore."""

    async def next_chunk(self) -> NextChunk | None: ...

    async def apply_together(self, chunk: NextChunk) -> list[ApplyResult]: ...

    async def progress(self) -> Progress: ...


class FoldingStore(Protocol):
    """What folds and drops windows asks; of WindowStore."""

    async def overdue(self) -> Overdue: ...

    async def fold(self, *, level: int, start: int, cursor: str) -> tuple[FoldWord, str, int]: ...

    @property
    def windows_at_once(self) -> int: ...

    async def drop(self, *, level: int, starts: Sequence[int]) -> int | None: ...

    async def delete_retired(self, number: int) -> None: ...


class PendingStore(Protocol):
    """What claims and retries blocks asks; of AggregatorStore."""

    async def pending(self, *, consumer: str, count: int) -> list[tuple[str, int]]: ...

    async def retry(self, *, consumer: str, entry_id: str, deliveries: int) -> Entry | None: ...

    async def dead_letter(self, *, consumer: str, entry_id: str) -> DeadLetterWord: ...

    async def claim(self, *, consumer: str, cursor: str, count: int) -> tuple[str, int]: ...

    async def consumers(self) -> list[Consumer]: ...

    async def remove_consumer(self, *, consumer: str, idle_seconds: float = 0) -> RemovalWord: ...


class DrainStore(Protocol):
    """What a drain asks; of AggregatorStore."""

    async def last_entry_id(self) -> str: ...

    async def oldest(self) -> Oldest | None: ...

    async def progress(self) -> Progress: ...

    async def consumers(self) -> list[Consumer]: ...


class UpkeepStore(Protocol):
    """What upkeep asks; of AggregatorStore."""

    async def ensure_layout(self) -> None: ...

    async def reconcile_backlog(self) -> int: ...


class WorkerStore(BatchStore, StagingStore, ApplyingStore, PendingStore, DrainStore, UpkeepStore, Protocol):
    """What an aggregator's worker asks, with its parts; of AggregatorStore."""

    async def create_group(self) -> bool: ...


class Readiness(Protocol):
    """What a readiness check asks; of PipelineStore."""

    async def check_format(self) -> None: ...

    async def check_writable(self) -> None: ...
