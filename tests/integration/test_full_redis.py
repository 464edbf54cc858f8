"""A Redis that is full refuses to be written to; counting is what empties it, and must go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
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
