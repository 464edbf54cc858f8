"""What commands print, where it cannot be written or has to be escaped; `--help`; `tally generate`."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tally.keys import Keys
from tests.cli.commands import TALLY, assert_refused, tally
from tests.forks import fork
from tests.oracle import Expected
from tests.processes import run
from tests.server import Server

KEYS = Keys()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize(
    "command",
    [
        "generate --count 5",
        "generate --rate 100000",
        "generate",
        "count FILE",
        pytest.param("count --json FILE", marks=pytest.mark.slow),
        "check FILE",
        "status",
        "status --json",
        "top",
        "--help",
    ],
)
def test_an_output_that_is_full_is_said_in_a_line(server: Server, events: Path, command: str) -> None:
    arguments = [str(events) if each == "FILE" else each for each in command.split()]
    with Path("/dev/full").open("wb") as full:
        done = run("tally", *arguments, stdout=full, env={"TALLY_REDIS_URL": server.url})
    assert (done.returncode, done.stderr) == (1, "tally: cannot write the output: No space left on device\n")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["latin-1", pytest.param("ascii", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "command", ["count FILE", "check FILE", "status", "top", "--help", "generate --count 3 --corrupt 0"]
)
def test_what_the_outputs_encoding_lacks_is_escaped(server: Server, command: str, encoding: str) -> None:
    name = "日本"
    Path(name).write_text(f'{{"event_type": "{name}…", "data": "é"}}\n' * 1000, encoding="utf-8")
    with server.client() as client:
        client.hset(KEYS.types, f"{name}…", 1000)
        client.hset(KEYS.totals, mapping={"events": 1000, "lines": 1000})
        client.hset(KEYS.sources, f"file:/{name}…", 1)
    arguments = [name if each == "FILE" else each for each in command.split()]
    # Narrow, so that something has to be cut off, for which there are three dots.
    env = {"PYTHONIOENCODING": encoding, "TALLY_REDIS_URL": server.url, "COLUMNS": "40"}
    done = subprocess.run([*TALLY, *arguments], capture_output=True, timeout=60, env={**os.environ, **env}, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding)
    if command.split()[0] in ("count", "check", "status", "top"):
        assert r"\u65e5" in shown
    if command == "count FILE":
        assert ("é" if encoding == "latin-1" else r"\xe9") in shown
        rows = [line for line in shown.splitlines() if line.startswith("|")]
        assert len({len(row) for row in rows[:3]}) == 1, "the table is not torn apart"


def test_help_names_every_command_and_version_says_which() -> None:
    done = tally("--help")
    assert done.returncode == 0
    for command in ("up", "ingest", "aggregate", "serve", "generate", "count", "status"):
        assert f" {command} " in done.stdout
    version = tally("--version")
    assert (version.returncode, version.stdout.split()[0]) == (0, "tally")


@pytest.mark.slow
def test_generate_repeats_itself_for_a_seed_and_makes_as_many_lines_as_asked_for() -> None:
    arguments = ("generate", "--count", "3000", "--seed", "5", "--start", "1632663984")
    first, second = (subprocess.run([*TALLY, *arguments], capture_output=True, check=True) for _ in range(2))
    assert first.stdout == second.stdout
    lines = first.stdout.split(b"\n")
    assert (len(lines), lines[-1], first.stderr) == (3001, b"", b"")
    found = Expected.of(lines)
    assert (found.events + found.rejected, set(found.types)) == (3000, {"foo", "bar", "baz", "spam", "ham", "eggs"})
    assert 200 < found.rejected < 400


@pytest.mark.parametrize("options", [[], ["--rate", "100000"]], ids=["as fast as it goes", "at a rate"])
def test_generate_ends_quietly_when_its_reader_has_enough(options: list[str]) -> None:
    process = subprocess.Popen([*TALLY, "generate", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len([process.stdout.readline() for _ in range(5)]) == 5
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--count", "-1"], "count=-1"), (["--start", "nan", "--count", "1"], "start=nan")]
)
def test_generate_refuses_what_cannot_be(arguments: list[str], said: str) -> None:
    assert_refused(tally("generate", *arguments), 2, said)


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
    ids=["a terminal", "one without colours", "no colours wanted"],
)
def test_a_log_has_the_colours_that_are_wanted(variables: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TALLY_FOLD_CAES": "1", "TALLY_REDIS_URL": "redis://127.0.0.1:1/0", **variables}
    with (
        open(ours, "rb", buffering=0) as reading,
        open(theirs, "wb") as terminal,
        Path(os.devnull).open("rb") as nothing,
    ):
        process = fork("tally", "status", env=env, stdin=nothing, stdout=terminal, stderr=terminal)
        assert process.wait(60) == 1
        said = reading.read(4096)
    assert b"did you mean TALLY_FOLD_CASE?" in said
    assert (b"\x1b[" in said) is coloured
