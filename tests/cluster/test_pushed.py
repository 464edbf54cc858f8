"""What is pushed, answered only when a replica has it, and sent again until it is answered, is counted once."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tally.keys import Keys
from tally.shards import tags
from tests.cluster.nodes import Cluster
from tests.cluster.test_faults import SMALL
from tests.processes import Process, running
from tests.server import free_port
from tests.waiting import wait_until

SHARDS = 4

BODIES = 200


class Client:
    """Sends bodies one after the other, each under its key until it is answered with 202."""

    def __init__(self, url: str, numbers: range = range(BODIES)) -> None:
        self.answered = 0
        self._numbers = numbers
        self.refused: Counter[int] = Counter()
        self._url = url
        self._pause = threading.Event()
        self.thread = threading.Thread(target=self._send, daemon=True)

    def _send(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as http:
            for number in self._numbers:
                line = json.dumps({"event_type": f"type-{number % 7}", "data": f"word-{number}"})
                while not self._is_taken(http, f"{line}\n", key=f"key-{number}"):
                    self._pause.wait(0.1)  # as clients do before they try again
                self.answered += 1

    def _is_taken(self, http: httpx.Client, body: str, *, key: str) -> bool:
        try:
            status = http.post(self._url, content=body, headers={"Idempotency-Key": key}).status_code
        except httpx.TransportError:
            status = 0
        if status != 202:
            self.refused[status] += 1
        return status == 202


def check_that_each_is_counted_once(cluster: Cluster, every: Sequence[Keys]) -> None:
    """Wait until all bodies are counted; each has a word of its own."""

    def found() -> Counter[str]:
        counts: Counter[str] = Counter()
        for each in every:
            with cluster.owner(each.tag).client() as redis:
                counts.update({name: int(count) for name, count in redis.hgetall(each.words).items()})
        return counts

    wait_until(lambda: found().total() >= BODIES, what="all is counted")
    assert found() == {f"word-{number}": 1 for number in range(BODIES)}


@pytest.mark.slow
def test_bodies_through_fail_overs(replicated_cluster: Cluster, tmp_path: Path) -> None:
    cluster, chance = replicated_cluster, random.Random(1)
    port = free_port()
    variables = {
        "TALLY_REDIS_URL": cluster.url,
        "TALLY_SHARDS": str(SHARDS),
        "TALLY_INGEST_WAIT_FOR_REPLICAS": "1",
        **SMALL,
    }
    ingestor = Process("ingestor", f"http://127.0.0.1:{port}", log=tmp_path / "ingestor.log", **variables)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **variables)
    client = Client(f"http://127.0.0.1:{port}/events")
    every = [Keys(tag) for tag in tags(SHARDS)]
    with running(ingestor, aggregator):
        client.thread.start()
        for share in (0.2, 0.5):
            wait_until(lambda share=share: client.answered > share * BODIES, what="bodies are answered", seconds=120)  # type: ignore[misc]
            keys = chance.choice(every)
            master = cluster.owner(keys.tag)
            cluster.replica_of(master)
            assert master.kill()
            cluster.wait_for_another_owner(keys.tag, master)
            master.start()
            wait_until(master.is_synchronized, what="the old master is a replica")
        client.thread.join(240)
        assert client.answered == BODIES, (client.refused, ingestor.log()[-3000:])
        check_that_each_is_counted_once(cluster, every)
