"""Sources that can be read again, over three shards of one real server: every line once, whatever is killed or lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ingestor.source_appender import SourceAppender
from ingestor.sources.files import File
from tally.settings import Settings
from tally.store import connect
from tally.store.ingestor_stores import IngestorStores, ingestor_store
from tally.store.shards import Shards
from tests.packing import PACK
from tests.proxy import LossyProxy
from tests.server import Server
from tests.stream import Stream

SHARDS = 3

#: Small, so that a short file has many blocks in many stripes, and lines longer than a stripe.
SMALL: dict[str, Any] = {
    "shards": SHARDS,
    "stripe_bytes": 400,
    "max_block_bytes": 1024,
    "max_line_bytes": 2000,
    "max_blocks_in_flight": 4,
}


@asynccontextmanager
async def stores(url: str, settings: Settings) -> AsyncIterator[IngestorStores]:
    redis = connect(url, timeout_seconds=30)
    try:
        found = ingestor_store(Shards.over(redis, settings), settings=settings)
        assert isinstance(found, IngestorStores)
        yield found
    finally:
        await redis.aclose()


def some_lines(chance: random.Random, count: int) -> list[bytes]:
    """Each another one; some longer than several stripes."""
    sizes = [0, 1, 20, 100, 100, 100, 390, 1500]
    return [
        b"%05d %s%s" % (at, b"x" * chance.choice(sizes), chance.choice([b"\n", b"\n", b"\r\n"])) for at in range(count)
    ]


async def append(path: Path, store: IngestorStores, settings: Settings, *, seconds: float | None = None) -> None:
    """Append a file; it is killed after so long."""
    appender = SourceAppender(File(path), store=store, settings=settings, stop=asyncio.Event())
    running = asyncio.create_task(appender.run())
    if seconds is not None:
        await asyncio.wait((running,), timeout=seconds)
        running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("seed", range(6))
async def test_every_line_is_once_in_the_streams_whatever_is_killed_lost_or_rolled_back(
    server: Server, tmp_path: Path, seed: int, suffix: str
) -> None:
    chance, settings = random.Random(seed), Settings(**SMALL)
    lines = some_lines(chance, 400)
    path = tmp_path / f"events.ndjson{suffix}"

    def write(count: int) -> None:
        text = b"".join(lines[:count])
        path.write_bytes(PACK["gz"](text) if suffix else text)

    stream = Stream(server.port, shards=SHARDS)
    proxy = LossyProxy(server.port, word=b"appended", chance=0.05, seed=seed)
    snapshots = {shard: [stream.snapshot(shard)] for shard in range(SHARDS)}
    write(250)
    async with stores(proxy.url, settings) as store:
        for life in range(8):
            if life == 4:
                write(400)
            await append(path, store, settings, seconds=chance.uniform(0.0, 0.1))
            shard = chance.randrange(SHARDS)
            snapshots[shard].append(stream.snapshot(shard))
            if chance.random() < 0.6:
                shard = chance.randrange(SHARDS)
                at = chance.randrange(len(snapshots[shard]))
                stream.roll_back(shard, snapshots[shard][at])
                del snapshots[shard][at + 1 :]
        await append(path, store, settings)
        known = await store.known(names=list(stream.positions()))
    proxy.close()
    assert stream.difference(lines) == ([], [])
    assert [each.reached for each in known.values()] == [sum(map(len, lines))]
    assert min(stream.blocks_by_shard()) > 0
    stream.close()
