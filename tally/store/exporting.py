"""Everything of a namespace, read to be exported: slice by slice, while nothing is appended, folded or dropped.

What is read is whole only if the lease was held all along, and `Exported.check` finds in the end what was there in the
beginning: whoever writes to Redis past our scripts is noticed by that, as far as it can be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Literal
from uuid import uuid4

from tally import __version__, vectors
from tally.export_records import (
    WORDS_OF_TYPE,
    Counts,
    DeadLetter,
    Floors,
    Header,
    Lane,
    Once,
    Record,
    Sample,
    Source,
    Top,
    Totals,
    Types,
    Vector,
)
from tally.exports import FORMAT, NAMES_IN_LINE, in_lines
from tally.keys import SOURCE_NEWEST, SOURCE_TABLES, TYPES, WORDS, Table, words_of
from tally.layout import Layout
from tally.runtime import Failure
from tally.settings import Settings
from tally.store.client import errors_translated, execute
from tally.store.export_reads import counts_of, each_hash, entries
from tally.store.import_progress import check_no_import
from tally.store.layouts import LayoutStore, lengths_before
from tally.store.samples import SAMPLES_AT_ONCE, moment_ms
from tally.store.shards import Shard, Shards
from tally.store.source_vectors import exported_sources
from tally.store.sums import PIPELINE_READS
from tally.store.tables import numbered_in
from tally.words_by_type import Numbered

#: How long a hash of idempotency keys is kept whose end is not known: as long as one that is made now by default.
_UNKNOWN_MS = 2 * 86_400_000


class Exported:
    """What there is in a namespace, as records. All of it raises StoreUnavailable, and Failure as each method says."""

    def __init__(self, shards: Shards, *, settings: Settings) -> None:
        self._shards = shards
        self._settings = settings
        self._layout = Layout({})
        self._marks: list[Any] = []

    async def look(self) -> None:
        """Find the layout that counts were made with, whatever is set here. To be called first.

        Raises Failure where nothing is stored or an import is unfinished, and LayoutRefused for an unknown format, and
        for other shards.
        """
        home, settings = self._shards.home, self._settings
        self._layout = await LayoutStore(home.redis, keys=home.keys, settings=settings).read()
        self._layout.check_spread(Layout.of(settings))
        if not self._layout.fields:
            raise Failure(f"there is nothing to export: nothing was ever counted in namespace {settings.namespace}")
        await check_no_import(self._shards)
        for shard in self._shards:
            if await self._is_between_layouts(shard):
                raise Failure(
                    "another layout was accepted, and what was counted is not yet moved to its windows: run "
                    "`tally layout --accept` again, and export then"
                )

    async def _is_between_layouts(self, shard: Shard) -> bool:
        """Return whether some counts are in windows that no answer has, until a layout is accepted to the end."""
        stored = await LayoutStore(shard.redis, keys=shard.keys, settings=self._settings).read()
        if stored.whole and stored.digest != self._layout.digest:
            return True
        folding = [shard.keys.folding(seconds) for seconds in await lengths_before(shard.redis, shard.keys)]
        with errors_translated():
            return bool(folding and await shard.redis.exists(*folding))

    async def begin(self) -> Header:
        """Return what the export begins with."""
        await self.look()
        home, settings = self._shards.home, self._settings
        redis: Any = home.redis  # its annotations leave open whether replies are text; ours are bytes
        self._marks = [await _mark(shard) for shard in self._shards]
        with errors_translated():
            seconds, _ = await redis.time()
            history = await redis.lrange(home.keys.layout_history, 0, -1)
        return Header(
            format=FORMAT,
            id=uuid4().hex,
            tally=__version__,
            namespace=settings.namespace,
            exported_at=seconds,
            shards=len(self._shards),
            stripe_bytes=settings.stripe_bytes if len(self._shards) > 1 else None,
            layout=dict(self._layout.fields),
            layout_history=[each.decode("utf-8", "replace") for each in history],
        )

    async def records(self) -> AsyncIterator[Record]:
        """Yield all that comes behind the header, in the order of the format.

        Raises Failure if something is there that is not ours.
        """
        async for source in exported_sources(self._shards, self._settings):
            yield Source(source.name, source.seen_ms, tuple(map(_vector, source.vectors)))
        for shard in self._shards:
            async for once in _idempotency_keys(shard):
                yield once
        numbers = [await _types(shard) for shard in self._shards]
        for shard, types in zip(self._shards, numbers, strict=True):
            if types:
                yield Types(shard.index, {name: since for name, (_, since) in sorted(types.items())})
        for shard, types in zip(self._shards, numbers, strict=True):
            tables: dict[Table, str | None] = {TYPES: None, WORDS: None}
            tables |= {words_of(number): name for name, (number, _) in sorted(types.items())}
            async for counts in self._counts(shard, tables):
                yield counts
            for some in await _top_and_floors(shard):
                yield some
            async for sample in _samples(shard):
                yield sample
            async for letter in _dead_letters(shard):
                yield letter
        for shard in self._shards:
            async for key, slices in each_hash(shard.redis, [shard.keys.totals]):
                yield Totals(shard.index, dict(await counts_of(key, slices)))

    async def check(self) -> None:
        """Raise Failure if anything was counted, or the layout changed, since `begin`."""
        for shard, mark in zip(self._shards, self._marks, strict=True):
            if await _mark(shard) != mark:
                raise Failure("something was written while it was read, past the lease; run it again")

    async def _counts(self, shard: Shard, tables: Mapping[Table, str | None]) -> AsyncIterator[Counts]:
        """Yield the counts of a shard: the newest windows of the shortest length first, all time last."""
        keys = shard.keys
        for length in self._layout.window_lengths or ():
            with errors_translated():
                starts: Any = await shard.redis.zrange(keys.windows(length.seconds), 0, -1, desc=True)
            places = [(length.seconds, int(start)) for start in starts]
            at_once = max(1, PIPELINE_READS // len(tables))
            for first in range(0, len(places), at_once):
                async for counts in _of_places(shard, places[first : first + at_once], tables):
                    yield counts
        async for counts in _of_places(shard, [(0, 0)], {**tables, **dict.fromkeys(SOURCE_TABLES)}):
            yield counts


def _vector(stored: vectors.Vector) -> Vector:
    lanes = tuple(Lane(lane.position, lane.last) for lane in stored.lanes)
    return Vector(stored.shards, stored.stripe_bytes, lanes)


async def _of_places(
    shard: Shard, places: Iterable[tuple[int, int]], tables: Mapping[Table, str | None]
) -> AsyncIterator[Counts]:
    """Yield the counts of all of these tables of some windows, given as (length, start), or of all time, (0, 0)."""
    keys = shard.keys
    hashes = {
        keys.window(table, length, start) if length else keys.table(table): (length, start, table)
        for length, start in places
        for table in tables
    }
    async for key, slices in each_hash(shard.redis, list(hashes)):
        length, start, table = hashes[key]
        of_type = tables[table]
        for some in in_lines(await counts_of(key, slices, newest=table == SOURCE_NEWEST)):
            yield Counts(shard.index, WORDS_OF_TYPE if of_type is not None else table, length, start, some, of_type)


async def _mark(shard: Shard) -> Any:
    """Return what differs whenever something was counted, appended, folded, dropped or accepted.

    What an ingestor may do meanwhile is no part of it: to note that it is about to read a source.
    """
    keys = shard.keys
    with errors_translated():
        pipeline = shard.redis.pipeline(transaction=False)
        pipeline.hmget(keys.backlog, "applied", "blocks", "bytes", "settled_blocks")
        pipeline.hget(keys.folds, "number")
        pipeline.hmget(keys.layout, "format", "digest")  # how many windows are kept may change at any time
        pipeline.hgetall(keys.totals)
        pipeline.hgetall(keys.types_numbers)
        pipeline.zrange(keys.floors, 0, -1, withscores=True)
        for stream in (keys.stream, keys.dead_letters, keys.rejected, keys.accepted):
            pipeline.xlen(stream)
        return await execute(pipeline)


async def _types(shard: Shard) -> dict[str, Numbered]:
    """Return the number of each type that has words of its own, and since when."""
    with errors_translated():
        found: Any = await shard.redis.hgetall(shard.keys.types_numbers)
    return {name.decode("utf-8", "replace"): numbered_in(text, shard.keys) for name, text in found.items()}


async def _idempotency_keys(shard: Shard) -> AsyncIterator[Once]:
    keys = shard.keys
    hashes: tuple[tuple[str, bool, Literal["new", "old"]], ...] = (
        (keys.once_old, False, "old"),
        (keys.once_new, False, "new"),
        (keys.once_own_old, True, "old"),
        (keys.once_own_new, True, "new"),
    )
    for key, own, age in hashes:
        async for _, slices in each_hash(shard.redis, [key]):
            fields = {name: digest async for some in slices for name, digest in some.items()}
            with errors_translated():
                expires_ms = await shard.redis.pexpiretime(key)
            since_ms = int(fields.pop(b"", b"0"))
            if expires_ms < 0:
                expires_ms = since_ms + _UNKNOWN_MS
            names = sorted(fields)
            for first in range(0, len(names), NAMES_IN_LINE):
                some = {name: fields[name] for name in names[first : first + NAMES_IN_LINE]}
                yield Once(shard.index, own, age, since_ms, expires_ms, some)


async def _top_and_floors(shard: Shard) -> list[Record]:
    with errors_translated():
        pipeline = shard.redis.pipeline(transaction=False)
        pipeline.zrange(shard.keys.top, 0, -1, desc=True, withscores=True)
        pipeline.zrange(shard.keys.floors, 0, -1, withscores=True)
        top, floors = await execute(pipeline)
    found: list[Record] = []
    if top:
        found.append(Top(shard.index, {name.decode("utf-8", "replace"): int(count) for name, count in top}))
    if floors:
        found.append(Floors(shard.index, {int(seconds): int(start) for seconds, start in floors}))
    return found


async def _samples(shard: Shard) -> AsyncIterator[Sample]:
    streams: tuple[tuple[str, Literal["rejected", "accepted"], bytes], ...] = (
        (shard.keys.rejected, "rejected", b"rejected_ms"),
        (shard.keys.accepted, "accepted", b"accepted_ms"),
    )
    for key, kind, at in streams:
        async for id_, fields in entries(shard.redis, key, SAMPLES_AT_ONCE):
            reason, source = (fields.get(name, b"").decode("utf-8", "replace") for name in (b"reason", b"source"))
            yield Sample(shard.index, kind, moment_ms(id_, fields, at), fields.get(b"line", b""), reason, source)


async def _dead_letters(shard: Shard) -> AsyncIterator[DeadLetter]:
    # One after the other: each may be a block of one line of 64 MiB.
    async for id_, fields in entries(shard.redis, shard.keys.dead_letters, 1):
        yield DeadLetter(shard.index, id_, {name.decode("utf-8", "replace"): value for name, value in fields.items()})
