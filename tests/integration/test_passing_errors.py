"""What a server refuses for a while is waited for, whichever command it refuses: in a pipeline as by itself."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
import uvloop
from redis.asyncio import Redis

from aggregator.counts import Counts
from tally.keys import Keys
from tally.settings import Settings
from tally.store import Block, PipelineStore, StoreUnavailable, WindowStore, connect
from tally.store.client import MAX_CONNECTIONS
from tally.store.reads import CountReader
from tally.store.shards import open_shards
from tests.listener import Listener
from tests.server import Server
from tests.stores import AllStores
from tests.waiting import wait_until


@contextmanager
def _without_replicas(server: Server) -> Iterator[None]:
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            yield
        finally:
            client.config_set("min-replicas-to-write", 0)


@contextmanager
def _busy(server: Server) -> Iterator[None]:
    """A script that runs until it is killed."""
    with server.client() as client, server.client() as other:
        before: Any = client.config_get("busy-reply-threshold")
        client.config_set("busy-reply-threshold", 10)

        def run() -> None:
            with suppress(redis_py.ResponseError):  # it was killed
                other.eval("while true do end", 0)

        def is_busy() -> bool:
            try:
                client.ping()
            except redis_py.ResponseError as error:
                return str(error).startswith("BUSY")
            return False

        running = threading.Thread(target=run)
        running.start()
        try:
            wait_until(is_busy, what="the script keeps the server busy")
            yield
        finally:
            client.script_kill()
            running.join()
            for name, value in before.items():
                client.config_set(name, value)


@contextmanager
def _cannot_save(server: Server) -> Iterator[None]:
    """A snapshot has failed, because a folder stands where its file would be: MISCONF, until one succeeds."""
    with server.client() as client:
        found: Any = client.config_get("dir", "dbfilename")
        in_the_way = Path(found["dir"]) / found["dbfilename"]
        in_the_way.mkdir()
        client.config_set("save", "3600 1000000")
        try:
            _save(client, "err")
            yield
        finally:
            client.config_set("save", "")
            in_the_way.rmdir()
            _save(client, "ok")
            in_the_way.unlink()


def _save(client: redis_py.Redis, outcome: str) -> None:
    def is_over() -> bool:
        found: Any = client.info("persistence")
        return not found["rdb_bgsave_in_progress"] and bool(found["rdb_last_bgsave_status"] == outcome)

    client.bgsave()
    wait_until(is_over, what=f"a snapshot ends with {outcome}")


@pytest.mark.parametrize("refusing", [_without_replicas, _busy, _cannot_save])
async def test_blocks_are_appended_and_counted_when_the_server_takes_them_again(
    server: Server, redis: Redis, settings: Settings, refusing: Any
) -> None:
    store = AllStores(redis, keys=Keys(), settings=settings)
    await store.create_group()
    blocks = [Block(0, 2, b"x"), Block(2, 4, b"y")]
    with refusing(server), pytest.raises(StoreUnavailable):
        await store.append(source="s", blocks=blocks)
    assert [each.outcome for each in await store.append(source="s", blocks=blocks)] == ["appended"] * 2
    entries = await store.read(consumer="c", count=2, block_ms=None)
    for refused in (
        lambda: store.count(consumer="c", entries=entries, counts=Counts(rejected_by_reason=Counter({"not_json": 2}))),
        lambda: store.forget_sources(["s"]),
        lambda: store.wait_until_durable("s", timeout_seconds=1),
    ):
        with refusing(server), pytest.raises(StoreUnavailable):
            await refused()
    await store.count(consumer="c", entries=entries, counts=Counts(rejected_by_reason=Counter({"not_json": 2})))
    assert (await redis.hgetall(Keys().totals))[b"rejected"] == b"2"


async def test_what_is_read_in_a_script_is_waited_for_too(server: Server, redis: Redis, settings: Settings) -> None:
    windows = WindowStore(redis, keys=Keys(), settings=settings)
    reader = CountReader(redis, keys=Keys(), settings=settings)
    with _busy(server):
        for read in (windows.overdue, partial(reader.distinct, "types")):
            with pytest.raises(StoreUnavailable):
                await read()
    assert await reader.distinct("types") == (0, 0, 0)


async def test_nothing_is_advised_about_a_server_that_is_still_loading(tmp_path: Path) -> None:
    # Its append-only file is not on before it is loaded, and INFO says so.
    before = Server(tmp_path, durable=True)
    before.start()
    with before.client() as client:
        for number in range(4096):  # it looks after its clients once in 1,024 commands
            client.set(str(number), "")
    before.stop()
    server = Server(tmp_path, durable=True, options=("--key-load-delay", "1000"))
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    redis = connect(server.url, timeout_seconds=30)
    try:
        store = AllStores(redis, keys=Keys(), settings=Settings(redis_url=server.url))
        refused: list[str] = []
        while not starting.done():
            try:
                assert await store.advice() == []
            except StoreUnavailable as error:
                refused.append(str(error))
            await asyncio.sleep(0.01)
        await starting
        assert "Redis is loading its data" in refused
        assert await store.advice() == []
    finally:
        await redis.aclose()
        server.kill()


async def test_what_is_sent_at_once_shares_a_few_connections(server: Server, redis: Redis, settings: Settings) -> None:
    store = AllStores(redis, keys=Keys(), settings=settings)
    blocks = [Block(0, 2, b"x")]
    outcomes = await asyncio.gather(*(store.append(source=f"s{at}", blocks=blocks) for at in range(500)))
    assert {each.outcome for outcome in outcomes for each in outcome} == {"appended"}
    with server.client() as client:
        ours = [each for each in client.client_list() if each["name"] == "tally"]
    assert 1 < len(ours) <= MAX_CONNECTIONS


async def test_a_connection_that_no_file_is_left_for_is_said_to_be_that(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    client = connect(server.url, timeout_seconds=5)
    store = AllStores(client, keys=Keys(), settings=Settings(redis_url=server.url))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, hard))
        with suppress(OSError):
            while True:
                held.append(os.dup(0))
        with pytest.raises(StoreUnavailable, match=r"no more files may be open: raise `ulimit -n`") as caught:
            await store.backlog()
        assert str(server.port) not in caught.value.public
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await client.aclose()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
async def test_a_connection_that_is_reset_before_anything_is_sent_is_a_lost_one(scheme: str) -> None:
    """As a proxy does whose server is gone. uvloop raises a RuntimeError then, which would end a service."""

    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def ask(port: int) -> None:
        url = f"{scheme}://127.0.0.1:{port}" + ("/service" if scheme == "redis+sentinel" else "")
        async with open_shards(Settings(redis_url=url), stop=asyncio.Event(), for_writing=True) as shards:
            pipeline = PipelineStore(shards.home.redis, keys=shards.home.keys, settings=Settings())
            for _ in range(50):  # it is a matter of chance, a third of them
                with pytest.raises(StoreUnavailable):
                    await pipeline.check_writable()
                with pytest.raises(StoreUnavailable):
                    await CountReader(shards.home.redis, keys=shards.home.keys, settings=Settings()).windows()

    with Listener(reset) as listener:
        await asyncio.to_thread(uvloop.run, ask(listener.port))
