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
from tests.effort import seeds
from tests.packing import PACK
from tests.processes import Process, running
from tests.proxy import LossyProxy
from tests.server import Server
from tests.stream import Stream
from tests.waiting import wait_until

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
    """Each another one; some longer than several stripes, or than a line may be."""
    sizes = [0, 1, 20, 100, 100, 100, 390, 1500, 5000]
    return [
        b"%05d %s%s" % (at, b"x" * chance.choice(sizes), chance.choice([b"\n", b"\n", b"\r\n"])) for at in range(count)
    ]


def as_appended(lines: list[bytes]) -> list[bytes]:
    """What is made of them: one that is too long is cut behind its limit."""
    limit = SMALL["max_line_bytes"]
    return [line if len(line.rstrip(b"\n")) <= limit else line[: limit + 1] for line in lines]


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
@pytest.mark.parametrize("seed", seeds([0], range(6)))
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
    assert stream.difference(as_appended(lines)) == ([], [])
    assert [each.reached for each in known.values()] == [sum(map(len, lines))]
    assert min(stream.blocks_by_shard()) > 0
    stream.close()


@pytest.mark.parametrize(
    "rolled_back", [(), (1,), *(pytest.param(each, marks=pytest.mark.slow) for each in ((0,), (2,), (0, 1, 2)))]
)
async def test_a_last_line_that_goes_on_is_two_lines_and_no_byte_is_taken_twice(
    server: Server, tmp_path: Path, rolled_back: tuple[int, ...]
) -> None:
    """Whichever shard forgets what came since the file had no end."""
    settings, path, stream = Settings(**SMALL), tmp_path / "events.ndjson", Stream(server.port, shards=SHARDS)
    lines = [b"%0190d\n" % at for at in range(8)]
    path.write_bytes(b"".join(lines) + b"half")
    more = [b" goes on %s\n" % (b"x" * 600), b"next\n"]
    async with stores(server.url, settings) as store:
        await append(path, store, settings)
        assert stream.difference([*lines, b"half"]) == ([], [])
        snapshots = [stream.snapshot(shard) for shard in range(SHARDS)]
        path.write_bytes(path.read_bytes() + b"".join(more))
        await append(path, store, settings)
        for shard in rolled_back:
            stream.roll_back(shard, snapshots[shard])
        await append(path, store, settings)
    assert stream.difference([*lines, b"half", *more]) == ([], [])
    stream.close()


async def test_one_shard_that_is_empty_again_gets_its_lines_and_no_other(server: Server, tmp_path: Path) -> None:
    settings, path, stream = Settings(**SMALL), tmp_path / "events.ndjson", Stream(server.port, shards=SHARDS)
    lines = some_lines(random.Random(1), 200)
    path.write_bytes(b"".join(lines))
    async with stores(server.url, settings) as store:
        await append(path, store, settings)
        blocks = stream.blocks_by_shard()
        stream.roll_back(1, {})
        assert 0 < stream.blocks() < sum(blocks)
        appender = SourceAppender(File(path), store=store, settings=settings, stop=asyncio.Event())
        await appender.run()
    assert stream.difference(as_appended(lines)) == ([], [])
    assert stream.blocks_by_shard()[::2] == blocks[::2]
    assert 0 < appender.appended_bytes < path.stat().st_size / 2
    stream.close()


def test_processes_that_are_killed_read_all_files_of_a_folder_once(server: Server, tmp_path: Path) -> None:
    chance, stream = random.Random(7), Stream(server.port, shards=SHARDS)
    folder = tmp_path / "files"
    folder.mkdir()
    lines = [b"%06d %s\n" % (at, b"x" * chance.randint(0, 200)) for at in range(12_000)]
    for name, first, last in (("a", 0, 5_000), ("b.gz", 5_000, 10_000), ("c", 10_000, 11_999), ("d", 11_999, 12_000)):
        text = b"".join(lines[first:last])
        (folder / name).write_bytes(PACK["gz"](text) if name.endswith(".gz") else text)
    process = Process(
        "ingestor",
        str(folder),
        log=tmp_path / "ingestor.log",
        TALLY_REDIS_URL=server.url,
        TALLY_SHARDS=str(SHARDS),
        TALLY_STRIPE_BYTES="4000",
        TALLY_MAX_BLOCK_BYTES="2048",
        TALLY_MAX_BACKLOG_BLOCKS="80",  # a shard, of which files leave half: too few to come to the end
    )
    with running(process):
        for _ in range(5):
            enough = chance.randint(1, 80)
            wait_until(lambda enough=enough: stream.blocks() >= enough, what=f"{enough} blocks are appended")  # type: ignore[misc]
            assert process.kill()
            stream.take()
            process.start()
        process.kill()
        process.start(TALLY_MAX_BACKLOG_BLOCKS="10000")
        assert process.wait() == 0, process.log()
    assert stream.difference(lines) == ([], [])
    stream.close()
