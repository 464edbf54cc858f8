"""A source that is open is not forgotten, however long it is silent."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from ingestor import renewal, service
from ingestor.ending import Incomplete
from ingestor.renewal import FORGET_AFTER_SECONDS, RENEW_SECONDS
from ingestor.source_appender import SourceAppender
from ingestor.sources.base import Context, NotReplayable
from ingestor.starting import Start
from tally.keys import Keys
from tally.settings import Settings
from tally.store.shards import Shards
from tests.fakes import FakeClock
from tests.server import Server, free_port
from tests.stores import AllStores
from tests.waiting import wait_until_async

KEYS = Keys()
LINE = b'{"event_type":"foo","data":"a"}\n'


class Lines(NotReplayable):
    """Lines that come when they are told to; an empty one is the end."""

    label = "-"
    finite = True

    def __init__(self) -> None:
        self.given: asyncio.Queue[bytes] = asyncio.Queue()

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        while chunk := await self.given.get():
            yield chunk


async def _positions(redis: Any) -> dict[str, int]:
    return {name.decode(): int(position) for name, position in (await redis.hgetall(KEYS.sources)).items()}


async def _be_silent_for_days(redis: Any, name: str) -> None:
    """What is stored of a source that was last appended to eight days ago."""
    seconds, _ = await redis.time()
    await redis.zadd(KEYS.sources_seen, {name: (seconds - FORGET_AFTER_SECONDS - 86_400) * 1000})


async def _was_seen_now(redis: Any, name: str) -> bool:
    seconds, _ = await redis.time()
    return bool(await redis.zscore(KEYS.sources_seen, name) > (seconds - 3600) * 1000)


@pytest.mark.parametrize("is_renewed", [True, False])
async def test_a_source_that_is_silent_for_days_goes_on_without_a_loss(redis: Redis, is_renewed: bool) -> None:
    """Not if it were not renewed: then another ingestor's start forgets it."""
    settings = Settings()
    store = AllStores(redis, keys=KEYS, settings=settings)
    lines, clock = Lines(), FakeClock()
    appender = SourceAppender(lines, store=store, settings=settings, stop=asyncio.Event(), clock=clock)
    appending = asyncio.create_task(appender.run())
    lines.given.put_nowait(LINE)
    await wait_until_async(lambda: _has_appended(redis), what="the first line is appended")
    name = appender.name
    await _be_silent_for_days(redis, name)
    if is_renewed:
        clock.now += RENEW_SECONDS
        await wait_until_async(lambda: _was_seen_now(redis, name), what="it is renewed")
        assert RENEW_SECONDS * 10 < FORGET_AFTER_SECONDS, "some may fail"
    context = Context(store=store, settings=settings, stop=asyncio.Event(), ready=asyncio.Event())
    await Start(Shards.over(redis, settings), store, context=context).run()
    assert await _positions(redis) == ({name: len(LINE)} if is_renewed else {})
    lines.given.put_nowait(LINE)
    lines.given.put_nowait(b"")
    if is_renewed:
        await asyncio.wait_for(appending, 60)
        assert (appender.name, appender.position) == (name, 2 * len(LINE))
    else:
        with pytest.raises(Incomplete):
            await asyncio.wait_for(appending, 60)


async def _has_appended(redis: Any) -> bool:
    return bool(await redis.hlen(KEYS.sources))


async def test_what_has_no_position_gets_none_by_being_renewed(redis: Redis) -> None:
    store = AllStores(redis, keys=KEYS, settings=Settings())
    await store.renew_sources(["not appended to yet"])
    assert await redis.keys("*") == []


# Every kind of source that has a position of its own.


@contextmanager
def _standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader:
        monkeypatch.setattr(sys, "stdin", reader)
        yield "-", lambda: os.write(writing, LINE)
        os.close(writing)


@contextmanager
def _program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    path = tmp_path / "lines"
    os.mkfifo(path)
    opened: list[Any] = []

    def send() -> None:
        opened.append(path.open("wb", buffering=0))
        opened[0].write(LINE)

    yield f"exec:cat {path}", send
    opened[0].close()


@contextmanager
def _tcp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    port = free_port()
    with socket.socket() as connection:

        def send() -> None:
            connection.connect(("127.0.0.1", port))
            connection.sendall(LINE)

        yield f"tcp://127.0.0.1:{port}", send


@contextmanager
def _unix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    with socket.socket(socket.AF_UNIX) as connection:

        def send() -> None:
            connection.connect(str(tmp_path / "s"))
            connection.sendall(LINE)

        yield f"unix:{tmp_path / 's'}", send


@contextmanager
def _http(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    address = f"http://127.0.0.1:{free_port()}"

    def send() -> None:
        with urllib.request.urlopen(f"{address}/events", data=LINE) as answer:
            assert answer.status == 202

    yield address, send


@pytest.mark.parametrize("kind", [_standard_input, _program, _tcp, _unix, _http])
async def test_every_kind_of_source_is_renewed_while_it_is_open(
    server: Server, redis: Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: Any
) -> None:
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.05)
    settings, stop = Settings(redis_url=server.url), asyncio.Event()
    with kind(monkeypatch, tmp_path) as (text, send):
        running = asyncio.create_task(service.run(settings, stop, sources=service.parse_sources([text])))
        try:
            deadline = time.monotonic() + 60
            while True:  # it may not listen yet
                assert time.monotonic() < deadline
                try:
                    await asyncio.to_thread(send)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
            await wait_until_async(lambda: _has_appended(redis), what="the line is appended")
            (name,) = await _positions(redis)
            await _be_silent_for_days(redis, name)
            await wait_until_async(lambda: _was_seen_now(redis, name), what="it is renewed")
        finally:
            stop.set()
    await asyncio.wait({running}, timeout=60)
    assert running.done()
