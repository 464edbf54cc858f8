"""A server that is killed while it writes what a script did leaves half of that in its append-only file.

Redis 7.0 and 8.0 pass over the half when they load the file, but leave it there, and apply it with what was written
behind it when they load the file once more. These tests run on such a server, too, whichever the others run on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tests.append_only_file import cut_in_the_last_transaction_with, incremental_files
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.server import Server
from tests.waiting import wait_until

KEYS = Keys()

#: So that each batch is small, and what a killed consumer held is soon claimed.
SMALL = {"TALLY_MAX_BLOCK_BYTES": "8192", "TALLY_CLAIM_IDLE_SECONDS": "0.5"}


@pytest.fixture(params=[None, "redis-server"], ids=["default", "redis-server"])
def torn_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A durable server that has each command on its disk before it answers."""
    if request.param is not None and shutil.which(request.param) is None:
        pytest.skip(f"there is no {request.param}")
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder, durable=True, options=("--appendfsync", "always"), binary=request.param)
    server.start()
    yield server
    server.kill()


def lines(seed: int) -> bytes:
    return b"".join(Generator(GeneratorSpec(count=1000, seed=seed)).lines())


def expected(*written: bytes) -> Expected:
    return Expected.of(b"".join(written).split(b"\n"))


def count(server: Server, path: Path) -> None:
    """Append a file and count what there is, by services that are gone afterwards."""
    url = {"TALLY_REDIS_URL": server.url}
    for name, arguments in (("ingestor", ["ingestor", str(path)]), ("drain", ["aggregator", "--drain"])):
        process = Process(*arguments, log=path.parent / f"{name}.log", **url, **SMALL)
        with running(process):
            assert process.wait() == 0, process.log()


def crash_in_count(server: Server) -> None:
    """Kill it, and lose the end of its file from the middle of what `count` did last."""
    assert server.kill()
    *_, last = incremental_files(server.folder)
    cut_in_the_last_transaction_with(last, "HINCRBY", KEYS.totals, "events")


def is_rewritten(client: redis_py.Redis) -> bool:
    return bool(client.get(KEYS.rewritten) == client.info("server")["run_id"])


def test_half_of_a_count_is_not_applied_one_start_later(torn_server: Server, tmp_path: Path) -> None:
    server = torn_server
    first, second = lines(1), lines(2)
    (tmp_path / "first").write_bytes(first)
    (tmp_path / "second").write_bytes(second)
    count(server, tmp_path / "first")
    crash_in_count(server)
    server.start()
    count(server, tmp_path / "second")
    idle = Process("aggregator", log=tmp_path / "idle.log", TALLY_REDIS_URL=server.url)
    with running(idle), server.client() as client:
        wait_until(lambda: is_rewritten(client), what="the rewrite is noted")
    for _ in range(2):
        with server.client() as client:
            assert counted(client) == expected(first, second)
        server.stop()
        server.start()


@pytest.mark.slow
def test_nor_if_the_server_crashes_again_before_its_rewrite_has_ended(torn_server: Server, tmp_path: Path) -> None:
    """It begins before anything is written, so that what is written stands in another file than the half."""
    server = torn_server
    first, second = lines(1), lines(2)
    (tmp_path / "first").write_bytes(first)
    (tmp_path / "second").write_bytes(second)
    count(server, tmp_path / "first")
    crash_in_count(server)
    server.start()
    with server.client() as client:
        client.config_set("rdb-key-save-delay", 3_000_000)  # µs
        count(server, tmp_path / "second")
        state = client.info("persistence")
        assert state["aof_rewrite_in_progress"] == 1
        before = counted(client)
    assert server.kill()
    # Redis finds a file that is not whole and not the last, cuts it off and ends; then it starts.
    server.start(tries=2)
    with server.client() as client:
        assert counted(client) == before == expected(first, second)
    crash_in_count(server)
    server.start()
    (tmp_path / "third").write_bytes(third := lines(3))
    count(server, tmp_path / "third")
    with server.client() as client:
        assert counted(client) == expected(first, second, third)


@pytest.mark.slow
def test_services_that_run_on_see_to_it_themselves(torn_server: Server, tmp_path: Path) -> None:
    server = torn_server
    path = tmp_path / "events.ndjson"
    path.write_bytes(lines(1))
    url = {"TALLY_REDIS_URL": server.url}
    ingestor = Process("ingestor", f"tail:{path}", log=tmp_path / "ingestor.log", **url, **SMALL)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **url, **SMALL)

    def wait_for_all() -> None:
        with server.client() as client:
            wait_until(lambda: counted(client) == expected(path.read_bytes()), what="all is counted")
            wait_until(lambda: is_rewritten(client), what="the rewrite is noted")

    with running(ingestor, aggregator):
        for seed in (2, 3, 4):
            wait_for_all()
            crash_in_count(server)
            with path.open("ab") as file:
                file.write(lines(seed))
            server.start()
        wait_for_all()
        server.stop()
        server.start()
        wait_for_all()
