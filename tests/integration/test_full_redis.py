"""A Redis that is full refuses to be written to; counting is what empties it, and must go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tally.generator import Generator, GeneratorSpec
from tally.keys import GROUP, OTHER, Keys
from tally.settings import Settings
from tally.store import Block, connect
from tally.store.reads import CountReader
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.server import Server
from tests.stores import AllStores
from tests.waiting import wait_until


def test_a_backlog_that_fills_redis_is_counted_all_the_same(durable_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(Generator(GeneratorSpec(count=20_000, seed=1)).lines()))
    url = {"TALLY_REDIS_URL": durable_server.url, "TALLY_MAX_BLOCK_BYTES": "16384"}
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", **url)
    with running(ingestor):
        assert ingestor.wait() == 0, ingestor.log()
    with durable_server.client() as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("anything", "at all")
        assert client.xlen(Keys().stream) > 10
        drain = Process("aggregator", "--drain", log=tmp_path / "drain.log", **url)
        with running(drain):
            assert drain.wait(60) == 0, drain.log()
        assert client.xlen(Keys().stream) == 0
        assert counted(client) == Expected.of(path.read_bytes().split(b"\n"))


def test_a_full_redis_without_a_consumer_group_is_counted_all_the_same(durable_server: Server, tmp_path: Path) -> None:
    """As after a flush under an ingestor that runs on: it makes the group at its start only."""
    lines = '{"event_type": "a", "data": "b"}\n' * 1000
    with durable_server.client() as client:
        for _ in range(20):
            client.xadd(Keys().stream, {"lines": lines})
        client.config_set("maxmemory", "1mb")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.xgroup_create(Keys().stream, GROUP, id="0")
        drain = Process("aggregator", "--drain", log=tmp_path / "drain.log", TALLY_REDIS_URL=durable_server.url)
        with running(drain):
            assert drain.wait(60) == 0, drain.log()
        assert counted(client).types == {"a": 20_000}
        assert client.xlen(Keys().stream) == 0


async def test_what_was_counted_can_be_read(durable_server: Server) -> None:
    """Redis 7.0 takes no transaction then, not even to read."""
    settings = Settings(redis_url=durable_server.url)
    connection = connect(durable_server.url, timeout_seconds=30)
    try:
        reader = CountReader(connection, keys=Keys(), settings=settings)
        with durable_server.client() as client:
            many = 2**60
            client.hset(Keys().types, mapping={"a": 1, "b": 2, OTHER: many})
            client.zadd(Keys().windows(60), {"60": 60})
            client.set("much", "x" * 1_000_000)
            client.config_set("maxmemory", "1mb")
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.set("anything", "at all")
        assert await reader.distinct("types") == (2, many, 0)
        assert await reader.distinct("words") == (0, 0, 0)
        assert [(each.start, each.seconds) for each in (await reader.windows()).all()] == [(60, 60)]
        assert (await reader.status()).distinct_types == 2
    finally:
        await connection.aclose()


async def test_a_block_that_kills_is_a_dead_letter_all_the_same(durable_server: Server) -> None:
    """Or nobody who took it over would get to the others, and Redis stayed full for ever."""
    settings = Settings(redis_url=durable_server.url, max_deliveries=1)
    connection = connect(durable_server.url, timeout_seconds=30)
    try:
        store = AllStores(connection, keys=Keys(), settings=settings)
        await store.create_group()
        block = Block(0, 100_001, b"x" * 100_000)
        await store.append(source="s", blocks=[block])
        (entry,) = await store.read(consumer="c", count=1, block_ms=None)
        with durable_server.client() as client:
            client.config_set("maxmemory", "1mb")
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.set("anything", "at all")
            assert await store.dead_letter(consumer="c", entry_id=entry.id) == "moved"
            assert [fields["lines"] for _, fields in client.xrange(Keys().dead_letters)] == ["x" * 100_000]
            assert await store.backlog() == 0
    finally:
        await connection.aclose()


def test_windows_that_are_too_many_are_dropped_from_a_redis_that_is_full(
    durable_server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    first = 1_600_000_000 // 86_400 * 86_400
    path.write_text(
        "".join(f'{{"event_type": "a", "data": "b", "timestamp": {first + 60 * minute}}}\n' for minute in range(200))
    )
    url = {"TALLY_REDIS_URL": durable_server.url}
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", **url)
    with running(ingestor):
        assert ingestor.wait() == 0, ingestor.log()
    with durable_server.client() as client:
        client.config_set("maxmemory", "1mb")
        drain = Process("aggregator", "--drain", log=tmp_path / "drain.log", **url)
        with running(drain):
            assert drain.wait(60) == 0, drain.log()
        minutes = Keys().windows(60)
        assert client.zcard(minutes) == 200
        few = Process("aggregator", log=tmp_path / "few.log", **url, TALLY_WINDOWS="60x120,3600x48,86400x400")
        with running(few):
            wait_until(lambda: client.zcard(minutes) == 120, what="as many minutes are kept as are set now")
        assert client.hgetall(Keys().window_types(3600, first + 3600)) == {"a": "60"}
