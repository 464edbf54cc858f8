"""`tally ingest`, `tally aggregate` and `tally status`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tally.keys import GROUP, Keys
from tests.cli.commands import assert_refused, tally
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()


def test_ingest_twice_counts_once_and_status_shows_it(server: Server, events: Path, expected: Expected) -> None:
    url = {"TALLY_REDIS_URL": server.url}
    assert json.loads(tally("status", "--json", env=url).stdout)["totals"]["lines"] == 0
    for _ in range(2):
        done = tally("ingest", str(events), env=url)
        assert done.returncode == 0, done.stderr
    before = tally("status", env=url)
    assert "Backlog: " in before.stdout
    assert f"{events.stat().st_size:,}" in before.stdout, "the position"
    assert server.url.partition("//")[2] in before.stdout, "after the user, if it is asked by one"

    drained = tally("aggregate", "--drain", env={**url, "TALLY_FOLD_CAES": "true"})
    assert drained.returncode == 0, drained.stderr
    assert "did you mean TALLY_FOLD_CASE?" in drained.stderr
    with server.client() as client:
        assert counted(client) == expected
    after = json.loads(tally("status", "--json", env=url).stdout)
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
    wait_until(lambda: not left(), what="the program is gone, and what has ended it")


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
    (fresh,) = json.loads(tally("status", "--json", env=url).stdout)["aggregators"]
    assert (fresh["name"], fresh["alive"]) == ("fresh", True)
    assert "alive" in tally("status", env=url).stdout
    with server.client() as client:
        client.xgroup_delconsumer(KEYS.stream, GROUP, "fresh")
        client.xadd(KEYS.stream, {"lines": "{}"})
    assert "No aggregator is alive" in tally("status", env=url).stdout


def test_a_drain_of_nothing_ends(server: Server) -> None:
    done = tally("aggregate", "--drain", env={"TALLY_REDIS_URL": server.url})
    assert (done.returncode, done.stdout) == (0, "")


def test_status_without_a_server_says_how_to_find_one() -> None:
    Path(".tally").mkdir()
    url = f"redis://127.0.0.1:{free_port()}/0"
    Path(".tally/redis.url").write_text(f"{url}\n", encoding="utf-8")
    assert_refused(tally("status"), 1, f"no answer from {url}", "tally up")
    done = tally("status", env={"TALLY_REDIS_URL": url})
    assert_refused(done, 1, f"no answer from {url}")
    assert "TALLY_REDIS_URL" not in done.stderr, "that is what it was told"


@pytest.mark.parametrize("service", ["ingest", "aggregate", "serve"])
def test_no_service_looks_elsewhere_when_the_server_of_its_folder_does_not_run(service: str) -> None:
    Path(".tally/appendonlydir").mkdir(parents=True)
    Path("events.ndjson").touch()
    done = tally(service, *(["events.ndjson"] if service == "ingest" else []))
    assert_refused(done, 1, "the server of the data folder", "start `tally up` first", "TALLY_REDIS_URL")


def test_a_password_is_not_shown_when_there_is_no_answer() -> None:
    done = tally("status", env={"TALLY_REDIS_URL": f"redis://:pa55word@127.0.0.1:{free_port()}/0"})
    assert done.returncode == 1
    assert "pa55word" not in done.stderr + done.stdout


def test_a_wrong_password_ends_a_service_with_a_sentence(durable_server: Server) -> None:
    with durable_server.client() as client:
        client.config_set("requirepass", "right")
        done = tally("aggregate", env={"TALLY_REDIS_URL": durable_server.url.replace("//", "//:wrong@")})
        client.config_set("requirepass", "")  # the fixture looks at the server when the test has ended
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
    done = tally(*command, env={"TALLY_REDIS_URL": where.format(port=durable_server.port)})
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("source", ["x", "tail:x", "."], ids=["file", "tail", "folder"])
def test_an_ingestor_that_may_read_and_not_append_ends_with_a_sentence(durable_server: Server, source: str) -> None:
    Path("x").write_bytes(b'{"event_type": "a", "data": "b"}\n')
    with durable_server.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">word", "~*", "+@all", "-@scripting")
    done = tally("ingest", source, env={"TALLY_REDIS_URL": durable_server.url.replace("//", "//weak:word@")})
    assert done.returncode == 1
    assert "tally: Redis does not allow the user of TALLY_REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr
