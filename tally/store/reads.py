"""What was counted, and how the pipeline is. Reads only, in slices that never hold Redis up for long."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from tally.keys import Keys
from tally.store.blocks import BlockStore, Consumer
from tally.store.client import errors_translated

#: How many fields of a hash are asked for at once: about a millisecond of Redis' time.
SCAN_FIELDS = 2000

#: The fields of the hash of totals.
TOTALS = ("events", "words", "rejected", "lost", "lines", "bytes", "blocks")


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source: its position in bytes, and when it was last appended to, in Unix seconds (None: not known)."""

    name: str
    position: int
    seen_seconds: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the pipeline at one moment."""

    totals: dict[str, int]
    backlog_blocks: int
    oldest_uncounted_seconds: float | None
    dead_blocks: int
    consumers: list[Consumer]
    sources: list[SourceState]


class CountReader:
    """Reads the counts of one shard. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis, *, keys: Keys, blocks: BlockStore) -> None:
        self._redis: Any = redis  # its annotations leave open whether replies are text; ours are bytes
        self._keys = keys
        self._blocks = blocks

    async def totals(self) -> dict[str, int]:
        """Every total, 0 where nothing was counted yet."""
        with errors_translated():
            values = await self._redis.hmget(self._keys.totals, list(TOTALS))
        return {field: int(value or 0) for field, value in zip(TOTALS, values, strict=True)}

    async def types(self) -> dict[str, int]:
        """Event type -> count of all time, the most frequent first."""
        return await self._ranked(self._keys.types)

    async def words(self) -> dict[str, int]:
        """Word -> count of all time, the most frequent first."""
        return await self._ranked(self._keys.words)

    async def _ranked(self, key: str) -> dict[str, int]:
        counts: dict[bytes, bytes] = {}
        cursor = 0
        with errors_translated():
            while True:
                cursor, slice_ = await self._redis.hscan(key, cursor, count=SCAN_FIELDS)
                counts.update(slice_)  # a field may come twice while the hash grows
                if cursor == 0:
                    break
        ranked = sorted(
            ((name.decode(), int(count)) for name, count in counts.items()),
            key=lambda each: (-each[1], each[0]),
        )
        return dict(ranked)

    async def status(self) -> Status:
        """Totals, backlog, consumers, sources."""
        totals = await self.totals()
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xlen(self._keys.stream)
            pipeline.xlen(self._keys.dead)
            pipeline.hgetall(self._keys.sources)
            pipeline.zrange(self._keys.sources_seen, 0, -1, withscores=True)
            backlog, dead, positions, seen = await pipeline.execute()
        oldest = await self._blocks.oldest_entry_id()
        seen_ms = dict(seen)
        return Status(
            totals=totals,
            backlog_blocks=backlog,
            oldest_uncounted_seconds=max(0.0, time.time() - int(oldest.partition("-")[0]) / 1000) if oldest else None,
            dead_blocks=dead,
            consumers=await self._blocks.consumers(),
            sources=[
                SourceState(name.decode(), int(position), seen_ms[name] / 1000 if name in seen_ms else None)
                for name, position in sorted(positions.items())
            ],
        )
