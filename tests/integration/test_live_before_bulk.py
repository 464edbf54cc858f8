"""A file that fills the stream leaves room to what is live: it is appended at once, and nothing is lost or repeated."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingestor.log_events import STREAM_FULL
from ingestor.sources.base import CHUNK_BYTES
from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tests.effort import seeds
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.senders import post, wait_for_port
from tests.server import Server, free_port
from tests.stream import Stream
from tests.waiting import wait_until

KEYS = Keys()
BLOCK_BYTES = 4096
BULK_BYTES, ALL_BYTES = 20 * BLOCK_BYTES, 40 * BLOCK_BYTES
BULK_BLOCKS, ALL_BLOCKS = 20, 40

BY_BYTES = {"TALLY_BULK_BACKLOG_BYTES": str(BULK_BYTES), "TALLY_MAX_BACKLOG_BYTES": str(ALL_BYTES)}
BY_BLOCKS = {"TALLY_MAX_BACKLOG_BLOCKS": str(ALL_BLOCKS)}


class Ingestors:
    """An ingestor that reads a file, follows another one, and listens; on a server of which we see the stream."""

    def __init__(self, server: Server, folder: Path, **limits: str) -> None:
        self.server = server
        self.file, self.log = folder / "events.ndjson", folder / "events.log"
        self.http_port, self.tcp_port = free_port(), free_port()
        self.stream = Stream(server.port)
        self._written: dict[Path, bytes] = {self.file: b"", self.log: b""}
        self._variables = {"TALLY_REDIS_URL": server.url, "TALLY_MAX_BLOCK_BYTES": str(BLOCK_BYTES), **limits}
        self._folder = folder
        self.process = Process(
            "ingestor",
            str(self.file),
            f"tail:{self.log}",
            f"http://127.0.0.1:{self.http_port}",
            f"tcp://127.0.0.1:{self.tcp_port}",
            log=folder / "ingestor.log",
            **self._variables,
        )

    def write(self, path: Path, lines: bytes) -> None:
        with path.open("ab") as file:
            file.write(lines)
        self._written[path] += lines

    def written(self) -> list[bytes]:
        return b"".join(self._written.values()).split(b"\n")

    def wait_until_the_file_waits(self) -> None:
        wait_until(lambda: STREAM_FULL in self.process.log(), what="the stream is full for the file")
        wait_for_port(self.http_port)
        wait_for_port(self.tcp_port)

    def send(self, line: bytes) -> None:
        """Send a line by TCP; it is not known when it arrives."""
        with socket.create_connection(("127.0.0.1", self.tcp_port), timeout=60) as connection:
            connection.sendall(line)

    def wait_for_line(self, line: bytes) -> None:
        wait_until(lambda: line in self.stream.lines(), what=f"{line!r} is in the stream")

    def aggregate(self) -> Process:
        return Process("aggregator", log=self._folder / "aggregator.log", **self._variables)

    def status(self) -> dict[str, Any]:
        """What `tally status` says of the backlog."""
        command = [sys.executable, "-P", "-m", "tally", "status", "--json"]
        variables = {**os.environ, **self._variables}
        said = subprocess.run(command, env=variables, check=True, capture_output=True, timeout=120)
        backlog: dict[str, Any] = json.loads(said.stdout)["backlog"]
        return backlog


def event(text: str) -> bytes:
    return b'{"event_type": "live", "data": "%s"}' % text.encode()


def some_lines(count: int, *, seed: int) -> bytes:
    return b"".join(Generator(GeneratorSpec(count=count, seed=seed, corrupt=0.05)).lines())


@pytest.fixture(params=[BY_BYTES, BY_BLOCKS], ids=["bytes", "blocks"])
def ingestors(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ingestors]:
    made = Ingestors(server, tmp_path, **request.param)
    with closing(made.stream):
        made.write(made.file, some_lines(10_000, seed=1))
        made.write(made.log, event("the first of the log") + b"\n")
        yield made


@pytest.mark.slow
def test_what_is_live_is_appended_while_a_file_waits_and_the_file_goes_on_when_it_is_counted(
    ingestors: Ingestors,
) -> None:
    with running(ingestors.process):
        ingestors.wait_until_the_file_waits()
        ingestors.wait_for_line(event("the first of the log"))
        (file_position,) = (at for name, at in ingestors.stream.positions().items() if name.startswith("file:"))
        assert file_position < BULK_BYTES + BLOCK_BYTES, "over it by a block at the most"
        assert (ingestors.status()["bulk_full"], ingestors.status()["full"]) == (True, False)

        assert post(ingestors.http_port, event("by HTTP")).status == 202
        ingestors.send(event("by TCP") + b"\n")
        ingestors.wait_for_line(event("by TCP"))
        ingestors.write(ingestors.log, event("just written") + b"\n")
        ingestors.wait_for_line(event("just written"))
        assert event("by HTTP") in ingestors.stream.lines()
        (now,) = (at for name, at in ingestors.stream.positions().items() if name.startswith("file:"))
        assert now == file_position, "the file still waits"

        with running(ingestors.aggregate()), ingestors.server.client() as client:
            want = Expected.of([*ingestors.written(), event("by HTTP"), event("by TCP")])
            wait_until(lambda: counted(client).lines == want.lines, what="all is counted", seconds=120)
            assert counted(client) == want
            assert (ingestors.status()["bulk_full"], ingestors.status()["full"]) == (False, False)
    assert sorted(ingestors.stream.positions().values())[-2:] == sorted(
        path.stat().st_size for path in (ingestors.file, ingestors.log)
    )


def test_what_is_live_finds_the_stream_full_in_the_end(ingestors: Ingestors) -> None:
    with running(ingestors.process):
        ingestors.wait_until_the_file_waits()
        body = event("x" * 3000)
        answers = [post(ingestors.http_port, body).status for _ in range(2 * ALL_BLOCKS)]
        appended = answers.index(429)
        assert set(answers[:appended]) == {202}
        assert set(answers[appended:]) == {429}
        assert appended >= ALL_BLOCKS - BULK_BLOCKS - 4, "what was left of the room, but for the log and one over it"
        backlog = ingestors.status()
        assert (backlog["bulk_full"], backlog["full"]) == (True, True)
        assert backlog["blocks"] >= ALL_BLOCKS or backlog["bytes"] >= ALL_BYTES


@pytest.mark.slow
def test_a_followed_file_with_much_to_read_waits_like_any_other(server: Server, tmp_path: Path) -> None:
    """And is live when that is read: one that is far behind has old lines in front of the new ones."""
    ingestors = Ingestors(server, tmp_path, **BY_BYTES)
    ingestors.write(ingestors.log, some_lines(40_000, seed=1))
    assert ingestors.log.stat().st_size > 2 * CHUNK_BYTES
    ingestors.file.touch()
    with closing(ingestors.stream), running(ingestors.process):
        ingestors.wait_until_the_file_waits()
        assert ingestors.status()["bulk_full"]
        assert ingestors.stream.appended_bytes() < BULK_BYTES + BLOCK_BYTES
        with running(ingestors.aggregate()), server.client() as client:
            want = Expected.of(ingestors.written())
            wait_until(lambda: counted(client).lines == want.lines, what="all is counted", seconds=120)
            assert counted(client) == want


@pytest.mark.parametrize("seed", seeds([1], [2, 3]))
def test_several_files_and_live_lines_are_exact_whatever_is_killed(server: Server, tmp_path: Path, seed: int) -> None:
    """Two files, a folder, and one that is followed share what there is room for in bulk; events come by HTTP."""
    chance = random.Random(seed)
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / "a.ndjson", tmp_path / "b.ndjson", *(tmp_path / "folder" / name for name in "cde")]
    for at, path in enumerate(paths):
        path.write_bytes(some_lines(6000, seed=at))
    log, port, stream = tmp_path / "events.log", free_port(), Stream(server.port)
    log.write_bytes(some_lines(100, seed=98))
    sources = [*map(str, paths[:2]), str(tmp_path / "folder"), f"tail:{log}", f"http://127.0.0.1:{port}"]
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_MAX_BLOCK_BYTES": "2048", **BY_BLOCKS}
    process = Process("ingestor", *sources, log=tmp_path / "ingestor.log", **variables)
    sent = 0
    with closing(stream), running(process):
        for _ in range(12):
            wait_until(lambda: stream.blocks() >= BULK_BLOCKS or _is_read(stream, paths, log), what="files are read")
            wait_for_port(port)
            with log.open("ab") as file:
                file.write(event(f"written {sent}") + b"\n")
            sent += 1
            assert post(port, event(f"sent {sent}"), idempotency_key=f"k{sent}").status == 202, "there is room for it"
            if chance.random() < 0.5:
                assert process.kill()
                process.start()
            stream.take()

        def all_is_read() -> bool:
            stream.take()
            return _is_read(stream, paths, log)

        wait_until(all_is_read, what="all is read", seconds=120)
        process.stop()  # with 1 if it is not yet known whether the last file is on the server's disk
        want = b"".join(path.read_bytes() for path in (*paths, log))[:-1].split(b"\n")
        assert stream.difference([*want, *(event(f"sent {number}") for number in range(1, sent + 1))]) == ([], [])


def _is_read(stream: Stream, paths: list[Path], log: Path) -> bool:
    sizes = sorted(path.stat().st_size for path in (*paths, log))
    replayable = (at for name, at in stream.positions().items() if name.startswith(("file:", "tail:")))
    return sorted(replayable) == sizes
