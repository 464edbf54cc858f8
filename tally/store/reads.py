"""What was counted, and how the pipeline is. Reads only, in slices that never hold Redis up for long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from tally.keys import OTHER, TOP_WORDS, Keys, Kind
from tally.layout import check_format
from tally.ranges import TimeRange, Window, Windows
from tally.settings import Settings
from tally.store.blocks import Consumer
from tally.store.client import errors_translated, execute
from tally.store.layouts import stored_layout
from tally.store.lua import ReadingScript
from tally.store.moved import WindowsMoved, again_while_moved
from tally.store.pipeline import PipelineStore
from tally.store.shard import ShardStore
from tally.store.status import SHOWN_SOURCES, Backlog, IdempotencyKeys, RejectedSample, SourceState, Status
from tally.store.sums import PIPELINE_READS, Gauge, Ungauged, add_up, sizes
from tally.store.windows import WindowStore
from tally.windows import WindowLength
from tally.words import normalized

_distinct = ReadingScript("distinct")

#: How many counts are read in one pipeline.
PIPELINE_COUNTS = 20_000

#: The fields of the hash of totals.
TOTALS = ("events", "words", "rejected", "padded", "lost", "lines", "bytes", "blocks")


@dataclass(frozen=True, slots=True)
class Counting:
    """What of the layout matters to answers: the lengths of windows, the shortest first, and the form of words."""

    lengths: tuple[WindowLength, ...]
    normalize_words: bool

    @property
    def unit_seconds(self) -> int:
        """The length of the shortest windows."""
        return self.lengths[0].seconds

    def name(self, kind: Kind, asked: str) -> str:
        """Return a name, or a part of one, as it is counted: words in the form of the layout."""
        return normalized(asked) if kind == "words" and self.normalize_words else asked


class CountReader(ShardStore):
    """Reads the counts of one shard. Every method raises StoreUnavailable, and LayoutRefused for an unknown format."""

    def __init__(self, redis: Redis, *, keys: Keys, settings: Settings) -> None:
        super().__init__(redis, keys=keys, settings=settings)
        self._pipeline = PipelineStore(redis, keys=keys, settings=settings)
        self._windows = WindowStore(redis, keys=keys, settings=settings)

    # All time.

    async def totals(self) -> dict[str, int]:
        """Return every total, 0 where nothing was counted yet.

        Raises LayoutRefused for a format that this program does not know. Call it before counts are read.
        """
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hmget(self._keys.totals, list(TOTALS))
            pipeline.hget(self._keys.layout, "format")
            values, stored_format = await execute(pipeline)
        if stored_format is not None:
            check_format(stored_format.decode("utf-8", "replace"))
        return {field: int(value or 0) for field, value in zip(TOTALS, values, strict=True)}

    async def types(self) -> dict[str, int]:
        """Return the count of each event type over all time, the most frequent first."""
        return ranked(as_text(await self.sum_all("types")))

    async def words(self) -> dict[str, int]:
        """Return the count of each word over all time, the most frequent first."""
        return ranked(as_text(await self.sum_all("words")))

    async def sum_all(self, kind: Kind, *, gauge: Gauge | None = None) -> dict[bytes, int]:
        """Return the counts of all time: name in UTF-8 -> count. Raises what `gauge` raises, too."""
        key = self._keys.types if kind == "types" else self._keys.words
        return await add_up(self._redis, [key], gauge=gauge or Ungauged())

    async def top_words(self) -> dict[str, int]:
        """Return the most frequent words of all time (at most TOP_WORDS), without reading the others."""
        with errors_translated():
            found = await self._redis.zrange(self._keys.top, 0, TOP_WORDS - 1, desc=True, withscores=True)
        return ranked({name.decode(): int(count) for name, count in found})

    async def size(self, kind: Kind) -> int:
        """Return how many names there are of all time, `__other__` among them."""
        key = self._keys.types if kind == "types" else self._keys.words
        return (await sizes(self._redis, [key])).get(key, 0)

    async def distinct(self, kind: Kind) -> tuple[int, int]:
        """Return how many names there are of all time besides `__other__`, and the count under that."""
        key = self._keys.types if kind == "types" else self._keys.words
        names, other = await _distinct.run(self._redis, (key,), {"other": OTHER})
        return names, int(other)

    async def count_of(self, kind: Kind, name: str) -> int:
        """Return how often this name was counted over all time."""
        key = self._keys.types if kind == "types" else self._keys.words
        with errors_translated():
            return int(await self._redis.hget(key, name) or 0)

    # Time ranges.

    async def counting(self) -> Counting:
        """Return how lines are counted, whatever is set here; where nothing was counted yet, as is set."""
        with errors_translated():
            values = await self._redis.hmget(self._keys.layout, ["format", "windows", "normalize_words"])
        layout = stored_layout((b"format", b"windows", b"normalize_words"), values)
        return Counting(
            layout.window_lengths or self._settings.window_lengths,
            layout.flag("normalize_words", default=self._settings.normalize_words),
        )

    async def windows(self) -> Windows:
        """Return the windows that there are now, of the lengths that are counted, whatever is set here."""
        return await self._windows.as_stored()

    async def sum_range(
        self, kind: Kind, start: float, end: float, *, gauge: Gauge | None = None
    ) -> tuple[TimeRange, dict[bytes, int]]:
        """Return the counts of [start, end), widened as Windows.time_range says: name in UTF-8 -> count.

        Raises what `gauge` raises, too.
        """

        async def read() -> tuple[TimeRange, dict[bytes, int]]:
            found = (await self.windows()).time_range(start, end)
            keys = [self._key_of(kind, window) for window in found.windows]
            counts = await add_up(self._redis, keys, gauge=gauge or Ungauged())
            if (await self.windows()).time_range(start, end) != found:
                raise WindowsMoved
            return found, counts

        return await again_while_moved(read)

    async def counts_in(self, kind: Kind, names: Sequence[str], windows: Sequence[Window]) -> list[list[int]]:
        """Return how often each name was counted in each window: a row a window, a column a name."""
        rows: list[list[int]] = []
        with errors_translated():
            for first in range(0, len(windows), PIPELINE_READS):
                pipeline = self._redis.pipeline(transaction=False)
                for window in windows[first : first + PIPELINE_READS]:
                    pipeline.hmget(self._key_of(kind, window), list(names))
                rows += [[int(count or 0) for count in row] for row in await execute(pipeline)]
        return rows

    async def events_in(self, windows: Sequence[Window]) -> list[int]:
        """Return how many events were counted in each window."""
        keys = [self._key_of("types", window) for window in windows]
        events = dict.fromkeys(keys, 0)
        small: list[str] = []
        names = 0
        for key, size in (await sizes(self._redis, keys)).items():
            if size > PIPELINE_COUNTS:
                events[key] = sum((await add_up(self._redis, [key], gauge=Ungauged())).values())
                continue
            if small and (names + size > PIPELINE_COUNTS or len(small) == PIPELINE_READS):
                events |= await self._added_up(small)
                small, names = [], 0
            small.append(key)
            names += size
        events |= await self._added_up(small)
        return [events[key] for key in keys]

    async def _added_up(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the sum of each of these hashes, in one round trip."""
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hvals(key)
            replies = await execute(pipeline) if keys else []
        return {key: sum(map(int, counts)) for key, counts in zip(keys, replies, strict=True)}

    def _key_of(self, kind: Kind, window: Window) -> str:
        make = self._keys.window_types if kind == "types" else self._keys.window_words
        return make(window.seconds, window.start)

    # The pipeline.

    async def status(self) -> Status:
        """Return totals, backlog, aggregators and sources."""
        totals = await self.totals()
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xlen(self._keys.dead_letters)
            pipeline.hlen(self._keys.sources)
            dead_letters, sources_total = await execute(pipeline)
        return Status(
            totals=totals,
            backlog=await self.backlog(totals),
            idempotency_keys=await self.idempotency_keys(),
            dead_letters=dead_letters,
            distinct_types=(await self.distinct("types"))[0],
            distinct_words=(await self.distinct("words"))[0],
            aggregators=await self._pipeline.consumers(),
            sources=await self._sources(),
            sources_total=sources_total,
        )

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
        times = dict(seen)
        states = [
            SourceState(name.decode(), int(position), times[name] / 1000 if name in times else None)
            for name, position in positions.items()
            if position is not None  # forgotten just now
        ]
        return states[:SHOWN_SOURCES]

    async def backlog(self, totals: dict[str, int]) -> Backlog:
        """Return what waits to be counted."""
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xlen(self._keys.stream)
            pipeline.memory_usage(self._keys.stream, samples=1)
            pipeline.hmget(
                self._keys.backlog, "bytes", "full_blocks", "full_bytes", "bulk_full_blocks", "bulk_full_bytes"
            )
            blocks, size_bytes, stored = await execute(pipeline)
        oldest = await self._pipeline.oldest() if blocks else None
        if oldest is None:
            return Backlog(blocks=0, bytes=0, lines=0, oldest_seconds=None, full=False, bulk_full=False)
        line_bytes = (totals["bytes"] / totals["lines"]) if totals["lines"] else 100.0
        bytes_, *limits = (None if value is None else int(value) for value in stored)

        def is_full(full_blocks: int | None, full_bytes: int | None) -> bool:
            return full_blocks is not None and (blocks >= full_blocks or (bytes_ or 0) >= (full_bytes or 0))

        full = is_full(*limits[:2])
        return Backlog(
            blocks=blocks,
            bytes=bytes_ or 0,
            lines=max(blocks, round((size_bytes or 0) / max(1.0, line_bytes))),
            oldest_seconds=oldest.waited_seconds,
            full=full,
            bulk_full=full or is_full(*limits[2:]),
        )

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
        """Return how many blocks ended every aggregator that tried them."""
        with errors_translated():
            return int(await self._redis.xlen(self._keys.dead_letters))

    async def aggregators(self) -> list[Consumer]:
        """Return the members of the consumer group."""
        return await self._pipeline.consumers()

    async def rejected(self, limit: int) -> list[RejectedSample]:
        """Return the newest samples of rejected lines, newest first."""
        with errors_translated():
            found = await self._redis.xrevrange(self._keys.rejected, count=limit)
        return [
            RejectedSample(
                id=id_.decode(),
                rejected_at=int(fields.get(b"rejected_ms") or id_.partition(b"-")[0]) / 1000,
                line=fields.get(b"line", b"").decode("utf-8", "replace"),
                reason=fields.get(b"reason", b"").decode("utf-8", "replace"),
                source=fields.get(b"source", b"").decode("utf-8", "replace"),
            )
            for id_, fields in found
        ]


def as_text(counts: Mapping[bytes, int]) -> dict[str, int]:
    """Return the same counts under names as text; what in another client's is not UTF-8 is replaced."""
    return {name.decode("utf-8", "replace"): count for name, count in counts.items()}


def ranked(counts: dict[str, int]) -> dict[str, int]:
    """Return the same counts, the most frequent first, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
