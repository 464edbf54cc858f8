"""Shards on a node that hangs hold up none of the others, whether services ran before or are started meanwhile.

And services that are started before there is a cluster wait for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from ingestor.log_events import LET_IN
from tally.keys import GROUP, Keys
from tally.log_events import REDIS_UNAVAILABLE
from tally.shards import HOME_TAG, tags
from tests.cluster.nodes import Cluster, running_cluster
from tests.processes import Process, running
from tests.senders import post
from tests.server import free_port
from tests.waiting import wait_until

SHARDS = 6


def _rich(number: int) -> bytes:
    """Return a block of words that come once each, which takes a while to count."""
    words = (f"{number:x}w{at:x}" for at in range(20_000))
    return b'{"event_type":"rich","data":"%s"}' % " ".join(words).encode()


def _events(client: redis.Redis, keys: Keys) -> int:
    return int(client.hget(keys.totals, "events") or 0)


def _is_served(client: redis.Redis, keys: Keys) -> bool:
    return bool(client.exists(keys.stream)) and bool(client.xinfo_consumers(keys.stream, GROUP))


@pytest.mark.slow
def test_what_other_nodes_have_is_counted_on(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    options = ("--cluster-require-full-coverage", "no")
    with running_cluster(folder, options=options) as cluster:
        keys = [Keys(tag) for tag in tags(SHARDS)]
        owners = {each: cluster.owner(each.tag) for each in keys}
        clients = {each: owners[each].client() for each in keys}
        hanging = owners[keys[0]]
        there, others = ([each for each in keys if (owners[each] is hanging) == on_it] for on_it in (True, False))
        assert len(there) == 2
        aggregator = Process(
            "aggregator",
            log=tmp_path / "log",
            TALLY_REDIS_URL=cluster.url,
            TALLY_SHARDS=str(SHARDS),
            TALLY_REDIS_TIMEOUT_SECONDS="600",  # as good as never
        )
        with running(aggregator):
            for each in keys:
                wait_until(lambda each=each: _is_served(clients[each], each), what="it serves all shards")  # type: ignore[misc]
            for number in range(40):  # so that it is in the middle of batches there
                clients[there[number % 2]].xadd(there[number % 2].stream, {"lines": _rich(number)})
            wait_until(lambda: any(_events(clients[each], each) for each in there), what="it is at work there")
            hanging.hang()
            try:
                for number in range(1, 7):
                    for each in others:
                        block = b"\n".join([b'{"event_type":"a","data":"%s"}' % (b"lorem " * 100)] * 200)
                        clients[each].xadd(each.stream, {"lines": block})
                    for each in others:
                        wait_until(
                            lambda each=each, number=number: _events(clients[each], each) == 200 * number,  # type: ignore[misc]
                            what="others are counted",
                            seconds=120,
                        )
            finally:
                hanging.go_on()
            wait_until(lambda: sum(_events(clients[each], each) for each in there) == 40, what="then those, too")
        for client in clients.values():
            client.close()


@pytest.mark.slow
def test_services_that_are_started_meanwhile_serve_what_other_nodes_have(tmp_path: Path) -> None:
    """Even where the node that hangs has the layout of all; a file waits for it, and is counted whole afterwards."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"event_type":"file","data":"f"}\n' * 3000)
    port = free_port()
    with running_cluster(folder, options=("--cluster-require-full-coverage", "no")) as cluster:
        keys = [Keys(tag) for tag in tags(SHARDS)]
        hanging = cluster.owner(HOME_TAG)
        owners = {each: cluster.owner(each.tag) for each in keys}
        clients = {each: owners[each].client() for each in keys}
        others = [each for each in keys if owners[each] is not hanging]
        assert 0 < len(others) < SHARDS
        variables = {
            "TALLY_REDIS_URL": cluster.url,
            "TALLY_SHARDS": str(SHARDS),
            "TALLY_STRIPE_BYTES": "4096",
            "TALLY_REDIS_TIMEOUT_SECONDS": "600",  # as good as never
        }
        before = Process("aggregator", log=tmp_path / "before.log", **variables)
        with running(before):
            for each in keys:
                wait_until(lambda each=each: _is_served(clients[each], each), what="there is a layout in all shards")  # type: ignore[misc]
            assert before.stop() == 0, before.log()
        aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **variables)
        sources = (f"http://127.0.0.1:{port}", f"tail:{path}")
        ingestor = Process("ingestor", *sources, log=tmp_path / "ingestor.log", **variables)
        answers: dict[str, int] = {}
        hanging.hang()
        with running(aggregator, ingestor):
            try:
                wait_until(lambda: LET_IN in ingestor.log(), what="what is pushed is let in", seconds=120)
                while list(answers.values()).count(202) < 20:
                    assert len(answers) < 200, answers
                    word = f"word{len(answers)}"
                    answers[word] = post(port, b'{"event_type":"pushed","data":"%s"}' % word.encode()).status
                taken = {word for word, status in answers.items() if status == 202}
                wait_until(
                    lambda: taken <= {word for each in others for word in clients[each].hkeys(each.words)},
                    what="what was taken is counted by other shards",
                    seconds=120,
                )
            finally:
                hanging.go_on()

            def counts(of: str) -> int:
                return sum(int(clients[each].hget(each.types, of) or 0) for each in keys)

            wait_until(lambda: counts("file") == 3000, what="the file is counted", seconds=120)
            assert ingestor.stop() == 0, ingestor.log()
            wait_until(lambda: not any(clients[each].xlen(each.stream) for each in keys), what="all is counted")
            assert aggregator.stop() == 0, aggregator.log()
        for word, status in answers.items():
            found = sum(int(clients[each].hget(each.words, word) or 0) for each in keys)
            assert found == 1 if status == 202 else found <= 1, (word, status)
        assert counts("file") == 3000
        for client in clients.values():
            client.close()


@pytest.mark.slow
def test_services_wait_for_a_cluster_that_is_made_later(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"event_type":"file","data":"f"}\n' * 3000)
    cluster = Cluster(folder)
    variables = {"TALLY_REDIS_URL": cluster.url, "TALLY_SHARDS": str(SHARDS), "TALLY_STRIPE_BYTES": "4096"}
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **variables)
    ingestor = Process("ingestor", f"tail:{path}", log=tmp_path / "ingestor.log", **variables)
    with running(aggregator, ingestor):
        for each in (aggregator, ingestor):
            wait_until(lambda each=each: REDIS_UNAVAILABLE in each.log(), what="it looks for the cluster")  # type: ignore[misc]
        try:
            cluster.start()
            keys = [Keys(tag) for tag in tags(SHARDS)]

            def counted() -> int:
                found = 0
                for each in keys:
                    with cluster.owner(each.tag).client() as client:
                        found += _events(client, each)
                return found

            wait_until(lambda: counted() == 3000, what="all is counted", seconds=120)
            assert (ingestor.stop(), aggregator.stop()) == (0, 0)
            assert counted() == 3000
        finally:
            cluster.kill()
