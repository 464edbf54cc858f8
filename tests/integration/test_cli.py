"""The command line, run as people run it: real processes, what they print, how they end and what they leave behind."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from ingestor.log_events import SOURCE_ENDED
from tally.generator import Generator, GeneratorSpec
from tally.keys import GROUP, Keys
from tally.local.log_events import (
    CANNOT_WRITE_OUTPUT,
    SERVICE_DIED,
    STOPPING_SERVER,
    STOPPING_SERVICE,
    WAITING_FOR_REDIS,
)
from tests.oracle import Expected, counted
from tests.processes import Process, module, run, running
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()
TALLY = module("tally")

#: What is found in the command lines of the embedded server, however it is reached, and of its guard.
SERVER, GUARD = r"valkey-server (unixsocket|127\.0\.0\.1):", "-m tally.local.guard"


def _tally(
    *arguments: str, given: bytes | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with these variables besides our own."""
    return run("tally", *arguments, given=given, env=env)


def _assert_refused(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """It ended with this code and a sentence, not a traceback."""
    assert done.returncode == code, done.stderr
    for each in said:
        assert each in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 20,000 lines, one in ten of them garbage, the last one without an end."""
    path = tmp_path_factory.mktemp("cli") / "events.ndjson"
    lines = b"".join(Generator(GeneratorSpec(count=20_000, seed=11)).lines())
    path.write_bytes(lines + '{"event_type": "größe", "data": "l’été [bold]"}'.encode())
    return path


@pytest.fixture(scope="module")
def expected(events: Path) -> Expected:
    return Expected.of(events.read_bytes().split(b"\n"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize(
    "command",
    [
        "generate --count 5",
        "generate --rate 100000",
        "generate",
        "count FILE",
        "count --json FILE",
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


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
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
    done = _tally("--help")
    assert done.returncode == 0
    for command in ("up", "ingest", "aggregate", "serve", "generate", "count", "status"):
        assert f" {command} " in done.stdout
    version = _tally("--version")
    assert (version.returncode, version.stdout.split()[0]) == (0, "tally")


# generate


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
    _assert_refused(_tally("generate", *arguments), 2, said)


# count


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
    done = _tally("count", "--json", str(events), env={"TMPDIR": str(folder)})
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
    done = _tally("count", "events", "-", "empty", "--limit", "2", given=given, env={"COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    assert "[red]x" in done.stdout, "a name is no markup"
    assert "\x1b" not in done.stdout, "and moves no cursor"
    assert "2,469" in done.stdout
    assert "other" in done.stdout
    assert "and 1 more" in done.stdout


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
        return [pid for pid in left() if re.search(command, _command_of(pid))]

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
    done = _tally("count", "--json", "events", "below/../events")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["types"] == {"a": 7}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"\xff\n\n", "tally: the line is no event; one was rejected so: not UTF-8"),
        (b"[1]\n" * 1500, "tally: none of the 1,500 lines is an event; one was rejected so: "),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["tables", "json"])
def test_count_of_lines_of_which_none_is_an_event_says_so_and_ends_with_1(
    given: bytes, said: str, options: list[str]
) -> None:
    done = _tally("count", *options, "-", given=given)
    assert done.returncode == 1
    assert said in done.stderr
    assert "tally check" in done.stderr
    assert "rejected" in done.stdout, "the figures are there all the same"


@pytest.mark.parametrize("given", [b"", b"\n \n"], ids=["empty", "blank"])
def test_count_of_nothing_is_nothing(given: bytes) -> None:
    done = _tally("count", "--json", "-", given=given)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["totals"]["lines"] == 0


@pytest.mark.parametrize(("command", "code"), [("ingest", 1), ("count", 1), ("check", 2)])
def test_an_archive_on_standard_input_is_no_lines(server: Server, command: str, code: int) -> None:
    done = _tally(command, "-", given=gzip.compress(b"x\n"), env={"TALLY_REDIS_URL": server.url})
    assert done.returncode == code
    assert "-: it is gzip, not lines of events; give its lines, as in: gzip -dc | tally ingest -" in done.stderr
    assert not done.stdout


# Wrong settings, wrong sources.


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["ingest", "x"], ["aggregate"], ["serve"], ["count", "x"], ["up"]],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_wrong_setting_ends_every_command_with_what_would_be_right(arguments: list[str]) -> None:
    Path("x").touch()
    done = _tally(*arguments, env={"TALLY_MAX_WORDS": "many"})
    _assert_refused(done, 2, "TALLY_MAX_WORDS=many", "valid integer", "default: 1000000")


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
    _assert_refused(_tally(*command, source), 2, said)
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
    _assert_refused(done, 2, said)
    with server.client() as client:
        assert not client.keys("*")


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
    _assert_refused(done, code, said)


@pytest.mark.parametrize("variables", [{}, {"TALLY_SOURCE": ""}], ids=["unset", "empty"])
@pytest.mark.parametrize("command", [["tally", "ingest"], ["ingestor"], ["ingestor", "--stay"]], ids=" ".join)
def test_ingest_without_a_source_asks_for_one_and_appends_nothing(
    server: Server, command: list[str], variables: dict[str, str]
) -> None:
    done = run(*command, env={"TALLY_REDIS_URL": server.url, **variables})
    _assert_refused(done, 2, "tally: no source: name one, as in `tally ingest events.ndjson`", "TALLY_SOURCE", "demo:")
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
    _assert_refused(_tally("up", *arguments, env={"TALLY_REDIS_URL": server.url}), 2, *said)
    with server.client() as client:
        assert not client.keys("*")


# ingest, aggregate, status


def test_ingest_twice_counts_once_and_status_shows_it(server: Server, events: Path, expected: Expected) -> None:
    url = {"TALLY_REDIS_URL": server.url}
    assert json.loads(_tally("status", "--json", env=url).stdout)["totals"]["lines"] == 0
    for _ in range(2):
        done = _tally("ingest", str(events), env=url)
        assert done.returncode == 0, done.stderr
    before = _tally("status", env=url)
    assert "Backlog: " in before.stdout
    assert f"{events.stat().st_size:,}" in before.stdout, "the position"
    assert server.url in before.stdout

    drained = _tally("aggregate", "--drain", env={**url, "TALLY_FOLD_CAES": "true"})
    assert drained.returncode == 0, drained.stderr
    assert "did you mean TALLY_FOLD_CASE?" in drained.stderr
    with server.client() as client:
        assert counted(client) == expected
    after = json.loads(_tally("status", "--json", env=url).stdout)
    assert (after["totals"]["events"], after["totals"]["rejected"]) == (expected.events, expected.rejected)
    assert (after["backlog"]["blocks"], after["dead_letters"], after["aggregators"]) == (0, 0, [])
    assert [each["position"] for each in after["sources"]] == [events.stat().st_size]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("echo $$ > quiet; exec sleep 1000", id="a program that says nothing"),
        pytest.param("sh -c 'echo $$ > quiet; exec sleep 1000' | cat", id="one that the shell has started"),
        pytest.param("trap '' TERM; sh -c 'echo $$ > quiet; exec sleep 1000'; exit 1", id="one that has to be killed"),
    ],
)
def test_a_program_does_not_survive_an_ingestor_that_is_killed(
    server: Server, left: Callable[[], list[int]], command: str
) -> None:
    ingestor = Process("tally", "ingest", f"exec:{command}", log=Path("log"), TALLY_REDIS_URL=server.url)
    with running(ingestor):
        wait_until(lambda: Path("quiet").exists() and Path("quiet").read_text() != "", what="the program runs")
        assert int(Path("quiet").read_text()) in left()
    wait_until(lambda: not left(), what="the program is gone, and what has ended it", seconds=20)


@pytest.mark.parametrize("command", ["true", "exit 1", "sleep 1000"])
def test_nothing_is_left_of_a_program_that_ends_fails_or_is_stopped(
    server: Server, left: Callable[[], list[int]], command: str
) -> None:
    source = f"exec:touch started; {command}"
    ingestor = Process("tally", "ingest", source, log=Path("log"), TALLY_REDIS_URL=server.url)
    with running(ingestor):
        wait_until(Path("started").exists, what="the program was started")
        assert (ingestor.wait(30) if command == "true" else ingestor.stop()) == 0
        assert left() == []


def test_status_tells_aggregators_that_are_alive_from_those_that_are_not(server: Server) -> None:
    with server.client() as client:
        client.xgroup_create(KEYS.stream, GROUP, id="0", mkstream=True)
        client.xgroup_createconsumer(KEYS.stream, GROUP, "fresh")
    url = {"TALLY_REDIS_URL": server.url}
    (fresh,) = json.loads(_tally("status", "--json", env=url).stdout)["aggregators"]
    assert (fresh["name"], fresh["alive"]) == ("fresh", True)
    assert "alive" in _tally("status", env=url).stdout
    with server.client() as client:
        client.xgroup_delconsumer(KEYS.stream, GROUP, "fresh")
        client.xadd(KEYS.stream, {"lines": "{}"})
    assert "No aggregator is alive" in _tally("status", env=url).stdout


def test_a_drain_of_nothing_ends(server: Server) -> None:
    done = _tally("aggregate", "--drain", env={"TALLY_REDIS_URL": server.url})
    assert (done.returncode, done.stdout) == (0, "")


def test_status_without_a_server_says_how_to_find_one() -> None:
    Path(".tally").mkdir()
    url = f"redis://127.0.0.1:{free_port()}/0"
    Path(".tally/redis.url").write_text(f"{url}\n", encoding="utf-8")
    _assert_refused(_tally("status"), 1, f"no answer from {url}", "tally up")
    done = _tally("status", env={"TALLY_REDIS_URL": url})
    _assert_refused(done, 1, f"no answer from {url}")
    assert "TALLY_REDIS_URL" not in done.stderr, "that is what it was told"


def test_a_password_is_not_shown_when_there_is_no_answer() -> None:
    done = _tally("status", env={"TALLY_REDIS_URL": f"redis://:pa55word@127.0.0.1:{free_port()}/0"})
    assert done.returncode == 1
    assert "pa55word" not in done.stderr + done.stdout


def test_a_wrong_password_ends_a_service_with_a_sentence(durable_server: Server) -> None:
    with durable_server.client() as client:
        client.config_set("requirepass", "right")
    done = _tally("aggregate", env={"TALLY_REDIS_URL": durable_server.url.replace("//", "//:wrong@")})
    assert done.returncode == 1
    assert "password" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["status"], ["aggregate"], ["ingest", "x"]], ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("redis://weak:word@127.0.0.1:{port}/0", "Redis does not allow the user of TALLY_REDIS_URL"),
        ("redis://127.0.0.1:{port}/99", "Redis does not have the database"),
    ],
    ids=["no permission", "no such database"],
)
def test_what_redis_refuses_for_good_ends_a_command_with_a_sentence(
    durable_server: Server, command: list[str], where: str, says: str
) -> None:
    Path("x").touch()
    with durable_server.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">word", "~*", "+client")
    done = _tally(*command, env={"TALLY_REDIS_URL": where.format(port=durable_server.port)})
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("source", ["x", "tail:x", "."], ids=["file", "tail", "folder"])
def test_an_ingestor_that_may_read_and_not_append_ends_with_a_sentence(durable_server: Server, source: str) -> None:
    Path("x").write_bytes(b'{"event_type": "a", "data": "b"}\n')
    with durable_server.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">word", "~*", "+@all", "-@scripting")
    done = _tally("ingest", source, env={"TALLY_REDIS_URL": durable_server.url.replace("//", "//weak:word@")})
    assert done.returncode == 1
    assert "tally: Redis does not allow the user of TALLY_REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


# up


class Up:
    """One `tally up` at a time, in one folder, with one port."""

    def __init__(self, folder: Path, events: Path) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self._events = events
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "out").open("wb") as out, (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*TALLY, "up", "--data", str(self.data), "--port", str(self.port), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, "TALLY_LOG_FORMAT": "json"},
                start_new_session=True,  # a Ctrl-C of ours is not one of the tests' own
            )
        return self._process

    @property
    def source(self) -> str:
        return str(self._events)

    def output(self) -> str:
        return (self._folder / "out").read_text(encoding="utf-8")

    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8")

    def get(self, path: str) -> Any:
        """The answer's JSON; None while there is none."""
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            response = self._http.get(path)
        except httpx.TransportError:
            return None
        return response.json() if response.status_code == 200 else None

    def shows(self, expected: Expected) -> bool:
        return bool(
            self.get("/events/CountByEventType") == expected.types and self.get("/events/CountWords") == expected.words
        )

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    def end(self) -> None:
        """Whatever became of it, leave nothing."""
        self._http.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """Who still runs of all that this test started, and of what that started: they work in the test's folder."""

    def running() -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                inside = f"{os.readlink(folder / 'cwd')}/".startswith(f"{tmp_path}/")
                zombie = "(zombie)" in (folder / "status").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if inside and not zombie and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        return found

    yield running
    for pid in running():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def up(tmp_path: Path, events: Path, left: Callable[[], list[int]]) -> Iterator[Up]:
    one = Up(tmp_path, events)
    yield one
    one.end()


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def test_up_counts_answers_ends_with_ctrl_c_and_has_its_data_again(
    up: Up, expected: Expected, left: Callable[[], list[int]]
) -> None:
    up.start("--source", up.source, "--aggregators", "2")
    wait_until(lambda: up.shows(expected), what="everything is counted")
    wait_until(lambda: "Tally is counting." in up.output(), what="it says where to look")
    assert f"http://127.0.0.1:{up.port}/events/CountByEventType" in up.output()
    status = _tally("status", "--json", env={"TALLY_DATA_DIR": str(up.data)})
    assert json.loads(status.stdout)["totals"]["events"] == expected.events
    assert sum("-m aggregator" in _command_of(pid) for pid in left()) == 2

    assert up.interrupt() == 0, up.log()
    assert left() == []
    assert "Traceback" not in up.log()
    assert SERVICE_DIED not in up.log()

    up.start("--source", up.source)
    wait_until(lambda: up.get("/readyz") is not None, what="it answers again")
    assert up.shows(expected)
    wait_until(lambda: up.log().count(SOURCE_ENDED) == 2, what="the file was looked at again")
    assert up.shows(expected), "and counted once"
    assert up.interrupt() == 0, up.log()
    assert left() == []


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
    beside = json.loads(_tally("status", "--json", env={"TALLY_DATA_DIR": str(up.data)}).stdout)
    assert [each["name"].partition("#")[0] for each in beside["sources"]] == ["demo:"]
    among_them = _tally("ingest", up.source, env={"TALLY_DATA_DIR": str(up.data)})
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


def test_when_up_is_killed_its_services_end_and_the_next_one_goes_on(
    up: Up, expected: Expected, left: Callable[[], list[int]]
) -> None:
    process = up.start("--source", up.source, "--source", "exec:cat; sleep 1000")
    wait_until(lambda: up.shows(expected), what="everything is counted")
    wait_until(lambda: any("sleep" in _command_of(pid) for pid in left()), what="the program runs")
    process.kill()
    process.wait()

    def services() -> list[str]:
        return [command for command in map(_command_of, left()) if command and "valkey" not in command]

    wait_until(lambda: not services(), what="the services and their programs are gone", seconds=30)

    up.start("--source", up.source)
    wait_until(lambda: up.get("/readyz") is not None, what="it answers again")
    wait_until(lambda: up.shows(expected), what="everything is there again")
    assert up.interrupt() == 0, up.log()
    assert left() == [], "not even the server that the killed one left behind"


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
        (pid,) = (pid for pid in left() if re.search(name, _command_of(pid)))
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda name=name, pid=pid: any(re.search(name, _command_of(each)) for each in left() if each != pid),  # type: ignore[misc]
            what=f"{name} was started again",
        )
        wait_until(lambda: up.get("/readyz") is not None, what="it is ready again")
        wait_until(lambda: up.shows(expected), what="nothing was lost")
    later.write_bytes(b'\n{"event_type": "later", "data": "late"}\n')
    wait_until(lambda: up.get("/events/CountByEventType").get("later") == 1, what="it goes on counting")
    assert up.interrupt() == 0, up.log()
    assert left() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_up_counts_although_it_cannot_say_where_to_look(up: Up, tmp_path: Path, expected: Expected) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    up.start("--source", up.source)
    wait_until(lambda: CANNOT_WRITE_OUTPUT in up.log(), what="it says so in the log")
    wait_until(lambda: up.shows(expected), what="everything is counted")
    assert up.interrupt() == 0, up.log()


def test_up_refuses_a_port_and_a_folder_that_are_in_use(up: Up, tmp_path: Path) -> None:
    up.start("--no-source")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    busy_port = _tally("up", "--port", str(up.port), "--data", str(tmp_path / "other"), "--no-source")
    _assert_refused(busy_port, 2, f"cannot listen on 127.0.0.1 port {up.port}", "--port")
    busy_folder = _tally("up", "--port", str(free_port()), "--data", str(up.data), "--no-source")
    assert busy_folder.returncode == 1
    assert f"another tally up uses the data folder {up.data}" in busy_folder.stderr
    assert up.get("/readyz") == {"status": "ready"}, "and the first one never noticed"
    assert (up.data / "redis.url").read_text(encoding="utf-8").startswith("unix://"), "nor who asks for it"
    assert up.interrupt() == 0, up.log()
    assert not (up.data / "redis.url").exists()


@pytest.mark.parametrize("by", ["socket", "port"])
def test_no_two_servers_are_in_a_folder_even_if_a_killed_up_left_one_without_its_keeper_and_its_url(
    up: Up, expected: Expected, left: Callable[[], list[int]], by: str
) -> None:
    process = up.start("--source", up.source, *(["--redis-port", str(free_port())] if by == "port" else []))
    wait_until(lambda: up.shows(expected), what="everything is counted")
    wait_until(lambda: SOURCE_ENDED in up.log(), what="the server has it on its disk")
    (guard,) = (pid for pid in left() if GUARD in _command_of(pid))
    (orphan,) = (pid for pid in left() if "valkey-server" in _command_of(pid) and pid != guard)
    process.send_signal(signal.SIGSTOP)  # lest it start another one
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


def test_other_clients_come_in_by_a_port_that_is_asked_for_and_a_password_that_is_not_shown(
    up: Up, events: Path, expected: Expected
) -> None:
    port = free_port()
    up.start("--no-source", "--redis-port", str(port))
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    assert f"redis://:***@127.0.0.1:{port}/0, as in {up.data / 'redis.url'}" in up.output()
    url = (up.data / "redis.url").read_text(encoding="utf-8").strip()
    beside = {"TALLY_DATA_DIR": str(up.data)}
    assert _tally("ingest", str(events), env=beside).returncode == 0
    wait_until(lambda: up.shows(expected), what="what another terminal appends is counted")
    with redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.hget(KEYS.totals, "events") == str(expected.events)
    status = _tally("status", env=beside)
    assert f"redis://:***@127.0.0.1:{port}/0" in status.stdout
    assert up.interrupt() == 0, up.log()
    password = url.removeprefix("redis://:").partition("@")[0]
    for said in (up.output(), up.log(), status.stdout, (up.data / "valkey.log").read_text(encoding="utf-8")):
        assert password not in said


def test_a_folder_whose_name_is_not_a_word_is_as_good_as_any(tmp_path: Path, up: Up, expected: Expected) -> None:
    up.data = tmp_path / 'My "own" événements %d\\'
    up.start("--source", up.source)
    wait_until(lambda: up.shows(expected), what="everything is counted")
    assert up.interrupt() == 0, up.log()
    up.start("--source", up.source)
    wait_until(lambda: up.shows(expected), what="everything is there again")
    assert up.interrupt() == 0, up.log()


@pytest.mark.parametrize("content", [b"", b"\xff", b"redis://127.0.0.1:"], ids=["empty", "no text", "half"])
def test_a_url_file_that_is_damaged_is_none(up: Up, content: bytes) -> None:
    up.data.mkdir()
    (up.data / "redis.url").write_bytes(content)
    # Nobody listens on the port of Redis itself, or somebody does: it is asked in any case.
    assert "Traceback" not in _tally("status", env={"TALLY_DATA_DIR": str(up.data)}).stderr
    up.start("--no-source")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    assert up.interrupt() == 0, up.log()


def test_a_server_that_cannot_start_is_quoted(up: Up, left: Callable[[], list[int]]) -> None:
    up.start("--no-source")
    wait_until(lambda: "Tally is counting." in up.output(), what="it has started")
    assert up.interrupt() == 0, up.log()
    (appended,) = (up.data / "appendonlydir").glob("*.incr.aof")
    appended.write_bytes(b"garbage\n")
    done = _tally("up", "--port", str(up.port), "--data", str(up.data), "--no-source")
    _assert_refused(done, 1, "the embedded server does not start: Bad file format reading the append only file")
    assert str(up.data / "valkey.log") in done.stderr
    assert left() == []


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


def test_up_that_is_interrupted_while_it_starts_ends_and_leaves_nothing(up: Up, left: Callable[[], list[int]]) -> None:
    process = up.start("--no-source")
    wait_until(lambda: any("valkey-server" in _command_of(pid) for pid in left()), what="the server starts")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (0, 130), up.log()
    wait_until(lambda: not left(), what="nothing is left", seconds=10)
    assert "Traceback" not in up.log()


def test_up_stops_although_its_server_is_not_ready_yet(up: Up, left: Callable[[], list[int]]) -> None:
    def servers() -> list[int]:
        return [pid for pid in left() if _command_of(pid).partition(" ")[0].endswith("valkey-server")]

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
    wait_until(lambda: any(_command_of(pid).startswith("sleep") for pid in left()), what="the program runs")
    (aggregator,) = (pid for pid in left() if "-m aggregator" in _command_of(pid))
    os.kill(aggregator, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: f'{{"name": "aggregator-1", "event": "{STOPPING_SERVICE}"' in up.log(), what="it stops in order")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    wait_until(lambda: not left(), what="nothing is left", seconds=10)
