"""Settings, sources and standard inputs that cannot be used end a command with a sentence."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import TALLY, assert_refused, tally
from tests.processes import run
from tests.server import Server


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["ingest", "x"], ["aggregate"], ["serve"], ["count", "x"], ["up"]],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_wrong_setting_ends_every_command_with_what_would_be_right(arguments: list[str]) -> None:
    Path("x").touch()
    done = tally(*arguments, env={"TALLY_MAX_WORDS": "many"})
    assert_refused(done, 2, "TALLY_MAX_WORDS=many", "valid integer", "default: 1000000")


@pytest.mark.parametrize(
    ("command", "source", "said"),
    [
        (["ingest"], "nowhere.ndjson", "'nowhere.ndjson': there is no such file"),
        (["ingest"], "demo:?speed=1", "'speed'"),
        (["count"], "tcp://127.0.0.1:9", "source tcp://127.0.0.1:9: it never ends"),
        (["count"], "tail:nowhere.ndjson", "it never ends"),
        (["count"], "demo:?rate=1000", "source demo:: it never ends"),
        (["ingest"], "ftp://x", "'ftp://x': there is no such kind of source or file"),
        (["count"], "nowhere.ndjson", "'nowhere.ndjson': there is no such file"),
        (["up", "--source"], "nowhere.ndjson", "'nowhere.ndjson': there is no such file"),
    ],
    ids=["ingest a file", "ingest demo", "count tcp", "count tail", "count demo", "ingest ftp", "count", "up"],
)
def test_a_wrong_source_ends_every_command_with_what_is_wrong(command: list[str], source: str, said: str) -> None:
    assert_refused(tally(*command, source), 2, said)
    assert not Path(".tally").exists(), "before anything is started"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("cat {events} | {tally} count --json /dev/stdin", "'/dev/stdin' is a pipe"),
        ("{tally} count --json pipe", "'pipe' is a pipe"),
        ("{tally} ingest <(cat {events})", "/dev/fd/"),
        ("{tally} up --source pipe", "'pipe' is a pipe"),
        ("{tally} ingest /dev/zero", "'/dev/zero' is a device"),
        ("cat {events} | {tally} ingest - -", "standard input can be read once only"),
        ('cat {events} | TALLY_SOURCE=\'["-", "-"]\' {tally} ingest', "standard input can be read once only"),
        ("cat {events} | {tally} count --json - -", "standard input can be read once only"),
    ],
)
def test_what_can_be_read_once_is_refused_as_a_file_and_a_second_time(
    server: Server, events: Path, command: str, said: str
) -> None:
    os.mkfifo("pipe")
    done = subprocess.run(
        ["bash", "-c", command.format(events=events, tally=shlex.join(TALLY))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TALLY_REDIS_URL": server.url},
        check=False,
    )
    assert_refused(done, 2, said)
    with server.client() as client:
        assert not client.keys("*")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("ingest - <&-", 2, "source -: standard input is closed"),
        ("count - <&-", 2, "source -: standard input is closed"),
        ("check - <&-", 2, "-: standard input is closed"),
        ("ingest - 0>written", 1, "source -: it cannot be read: Bad file descriptor"),
        ("count - 0>written", 1, "source -: it cannot be read: Bad file descriptor"),
        ("check - 0>written", 2, "-: cannot be read: Bad file descriptor"),
    ],
)
def test_a_standard_input_that_cannot_be_read_is_said(server: Server, command: str, code: int, said: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {shlex.join(TALLY)} {command}"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TALLY_REDIS_URL": server.url},
        check=False,
    )
    assert_refused(done, code, said)


@pytest.mark.parametrize("variables", [{}, {"TALLY_SOURCE": ""}], ids=["unset", "empty"])
@pytest.mark.parametrize("command", [["tally", "ingest"], ["ingestor"], ["ingestor", "--stay"]], ids=" ".join)
def test_ingest_without_a_source_asks_for_one_and_appends_nothing(
    server: Server, command: list[str], variables: dict[str, str]
) -> None:
    done = run(*command, env={"TALLY_REDIS_URL": server.url, **variables})
    assert_refused(done, 2, "tally: no source: name one, as in `tally ingest events.ndjson`", "TALLY_SOURCE", "demo:")
    with server.client() as client:
        assert not client.keys("*")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], ("no source", "--source demo: for made-up events", "--no-source")),
        (["--source", "-", "--no-source"], ("--source and --no-source contradict each other",)),
        (["--no-source", "--redis-port", "7000"], ("--redis-port is of the embedded server",)),
    ],
)
def test_up_makes_nothing_up_in_somebodys_redis(server: Server, arguments: list[str], said: tuple[str, ...]) -> None:
    assert_refused(tally("up", *arguments, env={"TALLY_REDIS_URL": server.url}), 2, *said)
    with server.client() as client:
        assert not client.keys("*")
