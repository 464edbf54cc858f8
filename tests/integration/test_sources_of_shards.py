"""What is known of sources in three shards, and forgotten."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from tally.keys import Keys
from tally.settings import Settings
from tally.shards import shard_of, tags
from tally.store import Block, Known
from tally.store.ingestor_stores import IngestorStores, ingestor_store
from tally.store.merged_reads import MergedReader
from tally.store.shards import Shards

SHARDS = 3
SETTINGS = Settings(shards=SHARDS, stripe_bytes=100)
KEYS = [Keys(tag) for tag in tags(SHARDS)]
FILE = "file:/a#4-0123456789abcdef"
FIRST = shard_of(FILE, SHARDS)


@pytest.fixture
async def stores(redis: Redis) -> IngestorStores:
    stores = ingestor_store(Shards.over(redis, SETTINGS), settings=SETTINGS)
    assert isinstance(stores, IngestorStores)
    return stores


async def append(stores: IngestorStores, name: str, shard: int, end: int) -> None:
    await stores.shards[shard].append(source=name, blocks=[Block(0, end, b"x", last=f"4-{end:016x}")])


async def seen(redis: Any, name: str, shards: Sequence[int], *, days_ago: float) -> None:
    for shard in shards:
        await redis.zadd(KEYS[shard].sources_seen, {name: (time.time() - days_ago * 86_400) * 1000})


def days_ago_ms(days: float) -> int:
    return int((time.time() - days * 86_400) * 1000)


async def stored_in(redis: Any) -> list[bool]:
    """In which shards anything of the file is stored."""
    return [bool(await redis.hexists(keys.sources, FILE)) for keys in KEYS]


async def test_a_source_is_known_by_what_each_shard_has_and_goes_on_where_the_first_of_them_needs_something(
    stores: IngestorStores,
) -> None:
    assert await stores.known(names=[FILE]) == {}
    second = (FIRST + 1) % SHARDS
    await append(stores, FILE, FIRST, 101)
    known = (await stores.known(names=[FILE, "another"]))[FILE]
    assert (known.position, known.reached, known.positions[FIRST]) == (101, 101, 101), (
        "the line reaches over its stripe"
    )
    await append(stores, FILE, second, 203)
    await append(stores, "tail:/b#1-1-1-0-f", 1, 50)
    known = (await stores.known(names=[FILE], beginnings=["tail:"]))[FILE]
    assert (known.position, known.last, known.reached) == (203, f"4-{203:016x}", 203)
    assert set(await stores.known(beginnings=["tail:/b#"])) == {"tail:/b#1-1-1-0-f"}


async def test_a_source_of_which_one_shard_has_lost_something_is_read_from_there(
    stores: IngestorStores, redis: Any
) -> None:
    for shard in range(SHARDS):
        await append(stores, FILE, (FIRST + shard) % SHARDS, 100 * (shard + 1))
    lost = (FIRST + 1) % SHARDS
    positions = (await stores.known(names=[FILE]))[FILE].positions
    await redis.delete(KEYS[lost].sources)
    known = (await stores.known(names=[FILE]))[FILE]
    assert (known.position, known.reached) == (100, 300)
    assert known.is_behind(positions)
    assert not known.is_behind(known.positions)
    assert Known(FILE).is_behind(positions), "where all have lost it"


async def test_a_file_is_forgotten_in_all_shards_or_in_none(stores: IngestorStores, redis: Any) -> None:
    """One that a shard has seen lately would be counted again by those that had forgotten it."""
    for shard in range(SHARDS):
        await append(stores, FILE, shard, 100)
    await seen(redis, FILE, [0, 1], days_ago=30)
    assert await stores.forget_files(unseen_since_ms=days_ago_ms(7)) == 0
    await stores.forget_sources([FILE], unseen_since_ms=days_ago_ms(7))
    assert await stored_in(redis) == [True] * SHARDS
    await seen(redis, FILE, [2], days_ago=30)
    await append(stores, "tail:/not a file#1-1-1-0-f", 0, 50)
    await seen(redis, "tail:/not a file#1-1-1-0-f", [0], days_ago=30)
    assert await stores.forget_files(unseen_since_ms=days_ago_ms(7)) == 1
    assert await stored_in(redis) == [False] * SHARDS
    assert len(await stores.known(beginnings=["tail:"])) == 1


async def test_files_that_are_not_forgotten_do_not_hide_those_behind_them(
    stores: IngestorStores, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tally.store.known.PAGE_NAMES", 3)
    names = [f"file:/{at}#4-0123456789abcdef" for at in range(10)]
    for at, name in enumerate(names):
        await append(stores, name, 0, 100)
        await seen(redis, name, [0], days_ago=40 - at)
        if at % 2 == 0:
            await append(stores, name, 1, 200)  # lately
    assert await stores.forget_files(unseen_since_ms=days_ago_ms(7)) == 5
    assert sorted(await stores.known(names=names)) == names[::2]


async def test_a_source_that_is_opened_is_renewed_in_each_shard_that_has_it(stores: IngestorStores, redis: Any) -> None:
    for shard in (0, 2):
        await append(stores, FILE, shard, 100)
    await seen(redis, FILE, [0, 2], days_ago=30)
    await stores.renew_sources([FILE])
    await stores.forget_sources([FILE], unseen_since_ms=days_ago_ms(7))
    assert await stored_in(redis) == [True, False, True]


async def test_a_source_is_registered_where_its_first_line_goes(stores: IngestorStores, redis: Any) -> None:
    assert await stores.register_sources([FILE, FILE]) == 1
    assert await stored_in(redis) == [shard == FIRST for shard in range(SHARDS)]
    assert (await stores.known(names=[FILE]))[FILE].positions == (0, 0, 0)


async def test_the_status_has_a_file_as_far_as_it_was_read_and_of_others_what_all_shards_got(
    stores: IngestorStores, redis: Redis
) -> None:
    for shard, end in enumerate((30, 20, 10)):
        await append(stores, FILE, shard, end)
        await append(stores, "http://127.0.0.1:8080", shard, end)
    status = await MergedReader(Shards.over(redis, SETTINGS), settings=SETTINGS).status()
    assert {each.name: each.position for each in status.sources} == {FILE: 30, "http://127.0.0.1:8080": 60}
