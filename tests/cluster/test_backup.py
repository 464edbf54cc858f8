"""Backups of a cluster's masters, each of another moment, are put back together: every shard goes on from its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tally.keys import Keys
from tally.shards import tags
from tests.backups import snapshot
from tests.cluster.nodes import running_cluster
from tests.cluster.test_faults import SMALL
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.waiting import wait_until

SHARDS = 4

LINES = 20_000


def _lines(first: int, last: int) -> list[bytes]:
    return [b'{"event_type":"type-%d","data":"word-%d and more"}\n' % (each % 7, each) for each in range(first, last)]


@pytest.mark.slow
def test_backups_of_several_moments_make_one_whole(tmp_path: Path) -> None:
    path, copies, folder = tmp_path / "events.ndjson", tmp_path / "copies", tmp_path / "cluster"
    path.touch()
    folder.mkdir()
    keys = [Keys(tag) for tag in tags(SHARDS)]
    with running_cluster(folder) as cluster:
        variables = {"TALLY_REDIS_URL": cluster.url, "TALLY_SHARDS": str(SHARDS), **SMALL}

        def services(name: str) -> list[Process]:
            return [
                Process(*arguments, log=tmp_path / f"{name}-{arguments[0]}.log", **variables)
                for arguments in (("ingestor", f"tail:{path}"), ("aggregator",))
            ]

        def found() -> Expected:
            whole = Expected()
            for each in keys:
                with cluster.owner(each.tag).client() as client:
                    whole += counted(client, each)
            return whole

        with running(*services("before")):
            for at, node in enumerate(cluster.nodes):
                with path.open("ab") as file:
                    file.writelines(_lines(at * LINES, (at + 1) * LINES))
                wait_until(lambda at=at: found().events > at * LINES, what="some of it is counted")  # type: ignore[misc]
                with node.client() as client:
                    snapshot(client, node.folder, copies / node.folder.name)
            wait_until(lambda: found().events == 3 * LINES, what="all is counted")

        for node in cluster.nodes:
            node.stop()
            shutil.rmtree(node.folder / "appendonlydir")
            shutil.move(copies / node.folder.name / "appendonlydir", node.folder)
        for node in cluster.nodes:
            node.start()
        cluster.wait_until_whole()
        assert found().events < 3 * LINES, "it is as of then"
        with running(*services("after")):
            wait_until(lambda: found().events >= 3 * LINES, what="all is counted again")
        assert Expected.of(_lines(0, 3 * LINES)).difference(found()) == ""
