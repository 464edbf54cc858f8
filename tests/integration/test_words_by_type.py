"""Words by type as they are stored: numbers of types, and tables of their words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis

from aggregator.counts import Counts, NameCounts
from aggregator.numbering import Numbering
from aggregator.parts import parts_of
from tally.deltas import ALL_TIME, Chunk, Part, Place, chunks_of
from tally.keys import OTHER, Keys, words_of
from tally.settings import Settings
from tally.store.blocks import PendingBlock
from tally.store.deltas import UsedNumbers
from tally.words_by_type import Numbered, Numbers
from tests.stores import AllStores, typed_minutes

KEYS = Keys()

#: Types that are hard on whatever writes or reads them.
ODD = ["", " ", "a:b", "0", "1:2", "{x}", "größe", "\0", '"\\', "a\nb", "x" * 256, "🎉"]


class Shard:
    def __init__(self, redis: Redis, **settings: Any) -> None:
        self.redis: Any = redis
        self.settings = Settings(**settings)
        self.store = AllStores(redis, keys=KEYS, settings=self.settings)

    async def block(self) -> PendingBlock:
        """A block that is pending to the consumer `a`."""
        await self.store.create_group()
        await self.redis.xadd(KEYS.stream, {"lines": b"x"})
        (entry,) = await self.store.read(consumer="a", count=1, block_ms=None)
        return entry.pending

    async def settle(self, chunks: list[Chunk], numbers: UsedNumbers | None = None) -> Any:
        block = await self.block()
        assert await self.store.stage(name=block.id, first=0, chunks=chunks) == "staged"
        return await self.store.settle(consumer="a", blocks=[block], name=block.id, chunks=chunks, numbers=numbers)

    async def hash(self, key: str) -> dict[str, int]:
        return {name.decode(): int(count) for name, count in (await self.redis.hgetall(key)).items()}


def chunks_with(numbered: Numbered, event_type: str, **counts: int) -> list[Chunk]:
    part = Part(words_of(numbered.number), (Place(1, 60), ALL_TIME), list(counts), list(counts.values()), event_type)
    return list(chunks_of([part], totals={}, samples=()))


async def test_the_first_types_get_numbers_and_keep_them(redis: Redis) -> None:
    shard = Shard(redis, words_by_type="3")
    before = int((await redis.time())[0])
    first = await shard.store.number_types(["b", "a"])
    assert {name: each.number for name, each in first.by_type.items()} == {"b": 1, "a": 2}
    assert all(before <= each.since <= before + 60 for each in first.by_type.values())
    second = await shard.store.number_types(["a", "c", "d"])
    assert {name: each.number for name, each in second.by_type.items()} == {"b": 1, "a": 2, "c": 3}
    assert second.by_type["a"] == first.by_type["a"]
    assert second == await shard.store.number_types(["e"]) == await shard.store.number_types([])
    assert second.numbered == 3


@pytest.mark.parametrize("odd", ODD)
async def test_any_type_has_its_words_apart(redis: Redis, odd: str) -> None:
    shard = Shard(redis, words_by_type="2")
    numbers = await shard.store.number_types([odd, "other"])
    assert list(numbers.by_type) == [odd, "other"]
    await shard.settle(chunks_with(numbers.by_type[odd], odd, a=3), UsedNumbers(2, {odd: numbers.by_type[odd]}))
    await shard.store.apply_all()
    assert await shard.hash(KEYS.table(words_of(1))) == {"a": 3}


async def test_words_of_a_type_are_in_its_tables_and_bounded(redis: Redis) -> None:
    shard = Shard(redis, words_by_type="1", max_type_words=2, windows="60x120,3600x48,86400x10")
    await shard.block()
    entries = [await shard.store.retry(consumer="a", entry_id=shard_id, deliveries=1) for shard_id in await _ids(shard)]
    counts = typed_minutes({60: {"x": (2, {"a": 3, "b": 1, "c": 5}), "y": (1, {"a": 1})}, 120: {"x": (1, {"a": 1})}})
    await shard.store.count(consumer="a", entries=[each for each in entries if each], counts=counts)
    table = words_of(1)
    assert await shard.hash(KEYS.table(table)) == {"a": 4, "b": 1, OTHER: 5}
    assert await shard.hash(KEYS.window(table, 60, 60)) == {"a": 3, "b": 1, OTHER: 5}
    assert await shard.hash(KEYS.window(table, 60, 120)) == {"a": 1}
    assert await shard.hash(KEYS.window(table, 3600, 0)) == {"a": 4, "b": 1, OTHER: 5}
    assert await shard.hash(KEYS.words) == {"a": 5, "b": 1, "c": 5}, "all words hold those of all types"
    assert not await redis.exists(KEYS.table(words_of(2)))


async def _ids(shard: Shard) -> list[str]:
    return [entry_id for entry_id, _ in await shard.store.pending(consumer="a", count=10)]


async def test_a_batch_is_settled_only_with_the_numbers_that_types_have(redis: Redis) -> None:
    shard = Shard(redis, words_by_type="3")
    numbers = await shard.store.number_types(["x"])
    used = UsedNumbers(numbers.numbered, {"x": numbers.by_type["x"]})
    chunks = chunks_with(numbers.by_type["x"], "x", a=1)

    await shard.store.number_types(["y"])  # by another aggregator
    assert await shard.settle(chunks, used) == "renumbered", "it may lack words of y"
    assert not await redis.keys(KEYS.delta("*")), "nobody needs the list any more"

    await redis.delete(KEYS.types_numbers, KEYS.types_numbered)  # as after a flush
    assert await shard.settle(chunks, used) == "renumbered"
    others = await shard.store.number_types(["z"])
    assert others.by_type["z"].number == used.by_type["x"].number
    assert await shard.settle(chunks, used) == "renumbered", "the number is another type's now"
    assert (await shard.store.progress()).settled == 0


async def test_as_many_numbers_after_a_flush_are_other_numbers(redis: Redis) -> None:
    shard = Shard(redis, words_by_type="1")
    numbering = Numbering(shard.store, shard.settings.types_with_words)
    await shard.store.number_types(["x"])
    await numbering.learn()
    await redis.flushall()  # and another aggregator is the first to come back, so that this one does not notice
    await shard.store.number_types(["z"])

    words = Counter({"a": 1})
    batch = NameCounts(Counter({"z": 1}), words)  # there was no room for z
    counts = Counts({Place(1, 60): batch}, batch)
    chunks = list(chunks_of(parts_of(counts, shard.settings.window_lengths), totals={}, samples=()))
    used = await numbering.number(counts)
    assert await shard.settle(chunks, used) == "renumbered", "or z lacks this word since it has its number"
    await numbering.learn()
    assert numbering.lacks_words(counts)


async def test_words_of_a_type_that_has_lost_its_number_go_nowhere(redis: Redis) -> None:
    shard = Shard(redis, words_by_type="3")
    numbers = await shard.store.number_types(["x"])
    chunks = chunks_with(numbers.by_type["x"], "x", a=1)
    await shard.settle(chunks)
    await redis.hset(KEYS.types_numbers, "x", "2:1")
    await shard.store.apply_all()
    await redis.hdel(KEYS.types_numbers, "x")
    await shard.settle(chunks)
    await shard.store.apply_all()
    assert not await redis.keys("tally:{0}:words@*")
    progress = await shard.store.progress()
    assert progress.applied == progress.settled == 2
    assert not await redis.exists(KEYS.dead_letters)


@pytest.mark.parametrize(
    ("table", "event_type"),
    [("words@", "x"), ("words@0", "x"), ("words@01", "x"), ("words@x", "x"), ("words@1", None), ("words", "x")],
)
async def test_a_table_that_there_cannot_be_makes_a_dead_letter(
    redis: Redis, table: str, event_type: str | None
) -> None:
    shard = Shard(redis, words_by_type="3")
    await shard.store.number_types(["x"])
    part = Part(table, (ALL_TIME,), ["a"], [1], event_type)  # type: ignore[arg-type]
    await shard.settle(list(chunks_of([part], totals={}, samples=())))
    chunk = await shard.store.next_chunk()
    assert chunk is not None
    assert (await shard.store.apply(chunk)).word == "poison"
    assert await redis.xlen(KEYS.dead_letters) == 1
    assert not await redis.exists(KEYS.words, KEYS.table(words_of(1)))


async def test_a_full_redis_still_gives_numbers_because_only_what_is_counted_empties_it(redis: Redis) -> None:
    shard = Shard(redis, words_by_type="3")
    await redis.config_set("maxmemory", 1)
    try:
        assert (await shard.store.number_types(["x"])).by_type["x"].number == 1
    finally:
        await redis.config_set("maxmemory", 0)
    assert await shard.store.number_types([]) != Numbers()
