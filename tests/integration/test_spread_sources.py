"""What cannot be read again, and bodies, over three shards of one real server."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ingestor.bodies import Lines as BodyLines
from ingestor.body_shards import BodyShards
from ingestor.spread_appender import SpreadAppender, new_appender
from tally.keys import Keys
from tally.settings import Settings
from tally.shards import shard_of, tags
from tally.store import IngestorStore, connect
from tally.store.idempotent import stored_key
from tally.store.ingestor_stores import IngestorStores
from tests.processes import Process, run, running
from tests.proxy import LossyProxy
from tests.senders import wait_for_port
from tests.server import Server, free_port
from tests.stream import Stream
from tests.unit.appending import Lines
from tests.waiting import wait_until, wait_until_async

SHARDS = 3


class World:
    """A server, and stores of its shards; the second is reached through a proxy that can lose replies."""

    def __init__(self, server: Server, stores: IngestorStores, proxy: LossyProxy, settings: Settings) -> None:
        self.stores = stores
        self.proxy = proxy
        self.settings = settings
        self.stream = Stream(server.port, shards=SHARDS)
        self.stop = asyncio.Event()

    def appender(self, source: Lines) -> SpreadAppender:
        appender = new_appender(source, store=self.stores, settings=self.settings, stop=self.stop)
        assert isinstance(appender, SpreadAppender)
        return appender

    async def has(self, lines: list[bytes]) -> None:
        async def is_there() -> bool:
            return self.stream.difference(lines)[0] == []

        await wait_until_async(is_there, what="all is appended")


@pytest.fixture
async def world(server: Server) -> AsyncIterator[World]:
    settings = Settings(shards=SHARDS, stripe_bytes=100, max_block_bytes=1024, redis_timeout_seconds=5)
    proxy = LossyProxy(server.port, word=b"appended", chance=0.0, seed=1)
    async with AsyncExitStack() as stack:
        stores = []
        for at, tag in enumerate(tags(SHARDS)):
            redis = connect(proxy.url if at == 1 else server.url, timeout_seconds=5)
            stack.push_async_callback(redis.aclose)
            stores.append(IngestorStore(redis, keys=Keys(tag), settings=settings))
        world = World(server, IngestorStores(stores, settings=settings), proxy, settings)
        yield world
        world.stream.close()
        proxy.close()


async def test_lines_go_to_all_shards_in_turn_and_nothing_is_left_of_the_source(world: World) -> None:
    source = Lines(replayable=False, finite=True)
    running = asyncio.create_task(world.appender(source).run())
    lines = [b"%060d\n" % at for at in range(60)]
    for line in lines:
        source.give(line)
        await world.has([line])
    source.give(b"without an end", b"")
    await asyncio.wait_for(running, 60)
    assert world.stream.difference([*lines, b"without an end"]) == ([], [])
    assert min(world.stream.blocks_by_shard()) >= 15
    assert world.stream.positions() == {}


async def test_while_a_shard_does_not_answer_the_others_take_what_comes_and_its_blocks_stay_with_it(
    world: World,
) -> None:
    source = Lines(replayable=False, finite=True)
    appender = world.appender(source)
    running = asyncio.create_task(appender.run())
    lines = [b"%060d\n" % at for at in range(60)]
    for line in lines:
        source.give(line)
        await world.has([line])
        if line == lines[9]:  # by now each is connected
            appended_before = world.stream.blocks_by_shard()[1]
            world.proxy.word, world.proxy.chance = b"", 1.0
    assert world.proxy.lost > 0
    assert world.stream.blocks_by_shard()[1] == appended_before + 1, "it waits for an answer about that one"

    async def is_told() -> bool:
        return appender.appended_lines >= len(lines) - 1  # the last line is in the stream before its answer has come

    await wait_until_async(is_told, what="all but that one are answered")
    assert appender.appended_lines == len(lines) - 1
    source.give(b"")
    world.proxy.chance = 0.0
    await asyncio.wait_for(running, 60)
    assert world.stream.difference(lines) == ([], [])
    assert appender.appended_lines == len(lines)


async def test_a_source_that_has_much_is_read_by_all_lanes_at_once(world: World) -> None:
    source = Lines(replayable=False, finite=True)
    lines = [b"%060d\n" % at for at in range(3000)]
    for at in range(0, len(lines), 100):
        source.give(b"".join(lines[at : at + 100]))
    source.give(b"")
    await asyncio.wait_for(world.appender(source).run(), 60)
    assert world.stream.difference(lines) == ([], [])
    assert min(world.stream.blocks_by_shard()) > 0


def bodies_over(world: World) -> BodyShards:
    return BodyShards(world.stores.shards, source="http://test", max_block_bytes=1024, stripe_bytes=100)


def body(text: bytes) -> BodyLines:
    return BodyLines([text], 1, text.hex())


async def test_a_body_with_a_key_is_taken_once_by_the_shard_of_its_key_though_replies_are_lost(world: World) -> None:
    bodies, keys = bodies_over(world), [f"key {at}" for at in range(12)]
    world.proxy.chance = 0.5
    words = await asyncio.gather(*(bodies.append(body(key.encode()), key=key) for key in keys * 2))
    assert set(words) == {"appended", "duplicate"}
    assert world.proxy.lost > 0
    assert world.stream.difference([key.encode() for key in keys]) == ([], [])
    places = [sum(shard_of(stored_key(key), SHARDS) == shard for key in keys) for shard in range(SHARDS)]
    assert world.stream.blocks_by_shard() == places


async def test_bodies_without_a_key_go_to_all_shards_in_turn(world: World) -> None:
    bodies, texts = bodies_over(world), [b"%030d" % at for at in range(60)]
    for text in texts:
        assert await bodies.append(body(text), key=None) == "appended"
    assert world.stream.difference(texts) == ([], [])
    assert min(world.stream.blocks_by_shard()) >= 15


async def test_a_body_without_a_key_is_refused_only_if_all_streams_are_full(server: Server) -> None:
    settings = Settings(shards=SHARDS, max_backlog_blocks=2)
    redis = connect(server.url, timeout_seconds=30)
    stores = [IngestorStore(redis, keys=Keys(tag), settings=settings) for tag in tags(SHARDS)]
    bodies = BodyShards(stores, source="http://test", max_block_bytes=1024, stripe_bytes=1000)
    words = [await bodies.append(body(b"%d" % at), key=None) for at in range(7)]
    assert words == ["appended"] * 6 + ["full"]
    await redis.aclose()


def test_each_way_in_fills_all_shards_and_every_line_is_there_once(server: Server, tmp_path: Path) -> None:
    variables = {
        "TALLY_REDIS_URL": server.url,
        "TALLY_SHARDS": str(SHARDS),
        "TALLY_STRIPE_BYTES": "1000",
        "TALLY_MAX_BLOCK_BYTES": "1024",
    }
    stream = Stream(server.port, shards=SHARDS)
    written = {
        way: [b'{"event_type": "%s", "data": "%030d"}\n' % (way, at) for at in range(600)]
        for way in (b"stdin", b"tcp", b"http", b"key")
    }
    done = run("ingestor", "-", given=b"".join(written[b"stdin"]), env=variables)
    assert done.returncode == 0, done.stderr
    assert min(stream.blocks_by_shard()) > 0
    tcp, http = free_port(), free_port()
    sources = (f"tcp://127.0.0.1:{tcp}", f"http://127.0.0.1:{http}")
    process = Process("ingestor", *sources, log=tmp_path / "ingestor.log", **variables)
    with running(process):
        wait_for_port(tcp)
        wait_for_port(http)
        with socket.create_connection(("127.0.0.1", tcp), timeout=60) as connection:
            connection.sendall(b"".join(written[b"tcp"]))
        for at in range(0, 600, 10):
            post(http, b"".join(written[b"http"][at : at + 10]))
            for answered_before in (False, True):
                assert post(http, b"".join(written[b"key"][at : at + 10]), key=f"{at}") == answered_before
        lines = [line for each in written.values() for line in each]
        wait_until(lambda: stream.difference(lines)[0] == [], what="all is appended")
        assert process.stop() == 0, process.log()
    assert stream.difference(lines) == ([], [])
    stream.close()


def post(port: int, body: bytes, *, key: str | None = None) -> bool:
    """Post a body; return whether it was there already."""
    headers = {"Content-Type": "application/x-ndjson"} | ({"Idempotency-Key": key} if key else {})
    request = urllib.request.Request(f"http://127.0.0.1:{port}/events", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.status == 202
        return "Idempotent-Replayed" in response.headers
