"""A service ends within its grace though a server hangs in the middle of its work."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aggregator import service as aggregator
from ingestor import service as ingestor
from tally.keys import Keys
from tally.runtime import Failure, cancel_and_wait
from tally.settings import Settings
from tally.store import patience
from tests.senders import listens
from tests.server import Server, free_port
from tests.waiting import wait_until_async

KEYS = Keys()
LINE = b'{"event_type":"a","data":"%s"}\n' % (b"lorem " * 100)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.2)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        await cancel_and_wait(task)


def _settings(server: Server, **others: Any) -> Settings:
    return Settings(redis_url=server.url, redis_timeout_seconds=600, **others)  # as good as never


@asynccontextmanager
async def _hanging(server: Server) -> AsyncIterator[None]:
    server.process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send(signal.SIGCONT)


async def test_an_aggregator_does(durable_server: Server) -> None:
    server, stop = durable_server, asyncio.Event()
    with server.client() as client:
        for _ in range(200):
            client.xadd(KEYS.stream, {"lines": LINE * 200})
        async with _running(aggregator.run(_settings(server), stop)) as running:

            async def has_begun() -> bool:
                return client.hget(KEYS.totals, "events") is not None

            await wait_until_async(has_begun, what="it counts")
            async with _hanging(server):
                stop.set()
                await asyncio.wait_for(running, 60)


async def test_an_ingestor_of_a_file_does(durable_server: Server, tmp_path: Path) -> None:
    server, stop, path = durable_server, asyncio.Event(), tmp_path / "events.ndjson"
    path.write_bytes(LINE * 100_000)
    sources = ingestor.parse_sources([str(path)])
    with server.client() as client:
        work = ingestor.run(_settings(server, max_backlog_blocks=10), stop, sources=sources)
        async with _running(work) as running:

            async def has_begun() -> bool:
                return bool(client.xlen(KEYS.stream))

            await wait_until_async(has_begun, what="it appends")
            async with _hanging(server):
                stop.set()
                with pytest.raises(Failure, match=str(path)):
                    await asyncio.wait_for(running, 60)


@pytest.mark.slow
async def test_an_ingestor_of_a_socket_does_and_says_what_it_could_not_send(durable_server: Server) -> None:
    """It goes on trying for some seconds, for nobody has these lines any more."""
    server, stop, port = durable_server, asyncio.Event(), free_port()
    sources = ingestor.parse_sources([f"tcp://127.0.0.1:{port}"])
    async with _running(ingestor.run(_settings(server), stop, sources=sources)) as running:

        async def is_open() -> bool:
            return await asyncio.to_thread(listens, port)

        await wait_until_async(is_open, what="it listens")
        async with _hanging(server):
            with socket.create_connection(("127.0.0.1", port)) as sender:
                await asyncio.to_thread(sender.sendall, LINE * 100)
            stop.set()
            with pytest.raises(Failure, match="are lost, or not known to be in the stream"):
                await asyncio.wait_for(running, 60)


async def test_one_that_is_started_then_does(durable_server: Server, tmp_path: Path) -> None:
    server, stop = durable_server, asyncio.Event()
    (tmp_path / "log").touch()
    async with (
        _hanging(server),
        _running(aggregator.run(_settings(server), stop)) as counting,
        _running(ingestor.run(_settings(server), stop, sources=ingestor.parse_sources(["tail:log"]))) as appending,
    ):
        for _ in range(100):  # so that both have asked
            await asyncio.sleep(0)
        stop.set()
        await asyncio.wait_for(asyncio.gather(counting, appending), 60)
