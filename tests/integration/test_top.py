"""`tally top`: on a terminal until q is pressed, into a pipe once."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tally.keys import Keys
from tally.rates import Rates
from tests.processes import run
from tests.server import Server

COMMAND = [sys.executable, "-P", "-m", "tally", "top"]


def counted(server: Server) -> None:
    with server.client() as client:
        client.hset(Keys().types, mapping={"foo": 3, "[red]bar\x1b[2J": 1})
        client.hset(Keys().words, mapping={"lorem": 2})
        client.zadd(Keys().top, {"lorem": 2})
        client.hset(Keys().totals, mapping={"events": 4, "words": 2, "lines": 4})


def test_into_a_pipe_it_prints_once_and_nothing_that_a_name_could_do_to_a_terminal(server: Server) -> None:
    counted(server)
    done = run("tally", "top", env={"TALLY_REDIS_URL": server.url})
    assert done.returncode == 0, done.stderr
    assert "4 events" in done.stdout
    assert "75.0%" in done.stdout
    assert "[red]bar" in done.stdout, "markup in a name is text"
    assert "\x1b" not in done.stdout
    assert "backlog 0 blocks" in done.stdout
    assert "quits" not in done.stdout, "there is no key to press"


def test_of_the_last_minutes_and_as_json(server: Server) -> None:
    counted(server)
    now = int(time.time())
    with server.client() as client:
        # Longer than a test takes, whatever the clock says.
        client.hset(Keys().layout, mapping={"format": "2", "windows": "86400x400"})
        day = now // 86_400 * 86_400
        for start, times in ((day, 7), (day - 86_400, 8), (day - 20 * 86_400, 9)):
            client.zadd(Keys().windows(86_400), {str(start): start})
            client.hset(Keys().window_types(86_400, start), mapping={"new": times, "a": times})
    url = {"TALLY_REDIS_URL": server.url}
    done = run("tally", "top", "--window", "1d", "--sort", "name", "--json", env=url)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["to"] - found["from"] == 2 * 86_400, "a day, in whole windows, the current one among them"
    times = 15 if found["from"] == day - 86_400 else 7  # unless midnight has come meanwhile
    assert list(found["types"].items()) == [("a", times), ("new", times)]
    assert (found["words"], found["status"]["totals"]["events"]) == ({}, 4)
    assert "the last 2w" in run("tally", "top", "--window", "2w", env=url).stdout
    everything = json.loads(run("tally", "top", "--json", env=url).stdout)
    assert (everything["from"], everything["types"], everything["words"]) == (
        None,
        {"foo": 3, "[red]bar\x1b[2J": 1},
        {"lorem": 2},
    )
    refused = run("tally", "top", "--window", "soon", env=url)
    assert (refused.returncode, "--window soon: a duration is a number and one of" in refused.stderr) == (2, True)


@contextmanager
def terminal(server: Server, **more: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`tally top` on a terminal of the most common size."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "TALLY_REDIS_URL": server.url, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", **more}
    process = subprocess.Popen(COMMAND, stdin=theirs, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_on_a_terminal_it_shows_what_changes_and_q_quits(server: Server) -> None:
    counted(server)
    with terminal(server) as (ours, process):
        _read_until(ours, lambda text: "4 events" in text and "backlog 0 blocks" in text and "q quits" in text)
        with server.client() as client:
            client.hset(Keys().totals, "events", 5)
        _read_until(ours, lambda text: "5 events" in text)
        os.write(ours, b"q")
        assert process.wait(20) == 0


def test_on_a_terminal_it_says_that_redis_is_away_and_goes_on_when_it_is_back(durable_server: Server) -> None:
    counted(durable_server)
    with terminal(durable_server) as (ours, process):
        _read_until(ours, lambda text: "4 events" in text)
        durable_server.stop()
        _read_until(ours, lambda text: "disconnected, retrying" in text and "1 s –/s" in text)
        durable_server.start()
        _read_until(ours, lambda text: "backlog 0 blocks" in text)
        os.write(ours, b"q")
        assert process.wait(20) == 0


def test_a_terminal_that_can_do_no_more_is_printed_on_once(server: Server) -> None:
    counted(server)
    with terminal(server, TERM="dumb") as (ours, process):
        text = _read_until(ours, lambda text: "lorem" in text)
        assert process.wait(60) == 0
    assert "\x1b" not in text


def test_who_wants_no_colours_gets_none(server: Server) -> None:
    counted(server)
    with server.client() as client:
        client.xadd(Keys().dead_letters, {"lines": "an alarm"})
    with terminal(server, NO_COLOR="1") as (ours, process):
        text = _read_until(ours, lambda text: "1 dead letters" in text and "lorem" in text)
        os.write(ours, b"q")
        assert process.wait(20) == 0
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|4[0-7]|38;|48;)[0-9;]*m", text)


def _read_until(descriptor: int, condition: Callable[[str], bool]) -> str:
    text, deadline = "", time.monotonic() + 60
    while not condition(text):
        assert time.monotonic() < deadline, text
        if select.select([descriptor], [], [], 1)[0]:
            text += os.read(descriptor, 65536).decode(errors="replace")
    return text


def test_without_redis_it_says_so() -> None:
    done = run("tally", "top", env={"TALLY_REDIS_URL": "redis://127.0.0.1:1/0"})
    assert (done.returncode, "no answer from redis://" in done.stderr) == (1, True)


def test_rates_are_known_only_once_there_is_enough_of_the_past() -> None:
    rates = Rates(every_seconds=1.0)
    assert rates.rates() == {"1": None, "10": None, "60": None}
    for second in range(11):
        rates.add(second * 1.001, second * 100)
    assert rates.rates() == {"1": 99.9, "10": 99.9, "60": None}
    rates.add(12.0, 5)  # a flush
    assert rates.rates()["1"] is None
