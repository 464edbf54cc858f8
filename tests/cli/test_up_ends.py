"""How a `tally up` ends, or a part of it, and what is left then."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from ingestor.log_events import SOURCE_ENDED
from tally.keys import Keys
from tally.local.log_events import (
    STOPPING_SERVER,
    STOPPING_SERVICE,
)
from tests.cli.commands import assert_refused, tally
from tests.cli.up import GUARD, SERVER, Up, command_of
from tests.oracle import Expected
from tests.server import free_port
from tests.waiting import wait_until

KEYS = Keys()


@pytest.mark.slow
def test_when_up_is_killed_its_services_end_and_the_next_one_goes_on(
    up: Up, expected: Expected, left: Callable[[], list[int]]
) -> None:
    process = up.start("--source", up.source, "--source", "exec:cat; sleep 1000")
    wait_until(lambda: up.shows(expected), what="everything is counted")
    wait_until(lambda: any("sleep" in command_of(pid) for pid in left()), what="the program runs")
    process.kill()
    process.wait()

    def services() -> list[str]:
        return [command for command in map(command_of, left()) if command and "valkey" not in command]

    wait_until(lambda: not services(), what="the services and their programs are gone", seconds=30)

    up.start("--source", up.source)
    wait_until(lambda: up.get("/readyz") is not None, what="it answers again")
    wait_until(lambda: up.shows(expected), what="everything is there again")
    assert up.interrupt() == 0, up.log()
    assert left() == [], "not even the server that the killed one left behind"


@pytest.mark.slow
def test_up_starts_a_service_again_that_was_killed_and_its_server_too(
    up: Up, expected: Expected, left: Callable[[], list[int]], tmp_path: Path
) -> None:
    later = tmp_path / "later"
    feeding = f"cat {up.source}; echo; until [ -e {later} ]; do sleep 0.05; done; cat {later}"
    up.start("--source", f"exec:{feeding}")
    wait_until(lambda: up.shows(expected), what="everything is counted")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    with redis.Redis.from_url((up.data / "redis.url").read_text(encoding="utf-8").strip()) as client:
        # What the server has not yet on its disk would be lost with it, and a program cannot be read again.
        client.set(KEYS.probe, 1, px=1)
        assert client.execute_command("WAITAOF", 1, 0, 30_000) == [1, 0]

    for name in ("-m api", "-m aggregator", SERVER, GUARD):
        (pid,) = (pid for pid in left() if re.search(name, command_of(pid)))
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda name=name, pid=pid: any(re.search(name, command_of(each)) for each in left() if each != pid),  # type: ignore[misc]
            what=f"{name} was started again",
        )
        wait_until(lambda: up.get("/readyz") is not None, what="it is ready again")
        wait_until(lambda: up.shows(expected), what="nothing was lost")
    later.write_bytes(b'\n{"event_type": "later", "data": "late"}\n')
    wait_until(lambda: up.get("/events/CountByEventType").get("later") == 1, what="it goes on counting")
    assert up.interrupt() == 0, up.log()
    assert left() == []


def test_up_refuses_a_port_and_a_folder_that_are_in_use(up: Up, tmp_path: Path) -> None:
    up.start("--no-source")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    busy_port = tally("up", "--port", str(up.port), "--data", str(tmp_path / "other"), "--no-source")
    assert_refused(busy_port, 2, f"cannot listen on 127.0.0.1 port {up.port}", "--port")
    busy_folder = tally("up", "--port", str(free_port()), "--data", str(up.data), "--no-source")
    assert busy_folder.returncode == 1
    assert f"another tally up uses the data folder {up.data}" in busy_folder.stderr
    assert up.get("/readyz") == {"status": "ready"}, "and the first one never noticed"
    assert (up.data / "redis.url").read_text(encoding="utf-8").startswith("unix://"), "nor who asks for it"
    assert up.interrupt() == 0, up.log()
    assert not (up.data / "redis.url").exists()


@pytest.mark.slow
@pytest.mark.parametrize("by", ["socket", pytest.param("port", marks=pytest.mark.slow)])
def test_no_two_servers_are_in_a_folder_even_if_a_killed_up_left_one_without_its_keeper_and_its_url(
    up: Up, expected: Expected, left: Callable[[], list[int]], by: str
) -> None:
    process = up.start("--source", up.source, *(["--redis-port", str(free_port())] if by == "port" else []))
    wait_until(lambda: up.shows(expected), what="everything is counted")
    wait_until(lambda: SOURCE_ENDED in up.log(), what="the server has it on its disk")
    (guard,) = (pid for pid in left() if GUARD in command_of(pid))
    (orphan,) = (pid for pid in left() if "valkey-server" in command_of(pid) and pid != guard)
    process.send_signal(signal.SIGSTOP)  # so that it cannot start another one
    os.kill(guard, signal.SIGKILL)
    process.kill()
    process.wait()
    (up.data / "redis.url").unlink()
    wait_until(lambda: left() == [orphan], what="the services are gone", seconds=30)

    up.start("--source", up.source)
    wait_until(lambda: up.get("/readyz") is not None, what="it answers again")
    assert orphan not in left()
    wait_until(lambda: up.shows(expected), what="everything is there again")
    assert up.interrupt() == 0, up.log()
    assert left() == []


def test_the_server_of_a_killed_up_ends_with_it_and_takes_its_url_along(up: Up, left: Callable[[], list[int]]) -> None:
    process = up.start("--no-source")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    process.kill()
    process.wait()
    wait_until(lambda: not left(), what="nothing is left", seconds=30)
    assert not (up.data / "redis.url").exists()
    assert "bye bye" in (up.data / "valkey.log").read_text(encoding="utf-8"), "it wrote out what it held"


def test_up_that_is_interrupted_while_it_starts_ends_and_leaves_nothing(up: Up, left: Callable[[], list[int]]) -> None:
    process = up.start("--no-source")
    wait_until(lambda: any("valkey-server" in command_of(pid) for pid in left()), what="the server starts")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (0, 130), up.log()
    wait_until(lambda: not left(), what="nothing is left", seconds=10)
    assert "Traceback" not in up.log()


def test_up_stops_although_its_server_is_not_ready_yet(up: Up, left: Callable[[], list[int]]) -> None:
    def servers() -> list[int]:
        return [pid for pid in left() if command_of(pid).partition(" ")[0].endswith("valkey-server")]

    process = up.start("--no-source")
    wait_until(lambda: bool(servers()), what="the server starts")
    (server,) = servers()
    os.kill(server, signal.SIGSTOP)  # as one that loads a large file
    try:
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: STOPPING_SERVER in up.log(), what="it no longer waits")
    finally:
        os.kill(server, signal.SIGCONT)
    assert process.wait(30) == 0, up.log()
    wait_until(lambda: not left(), what="nothing is left", seconds=10)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_up_whose_folder_was_removed_leaves_the_one_in_its_place_alone(
    up: Up, tmp_path: Path, left: Callable[[], list[int]], how: signal.Signals
) -> None:
    first = up.start("--no-source")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    shutil.rmtree(up.data)
    up.data.mkdir()
    url = up.data / "redis.url"
    url.write_text("redis://127.0.0.1:1/0\n", encoding="utf-8")  # as another `tally up` has it
    first.send_signal(how)
    first.wait(60)
    wait_until(lambda: not left(), what="nothing of it is left", seconds=40)
    assert url.exists()


def test_a_second_ctrl_c_ends_everything_at_once(up: Up, left: Callable[[], list[int]]) -> None:
    # A stopped aggregator cannot end in order, so the first Ctrl-C has to wait for it.
    process = up.start("--source", "exec:sleep 1000")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    wait_until(lambda: any(command_of(pid).startswith("sleep") for pid in left()), what="the program runs")
    (aggregator,) = (pid for pid in left() if "-m aggregator" in command_of(pid))
    os.kill(aggregator, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: f'{{"name": "aggregator-1", "event": "{STOPPING_SERVICE}"' in up.log(), what="it stops in order")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    wait_until(lambda: not left(), what="nothing is left", seconds=10)
