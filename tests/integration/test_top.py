"""`tally top`: on a terminal until q is pressed, into a pipe once."""

from __future__ import annotations

import os
import pty
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


@contextmanager
def terminal(server: Server) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`tally top` on a terminal of the most common size."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "TALLY_REDIS_URL": server.url, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
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


def _read_until(descriptor: int, condition: Callable[[str], bool]) -> None:
    text, deadline = "", time.monotonic() + 30
    while not condition(text):
        assert time.monotonic() < deadline, text
        if select.select([descriptor], [], [], 1)[0]:
            text += os.read(descriptor, 65536).decode(errors="replace")


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
