"""Whatever happens to the nodes of a cluster, files are counted exactly: services as processes, on a real cluster."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from tally.keys import Keys
from tally.shards import tags
from tests.cluster.nodes import Cluster, Node, running_cluster
from tests.effort import THOROUGH, seeds
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.waiting import wait_until

#: Small blocks and stripes, so that there is always something in flight.
SMALL = {
    "TALLY_MAX_BLOCK_BYTES": "32768",
    "TALLY_STRIPE_BYTES": "65536",
    "TALLY_MAX_BLOCKS_IN_FLIGHT": "4",
    "TALLY_CLAIM_IDLE_SECONDS": "1",
    "TALLY_REDIS_TIMEOUT_SECONDS": "5",
}

Events = tuple[Path, Expected]


@dataclass
class Pipeline:
    """An ingestor that reads a file, and aggregators, over the shards of a cluster."""

    cluster: Cluster
    expected: Expected
    folder: Path
    shards: int
    variables: dict[str, str]
    ingestor: Process
    aggregators: list[Process]
    faults: list[str] = field(default_factory=list)

    @property
    def keys(self) -> list[Keys]:
        return [Keys(tag) for tag in tags(self.shards)]

    def owner(self, keys: Keys) -> Node:
        return self.cluster.owner(keys.tag)

    def reaches(self, share: float) -> None:
        """Wait until so much of the file is counted, as far as the nodes that answer say."""
        wait_until(
            lambda: self._counted_lines() >= share * self.expected.lines,
            what=f"{share:.0%} of the file is counted after {self.faults}: {self.ingestor.log()[-2000:]}",
            seconds=240,
            pause_seconds=0.1,
        )

    def _counted_lines(self) -> int:
        lines = 0
        for keys in self.keys:
            with suppress(redis.RedisError), self.owner(keys).client(timeout_seconds=5) as client:
                lines += int(client.hget(keys.totals, "lines") or 0)
        return lines

    def finish(self) -> None:
        """Let the ingestor come to its end, count what is left, and compare."""
        while self.ingestor.wait(300) != 0:
            assert self.faults, self.ingestor.log()[-3000:]
            self.ingestor.start()
        for each in self.aggregators:
            assert each.exit_code is None, each.log()[-3000:]
        drain = Process("aggregator", "--drain", log=self.folder / "drain.log", **self.variables)
        with running(drain):
            assert drain.wait(240) == 0, drain.log()[-3000:]
        found = Expected()
        for keys in self.keys:
            with self.owner(keys).client() as client:
                assert client.xlen(keys.stream) == 0
                assert int(client.hget(keys.totals, "lost") or 0) == 0
                found += counted(client, keys)
        assert self.expected.difference(found) == "", self.faults


@contextmanager
def flowing(
    cluster: Cluster, events: Events, folder: Path, *, shards: int, wait_for_replicas: int = 0
) -> Iterator[Pipeline]:
    """Run an ingestor and two aggregators, which are none of those that end."""
    path, expected = events
    # The file is not to be in the streams whole before the first fault, however many there are.
    of_shards = {"TALLY_SHARDS": str(shards), "TALLY_MAX_BACKLOG_BLOCKS": str(max(8, 200 // shards))}
    waiting = {"TALLY_INGEST_WAIT_FOR_REPLICAS": str(wait_for_replicas)}
    variables = {"TALLY_REDIS_URL": cluster.url, **of_shards, **waiting, **SMALL}
    ingestor = Process("ingestor", str(path), log=folder / "ingestor.log", **variables)
    aggregators = [Process("aggregator", log=folder / f"aggregator-{at}.log", **variables) for at in range(2)]
    with running(ingestor, *aggregators):
        yield Pipeline(cluster, expected, folder, shards, variables, ingestor, aggregators)


def kill_master(pipeline: Pipeline, chance: random.Random) -> None:
    """A replica takes over; it lacks what was on its way to it: positions and counts lack it together."""
    keys = chance.choice(pipeline.keys)
    master = pipeline.owner(keys)
    pipeline.cluster.replica_of(master)
    assert master.kill()
    pipeline.cluster.wait_for_another_owner(keys.tag, master)
    master.start()
    wait_until(master.is_synchronized, what="the old master is a replica")


def hang_master(pipeline: Pipeline, chance: random.Random) -> None:
    """It comes back in the belief that it is one, with commands in its buffers that nobody waits for any more."""
    keys = chance.choice(pipeline.keys)
    master = pipeline.owner(keys)
    pipeline.cluster.replica_of(master)
    master.hang()
    try:
        pipeline.cluster.wait_for_another_owner(keys.tag, master)
    finally:
        master.go_on()
    wait_until(master.is_synchronized, what="it has learnt that it is a replica")


def hang_for_a_moment(pipeline: Pipeline, chance: random.Random) -> None:
    """Not for long enough that anybody takes over."""
    master = pipeline.owner(chance.choice(pipeline.keys))
    master.hang()
    time.sleep(chance.uniform(0.1, 0.8))  # how long it hangs is what is tried
    master.go_on()


def move_slot(pipeline: Pipeline, chance: random.Random) -> None:
    """Key by key, as with any Redis."""
    keys = chance.choice(pipeline.keys)
    owner = pipeline.owner(keys)
    to = chance.choice([node for node in pipeline.cluster.nodes if node.is_master() and node is not owner])
    pipeline.cluster.migrate(keys.tag, to=to)
    assert pipeline.owner(keys) is to


def move_slot_at_once(pipeline: Pipeline, chance: random.Random) -> None:
    """As Valkey 9 does."""
    keys = chance.choice(pipeline.keys)
    owner = pipeline.owner(keys)
    to = chance.choice([node for node in pipeline.cluster.nodes if node.is_master() and node is not owner])
    if not pipeline.cluster.migrate_at_once(keys.tag, to=to):
        pytest.skip("this server has no CLUSTER MIGRATESLOTS")


def kill_ingestor(pipeline: Pipeline, chance: random.Random) -> None:
    del chance
    pipeline.ingestor.kill()
    pipeline.ingestor.start()


def kill_aggregator(pipeline: Pipeline, chance: random.Random) -> None:
    victim = chance.choice(pipeline.aggregators)
    victim.kill()
    victim.start()


Fault = Callable[[Pipeline, random.Random], None]


@pytest.mark.parametrize("shards", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize(
    "fault",
    [
        kill_master,
        move_slot,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (hang_master, move_slot_at_once)),
    ],
)
def test_a_fault_while_everything_flows(
    replicated_cluster: Cluster, many_events: Events, tmp_path: Path, fault: Fault, shards: int
) -> None:
    chance = random.Random(shards)
    with flowing(replicated_cluster, many_events, tmp_path, shards=shards) as pipeline:
        for share in (0.15, 0.5):
            pipeline.reaches(share)
            fault(pipeline, chance)
        pipeline.finish()


#: So many of them in one history.
FAULTS = 20 if THOROUGH else 6


@pytest.mark.slow
@pytest.mark.parametrize("shards", [4, 16])
@pytest.mark.parametrize("seed", seeds([1], [2]))
def test_one_fault_after_the_other(
    replicated_cluster: Cluster, many_events: Events, tmp_path: Path, seed: int, shards: int
) -> None:
    chance = random.Random(seed)
    every: list[Fault] = [kill_master, hang_master, hang_for_a_moment, move_slot, kill_ingestor, kill_aggregator]
    with flowing(replicated_cluster, many_events, tmp_path, shards=shards) as pipeline:
        for at in range(FAULTS):
            pipeline.reaches(0.9 * (at + 1) / FAULTS)
            fault = chance.choice(every)
            pipeline.faults.append(fault.__name__)
            fault(pipeline, chance)
        pipeline.finish()


@pytest.mark.slow
def test_replicas_that_lag_are_promoted(many_events: Events, tmp_path: Path) -> None:
    """Whatever they lack, of one shard it is a whole end: the file has it still."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with (
        running_cluster(folder, replicas=1) as cluster,
        flowing(cluster, many_events, tmp_path, shards=4) as pipeline,
    ):
        pipeline.reaches(0.1)
        for share in (0.3, 0.6):
            keys = pipeline.keys[0]
            master = pipeline.owner(keys)
            replica = cluster.replica_of(master)
            replica.hang()  # what is written from now on comes to its buffers alone
            pipeline.reaches(share)
            assert master.kill()
            replica.go_on()
            cluster.wait_for_another_owner(keys.tag, master)
            master.start()
            wait_until(master.is_synchronized, what="the old master is a replica")
        pipeline.finish()


def kill_replica(pipeline: Pipeline, chance: random.Random) -> None:
    """Its master, which is to write nothing that only it has, refuses until the replica is back."""
    master = pipeline.owner(chance.choice(pipeline.keys))
    replica = pipeline.cluster.replica_of(master)
    assert replica.kill()
    wait_until(lambda: "errorstat_NOREPLICAS" in master.info("errorstats"), what="the master refuses writes")
    replica.start()
    wait_until(replica.is_synchronized, what="the replica is back")


def kill_all(pipeline: Pipeline, chance: random.Random) -> None:
    """At once, as where the power goes."""
    del chance
    for node in pipeline.cluster.nodes:
        assert node.kill()
    for node in pipeline.cluster.nodes:
        node.start()
    pipeline.cluster.wait_until_whole()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "faults"),
    [
        (("--min-replicas-to-write", "1"), [kill_replica, kill_master]),
        (("--appendfsync", "always"), [kill_all, kill_master]),
    ],
)
def test_faults_of_nodes_that_promise_more(
    many_events: Events, tmp_path: Path, options: tuple[str, ...], faults: list[Fault]
) -> None:
    chance = random.Random(1)
    folder = tmp_path / "cluster"
    folder.mkdir()
    with (
        running_cluster(folder, replicas=1, options=options) as cluster,
        flowing(cluster, many_events, tmp_path, shards=4) as pipeline,
    ):
        for share, fault in zip((0.15, 0.4), faults, strict=True):
            pipeline.reaches(share)
            fault(pipeline, chance)
        pipeline.finish()
