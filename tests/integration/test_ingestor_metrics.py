"""What an ingestor measures of sources of each kind, while it runs and a real server takes what it appends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from ingestor import metrics
from ingestor.service import parse_sources, run
from tally.settings import Settings
from tests.metrics import Change, value
from tests.senders import post, raw
from tests.server import Server, free_port
from tests.waiting import wait_until_async

EVENT = b'{"event_type": "a", "data": "b"}\n'


@pytest.fixture(autouse=True)
def no_sources_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_of", {})
    monkeypatch.setattr("tally.metrics._SOURCES", set())


@asynccontextmanager
async def ingesting(server: Server, *sources: str, **settings: Any) -> AsyncIterator[None]:
    """Run an ingestor in this process meanwhile."""
    stop = asyncio.Event()
    made = Settings(redis_url=server.url, **settings)
    running = asyncio.create_task(run(made, stop, sources=parse_sources(sources)))
    try:
        yield
    finally:
        stop.set()
        await running


async def until(condition: Callable[[], bool], what: str) -> None:
    async def holds() -> bool:
        return condition()

    await wait_until_async(holds, what=what)


class Figures:
    """The figures of one source; those that only grow from now on."""

    def __init__(self, source: str) -> None:
        self.source = source
        names = ("lines", "bytes", "backpressure_seconds", "lost_bytes", "source_failures", "replays")
        self._changes = {name: Change(f"tally_ingestor_{name}_total", source=source) for name in names}

    def grown(self, name: str) -> float:
        return self._changes[name].so_far

    def now(self, name: str, **labels: str) -> float | None:
        return value(f"tally_ingestor_{name}", source=self.source, **labels)


async def test_followed_files_are_one_source_and_it_is_known_how_far_behind_it_is(
    server: Server, tmp_path: Path
) -> None:
    pattern = f"tail:{tmp_path}/*.log"
    files = [tmp_path / "a.log", tmp_path / "b.log"]
    for file in files:
        file.write_bytes(EVENT * 100)
    source = Figures(pattern)
    async with ingesting(server, pattern):
        await until(lambda: source.grown("lines") == 200, "all is appended")
        assert source.grown("bytes") == 200 * len(EVENT)
        assert source.now("followed_lag_bytes") == source.now("buffered_bytes") == 0
        assert source.now("source_up") == 1
        for file in files:
            with file.open("ab") as out:
                out.write(EVENT[:10])  # a line that is not finished waits
        await until(lambda: source.now("followed_lag_bytes") == 20, "it is behind by what waits in both files")
        await until(lambda: source.now("buffered_bytes") == 20, "which is read")
        os.mkfifo(tmp_path / "pipe.log")
        await until(lambda: source.now("source_up") == 0, "it is seen that one cannot be followed")
        assert source.grown("source_failures") == 1
        (tmp_path / "pipe.log").unlink()
        await until(lambda: source.now("source_up") == 1, "it is seen that it is gone")
    for name in ("followed_lag_bytes", "buffered_bytes", "source_up"):
        assert source.now(name) is None, "there is nothing any more that could be behind"
    told = {sample.labels.get("source") for metric in REGISTRY.collect() for sample in metric.samples}
    assert [each for each in told if each and str(tmp_path) in each] == [pattern]


async def test_a_full_stream_is_seen_while_it_is_full(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    log.write_bytes(EVENT * 1000)
    source = Figures(f"tail:{log}")
    async with ingesting(server, source.source, max_block_bytes=1024, max_line_bytes=1000, max_backlog_blocks=2):
        await until(lambda: source.grown("backpressure_seconds") > 0, "it waits for room")
        seconds = source.grown("backpressure_seconds")
        await until(lambda: source.grown("backpressure_seconds") > seconds, "it still does")
        assert (source.now("blocks_total", outcome="full") or 0) >= 1
        lines = source.grown("lines")
        assert 0 < lines < 1000
        assert source.now("followed_lag_bytes") == (1000 - lines) * len(EVENT)


async def test_requests_are_measured_and_what_is_refused_is_told_by_its_reason(server: Server) -> None:
    port = free_port()
    source = Figures(f"http://127.0.0.1:{port}")
    body = EVENT * 3 + b"\n"

    def refused(reason: str) -> float | None:
        return source.now("refused_total", reason=reason)

    async def sent(body: bytes = body, **headers: str) -> int:
        return (await asyncio.to_thread(post, port, body, authorization="Bearer x", **headers)).status

    async with ingesting(server, source.source, ingest_token="x", max_body_bytes=2000):
        await until(lambda: source.now("connections") == 0, "it listens")
        assert await sent() == 202
        assert await sent(idempotency_key="k") == 202
        assert await sent(idempotency_key="k") == 202, "which is a replay"
        assert await sent(EVENT, idempotency_key="k") == 422
        assert await sent(EVENT * 100) == 413
        assert (await asyncio.to_thread(post, port, body)).status == 401
        assert await sent(origin="https://elsewhere.example", sec_fetch_site="cross-site") == 403
        assert b" 400 " in (await asyncio.to_thread(raw, port, b"nonsense\r\n\r\n")).splitlines()[0]
        _, writing = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: source.now("connections") == 1, "a connection is seen")
        writing.close()
        await until(lambda: source.now("connections") == 0, "it is seen that it is closed")
        assert (source.grown("lines"), source.grown("bytes"), source.grown("replays")) == (6, 2 * len(body), 1)
        assert source.now("blocks_total", outcome="conflict") == 1
        assert source.now("blocks_total", outcome="duplicate") == 1
        assert source.now("request_duration_seconds_count", status="2xx") == 3
        assert source.now("request_duration_seconds_count", status="4xx") == 4
        # 413 and 401 and 403 are answered to the head.
        assert source.now("request_size_bytes_sum") == 3 * len(body) + len(EVENT)
        for reason in ("token_needed", "cross_site_request", "malformed_request", "idempotency_key_reused"):
            assert refused(reason) == 1, reason
        assert refused("body_too_large") == 1
        assert source.now("buffered_bytes") == 0


async def test_connections_and_what_they_hold_are_told(server: Server) -> None:
    port = free_port()
    source = Figures(f"tcp://127.0.0.1:{port}")
    async with ingesting(server, source.source, max_connections=2):
        await until(lambda: source.now("connections") == 0, "it listens")
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2)]
        await until(lambda: source.now("connections") == 2, "both are seen")
        writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
        await until(lambda: source.now("refused_total", reason="too_many_connections") == 1, "one is refused")
        writers[0].write(EVENT + EVENT[:5])
        await until(lambda: source.grown("lines") == 1, "a line is appended")
        await until(lambda: source.now("buffered_bytes") == 5, "half a line is held")
        writers[1].write(b"POST / HTTP/1.1\r\n\r\n")
        await until(lambda: source.now("refused_total", reason="http_request") == 1, "HTTP is refused")
    for each in writers:
        each.close()
    assert source.grown("lost_bytes") == 5, "half a line, which nobody finished"
