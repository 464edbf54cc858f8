"""The whole pipeline, as processes, on a real server: its counts equal independent ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aggregator.log_events import STARTED
from ingestor.log_events import ALL_SOURCES_ENDED, SOURCE_FAILED, SOURCE_OPENED, SOURCE_STOPPED, STREAM_FULL
from tally.generator import Generator, GeneratorSpec
from tally.keys import GROUP, Keys
from tally.log_events import REDIS_AVAILABLE_AGAIN, REDIS_UNAVAILABLE
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.server import Server
from tests.waiting import wait_until

KEYS = Keys()


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 50,000 lines, one in ten of them garbage, some of them awkward."""
    path = tmp_path_factory.mktemp("events") / "events.ndjson"
    lines = b"".join(Generator(GeneratorSpec(count=50_000, seed=7)).lines())
    awkward = [
        b'{"event_type": "win", "data": "carriage return"}\r',
        b"",
        b"\r",
        b'{"event_type": "nul", "data": "a\\u0000b"}',
        b'\x00{"event_type": "nul", "data": "x"}',
        b'{"event_type": "a", "data": "b"}{"event_type": "a", "data": "b"}',
        b'{"event_type": "spread",',
        b'"data": "over two lines"}',
        '{"event_type": "größe", "data": "naïve café l’été well-known"}'.encode(),
        b'{"event_type": "long", "data": "' + b"x" * 300_000 + b'"}',
        b'{"event_type": "longer", "data": "' + b"y " * 1_000_000 + b'"}',
        b'{"event_type": "last", "data": "no line end"}',
    ]
    path.write_bytes(lines + b"\n".join(awkward))
    return path


def expected_of(path: Path) -> Expected:
    lines = path.read_bytes().split(b"\n")
    found = Expected.of([line for line in lines if len(line) <= 1_048_576])
    found.rejected += sum(len(line) > 1_048_576 for line in lines)
    # A word of 300,000 bytes is over the bound of a name.
    long = [word for word in found.words if len(word.encode()) > 256]
    for word in long:
        found.words["__other__"] += found.words.pop(word)
    return found


@pytest.mark.parametrize(
    ("aggregators", "block_bytes", "least_blocks"),
    [
        (1, 1024, 1000),
        pytest.param(4, 1024, 1000, marks=pytest.mark.slow),
        pytest.param(1, 262_144, 10, marks=pytest.mark.slow),
        (4, 262_144, 10),
        (1, 16_777_216, 1),
        pytest.param(4, 16_777_216, 1, marks=pytest.mark.slow),
    ],
)
def test_counts_of_a_file_with_garbage_equal_an_independent_count(
    server: Server, events: Path, tmp_path: Path, aggregators: int, block_bytes: int, least_blocks: int
) -> None:
    url = {"TALLY_REDIS_URL": server.url, "TALLY_MAX_BLOCK_BYTES": str(block_bytes)}
    workers = [Process("aggregator", log=tmp_path / f"aggregator-{at}.log", **url) for at in range(aggregators)]
    ingestor = Process("ingestor", str(events), log=tmp_path / "ingestor.log", **url)
    drain = Process("aggregator", "--drain", log=tmp_path / "drain.log", **url)
    with running(ingestor, *workers):
        assert ingestor.wait() == 0, ingestor.log()
        with running(drain):
            assert drain.wait() == 0, drain.log()
        for worker in workers:
            assert worker.stop() == 0, worker.log()
    with server.client() as client:
        assert counted(client) == expected_of(events)
        assert _blocks(client) >= least_blocks
        assert client.xlen(KEYS.stream) == 0
        groups: Any = client.xinfo_groups(KEYS.stream)
        assert [(group["name"], group["consumers"], group["pending"]) for group in groups] == [(GROUP, 0, 0)]


def test_a_file_in_one_block_counts_as_in_many(server: Server, events: Path, tmp_path: Path) -> None:
    aggregator = Process("aggregator", "--drain", log=tmp_path / "log", TALLY_REDIS_URL=server.url)
    with server.client() as client:
        client.xadd(KEYS.stream, {"lines": events.read_bytes()})
        with running(aggregator):
            assert aggregator.wait() == 0, aggregator.log()
        assert counted(client) == expected_of(events)
        assert _blocks(client) == 1


def _blocks(client: Any) -> int:
    return int(client.hget(KEYS.totals, "blocks"))


def test_a_file_that_is_ingested_again_counts_once_and_goes_on_when_it_has_grown(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    line = b'{"event_type": "a", "data": "b"}\n'
    url = {"TALLY_REDIS_URL": server.url}

    def ingest_and_count() -> Expected:
        for arguments in (("ingestor", str(path)), ("aggregator", "--drain")):
            process = Process(*arguments, log=tmp_path / "log", **url)
            with running(process):
                assert process.wait() == 0, process.log()
        with server.client() as client:
            return counted(client)

    path.write_bytes(line * 10)
    assert ingest_and_count().events == 10
    assert ingest_and_count().events == 10
    with path.open("ab") as file:
        file.write(line * 5)
    assert ingest_and_count().events == 15
    path.write_bytes(b'{"event_type": "other file", "data": "b"}\n' * 3)
    assert ingest_and_count().types == {"a": 15, "other file": 3}


def test_an_ingestor_that_is_to_stay_waits_for_its_stop_when_its_source_has_ended(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"event_type": "a", "data": "b"}\n')
    ingestor = Process("ingestor", "--stay", str(path), log=tmp_path / "log", TALLY_REDIS_URL=server.url)
    with running(ingestor):
        wait_until(lambda: ALL_SOURCES_ENDED in ingestor.log(), what="it has come to the end")
        assert ingestor.exit_code is None
        assert ingestor.stop() == 0


def test_entries_of_other_clients_are_counted(server: Server, tmp_path: Path) -> None:
    aggregator = Process("aggregator", "--drain", log=tmp_path / "log", TALLY_REDIS_URL=server.url)
    with server.client() as client:
        client.xadd(KEYS.stream, {"lines": '{"event_type": "a", "data": "b"}'})
        client.xadd(KEYS.stream, {"lines": '{"event_type": "a", "data": "b"}\n{"event_type": "c", "data": "d"}\n'})
        client.xadd(KEYS.stream, {"event": "not ours"})
        with running(aggregator):
            assert aggregator.wait() == 0, aggregator.log()
        found = counted(client)
        assert (found.types, found.rejected) == ({"a": 2, "c": 1}, 1)
        samples: Any = client.xrange(KEYS.rejected)
        assert [fields["reason"] for _, fields in samples] == ["the entry has no field 'lines'"]


def test_standard_input_is_appended_as_it_comes_and_its_source_is_forgotten(server: Server, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ingestor", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TALLY_REDIS_URL": server.url},
    )
    assert process.stdin is not None
    try:
        with server.client() as client:
            for at in range(1, 4):
                process.stdin.write(b'{"event_type": "a", "data": "b"}\n')
                process.stdin.flush()
                wait_until(lambda at=at: client.xlen(KEYS.stream) == at, what="the line is on the stream")  # type: ignore[misc]
            process.stdin.write(b'{"event_type": "a", "data": "no line end"}')
            process.stdin.close()
            assert process.wait(30) == 0
            assert client.xlen(KEYS.stream) == 4
            assert client.hlen(KEYS.sources) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit",
    [
        {"TALLY_MAX_BACKLOG_BLOCKS": "20"},
        {"TALLY_MAX_BACKLOG_BYTES": str(1_250_000)},
    ],
)
def test_a_full_stream_stops_the_source_and_nothing_is_lost(
    server: Server, events: Path, tmp_path: Path, limit: dict[str, str]
) -> None:
    """With no aggregator the backlog stops at its limit, the source is read no further, memory stays flat."""
    path = tmp_path / "large.ndjson"
    with path.open("wb") as file:
        for _ in range(20):
            file.write(events.read_bytes() + b"\n")
    limits = {"TALLY_MAX_BLOCK_BYTES": "65536", "TALLY_REDIS_URL": server.url, **limit}
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", **limits)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", TALLY_REDIS_URL=server.url)
    with running(ingestor), server.client() as client:
        wait_until(lambda: STREAM_FULL in ingestor.log(), what="the ingestor says that the stream is full")
        said = next(line for line in ingestor.log().splitlines() if STREAM_FULL in line)
        assert '"level": "info"' in said, "a file waits whenever aggregators are slower than it: that is no trouble"
        blocks = client.xlen(KEYS.stream)
        assert blocks == 10 or "TALLY_MAX_BACKLOG_BYTES" in limit, "a file leaves half of them to live sources"
        assert int(client.hget(KEYS.backlog, "bytes") or 0) < 1_250_000 + 65_536, "over it by a block at the most"
        before = ingestor.resident_bytes()
        position = client.hgetall(KEYS.sources)
        for _ in range(50):
            time.sleep(0.02)  # nothing may happen for a while: there is no condition to wait for
            assert client.xlen(KEYS.stream) == blocks
        assert client.hgetall(KEYS.sources) == position
        assert ingestor.resident_bytes() < before + 8 * 1024 * 1024
        with running(aggregator):
            assert ingestor.wait() == 0, ingestor.log()
            wait_until(lambda: client.xlen(KEYS.stream) == 0, what="all is counted")
        want = expected_of(events)
        found = counted(client)
        assert (found.events, found.rejected) == (want.events * 20, want.rejected * 20)
        assert found.types == {name: count * 20 for name, count in want.types.items()}


def test_rejected_lines_are_kept_with_their_reasons(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(b'nonsense\n\xff\n{"event_type": 5, "data": "x"}\n')
    for arguments in (("ingestor", str(path)), ("aggregator", "--drain")):
        process = Process(*arguments, log=tmp_path / "log", TALLY_REDIS_URL=server.url)
        with running(process):
            assert process.wait() == 0, process.log()
    with server.client() as client:
        samples: Any = client.execute_command("XRANGE", KEYS.rejected, "-", "+", NEVER_DECODE=True)
    reasons = [fields[b"reason"].decode() for _, fields in samples]
    assert [reason.split(":")[0] for reason in reasons] == ["not JSON", "not UTF-8", "not an event"]


def test_a_stop_leaves_nothing_behind_and_loses_nothing(server: Server, tmp_path: Path) -> None:
    """SIGTERM to both in full flow: what the generator made is either counted or in the stream."""
    url = {"TALLY_REDIS_URL": server.url}
    ingestor = Process("ingestor", "demo:?rate=20000&seed=3", log=tmp_path / "ingestor.log", **url)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **url)
    with running(ingestor, aggregator), server.client() as client:
        wait_until(lambda: counted(client).events > 5000, what="events are counted")
        assert ingestor.stop() == 0, ingestor.log()
        assert aggregator.stop() == 0, aggregator.log()
        assert client.xinfo_consumers(KEYS.stream, GROUP) == []
        drain = Process("aggregator", "--drain", log=tmp_path / "drain.log", **url)
        with running(drain):
            assert drain.wait() == 0, drain.log()
        ended = next(json.loads(line) for line in ingestor.log().splitlines() if SOURCE_STOPPED in line)
        found = client.hgetall(KEYS.totals)
        made = Generator(GeneratorSpec(rate=20000, seed=3, count=int(found["lines"])))
        want = Expected.of(b"".join(made.lines()).split(b"\n"))
        assert counted(client).types == want.types
        assert ended["appended_bytes"] > 0


@pytest.mark.slow
def test_an_ingestor_that_cannot_reach_redis_stops_when_told(tmp_path: Path) -> None:
    ingestor = Process("ingestor", "demo:?rate=1000", log=tmp_path / "log", TALLY_REDIS_URL="redis://127.0.0.1:1/0")
    with running(ingestor):
        wait_until(lambda: REDIS_UNAVAILABLE in ingestor.log(), what="the ingestor looks for Redis")
        assert ingestor.stop() == 0


def test_services_say_when_redis_is_away_and_when_it_is_back(durable_server: Server, tmp_path: Path) -> None:
    url = {"TALLY_REDIS_URL": durable_server.url}
    ingestor = Process("ingestor", "demo:?rate=1000", log=tmp_path / "ingestor.log", **url)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **url)
    with running(ingestor, aggregator):
        wait_until(lambda: STARTED in aggregator.log(), what="the aggregator begins")
        wait_until(lambda: SOURCE_OPENED in ingestor.log(), what="the ingestor begins")
        durable_server.kill()
        for service in (ingestor, aggregator):
            wait_until(lambda log=service.log: REDIS_UNAVAILABLE in log(), what="it says so")  # type: ignore[misc]
        durable_server.start()
        for service in (ingestor, aggregator):
            wait_until(lambda log=service.log: REDIS_AVAILABLE_AGAIN in log(), what="it says so")  # type: ignore[misc]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_was_not_appended_whole_is_a_failure_and_goes_on_the_next_time(
    server: Server, events: Path, tmp_path: Path, what: str
) -> None:
    """Who deletes it when the ingestor has ended well loses nothing."""
    limits = {"TALLY_MAX_BLOCK_BYTES": "65536", "TALLY_MAX_BACKLOG_BLOCKS": "8", "TALLY_REDIS_URL": server.url}
    source = str(events if what == "file" else events.parent)
    ingestor = Process("ingestor", source, log=tmp_path / "ingestor.log", **limits)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", TALLY_REDIS_URL=server.url)
    with running(ingestor), server.client() as client:
        wait_until(lambda: STREAM_FULL in ingestor.log(), what="the ingestor says that the stream is full")
        assert ingestor.stop() == 1
        (position,) = (int(position) for position in client.hgetall(KEYS.sources).values())
        assert 0 < position < events.stat().st_size
        stopped = next(json.loads(line) for line in ingestor.log().splitlines() if SOURCE_STOPPED in line)
        assert stopped["position"] == position
        assert f"tally: source {source}: stopped" in ingestor.log()
        assert "run it again, and it goes on there" in ingestor.log()
        assert SOURCE_FAILED not in ingestor.log()
        assert "Traceback" not in ingestor.log()
        with running(aggregator):
            ingestor.start()
            assert ingestor.wait() == 0, ingestor.log()
            wait_until(lambda: client.xlen(KEYS.stream) == 0, what="all is counted")
        assert counted(client) == expected_of(events)


def test_standard_input_that_was_stopped_before_its_end_is_a_failure(server: Server) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ingestor", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TALLY_REDIS_URL": server.url},
    )
    with process, server.client() as client:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            process.stdin.write(b'{"event_type": "a", "data": "b"}\n')
            process.stdin.flush()
            wait_until(lambda: client.xlen(KEYS.stream) == 1, what="the line is on the stream")
            process.terminate()
            assert process.wait(30) == 1
            said = process.stderr.read().decode()
            assert "tally: source -: stopped at position 33, before its end\n" in said
            assert "lost" not in said
        finally:
            process.kill()
