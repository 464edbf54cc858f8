"""`tally up`: it counts, answers, and has its data again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from ingestor.log_events import SOURCE_ENDED
from tally.keys import Keys
from tally.local.log_events import (
    CANNOT_WRITE_OUTPUT,
    SERVICE_DIED,
    WAITING_FOR_REDIS,
)
from tests.cli.commands import TALLY, assert_refused, tally
from tests.cli.up import Up, command_of
from tests.oracle import Expected
from tests.scraping import ready
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()


def test_up_counts_answers_ends_with_ctrl_c_and_has_its_data_again(
    up: Up, expected: Expected, left: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    up.start("--source", up.source, "--aggregators", "2")
    wait_until(lambda: up.shows(expected), what="everything is counted")
    wait_until(lambda: "Tally is counting." in up.output(), what="it says where to look")
    assert f"http://127.0.0.1:{up.port}/events/CountByEventType" in up.output()
    status = tally("status", "--json", env={"TALLY_DATA_DIR": str(up.data)})
    assert json.loads(status.stdout)["totals"]["events"] == expected.events
    assert sum("-m aggregator" in command_of(pid) for pid in left()) == 2

    assert up.interrupt() == 0, up.log()
    assert left() == []
    assert "Traceback" not in up.log()
    assert SERVICE_DIED not in up.log()

    monkeypatch.setenv("TALLY_METRICS_PORT", str(port := _first_of_two_free_ports()))
    up.start("--source", up.source)
    wait_until(lambda: up.get("/readyz") is not None, what="it answers again")
    assert up.shows(expected)
    # The ingestor has the first one, until its file has ended.
    wait_until(lambda: ready(f"http://127.0.0.1:{port + 1}") == (200, ""), what="the aggregator says that it is ready")
    wait_until(lambda: up.log().count(SOURCE_ENDED) == 2, what="the file was looked at again")
    assert up.shows(expected), "and counted once"
    assert up.interrupt() == 0, up.log()
    assert left() == []


def _first_of_two_free_ports() -> int:
    while True:
        port = free_port()
        with suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
            return port


@pytest.mark.slow
def test_made_up_events_are_apart_from_others_and_gone_with_their_folder(
    up: Up, expected: Expected, left: Callable[[], list[int]]
) -> None:
    up.start("--source", up.source)
    wait_until(lambda: up.shows(expected), what="everything is counted")
    assert up.interrupt() == 0, up.log()

    up.start()
    wait_until(lambda: bool(up.get("/events/CountByEventType")), what="made-up events are counted")
    wait_until(lambda: "Ctrl-C" in up.output(), what="it says where to look")
    assert "These events are made up" in up.output()
    assert str(up.data / "demo") in up.output()
    assert "no source was named" in up.log()
    beside = json.loads(tally("status", "--json", env={"TALLY_DATA_DIR": str(up.data)}).stdout)
    assert {each["name"].partition("#")[0] for each in beside["sources"]} == {"demo:story"}
    assert [each["name"] for each in beside["busiest_sources"]] == ["demo:story"]
    assert beside["words_by_type"]["most"] == 20
    assert beside["namespace"] == "demo", "which is found with the server"
    among_them = tally("ingest", up.source, env={"TALLY_DATA_DIR": str(up.data)})
    assert among_them.returncode == 0
    assert "thrown away with them" in among_them.stderr, "events of one's own are not lost unawares"
    assert up.interrupt() == 0, up.log()
    assert not (up.data / "redis.url").exists()

    up.start("--no-source")
    wait_until(lambda: up.shows(expected), what="what was counted before is there, and nothing else")
    assert up.interrupt() == 0, up.log()
    shutil.rmtree(up.data / "demo")
    up.start("--source", "demo:?count=0")
    wait_until(lambda: up.shows(expected), what="it still is")
    assert up.interrupt() == 0, up.log()
    assert left() == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_up_counts_although_it_cannot_say_where_to_look(up: Up, tmp_path: Path, expected: Expected) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    up.start("--source", up.source)
    wait_until(lambda: CANNOT_WRITE_OUTPUT in up.log(), what="it says so in the log")
    wait_until(lambda: up.shows(expected), what="everything is counted")
    assert up.interrupt() == 0, up.log()


@pytest.mark.slow
def test_other_clients_come_in_by_a_port_that_is_asked_for_and_a_password_that_is_not_shown(
    up: Up, events: Path, expected: Expected
) -> None:
    port = free_port()
    up.start("--no-source", "--redis-port", str(port))
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    assert f"redis://:***@127.0.0.1:{port}/0, as in {up.data / 'redis.url'}" in up.output()
    url = (up.data / "redis.url").read_text(encoding="utf-8").strip()
    beside = {"TALLY_DATA_DIR": str(up.data)}
    assert tally("ingest", str(events), env=beside).returncode == 0
    wait_until(lambda: up.shows(expected), what="what another terminal appends is counted")
    with redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.hget(KEYS.totals, "events") == str(expected.events)
    status = tally("status", env=beside)
    assert f"redis://:***@127.0.0.1:{port}/0" in status.stdout
    assert up.interrupt() == 0, up.log()
    password = url.removeprefix("redis://:").partition("@")[0]
    for said in (up.output(), up.log(), status.stdout, (up.data / "valkey.log").read_text(encoding="utf-8")):
        assert password not in said


@pytest.mark.slow
def test_a_folder_whose_name_is_not_a_word_is_as_good_as_any(tmp_path: Path, up: Up, expected: Expected) -> None:
    up.data = tmp_path / 'My "own" événements %d\\'
    up.start("--source", up.source)
    wait_until(lambda: up.shows(expected), what="everything is counted")
    assert up.interrupt() == 0, up.log()
    up.start("--source", up.source)
    wait_until(lambda: up.shows(expected), what="everything is there again")
    assert up.interrupt() == 0, up.log()


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty", marks=pytest.mark.slow),
        pytest.param(b"\xff", id="no text", marks=pytest.mark.slow),
        pytest.param(b"redis://127.0.0.1:", id="half"),
    ],
)
def test_a_url_file_that_is_damaged_is_none(up: Up, content: bytes) -> None:
    up.data.mkdir()
    (up.data / "redis.url").write_bytes(content)
    # Nobody listens on the port of Redis itself, or somebody does: it is asked in any case.
    assert "Traceback" not in tally("status", env={"TALLY_DATA_DIR": str(up.data)}).stderr
    up.start("--no-source")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    assert up.interrupt() == 0, up.log()


def test_a_server_that_cannot_start_is_quoted(up: Up, left: Callable[[], list[int]]) -> None:
    up.start("--no-source")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    assert up.interrupt() == 0, up.log()
    (appended,) = (up.data / "appendonlydir").glob("*.incr.aof")
    appended.write_bytes(b"garbage\n")
    done = tally("up", "--port", str(up.port), "--data", str(up.data), "--no-source")
    assert_refused(done, 1, "the embedded server does not start: Bad file format reading the append only file")
    assert str(up.data / "valkey.log") in done.stderr
    assert left() == []


@pytest.mark.slow
def test_up_uses_the_redis_that_is_set_and_takes_standard_input(
    server: Server, tmp_path: Path, left: Callable[[], list[int]]
) -> None:
    port, line = free_port(), b'{"event_type": "a", "data": "b"}\n'
    process = subprocess.Popen(
        [*TALLY, "up", "--source", "-", "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TALLY_REDIS_URL": server.url},
        start_new_session=True,
    )
    with process, server.client() as client:
        assert process.stdin is not None
        try:
            for number in range(1, 4):
                process.stdin.write(line)
                process.stdin.flush()
                wait_until(
                    lambda number=number: client.hget(KEYS.types, "a") == str(number),  # type: ignore[misc]
                    what="the line is counted",
                )
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            process.stdin.close()
        finally:
            process.kill()
    assert not Path(".tally").exists(), "no server of its own"
    assert left() == []


@pytest.mark.slow
def test_up_says_that_it_waits_for_a_redis_that_is_not_there_and_counts_when_it_comes(
    up: Up, tmp_path: Path, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    monkeypatch.setenv("TALLY_REDIS_URL", server.url)
    up.start("--source", up.source)
    wait_until(lambda: WAITING_FOR_REDIS in up.log(), what="it says so")
    assert up.get("/healthz") == {"status": "ok"}
    assert not up.output()
    server.start()
    try:
        wait_until(lambda: "Tally is counting." in up.output(), what="it says where to look")
        wait_until(lambda: up.shows(expected), what="everything is counted")
        assert up.log().count(WAITING_FOR_REDIS) == 1
        assert up.interrupt() == 0, up.log()
    finally:
        server.kill()
