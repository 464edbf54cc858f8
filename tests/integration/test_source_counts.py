"""Lines by source, as they are stored and read: exact, bounded, with what waits and what is forgotten."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from aggregator.decoding import Decoder
from aggregator.parts import parts_of
from tally.deltas import chunks_of
from tally.keys import SOURCE_LINES, SOURCE_NEWEST, SOURCE_REJECTED, Keys, all_time_key
from tally.settings import Settings
from tally.shards import tags
from tally.store import Block, StoreUnavailable
from tally.store.blocks import Settled
from tally.store.ingestor_stores import IngestorStores
from tally.store.reads import CountReader
from tally.store.source_counts import SourceCount, merged
from tests.stores import AllStores

GOOD, BAD = b'{"event_type":"a","data":"b"}', b"{"


class Shard:
    """One of them, to which lines are appended and in which they are counted."""

    def __init__(self, redis: Redis, settings: Settings, tag: int = 0) -> None:
        self.redis: Any = redis
        self.keys = Keys(tag)
        self.settings = settings
        self.store = AllStores(redis, keys=self.keys, settings=settings)
        self.reader = CountReader(redis, keys=self.keys, settings=settings)

    async def append(self, source: str, *lines: bytes) -> None:
        await self.store.create_group()
        known = await self.store.known(names=[source])
        at = known[source].position if source in known else 0
        block = b"\n".join(lines)
        await self.store.append(source=source, blocks=[Block(at, at + len(block) + 1, block)])

    async def count(self) -> None:
        """Count all that waits, as an aggregator does."""
        entries = await self.store.read(consumer="a", count=1000, block_ms=None)
        batch = Decoder(self.settings).begin()
        for entry in entries:
            batch.add(entry)
        counts = batch.counts()
        parts = parts_of(counts, self.settings.window_lengths)
        chunks = list(chunks_of(parts, totals=counts.totals(blocks=len(entries)), samples=counts.samples))
        name = uuid4().hex
        assert await self.store.stage(name=name, first=0, chunks=chunks) == "staged"
        blocks = [entry.pending for entry in entries]
        assert isinstance(await self.store.settle(consumer="a", blocks=blocks, name=name, chunks=chunks), Settled)
        await self.store.apply_all()

    async def counted(self) -> dict[str, SourceCount]:
        return {each.name: each for each in await self.reader.source_counts()}

    async def lines(self) -> dict[str, tuple[int, int]]:
        return {name: (each.lines, each.rejected) for name, each in (await self.counted()).items()}

    async def hash(self, table: Any) -> dict[str, int]:
        found = await self.redis.hgetall(all_time_key(self.keys, table))
        return {name.decode(): int(value) for name, value in found.items()}


@pytest.fixture
def shard(redis: Redis, settings: Settings) -> Shard:
    return Shard(redis, settings)


async def test_lines_are_counted_by_source_and_add_up_to_the_totals(shard: Shard) -> None:
    assert await shard.counted() == {}
    await shard.append("tcp://h:1#a", GOOD, BAD)
    await shard.append("tcp://h:1#b", GOOD)
    await shard.append("file:/a#1-f", GOOD, GOOD)
    await shard.count()
    await shard.append("tcp://h:1#a", BAD, BAD)
    await shard.count()
    assert await shard.lines() == {"tcp://h:1": (5, 3), "file:/a": (2, 0)}
    totals = await shard.reader.totals()
    assert (totals["lines"], totals["rejected"]) == (7, 3)


async def test_it_is_told_when_the_newest_was_appended_and_how_long_others_wait(shard: Shard) -> None:
    for source in ("tcp://h:1#a", "file:/a#1-f"):
        await shard.append(source, GOOD)
    await shard.count()
    counted = await shard.counted()
    assert all(each.newest_at == each.seen_at for each in counted.values())
    assert [each.lag_seconds for each in counted.values()] == [0.0, 0.0]

    await shard.append("file:/a#1-f", GOOD)
    waiting = await shard.counted()
    newest_at, appended_at = waiting["file:/a"].newest_at, waiting["file:/a"].seen_at
    assert newest_at is not None
    assert appended_at is not None
    assert newest_at == counted["file:/a"].newest_at
    assert appended_at > newest_at
    lag = waiting["file:/a"].lag_seconds
    assert lag is not None
    assert lag > 0
    assert waiting["tcp://h:1"].lag_seconds == 0.0, "nothing of that one waits"

    await shard.count()
    counted = await shard.counted()
    assert counted["file:/a"].newest_at == appended_at
    assert counted["file:/a"].lag_seconds == 0.0


async def test_what_is_counted_late_does_not_set_back_when_the_newest_was_appended(shard: Shard) -> None:
    await shard.append("-#a", GOOD)
    await shard.count()
    far = 10**13
    await shard.redis.hset(all_time_key(shard.keys, SOURCE_NEWEST), "-", far)
    await shard.append("-#a", GOOD)
    await shard.count()
    assert await shard.hash(SOURCE_NEWEST) == {"-": far}


async def test_what_there_is_no_room_for_is_counted_with_the_others_in_all_of_it(
    redis: Redis, settings: Settings
) -> None:
    shard = Shard(redis, settings.model_copy(update={"max_sources": 2}))
    for source in ("a#1", "b#1", "c#1", "d#1", "a#2"):
        await shard.append(source, GOOD, BAD)
        await shard.count()
    assert await shard.lines() == {"a": (4, 2), "b": (2, 1), "__other__": (4, 2)}
    newest = await shard.hash(SOURCE_NEWEST)
    assert set(newest) == {"a", "b", "__other__"}
    assert newest["b"] < newest["__other__"] < newest["a"]


async def test_files_of_which_nothing_came_for_long_are_forgotten_and_nothing_else_is(shard: Shard) -> None:
    sources = ["file:/old#1-f", "file:/new#1-f", "tail:/old.log#1-2-3-4-f", "tcp://h:1#a", "-#a"]
    for source in sources:
        await shard.append(source, GOOD, BAD)
    await shard.count()
    newest = all_time_key(shard.keys, SOURCE_NEWEST)
    await shard.redis.hset(newest, mapping=dict.fromkeys(("file:/old", "tail:/old.log", "tcp://h:1"), 1000))
    await shard.store.forget_source_counts(unseen_since_ms=1001)
    left = {"file:/new", "tcp://h:1", "-"}
    for table in (SOURCE_LINES, SOURCE_REJECTED, SOURCE_NEWEST):
        assert set(await shard.hash(table)) == left
    await shard.store.forget_source_counts(unseen_since_ms=1000, names=["file:/new"])
    assert set(await shard.lines()) == left, "something of it came since"


async def test_of_several_shards_sources_are_one_and_are_forgotten_in_all_or_none(
    redis: Redis, settings: Settings
) -> None:
    settings = settings.model_copy(update={"shards": 2})
    shards = [Shard(redis, settings, tag) for tag in tags(2)]
    for shard, sources in zip(shards, (["file:/a#1-f", "file:/b#1-f"], ["file:/a#1-f", "file:/c#1-f"]), strict=True):
        for source in sources:
            await shard.append(source, GOOD, BAD)
        await shard.count()
    await shards[1].append("file:/a#1-f", GOOD)
    found = {each.name: each for each in merged([await shard.reader.source_counts() for shard in shards])}
    assert {name: (each.lines, each.rejected) for name, each in found.items()} == {
        "file:/a": (4, 2),
        "file:/b": (2, 1),
        "file:/c": (2, 1),
    }
    lag = found["file:/a"].lag_seconds
    assert lag is not None
    assert lag > 0, "it waits in one of them"

    for shard in shards:
        await shard.redis.hset(all_time_key(shard.keys, SOURCE_NEWEST), "file:/b", 1000)
    await shards[0].redis.hset(all_time_key(shards[0].keys, SOURCE_NEWEST), "file:/a", 1000)
    stores = IngestorStores([shard.store for shard in shards], settings=settings)
    await stores.forget_source_counts(unseen_since_ms=1001)
    assert [set(await shard.lines()) for shard in shards] == [{"file:/a"}, {"file:/a", "file:/c"}]


@pytest.mark.parametrize("table", [SOURCE_LINES, SOURCE_REJECTED, SOURCE_NEWEST])
async def test_a_key_of_another_type_is_named_and_nothing_is_half_forgotten(shard: Shard, table: Any) -> None:
    await shard.append("file:/a#1-f", GOOD)
    await shard.count()
    await shard.redis.set(all_time_key(shard.keys, table), "x")
    with pytest.raises(StoreUnavailable, match=str(table)):
        await shard.store.forget_source_counts(unseen_since_ms=10**15, names=["file:/a"])
