"""Shards on a node that hangs hold up none of the others, although one aggregator serves them all."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tally.keys import GROUP, Keys
from tally.shards import tags
from tests.cluster.nodes import running_cluster
from tests.processes import Process, running
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
