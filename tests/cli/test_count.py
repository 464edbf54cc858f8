"""`tally count`: what it counts, how it ends, and what it leaves behind."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import TALLY, tally
from tests.cli.up import SERVER, command_of
from tests.oracle import Expected
from tests.server import Server
from tests.waiting import wait_until


def _assert_counted(found: dict[str, Any], expected: Expected) -> None:
    assert found["types"] == dict(expected.types)
    assert found["words"] == dict(expected.words)
    totals = {name: found["totals"][name] for name in ("events", "rejected", "lines", "lost")}
    assert totals == {
        "events": expected.events,
        "rejected": expected.rejected,
        "lines": expected.events + expected.rejected,
        "lost": 0,
    }
    for ranking in (list(found["types"].values()), list(found["words"].values())):
        assert ranking == sorted(ranking, reverse=True)


def test_count_of_a_file_is_what_plain_json_finds_and_nothing_is_left_behind(
    events: Path, expected: Expected, tmp_path: Path, left: Callable[[], list[int]]
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    done = tally("count", "--json", str(events), env={"TMPDIR": str(folder)})
    assert done.returncode == 0, done.stderr
    _assert_counted(json.loads(done.stdout), expected)
    assert list(folder.iterdir()) == []
    assert left() == []
    assert not Path(".tally").exists()


def test_count_takes_several_files_and_standard_input_and_prints_tables_of_what_names_really_are(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "events").write_bytes(b'{"event_type": "[red]x\\u001b[0m", "data": "lorem lorem ipsum dolor"}\n' * 1234)
    given = b'{"event_type": "other", "data": "lorem"}'
    done = tally("count", "events", "-", "empty", "--limit", "2", given=given, env={"COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    assert "[red]x" in done.stdout, "a name is no markup"
    assert "\x1b" not in done.stdout, "and moves no cursor"
    assert "2,469" in done.stdout
    assert "other" in done.stdout
    assert "and 1 more" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "told to end twice", "its server dies"])
def test_count_leaves_nothing_behind_however_it_ends(tmp_path: Path, left: Callable[[], list[int]], how: str) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    process = subprocess.Popen(
        [*TALLY, "count", "-"],
        stdin=subprocess.PIPE,  # and no end of it
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,
    )

    def runs(command: str) -> list[int]:
        return [pid for pid in left() if re.search(command, command_of(pid))]

    with process:
        assert process.stdin is not None
        assert process.stderr is not None
        wait_until(lambda: bool(runs("-m ingestor") and runs("-m aggregator")), what="it counts")
        if how == "told to end twice":
            (aggregator,) = runs("-m aggregator")
            os.kill(aggregator, signal.SIGSTOP)  # so that it cannot end in order
            process.terminate()
            wait_until(lambda: not runs("-m ingestor"), what="it stops in order")
            process.terminate()
            assert process.wait(10) == 128 + signal.SIGTERM
        elif how == "killed":
            process.kill()
        else:
            (server,) = runs(SERVER)
            os.kill(server, signal.SIGKILL)
            assert process.wait(30) == 1
            assert b"tally: the server died before everything was counted\n" in process.stderr.read()
        process.stdin.close()
    wait_until(lambda: not left(), what="nobody is left", seconds=30)
    assert list(folder.iterdir()) == []


def test_count_of_a_file_under_two_spellings_counts_it_once(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "events").write_bytes(b'{"event_type": "a", "data": "b"}\n' * 7)
    done = tally("count", "--json", "events", "below/../events")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["types"] == {"a": 7}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(
            b"\xff\n\n",
            "tally: the line is no event; one was rejected so: not UTF-8",
            marks=pytest.mark.slow,
        ),
        (b"[1]\n" * 1500, "tally: none of the 1,500 lines is an event; one was rejected so: "),
    ],
)
@pytest.mark.parametrize(
    "options", [pytest.param([], id="tables"), pytest.param(["--json"], id="json", marks=pytest.mark.slow)]
)
def test_count_of_lines_of_which_none_is_an_event_says_so_and_ends_with_1(
    given: bytes, said: str, options: list[str]
) -> None:
    done = tally("count", *options, "-", given=given)
    assert done.returncode == 1
    assert said in done.stderr
    assert "tally check" in done.stderr
    assert "rejected" in done.stdout, "the figures are there all the same"


@pytest.mark.parametrize(
    "given", [pytest.param(b"", id="empty", marks=pytest.mark.slow), pytest.param(b"\n \n", id="blank")]
)
def test_count_of_nothing_is_nothing(given: bytes) -> None:
    done = tally("count", "--json", "-", given=given)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["totals"]["lines"] == 0


@pytest.mark.parametrize(("command", "code"), [("ingest", 1), ("count", 1), ("check", 2)])
def test_an_archive_on_standard_input_is_no_lines(server: Server, command: str, code: int) -> None:
    done = tally(command, "-", given=gzip.compress(b"x\n"), env={"TALLY_REDIS_URL": server.url})
    assert done.returncode == code
    assert "-: it is gzip, not lines of events; give its lines, as in: gzip -dc | tally ingest -" in done.stderr
    assert not done.stdout
