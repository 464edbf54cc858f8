"""A master that is cut off from all other nodes, but not from the services, which go on writing to it.

It takes their writes until it notices; by then its replica has taken over, and what it took is lost when the cut
heals. Each test says how much that was, so that it was something.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tally.keys import Keys
from tally.shards import tags
from tests.cluster.cutting import addresses, cut, why_not
from tests.cluster.nodes import Cluster, Node, running_cluster
from tests.cluster.test_faults import SMALL, Events, flowing
from tests.cluster.test_pushed import BODIES, Client, check_that_each_is_counted_once
from tests.processes import Process, running
from tests.server import free_port
from tests.waiting import wait_until

SHARDS = 4


@pytest.fixture(autouse=True)
def _can_be_cut() -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)


@contextmanager
def cluster_of_addresses(folder: Path, *, options: Sequence[str] = ()) -> Iterator[Cluster]:
    """Start three masters with a replica each, all at addresses of their own."""
    (folder / "cluster").mkdir()
    with running_cluster(folder / "cluster", replicas=1, addresses=addresses(6), options=options) as cluster:
        yield cluster


@dataclass(frozen=True)
class Held:
    """What a node has taken in some shards."""

    blocks: int = 0
    lines: int = 0  # that are counted
    bodies: int = 0  # by their idempotency keys

    def __sub__(self, other: Held) -> Held:
        return Held(self.blocks - other.blocks, self.lines - other.lines, self.bodies - other.bodies)


class Isolated:
    """A master that only clients reach, until it is healed."""

    def __init__(self, cluster: Cluster, master: Node, keys: Sequence[Keys], *, the_cut: ExitStack) -> None:
        self.master = master
        self._cluster = cluster
        self._keys = keys
        self._cut = the_cut
        self._before = self._held()

    def _held(self) -> Held:
        blocks = lines = bodies = 0
        # What XINFO says has whole blocks in it, which need not be text.
        with redis.Redis(host=self.master.address, port=self.master.port, socket_timeout=30) as client:
            for keys in self._keys:
                if client.exists(keys.stream):
                    about: Any = client.xinfo_stream(keys.stream)
                    blocks += about["entries-added"]
                lines += int(client.hget(keys.totals, "lines") or 0)
                bodies += int(client.hlen(keys.once_new))
        return Held(blocks, lines, bodies)

    @property
    def is_up(self) -> bool:
        """Whether it takes its part of the cluster for whole."""
        return "cluster_state:ok" in self.master.ask("CLUSTER", "INFO")

    def taken(self) -> Held:
        """Return what it has taken since the cut; all of it is on this node alone."""
        # Without that it does not even tell once it knows that it is alone.
        self.master.ask("CONFIG", "SET", "cluster-allow-reads-when-down", "yes")
        try:
            return self._held() - self._before
        finally:
            self.master.ask("CONFIG", "SET", "cluster-allow-reads-when-down", "no")

    def wait_until_replaced(self) -> None:
        """Wait until it has noticed, and a replica has its slots."""
        wait_until(lambda: not self.is_up, what="the master notices that it is alone")
        for keys in self._keys:
            self._cluster.wait_for_another_owner(keys.tag, self.master)

    def heal(self) -> None:
        """Let it learn that it is a replica now."""
        self._cut.close()
        wait_until(self.master.is_synchronized, what="it has learnt that it is a replica")


@contextmanager
def isolated_master(cluster: Cluster, tag: int, *, shards: int) -> Iterator[Isolated]:
    """Cut the master of a tag off from all other nodes, until it is healed, or to the end, however it comes."""
    master = cluster.owner(tag)
    keys = [each for each in map(Keys, tags(shards)) if cluster.owner(each.tag) is master]
    cluster.replica_of(master)
    with ExitStack() as the_cut:
        the_cut.enter_context(cut(master.address, [each.address for each in cluster.nodes if each is not master]))
        yield Isolated(cluster, master, keys, the_cut=the_cut)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, SHARDS])
def test_a_file_while_a_master_is_cut_off(many_events: Events, tmp_path: Path, shards: int) -> None:
    """No ingestor that waits for replicas ends with what only the isolated master has."""
    chance = random.Random(shards)
    with (
        cluster_of_addresses(tmp_path) as cluster,
        flowing(cluster, many_events, tmp_path, shards=shards, wait_for_replicas=1) as pipeline,
    ):
        pipeline.reaches(0.15)
        with isolated_master(cluster, chance.choice(pipeline.keys).tag, shards=shards) as isolated:
            isolated.wait_until_replaced()
            pipeline.faults.append(f"it took {(taken := isolated.taken())}")
            assert taken.blocks > 0, "it was written to after the cut"
            isolated.heal()
        pipeline.finish()


@pytest.mark.slow
def test_a_file_that_ended_with_the_isolated_master_is_read_once_more(many_events: Events, tmp_path: Path) -> None:
    """An ingestor that does not wait for replicas believes that master; the next one sends what is missing."""
    with (
        cluster_of_addresses(tmp_path, options=("--cluster-node-timeout", "8000")) as cluster,
        flowing(cluster, many_events, tmp_path, shards=1) as pipeline,
    ):
        pipeline.reaches(0.15)
        with isolated_master(cluster, pipeline.keys[0].tag, shards=1) as isolated:
            assert pipeline.ingestor.wait(300) == 0
            if not isolated.is_up:
                pytest.skip("too slow a machine: the cut was noticed before the file had been read to its end")
            isolated.wait_until_replaced()
            pipeline.faults.append(f"it took {(taken := isolated.taken())}")
            assert taken.blocks > 0, "it was written to after the cut"
            isolated.heal()
        with pipeline.owner(pipeline.keys[0]).client() as client:
            assert int(client.hget(pipeline.keys[0].totals, "lines") or 0) < pipeline.expected.lines
        pipeline.ingestor.start()
        pipeline.finish()


@pytest.mark.slow
def test_a_master_with_min_replicas_refuses_before_it_knows_that_it_is_alone(
    many_events: Events, tmp_path: Path
) -> None:
    """What it takes until then is sent again, even the end of the file, by an ingestor that waits for replicas."""
    options = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1", "--cluster-node-timeout", "10000")
    with (
        cluster_of_addresses(tmp_path, options=options) as cluster,
        flowing(cluster, many_events, tmp_path, shards=SHARDS, wait_for_replicas=1) as pipeline,
    ):
        pipeline.reaches(0.15)
        with isolated_master(cluster, pipeline.keys[0].tag, shards=SHARDS) as isolated:
            wait_until(
                lambda: "errorstat_NOREPLICAS" in isolated.master.info("errorstats"), what="the master refuses writes"
            )
            assert isolated.is_up, "it believes that it is one of the cluster"
            taken = isolated.taken()
            isolated.wait_until_replaced()
            pipeline.faults.append(f"it took {taken}")
            assert isolated.taken() == taken, "it took nothing after it had begun to refuse"
            isolated.heal()
        pipeline.finish()


#: So many clients push at once: each waits for replicas that the isolated master has no more.
CLIENTS = 8


@pytest.mark.slow
def test_bodies_while_a_master_is_cut_off(tmp_path: Path) -> None:
    """It answers none of those that only it has: an answered one is not sent again, and would be missing."""
    port = free_port()
    # It is to believe in itself for longer than an answer waits for replicas.
    with cluster_of_addresses(tmp_path, options=("--cluster-node-timeout", "8000")) as cluster:
        variables = {
            "TALLY_REDIS_URL": cluster.url,
            "TALLY_SHARDS": str(SHARDS),
            "TALLY_INGEST_WAIT_FOR_REPLICAS": "1",
            **SMALL,
        }
        ingestor = Process("ingestor", f"http://127.0.0.1:{port}", log=tmp_path / "ingestor.log", **variables)
        aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **variables)
        each = BODIES // (1 + CLIENTS)
        ranges = [range(at * each, (at + 1) * each) for at in range(CLIENTS)]
        first, *others = clients = [
            Client(f"http://127.0.0.1:{port}/events", numbers) for numbers in (*ranges, range(CLIENTS * each, BODIES))
        ]
        every = [Keys(tag) for tag in tags(SHARDS)]
        with running(ingestor, aggregator):
            first.thread.start()
            first.thread.join(120)
            assert first.answered == each, ingestor.log()[-3000:]
            with isolated_master(cluster, every[0].tag, shards=SHARDS) as isolated:
                for client in others:
                    client.thread.start()
                wait_until(lambda: any(client.refused[503] for client in others), what="a body is not promised")
                assert isolated.is_up, "it was refused for want of replicas"
                isolated.wait_until_replaced()
                taken = isolated.taken()
                assert taken.bodies > 0, "it was sent bodies after the cut"
                isolated.heal()
            for client in others:
                client.thread.join(240)
            assert sum(client.answered for client in clients) == BODIES, ingestor.log()[-3000:]
            check_that_each_is_counted_once(cluster, every)
