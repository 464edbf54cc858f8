"""Whatever happens to the nodes of a cluster, files are counted exactly: services as processes, on a real cluster."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tally.keys import Keys
from tests.cluster.nodes import Cluster, Node
from tests.effort import seeds
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.waiting import wait_until

KEYS = Keys()

#: Small blocks and a short backlog, so that there is always something in flight.
SMALL = {
    "TALLY_MAX_BLOCK_BYTES": "32768",
    "TALLY_MAX_BLOCKS_IN_FLIGHT": "4",
    "TALLY_MAX_BACKLOG_BLOCKS": "200",
    "TALLY_CLAIM_IDLE_SECONDS": "1",
    "TALLY_REDIS_TIMEOUT_SECONDS": "5",
}


@dataclass
class Pipeline:
    """An ingestor that reads a file, and aggregators, over a cluster."""

    cluster: Cluster
    path: Path
    folder: Path
    ingestor: Process
    aggregators: list[Process]

    @property
    def owner(self) -> Node:
        return self.cluster.owner(KEYS.tag)

    def reaches(self, share: float) -> None:
        """Wait until so much of the file is appended."""
        wait_until(
            lambda: self._position() >= share * self.path.stat().st_size,
            what=f"{share:.0%} of the file is appended: {self.ingestor.log()[-2000:]}",
            seconds=120,
        )

    def _position(self) -> int:
        with self.owner.client() as client:
            return max((int(each) for each in client.hvals(KEYS.sources)), default=0)

    def finish(self) -> Expected:
        """Let the ingestor come to its end, and count what is left; return what was counted."""
        code = self.ingestor.wait(240)
        assert code == 0, self.ingestor.log()[-3000:]
        drain = Process("aggregator", "--drain", log=self.folder / "drain.log", **self.variables)
        with running(drain):
            assert drain.wait(120) == 0, drain.log()[-3000:]
        for each in self.aggregators:
            assert each.exit_code is None, each.log()[-3000:]
        with self.owner.client() as client:
            assert client.xlen(KEYS.stream) == 0
            return counted(client)

    @property
    def variables(self) -> dict[str, str]:
        return {"TALLY_REDIS_URL": self.cluster.url, **SMALL}


@contextmanager
def flowing(cluster: Cluster, path: Path, folder: Path) -> Iterator[Pipeline]:
    """Run an ingestor and two aggregators, which are none of those that end."""
    variables = {"TALLY_REDIS_URL": cluster.url, **SMALL}
    ingestor = Process("ingestor", str(path), log=folder / "ingestor.log", **variables)
    aggregators = [Process("aggregator", log=folder / f"aggregator-{at}.log", **variables) for at in range(2)]
    with running(ingestor, *aggregators):
        yield Pipeline(cluster, path, folder, ingestor, aggregators)


Events = tuple[Path, Expected]


@pytest.mark.parametrize("seed", seeds([1], [2, 3, 4]))
def test_masters_that_are_killed(replicated_cluster: Cluster, many_events: Events, tmp_path: Path, seed: int) -> None:
    """A replica that takes over lacks what was on its way to it: positions and counts lack it together."""
    path, expected = many_events
    chance = random.Random(seed)
    cluster = replicated_cluster
    with flowing(cluster, path, tmp_path) as pipeline:
        for share in (0.15, 0.5):
            pipeline.reaches(share + chance.uniform(0, 0.1))
            master = pipeline.owner
            cluster.replica_of(master)
            assert master.kill()
            cluster.wait_for_another_owner(KEYS.tag, master)
            master.start()
        assert pipeline.finish() == expected


def test_a_master_that_hangs(replicated_cluster: Cluster, many_events: Events, tmp_path: Path) -> None:
    """It comes back in the belief that it is one, with commands in its buffers that nobody waits for any more."""
    path, expected = many_events
    cluster = replicated_cluster
    with flowing(cluster, path, tmp_path) as pipeline:
        pipeline.reaches(0.2)
        master = pipeline.owner
        cluster.replica_of(master)
        master.hang()
        try:
            cluster.wait_for_another_owner(KEYS.tag, master)
            pipeline.reaches(0.5)
        finally:
            master.go_on()
        wait_until(master.is_synchronized, what="it has learnt that it is a replica")
        assert pipeline.finish() == expected


def test_a_slot_that_is_moved_key_by_key(replicated_cluster: Cluster, many_events: Events, tmp_path: Path) -> None:
    path, expected = many_events
    cluster = replicated_cluster
    with flowing(cluster, path, tmp_path) as pipeline:
        for share in (0.2, 0.4, 0.6):
            pipeline.reaches(share)
            owner = pipeline.owner
            to = next(node for node in cluster.nodes if node.is_master() and node is not owner)
            cluster.migrate(KEYS.tag, to=to)
            assert pipeline.owner is to
        assert pipeline.finish() == expected
