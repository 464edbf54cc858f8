"""Sources that are moved between layouts in the middle of them, on a real server: every line once, in one of them."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ingestor.source_appender import SourceAppender
from ingestor.sources.files import File
from tally.settings import Settings
from tally.shards import shard_of
from tally.store import connect
from tally.store.ingestor import IngestorStore
from tally.store.ingestor_stores import IngestorStores, ingestor_store
from tally.store.shards import Shards
from tally.store.source_vectors import exported_sources, import_sources
from tests.effort import THOROUGH, seeds
from tests.packing import PACK
from tests.proxy import LossyProxy
from tests.server import Server
from tests.stream import Stream
from tests.world import World, compress, rotate

#: Small, so that a short file has many blocks in many stripes, and lines longer than a stripe.
SMALL: dict[str, Any] = {"max_block_bytes": 1024, "max_line_bytes": 2000, "max_blocks_in_flight": 4}


class Layout:
    """A namespace with so many shards, and what is in its streams."""

    def __init__(self, server: Server, at: int, *, shards: int, stripe_bytes: int = 400, **options: Any) -> None:
        self.variables = {
            "TALLY_NAMESPACE": f"layout{at}",
            "TALLY_SHARDS": str(shards),
            "TALLY_STRIPE_BYTES": str(stripe_bytes),
        }
        self.settings = Settings(namespace=f"layout{at}", shards=shards, stripe_bytes=stripe_bytes, **options)
        self.stream = Stream(server.port, shards=shards, namespace=f"layout{at}")

    @asynccontextmanager
    async def shards(self, url: str) -> AsyncIterator[Shards]:
        redis = connect(url, timeout_seconds=30)
        try:
            yield Shards.over(redis, self.settings)
        finally:
            await redis.aclose()

    @asynccontextmanager
    async def store(self, url: str) -> AsyncIterator[IngestorStore | IngestorStores]:
        async with self.shards(url) as shards:
            yield ingestor_store(shards, settings=self.settings)


async def move(url: str, here: Layout, there: Layout) -> None:
    """Have all sources go on under the other layout."""
    async with here.shards(url) as ours, there.shards(url) as theirs:
        sources = [each async for each in exported_sources(ours, here.settings)]
        for _ in range(2):  # as after a lost reply
            assert await import_sources(theirs, there.settings, sources) == []


async def append(path: Path, url: str, layout: Layout, *, blocks: int | None = None) -> SourceAppender:
    """Append a file; it is killed after so many blocks."""
    enough = layout.stream.blocks() + (blocks or 0)
    async with layout.store(url) as store:
        appender = SourceAppender(File(path), store=store, settings=layout.settings, stop=asyncio.Event())
        running = asyncio.create_task(appender.run())
        if blocks is not None:
            while not running.done() and layout.stream.blocks() < enough:
                await asyncio.sleep(0)
            running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return appender


class LateFile(File):
    """A file that is opened, and read only when it may be."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_opened, self.may_be_read = asyncio.Event(), asyncio.Event()

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        self.is_opened.set()
        await self.may_be_read.wait()
        async for chunk in super().chunks(position):
            yield chunk


def difference(layouts: Sequence[Layout], written: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the lines that are missing, and those that are too many, of all layouts together."""
    found = Counter(line for layout in layouts for line in layout.stream.lines())
    wanted = Counter(line.rstrip(b"\n") for line in written)
    return list((wanted - found).elements()), list((found - wanted).elements())


def close(layouts: Iterable[Layout]) -> None:
    for layout in layouts:
        layout.stream.close()


def some_lines(chance: random.Random, count: int) -> list[bytes]:
    """Each another one; some longer than several stripes."""
    sizes = [0, 1, 20, 100, 100, 100, 390, 1500]
    return [b"%05d %s\n" % (at, b"x" * chance.choice(sizes)) for at in range(count)]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("numbers", [(1, 4, 1), (4, 3, 2)], ids=str)
@pytest.mark.parametrize("seed", seeds([0], range(6)))
async def test_every_line_is_once_in_the_streams_of_all_layouts_whatever_is_killed_lost_or_rolled_back(
    server: Server, tmp_path: Path, seed: int, numbers: tuple[int, ...], suffix: str
) -> None:
    chance = random.Random(seed)
    lines = some_lines(chance, 450)
    path = tmp_path / f"events.ndjson{suffix}"

    def write(count: int) -> None:
        text = b"".join(lines[:count])
        path.write_bytes(PACK["gz"](text) if suffix else text)

    layouts = [
        Layout(server, at, shards=shards, stripe_bytes=chance.choice([400, 700]), **SMALL)
        for at, shards in enumerate(numbers)
    ]
    proxy = LossyProxy(server.port, word=b"appended", chance=0.05, seed=seed)
    for at, layout in enumerate(layouts):
        stream, shards = layout.stream, layout.settings.shards
        if at:
            await move(server.url, layouts[at - 1], layout)
        snapshots = {shard: [stream.snapshot(shard)] for shard in range(shards)}
        for life in range(4):
            write(110 * (at + 1) + 30 * life)
            await append(path, proxy.url, layout, blocks=chance.randint(1, 15))
            shard = chance.randrange(shards)
            snapshots[shard].append(stream.snapshot(shard))
            if life < 3 and chance.random() < 0.6:
                shard = chance.randrange(shards)
                back = chance.randrange(len(snapshots[shard]))
                stream.roll_back(shard, snapshots[shard][back])
                del snapshots[shard][back + 1 :]
    write(len(lines))
    await append(path, proxy.url, layouts[-1])
    proxy.close()
    assert difference(layouts, lines) == ([], [])
    assert (await append(path, server.url, layouts[-1])).appended_bytes == 0
    assert min(layout.stream.blocks() for layout in layouts) > 0, "each has some of them"
    close(layouts)


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 3), (3, 1), (3, 3)])
async def test_a_file_that_was_read_to_its_end_is_not_read_again_and_what_is_written_to_it_is(
    server: Server, tmp_path: Path, before: int, after: int
) -> None:
    """Its last line had no end, and goes on as another one."""
    path, lines = tmp_path / "events.ndjson", some_lines(random.Random(1), 50)
    layouts = [
        Layout(server, at, shards=shards, stripe_bytes=2000, **SMALL) for at, shards in enumerate((before, after))
    ]
    path.write_bytes(b"".join(lines) + b"half")
    await append(path, server.url, layouts[0])
    await move(server.url, *layouts)
    for more in ([], [b" a line\n", *some_lines(random.Random(2), 30)]):
        with path.open("ab") as file:
            file.write(b"".join(more))
        for _ in range(2):
            appender = await append(path, server.url, layouts[1])
            assert appender.position == path.stat().st_size
        assert sorted(layouts[1].stream.lines()) == sorted(line.rstrip(b"\n") for line in more)
    assert appender.appended_bytes == 0
    close(layouts)


@pytest.mark.parametrize("lost", [None, 0, 1], ids=["whole", "without its first lane", "without another"])
@pytest.mark.parametrize("shards", [1, 3])
async def test_an_ingestor_that_opened_a_file_before_the_import_reads_it_again_and_appends_no_line_twice(
    server: Server, tmp_path: Path, shards: int, lost: int | None
) -> None:
    path, lines = tmp_path / "events.ndjson", some_lines(random.Random(3), 300)
    layouts = [Layout(server, at, shards=each, **SMALL) for at, each in enumerate((4, shards))]
    path.write_bytes(b"".join(lines[:150]))
    await append(path, server.url, layouts[0])
    if lost is not None:
        first = shard_of(next(iter(layouts[0].stream.positions())), 4)
        layouts[0].stream.roll_back((first + lost) % 4, {})
    path.write_bytes(b"".join(lines))
    async with layouts[0].shards(server.url) as ours, layouts[1].shards(server.url) as theirs:
        sources = [each async for each in exported_sources(ours, layouts[0].settings)]
        store = ingestor_store(theirs, settings=layouts[1].settings)
        file = LateFile(path)
        appender = SourceAppender(file, store=store, settings=layouts[1].settings, stop=asyncio.Event())
        running = asyncio.create_task(appender.run())
        await file.is_opened.wait()
        assert await import_sources(theirs, layouts[1].settings, sources) == []
        file.may_be_read.set()
        await running
    assert difference(layouts, lines) == ([], [])
    close(layouts)


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds([0], range(6)))
def test_a_followed_file_is_moved_while_it_is_written_to_rotated_compressed_and_cut_down(
    server: Server, tmp_path: Path, seed: int
) -> None:
    """The ingestor is killed each time, and what happens to the files happens between two layouts, too."""
    layouts = [
        Layout(server, at, shards=shards, stripe_bytes=stripe_bytes)
        for at, (shards, stripe_bytes) in enumerate([(4, 3000), (1, 3000), (3, 5000)][: 3 if THOROUGH else 2])
    ]
    world = World(tmp_path, server, seed=seed, sources=["tail:{}/events.log"])
    world.stream.close()
    world.stream = layouts[0].stream
    try:
        for at, layout in enumerate(layouts):
            world.write(100)
            if at:
                asyncio.run(move(server.url, layouts[at - 1], layout))
                world.stream.add(layout.stream)
            world.up(**layout.variables)
            world.ready()
            world.write_and_kill()
            rotate(world)
            world.write(50)
            world.read_all()
            world.down()
            world.write(50)
            if at == 0:
                compress(world.folder / "events.log.1", ".gz")
            else:
                rotate(world)
        world.write(30)
        world.up()
        world.read_all()
        os.truncate(world.log, 0)
        world.write(10)
        world.read_all()
        assert world.ingestor.stop() == 0, world.ingestor.log()
        assert world.stream.difference(world.written) == ([], [])
    finally:
        world.down()
        close(layouts)
