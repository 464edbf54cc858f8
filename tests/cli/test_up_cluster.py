"""`tally up --nodes`: the embedded server as a cluster of several."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tally.local.embedded_cluster import EmbeddedCluster, embedded, settle_shards
from tally.local.log_events import BUS_IS_OPEN
from tally.redis_location import redis_url, with_server_found
from tally.runtime import EXIT_USAGE, Failure, Misuse
from tally.settings import Settings
from tally.shards import slot_of
from tests.cli.commands import assert_refused, tally
from tests.cli.up import Up
from tests.oracle import Expected
from tests.waiting import wait_until

#: How many there are of both.
NODES, SHARDS = "3", "4"


def test_it_counts_over_several_nodes_and_has_its_data_again(
    up: Up, expected: Expected, left: Callable[[], list[int]]
) -> None:
    up.start("--source", up.source, "--nodes", NODES, "--shards", SHARDS)
    wait_until(lambda: up.shows(expected), what="everything is counted")
    assert BUS_IS_OPEN in up.log()
    beside = {"TALLY_DATA_DIR": str(up.data)}
    status = tally("status", "--json", env=beside)
    assert json.loads(status.stdout)["totals"]["events"] == expected.events, "who is beside it finds nodes and shards"
    assert up.interrupt() == 0, up.log()
    assert left() == []
    assert not (up.data / "redis.url").exists()

    up.start("--source", up.source)  # as many as before
    wait_until(lambda: up.shows(expected), what="everything is there again, and counted once")
    for folder in sorted(up.data.glob("node-*")):
        _kill_server(folder)
    wait_until(lambda: up.shows(expected), what="the nodes are started again when they die")
    assert up.interrupt() == 0, up.log()
    assert left() == []
    assert "Traceback" not in up.log()
    refused = tally("up", "--no-source", "--data", str(up.data), "--nodes", "2")
    assert_refused(refused, EXIT_USAGE, "give --nodes 3")


def _kill_server(folder: Path) -> None:
    """SIGKILL the server that works in this folder, not its guard."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            works_there = (process / "cwd").resolve() == folder.resolve()
            is_server = b"valkey-server" in (process / "cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if works_there and is_server:
            os.kill(int(process.name), signal.SIGKILL)
            return
    raise AssertionError(f"nothing works in {folder}")


@contextmanager
def started(folder: Path, *, nodes: int = 3) -> Iterator[EmbeddedCluster]:
    cluster = EmbeddedCluster(folder, nodes=nodes)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _ports(folder: Path) -> list[int]:
    files = sorted(folder.glob("node-*/private/ports.conf"))
    return [int(file.read_text(encoding="utf-8").split()[1]) for file in files]


def _client(folder: Path, port: int) -> Any:
    password = (folder / "node-1" / "private" / "password.conf").read_text(encoding="utf-8").split()[1]
    return redis.Redis(port=port, password=password, decode_responses=True, socket_timeout=30)


@pytest.mark.slow
def test_its_url_stays_and_its_files_are_nobody_elses(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with started(data) as cluster:
        before = cluster.url
        assert redis_url(Settings(data_dir=data)) == before
        with pytest.raises(redis.AuthenticationError), redis.Redis(port=_ports(data)[1]) as client:
            client.ping()
        open_to_others = [path for path in data.rglob("*") if path.lstat().st_mode & 0o077 and not path.is_symlink()]
        assert open_to_others == []
        with pytest.raises(Failure, match="another tally up uses the data folder"):
            EmbeddedCluster(data, nodes=3).start()
        assert redis_url(Settings(data_dir=data)) == before, "which leaves that of the other one where it is"
    with started(data) as cluster:
        assert cluster.url == before


@pytest.mark.slow
def test_a_node_whose_port_is_taken_moves_and_is_found_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with started(data):
        pass
    before = _ports(data)
    with socket.create_server(("127.0.0.1", before[1])), started(data) as cluster:
        after = _ports(data)
        assert (after[0], after[2]) == (before[0], before[2])
        assert after[1] != before[1]
        assert f"127.0.0.1:{after[1]}" in cluster.url
        for port in after:
            with _client(data, port) as client:
                owners = {each[2][1] for each in client.execute_command("CLUSTER", "SLOTS")}
                assert owners == set(after), "each node knows where the others are now"


@pytest.mark.slow
def test_what_a_killed_start_left_half_done_is_finished(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with started(data) as cluster:
        with _client(data, _ports(data)[2]) as client:  # as if it had come no further
            client.execute_command("CLUSTER", "FLUSHSLOTS")
        assert not cluster.dead
    with started(data), _client(data, _ports(data)[0]) as client:
        covered = sum(last - first + 1 for first, last, *_ in client.execute_command("CLUSTER", "SLOTS"))
        assert covered == 16_384
        assert any(first <= slot_of(0) <= last for first, last, *_ in client.execute_command("CLUSTER", "SLOTS"))


@pytest.mark.slow
def test_a_node_that_is_killed_while_they_are_started_is_started_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    cluster = EmbeddedCluster(data, nodes=3)
    killed: list[bool] = []

    def kill_one() -> bool:
        """As it is asked whether to stop: once all run, and before they make a cluster."""
        if not killed and len(_ports(data)) == 3:
            _kill_server(data / "node-2")
            killed.append(True)
        return False

    try:
        cluster.start(stopped=kill_one)
        assert killed
        for port in _ports(data):
            with _client(data, port) as client:
                wait_until(
                    lambda client=client: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")),  # type: ignore[misc]
                    what="the nodes make a cluster",
                )
    finally:
        cluster.stop()


@pytest.mark.slow
def test_a_data_folder_keeps_its_nodes_and_its_shards(tmp_path: Path) -> None:
    several, one = tmp_path / "several", tmp_path / "one"
    (several / "node-1").mkdir(parents=True)
    (several / "node-2").mkdir()
    (one / "appendonlydir").mkdir(parents=True)
    assert embedded(several).nodes == embedded(several, nodes=2).nodes == 2
    assert embedded(one).nodes == embedded(tmp_path / "new").nodes == 1
    with pytest.raises(Misuse, match=r"has the data of 2 nodes, .* give --nodes 2"):
        embedded(several, nodes=1)
    with pytest.raises(Misuse, match=r"has the data of 1 node, .* give --nodes 1"):
        embedded(one, nodes=2)
    with pytest.raises(Misuse, match="--redis-port is of one server"):
        embedded(several, port=1)

    assert settle_shards(several, wanted=None, nodes=2) == 2
    assert settle_shards(several, wanted=2, nodes=2) == 2
    with pytest.raises(Misuse, match=r"are in 2 shards, .* give --shards 2"):
        settle_shards(several, wanted=4, nodes=2)
    assert with_server_found(Settings(data_dir=several)).shards == 2
    assert with_server_found(Settings(data_dir=several, shards=3)).shards == 3, "what is set is set"
    assert with_server_found(Settings(data_dir=several, redis_url="redis://host")).shards == 1
    assert settle_shards(one, wanted=None, nodes=1) == 1
    with pytest.raises(Misuse, match=r"are in 1 shard, .* give --shards 1"):
        settle_shards(one, wanted=4, nodes=1)
    assert settle_shards(tmp_path / "new", wanted=1, nodes=3) == settle_shards(tmp_path / "new", wanted=None, nodes=3)
    assert with_server_found(Settings(data_dir=one)).shards == 1


def test_the_server_of_made_up_events_has_a_namespace_of_its_own_unless_one_is_set(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    demo.mkdir()
    assert with_server_found(Settings(data_dir=tmp_path)).namespace == "tally", "none runs"
    (demo / "redis.url").write_text("unix:///demo.sock\n", encoding="utf-8")
    assert with_server_found(Settings(data_dir=tmp_path)).namespace == "demo"
    assert with_server_found(Settings(data_dir=tmp_path, namespace="tally")).namespace == "tally", "what is set is set"
    (tmp_path / "redis.url").write_text("unix:///counts.sock\n", encoding="utf-8")
    assert with_server_found(Settings(data_dir=tmp_path)).namespace == "tally", "that of the counts is asked"
