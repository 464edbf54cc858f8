"""A client of a slot finds the node that has it, and finds it again, on a real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tally.deltas import chunks_of
from tally.keys import Keys
from tally.refused import Refused
from tally.settings import Settings
from tally.store import Block, IngestorStore, PipelineStore, StoreUnavailable
from tally.store.blocks import Settled
from tally.store.shards import Shards, open_shards
from tests.cluster.nodes import PATIENT_TIMEOUT_MS, Cluster, running_cluster
from tests.server import Server
from tests.stores import AllStores, in_minutes, plain_parts

#: Of a day in the past, so that no clock matters.
DAY = 1_600_000_000 // 86_400 * 86_400

BLOCK = Block(start=0, end=2, lines=b"x\n")


@asynccontextmanager
async def opened(url: str, *, for_writing: bool = True, **settings: Any) -> AsyncIterator[Shards]:
    async with open_shards(
        Settings(redis_url=url, **settings), stop=asyncio.Event(), for_writing=for_writing
    ) as shards:
        yield shards


def ingestor(shards: Shards, index: int = 0) -> IngestorStore:
    return IngestorStore(shards[index].redis, keys=shards[index].keys, settings=Settings(shards=len(shards)))


async def append(shards: Shards, source: str, index: int = 0) -> str:
    """Append a block of a new source; return the outcome."""
    (found,) = await ingestor(shards, index).append(source=source, blocks=[BLOCK])
    return found.outcome


@pytest.mark.parametrize("shards", [1, 8])
async def test_each_shard_is_on_the_node_that_has_its_slot(cluster: Cluster, shards: int) -> None:
    async with opened(cluster.url, shards=shards) as found:
        for shard in found:
            assert await append(found, "file:a", shard.index) == "appended"
        await found.home.redis.hset(found.home.keys.layout, "x", "y")
        for shard in found:
            assert cluster.owner(shard.keys.tag).ask("XLEN", shard.keys.stream) == 1
    assert len({cluster.owner(shard.keys.tag).port for shard in found}) == (3 if shards == 8 else 1)


async def test_what_belongs_on_one_connection_is_on_one(cluster: Cluster) -> None:
    """A write, and the command that waits for its connection's writes, which has no key."""
    waits = not cluster.nodes[0].info("server")["redis_version"].startswith("7.0.")  # that does not know WAITAOF
    async with opened(cluster.url, shards=8) as shards:
        for shard in shards:
            assert await append(shards, "file:a", shard.index) == "appended"
            assert await ingestor(shards, shard.index).wait_until_durable("file:a", timeout_seconds=30) == waits


async def test_a_slot_that_was_moved_is_found_again(cluster: Cluster) -> None:
    keys = Keys()
    home, other = cluster.owner(0), cluster.nodes[0]
    async with opened(cluster.url) as shards, opened(cluster.url, for_writing=False) as reading:
        assert await append(shards, "file:a") == "appended"
        pipeline = PipelineStore(reading[0].redis, keys=keys, settings=Settings())
        assert await pipeline.backlog() == 1
        cluster.migrate(0, to=other)
        try:
            # Once it is told, and once is enough, whatever kind of call comes first.
            with pytest.raises(StoreUnavailable, match="MovedError of slot 13907"):
                await append(shards, "file:b")
            assert await append(shards, "file:b") == "appended"
            with pytest.raises(StoreUnavailable, match="MovedError"):
                await pipeline.backlog()
            assert await pipeline.backlog() == 2
            assert other.ask("XLEN", keys.stream) == 2
        finally:
            cluster.migrate(0, to=home)


async def test_many_connections_to_the_old_owner_are_not_tried_one_by_one(cluster: Cluster) -> None:
    home, other = cluster.owner(0), cluster.nodes[0]
    async with opened(cluster.url) as shards:
        await asyncio.gather(*(append(shards, f"file:{number}") for number in range(20)))
        cluster.migrate(0, to=other)
        try:
            with pytest.raises(StoreUnavailable):
                await append(shards, "file:a")
            outcomes = await asyncio.gather(*(append(shards, f"file:b{number}") for number in range(20)))
            assert outcomes == ["appended"] * 20
        finally:
            cluster.migrate(0, to=home)


async def test_a_node_that_does_not_answer_is_passed_over(cluster: Cluster) -> None:
    ports = [node.port for node in cluster.nodes]
    cluster.nodes[0].hang()
    try:
        async with opened(f"redis+cluster://127.0.0.1:1,127.0.0.1:{ports[0]},127.0.0.1:{ports[2]}") as shards:
            assert await append(shards, "file:a") == "appended"
    finally:
        cluster.nodes[0].go_on()


async def test_no_node_is_unavailable_and_tells_no_client_where(tmp_path: Path) -> None:
    async with opened("redis+cluster://127.0.0.1:1,127.0.0.1:2") as shards:
        with pytest.raises(StoreUnavailable, match="no node of the cluster answers") as caught:
            await append(shards, "file:a")
    assert "127.0.0.1" not in caught.value.public


async def test_a_server_that_is_no_cluster_is_said(server: Server) -> None:
    async with opened(server.url.replace("redis://", "redis+cluster://").removesuffix("/0")) as shards:
        with pytest.raises(Refused, match="no cluster: write redis://"):
            await append(shards, "file:a")


async def test_a_password_is_for_every_node(tmp_path: Path) -> None:
    with running_cluster(tmp_path, password="s3cret", timeout_ms=PATIENT_TIMEOUT_MS) as cluster:
        assert "s3cret" in cluster.url
        async with opened(cluster.url, shards=8) as shards:
            for shard in shards:
                assert await append(shards, "file:a", shard.index) == "appended"
        async with opened(cluster.url.replace("s3cret", "wr0ng")) as shards:
            with pytest.raises(Refused, match="refuses the password") as caught:
                await append(shards, "file:a")
            assert "wr0ng" not in str(caught.value)


# While a slot is moved key by key.


async def settle(store: AllStores, redis: Any, keys: Keys, name: str) -> None:
    """Have one event ready to be applied."""
    await redis.xadd(keys.stream, {"lines": b"x"})
    (entry,) = await store.read(consumer="c", count=1, block_ms=None)
    counts = in_minutes({DAY: ({"a": 1}, {"w": 1})})
    parts = plain_parts(counts, Settings().window_lengths)
    chunks = list(chunks_of(parts, totals=counts.totals(blocks=1), samples=()))
    assert await store.stage(name=name, first=0, chunks=chunks) == "staged"
    outcome = await store.settle(consumer="c", blocks=[entry.pending], name=name, chunks=chunks)
    assert isinstance(outcome, Settled)


async def test_no_script_begins_while_its_slot_is_moved(cluster: Cluster) -> None:
    """With all its keys there it would begin, and end where it comes to a list that it has emptied itself."""
    keys, other, days = Keys(), cluster.nodes[0], 86_400
    async with opened(cluster.url) as shards:
        redis: Any = shards[0].redis
        store = AllStores(redis, keys=keys, settings=Settings())
        await store.ensure_layout()
        await store.create_group()
        for name in ("first", "second", "third"):
            await settle(store, redis, keys, name)
        chunk = await store.next_chunk()
        assert chunk is not None
        chunk = (await store.apply(chunk)).next
        assert chunk is not None
        # All that it may ever write is there, as after some weeks.
        await redis.zadd(keys.floors, {"60": DAY - days, "3600": DAY - days})
        await redis.zadd(keys.windows(days), {str(DAY): DAY})
        for key in (keys.window_types(days, DAY), keys.window_words(days, DAY)):
            await redis.hset(key, "x", 0)
        for key in (keys.dead_letters, keys.rejected):
            await redis.xadd(key, {"x": "y"})
        source = cluster.begin_migration(0, to=other)
        try:
            with pytest.raises(StoreUnavailable, match="TryAgainError"):
                await store.apply(chunk)
            with pytest.raises(StoreUnavailable, match="TryAgainError"):
                await append(shards, "file:a")
            assert source.ask("HGET", keys.totals, "events") == "1"
        finally:
            while cluster.move_keys(0, source=source, to=other):
                pass
            cluster.end_migration(0, to=other)
        await store.apply_all()
        assert await append(shards, "file:a") == "appended"
        assert await redis.hgetall(keys.types) == {b"a": b"3"}
        totals = await redis.hgetall(keys.totals)
        assert (totals[b"events"], totals.get(b"lost")) == (b"3", None)
        cluster.migrate(0, to=source)
