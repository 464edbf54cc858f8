"""A rewrite of the append-only file is asked for once a start of the server, before anything is written to it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest
import redis as redis_py
from redis.asyncio import Redis
from structlog.testing import capture_logs

from tally.keys import Keys
from tally.log_events import REWRITE_FAILED, REWRITE_NOT_WAITED_FOR, REWRITE_WAITED_FOR
from tally.settings import Settings
from tally.store import Block, StoreUnavailable, connect, connect_for_writing
from tally.store import rewrite as rewrite_module
from tally.store.rewrite import LONGEST_WAIT_SECONDS, Rewrite
from tests.append_only_file import commands, incremental_files
from tests.fakes import FakeClock
from tests.processes import Process, running
from tests.server import Server
from tests.stores import AllStores
from tests.waiting import wait_until, wait_until_async

KEYS = Keys()


@asynccontextmanager
async def writer(url: str) -> AsyncIterator[Redis]:
    async with connect_for_writing(url, timeout_seconds=30, keys=KEYS, stop=asyncio.Event()) as redis:
        yield redis


def rewrites(client: redis_py.Redis) -> int:
    """How many this start of the server has begun."""
    found: Any = client.info("persistence")
    return int(found["aof_rewrites"])


def run_id(client: redis_py.Redis) -> str:
    found: Any = client.info("server")
    return str(found["run_id"])


async def noted(client: redis_py.Redis) -> None:
    async def is_noted() -> bool:
        return bool(client.get(KEYS.rewritten) == run_id(client))

    await wait_until_async(is_noted, what="the rewrite is noted")


def children(server: Server) -> list[int]:
    return [int(each) for each in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


async def test_it_is_asked_for_once_a_start_by_whichever_client(durable_server: Server) -> None:
    for _ in range(2):
        with durable_server.client() as client:
            client.mset({str(at): "x" for at in range(1000)})
            for _ in range(2):
                async with writer(durable_server.url) as redis:
                    await asyncio.gather(*(redis.ping() for _ in range(10)))
                    await noted(client)
            # A later one, as the server makes by itself, may fail: that changes nothing.
            client.config_set("rdb-key-save-delay", 1_000_000)
            client.bgrewriteaof()
            wait_until(lambda: len(children(durable_server)) == 1, what="there is a child")
            os.kill(children(durable_server)[0], signal.SIGKILL)
            wait_until(lambda: client.info("persistence")["aof_last_bgrewrite_status"] == "err", what="it has failed")
            client.config_set("rdb-key-save-delay", 0)
            async with writer(durable_server.url) as redis:
                await redis.ping()
            assert rewrites(client) == 2
        durable_server.stop()
        durable_server.start()


async def test_one_that_somebody_else_asked_for_will_do(durable_server: Server) -> None:
    with durable_server.client() as client:
        client.bgrewriteaof()
        async with writer(durable_server.url) as redis:
            await redis.ping()
            await noted(client)
        assert rewrites(client) == 1


async def test_a_server_without_the_file_is_left_alone(server: Server) -> None:
    with server.client() as client:
        before = rewrites(client)
        async with writer(server.url) as redis:
            await redis.ping()
        assert rewrites(client) == before
        assert not client.exists(KEYS.rewritten)


@contextmanager
def another_child(server: Server, client: redis_py.Redis) -> Iterator[None]:
    """A snapshot that would take minutes keeps a rewrite from beginning, until this is left."""
    client.mset({str(at): "x" for at in range(1000)})
    client.config_set("rdb-key-save-delay", 1_000_000)  # µs
    client.bgsave()
    client.config_set("rdb-key-save-delay", 0)
    (snapshot,) = children(server)
    try:
        yield
    finally:
        os.kill(snapshot, signal.SIGKILL)


def test_nothing_is_written_before_it_has_begun(durable_server: Server, tmp_path: Path) -> None:
    """What stands in the file that may end with half of a script is what others wrote."""
    path = tmp_path / "events.ndjson"
    path.write_text('{"event_type": "a", "data": "b"}\n' * 1000)
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", TALLY_REDIS_URL=durable_server.url)
    with durable_server.client() as client:
        with running(ingestor):
            with another_child(durable_server, client):
                wait_until(lambda: REWRITE_WAITED_FOR in ingestor.log(), what="the ingestor waits")
                assert client.info("persistence")["aof_rewrite_scheduled"] == 1
            assert ingestor.wait() == 0
        assert rewrites(client) == 1
        *_, last = incremental_files(durable_server.folder)
        assert last.name == "appendonly.aof.2.incr.aof"
        appended = [each for each in commands(last) if each.words[:2] == (b"XADD", KEYS.stream.encode())]
        assert len(appended) == client.xlen(KEYS.stream) > 0


@pytest.mark.parametrize(("option", "asks"), [("--json", False), ("--accept", True)])
def test_a_command_that_writes_asks_for_it_too(durable_server: Server, tmp_path: Path, option: str, asks: bool) -> None:
    command = Process("tally", "layout", option, log=tmp_path / "log", TALLY_REDIS_URL=durable_server.url)
    with running(command), durable_server.client() as client:
        assert command.wait() == 0, command.log()
        assert (rewrites(client) == 1) == asks


async def test_it_is_not_waited_for_without_end(durable_server: Server) -> None:
    clock = FakeClock()
    rewrite = Rewrite(keys=KEYS, clock=clock)
    redis = connect(durable_server.url, timeout_seconds=30, on_connect=rewrite.on_connect)
    try:
        with (
            durable_server.client() as client,
            another_child(durable_server, client),
            capture_logs() as logs,
        ):
            for _ in range(2):
                with pytest.raises(redis_py.ConnectionError, match=REWRITE_WAITED_FOR):
                    await redis.ping()
                clock.now += LONGEST_WAIT_SECONDS / 2
            assert await redis.ping()
            assert REWRITE_NOT_WAITED_FOR in [each["event"] for each in logs]
            assert client.info("persistence")["aof_rewrite_scheduled"] == 1
    finally:
        await redis.aclose()


async def test_one_that_fails_is_asked_for_again(durable_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite_module, "FIRST_RETRY_SECONDS", 0.1)
    with durable_server.client() as client, capture_logs() as logs:
        client.mset({str(at): "x" for at in range(1000)})
        client.config_set("rdb-key-save-delay", 1_000_000)
        async with writer(durable_server.url) as redis:
            await redis.ping()
            os.kill(children(durable_server)[0], signal.SIGKILL)
            client.config_set("rdb-key-save-delay", 0)
            await noted(client)
        assert rewrites(client) == 2
    assert REWRITE_FAILED in [each["event"] for each in logs]


@pytest.mark.parametrize(
    ("options", "rules", "command"),
    [
        pytest.param((), ("+@all", "-bgrewriteaof"), "BGREWRITEAOF", id="a user who may not ask"),
        pytest.param((), ("+@all", "-@dangerous"), "INFO", id="a user who may not look"),
        pytest.param(("--rename-command", "BGREWRITEAOF", ""), ("+@all",), "BGREWRITEAOF", id="a server without it"),
        pytest.param(("--rename-command", "INFO", ""), ("+@all",), "INFO", id="a server that hides INFO"),
    ],
)
async def test_where_it_is_refused_that_is_said_once_and_all_goes_on(
    tmp_path: Path, options: tuple[str, ...], rules: tuple[str, ...], command: str
) -> None:
    server = Server(tmp_path, durable=True, options=options)
    server.start()
    try:
        with server.client() as client, capture_logs() as logs:
            client.execute_command("ACL", "SETUSER", "tally", "on", ">secret", "~tally:*", *rules)
            url = f"redis://tally:secret@127.0.0.1:{server.port}/0"
            async with writer(url) as redis:
                store = AllStores(redis, keys=KEYS, settings=Settings(redis_url=url))
                await asyncio.gather(*(store.backlog() for _ in range(5)))
                await redis.connection_pool.disconnect()
                outcomes = await store.append(source="s", blocks=[Block(0, 2, b"x")])
                assert [each.outcome for each in outcomes] == ["appended"]
            warnings = [each for each in logs if each["log_level"] == "warning"]
            assert [each["command"] for each in warnings] == [command]
    finally:
        server.kill()


async def test_what_passes_by_itself_is_waited_for(durable_server: Server) -> None:
    """A server that is kept busy by a script does not answer INFO either: it is no server that hides it."""
    with durable_server.client() as client, durable_server.client() as other, capture_logs() as logs:
        client.config_set("busy-reply-threshold", 10)

        def run() -> None:
            with suppress(redis_py.ResponseError):
                other.eval("while true do end", 0)

        def is_busy() -> bool:
            try:
                client.ping()
            except redis_py.ResponseError as error:
                return str(error).startswith("BUSY")
            return False

        running_script = asyncio.create_task(asyncio.to_thread(run))
        await asyncio.to_thread(wait_until, is_busy, what="the script keeps the server busy")
        async with writer(durable_server.url) as redis:
            store = AllStores(redis, keys=KEYS, settings=Settings(redis_url=durable_server.url))
            with pytest.raises(StoreUnavailable, match="BUSY"):
                await store.backlog()
            client.script_kill()
            await running_script
            assert await store.backlog() == 0
            await noted(client)
    assert not [each for each in logs if each["log_level"] == "warning"]


class Turn(asyncio.Lock):
    """A lock that tells when somebody wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = asyncio.Event()

    async def acquire(self) -> Literal[True]:
        self.wanted.set()
        return await super().acquire()


async def test_a_connection_that_is_called_off_meanwhile_asks_when_it_is_used_again(durable_server: Server) -> None:
    rewrite = Rewrite(keys=KEYS)
    rewrite._one_at_a_time = turn = Turn()
    redis = connect(durable_server.url, timeout_seconds=30, on_connect=rewrite.on_connect)
    try:
        with durable_server.client() as client:
            async with turn:
                turn.wanted.clear()
                waiting = asyncio.ensure_future(redis.ping())
                await turn.wanted.wait()
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            await redis.ping()
            assert rewrites(client) == 1
    finally:
        await redis.aclose()
