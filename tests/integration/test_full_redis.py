"""A Redis that is full refuses to be written to; counting is what empties it, and must go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tally.settings import Settings
from tally.store import Block, BlockStore, connect
from tests.expected import Expected, counted
from tests.processes import Process, running
from tests.server import Server


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


async def test_a_block_that_kills_is_buried_all_the_same(durable_server: Server) -> None:
    """Or nobody who took it over would get to the others, and Redis stayed full for ever."""
    settings = Settings(redis_url=durable_server.url, max_deliveries=1)
    connection = connect(durable_server.url, timeout_seconds=30)
    try:
        store = BlockStore(connection, keys=Keys(), settings=settings)
        await store.create_group()
        block = Block(0, 100_001, b"x" * 100_000)
        await store.append(source="s", blocks=[block])
        (entry,) = await store.read(consumer="c", count=1, block_ms=None)
        with durable_server.client() as client:
            client.config_set("maxmemory", "1mb")
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.set("anything", "at all")
            assert await store.bury(entry_id=entry.id) == "buried"
            assert [fields["lines"] for _, fields in client.xrange(Keys().dead)] == ["x" * 100_000]
            assert await store.backlog() == 0
    finally:
        await connection.aclose()
