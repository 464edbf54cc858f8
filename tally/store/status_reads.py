"""How the pipeline is: totals, what waits, aggregators and sources, rejected lines. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from tally.keys import OTHER, Keys, Kind, all_time_key
from tally.layout import FORMAT_FIELDS, Layout
from tally.rejections import REASON_FIELDS, rejected_by_reason
from tally.settings import Settings
from tally.store.apart import ApartReader
from tally.store.blocks import Consumer
from tally.store.client import GroupMissing, errors_translated, execute
from tally.store.counting import COUNTING_FIELDS, Counting
from tally.store.held import LEASE_FIELD, held_of, seconds_of
from tally.store.import_progress import progress_of
from tally.store.layouts import stored_layout
from tally.store.lua import ReadingScript
from tally.store.pipeline import PipelineStore
from tally.store.samples import AcceptedSample, RejectedSample, accepted_samples, rejected_samples
from tally.store.shard import ShardStore
from tally.store.source_counts import SourceCount, source_counts
from tally.store.status import (
    SHOWN_SOURCES,
    Backlog,
    IdempotencyKeys,
    Names,
    SourceState,
    Status,
    WordsByTypeState,
)
from tally.store.window_reads import WindowReader
from tally.vectors import unpacked

_distinct = ReadingScript("distinct")

#: The fields of the hash of totals, but for those of `rejections`.
TOTALS = ("events", "words", "rejected", "padded", "lost", "lines", "bytes", "blocks")

_ALL_TOTALS = (*TOTALS, *REASON_FIELDS)

_FORMAT_FIELDS = [name.encode() for name in FORMAT_FIELDS]


def words_by_type_state(counting: Counting, shards: Sequence[set[bytes]]) -> WordsByTypeState | None:
    """Return of which types words are counted apart; these are those of each shard."""
    which = counting.words_by_type
    if which is not None and not which.most:
        return None
    names = None if which is None or which.names is None else sorted(which.names)
    return WordsByTypeState(len(set().union(*shards)), None if which is None else which.most, names)


class StatusReader(ShardStore):
    """Reads the state of one shard's pipeline. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis, *, keys: Keys, settings: Settings) -> None:
        super().__init__(redis, keys=keys, settings=settings)
        self._here = Layout.of(settings)
        self._pipeline = PipelineStore(redis, keys=keys, settings=settings)
        self._windows = WindowReader(redis, keys=keys, settings=settings)
        self._apart = ApartReader(redis, keys=keys)

    async def totals(self) -> dict[str, int]:
        """Return every total, 0 where nothing was counted yet.

        Raises LayoutRefused for a format that this program does not know. Call it before counts are read.
        """
        totals, _ = await self.version()
        return totals

    async def version(self) -> tuple[dict[str, int], object]:
        """Return every total, and how many chunks were ever applied, and how often names were moved to `__other__`.

        One of them differs whenever any count does. Totals alone do not, for they come last of a batch. Raises
        LayoutRefused as `totals` does.
        """
        return await self._totals(TOTALS)

    async def _totals(self, fields: Sequence[str]) -> tuple[dict[str, int], tuple[int, int]]:
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hmget(self._keys.backlog, ["applied", "moved"])
            pipeline.hmget(self._keys.totals, list(fields))
            pipeline.hmget(self._keys.layout, list(FORMAT_FIELDS))
            (applied, moved), values, stored = await execute(pipeline)
        stored_layout(_FORMAT_FIELDS, stored).check_spread(self._here)
        totals = {field: int(value or 0) for field, value in zip(fields, values, strict=True)}
        return totals, (int(applied or 0), int(moved or 0))

    async def rejected_by_reason(self) -> dict[str, int]:
        """Return how many lines were rejected for each reason. Raises LayoutRefused as `totals` does."""
        totals, _ = await self._totals(_ALL_TOTALS)
        return rejected_by_reason(totals)

    async def distinct(self, kind: Kind) -> tuple[int, int, int]:
        """Return how many names there are of all time besides `__other__`, the count under that, and `moves`."""
        keys = (all_time_key(self._keys, kind), self._keys.backlog)
        names, other, moves = await _distinct.run(self._redis, keys, {"other": OTHER})
        return names, int(other), moves

    async def moves(self) -> object:
        """Return what differs whenever names were moved to `__other__`: until then there are ever more."""
        with errors_translated():
            return int(await self._redis.hget(self._keys.backlog, "moved") or 0)

    async def names(self, kind: Kind) -> Names:
        """Return how many names there are of all time."""
        names, other, _ = await self.distinct(kind)
        return Names(names, names, other)

    async def status(self) -> Status:
        """Return totals, backlog, aggregators and sources."""
        all_totals, _ = await self._totals(_ALL_TOTALS)
        totals = {field: all_totals[field] for field in TOTALS}
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xlen(self._keys.dead_letters)
            pipeline.hlen(self._keys.sources)
            dead_letters, sources_total = await execute(pipeline)
        types, words = await self.names("types"), await self.names("words")
        return Status(
            namespace=self._keys.namespace,
            totals=totals,
            rejected_by_reason=rejected_by_reason(all_totals),
            backlog=await self.backlog(totals),
            idempotency_keys=await self.idempotency_keys(),
            dead_letters=dead_letters,
            distinct_types=types.distinct,
            distinct_words=words.distinct,
            other_types=types.other,
            other_words=words.other,
            aggregators=await self._pipeline.consumers(),
            sources=await self._sources(),
            sources_total=sources_total,
            kept=await self._windows.kept(),
            words_by_type=words_by_type_state(await self.counting(), [await self.types_apart()]),
            unfinished_import=next(iter((await progress_of(self._redis, self._keys.imports)).lines), None),
        )

    async def counting(self) -> Counting:
        """Return how lines are counted, whatever is set here; where nothing was counted yet, as is set."""
        with errors_translated():
            values = await self._redis.hmget(self._keys.layout, list(COUNTING_FIELDS))
        return Counting.of(stored_layout([name.encode() for name in COUNTING_FIELDS], values), self._settings)

    async def types_apart(self) -> set[bytes]:
        """Return the types that have words of their own."""
        return set(await self._apart.tables())

    async def _sources(self) -> list[SourceState]:
        """Return the sources that were last appended to, or opened; then some of which that is not known."""
        with errors_translated():
            seen = await self._redis.zrange(self._keys.sources_seen, 0, SHOWN_SOURCES - 1, desc=True, withscores=True)
            names = [name for name, _ in seen]
            positions = (
                dict(zip(names, await self._redis.hmget(self._keys.sources, names), strict=True)) if names else {}
            )
            if len(seen) < SHOWN_SOURCES:
                _, some = await self._redis.hscan(self._keys.sources, count=SHOWN_SOURCES)
                positions |= {name: position for name, position in some.items() if name not in positions}
            # One that was imported is as far as it was read before, though no lane of now is.
            names = list(positions)
            before = await self._redis.hmget(self._keys.sources_before, names) if names else []
        was_at = {
            name: max(each.furthest for each in unpacked(vectors))
            for name, vectors in zip(names, before, strict=True)
            if vectors is not None
        }
        times = dict(seen)
        states = [
            SourceState(
                name.decode(), max(int(position), was_at.get(name, 0)), times[name] / 1000 if name in times else None
            )
            for name, position in positions.items()
            if position is not None  # forgotten just now
        ]
        return states[:SHOWN_SOURCES]

    async def source_counts(self) -> list[SourceCount]:
        """Return what was counted of each source, in no order."""
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xlen(self._keys.stream)
            pipeline.hget(self._keys.backlog, "settled_blocks")
            pipeline.time()
            waiting_blocks, settled_blocks, (seconds, microseconds) = await execute(pipeline)
        oldest = await self._pipeline.oldest() if waiting_blocks + int(settled_blocks or 0) else None
        return await source_counts(
            self._redis,
            keys=self._keys,
            waiting_seconds=None if oldest is None else oldest.waited_seconds,
            now=seconds + microseconds / 1e6,
        )

    async def source_names(self, *, most: int) -> set[bytes]:
        """Return the names of so many sources at the most, about."""
        names: set[bytes] = set()
        cursor = 0
        while True:
            with errors_translated():
                cursor, some = await self._redis.hscan(self._keys.sources, cursor, count=1000)
            names.update(some)
            if not cursor or len(names) >= most:
                return names

    async def backlog(self, totals: dict[str, int]) -> Backlog:
        """Return what waits to be counted."""
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            # A block that is settled in between is in both, but never in neither.
            pipeline.xlen(self._keys.stream)
            pipeline.memory_usage(self._keys.stream, samples=1)
            pipeline.hmget(
                self._keys.backlog,
                ["bytes", "settled_blocks", "settled_bytes"],
                *("full_blocks", "full_bytes", "bulk_full_blocks", "bulk_full_bytes", LEASE_FIELD),
            )
            pipeline.time()
            waiting_blocks, size_bytes, (*stored, lease), time = await execute(pipeline)
        held = held_of(lease, now=seconds_of(time))
        waiting_bytes, settled_blocks, settled_bytes = (int(value or 0) for value in stored[:3])
        blocks, bytes_ = waiting_blocks + settled_blocks, waiting_bytes + settled_bytes
        oldest = await self._pipeline.oldest() if blocks else None
        appended_at = await self._appended_at()
        if oldest is None:
            return Backlog(
                blocks=0,
                settled_blocks=0,
                bytes=0,
                lines=0,
                oldest_seconds=None,
                full=False,
                bulk_full=False,
                appended_at=appended_at,
                held=held,
            )
        line_bytes = (totals["bytes"] / totals["lines"]) if totals["lines"] else 100.0

        def is_full(most_blocks: bytes | None, most_bytes: bytes | None) -> bool:
            return most_blocks is not None and (blocks >= int(most_blocks) or bytes_ >= int(most_bytes or 0))

        full = is_full(*stored[3:5])
        return Backlog(
            blocks=blocks,
            settled_blocks=settled_blocks,
            bytes=bytes_,
            lines=max(blocks, round(((size_bytes or 0) + settled_bytes) / max(1.0, line_bytes))),
            oldest_seconds=oldest.waited_seconds,
            full=full,
            bulk_full=full or is_full(*stored[5:]),
            appended_at=appended_at,
            held=held,
        )

    async def _appended_at(self) -> float | None:
        """Return when the newest block was appended: a stream knows its last ID when its entries are gone."""
        try:
            with errors_translated():
                stream = await self._redis.xinfo_stream(self._keys.stream)
        except GroupMissing:
            return None  # there is no stream yet
        appended_ms = int(stream["last-generated-id"].partition(b"-")[0])
        return appended_ms / 1000 or None

    async def idempotency_keys(self) -> IdempotencyKeys:
        """Return how many idempotency keys are known, and since when."""
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            for key in (self._keys.once_old, self._keys.once_new):
                pipeline.hlen(key)
                pipeline.hget(key, "")
            old, old_since, new, new_since = await execute(pipeline)
        since_ms = [int(since) for since in (old_since, new_since) if since is not None]
        return IdempotencyKeys(known=old + new - len(since_ms), since_at=min(since_ms) / 1000 if since_ms else None)

    async def dead_letters(self) -> int:
        """Return how many blocks ended every aggregator that tried them, and how many chunks cannot be read."""
        with errors_translated():
            return int(await self._redis.xlen(self._keys.dead_letters))

    async def aggregators(self) -> list[Consumer]:
        """Return the members of the consumer group."""
        return await self._pipeline.consumers()

    async def accepted(self, limit: int) -> list[AcceptedSample]:
        """Return the newest samples of accepted lines, newest first."""
        return await accepted_samples(self._redis, keys=self._keys, limit=limit)

    async def rejected(self, limit: int) -> list[RejectedSample]:
        """Return the newest samples of rejected lines, newest first."""
        return await rejected_samples(self._redis, keys=self._keys, limit=limit)

    async def rejected_kept(self) -> int:
        """Return how many samples of rejected lines are kept."""
        with errors_translated():
            return int(await self._redis.xlen(self._keys.rejected))
