"""A pipeline moves under load: exported while its services run and are killed, imported elsewhere, it goes on there.

In the end all of a file, which has grown all the while, is counted once: in part here, in part there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis

from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tally.shards import tags
from tests.cluster.nodes import Cluster
from tests.effort import seeds
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.server import Server
from tests.waiting import wait_until

LINES = 60_000

#: Small blocks and stripes, so that there is always something in flight; and all types have words of their own.
SMALL = {
    "TALLY_MAX_BLOCK_BYTES": "16384",
    "TALLY_STRIPE_BYTES": "32768",
    "TALLY_MAX_BLOCKS_IN_FLIGHT": "4",
    "TALLY_MAX_BACKLOG_BLOCKS": "40",
    "TALLY_CLAIM_IDLE_SECONDS": "0.5",
    "TALLY_WORDS_BY_TYPE": "50",
}


@dataclass(frozen=True)
class Place:
    """Where a pipeline is for a while."""

    url: str
    client_of: Callable[[Keys], redis.Redis]
    namespace: str
    shards: int

    @property
    def variables(self) -> dict[str, str]:
        of_place = {"TALLY_NAMESPACE": self.namespace, "TALLY_SHARDS": str(self.shards)}
        return {"TALLY_REDIS_URL": self.url, **of_place, **SMALL}

    @property
    def keys(self) -> list[Keys]:
        return [Keys(tag, self.namespace) for tag in tags(self.shards)]

    def total(self, field: str) -> int:
        found = 0
        for keys in self.keys:
            with self.client_of(keys) as client:
                value: Any = client.hget(keys.totals, field)
                found += int(value or 0)
        return found

    def counted(self) -> Expected:
        found = Expected()
        for keys in self.keys:
            with self.client_of(keys) as client:
                assert client.xlen(keys.stream) == 0
                assert not client.hget(keys.totals, "lost")
                found += counted(client, keys)
        return found


class Pipeline:
    """A file that grows, and what counts it, now here and now there."""

    def __init__(self, folder: Path, *, seed: int, parts: int) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._path = folder / "events.ndjson"
        content = b"".join(Generator(GeneratorSpec(count=LINES, seed=seed)).lines())
        lines = [line + b"\n" for line in content.split(b"\n") if line]
        self._written: list[bytes] = []
        ends = [len(lines) * part // parts for part in range(parts + 1)]
        self._parts = [lines[first:last] for first, last in pairwise(ends)]

    def grow(self) -> None:
        """Write the next part of the file."""
        part = self._parts.pop(0)
        self._written += part
        with self._path.open("ab") as file:
            file.write(b"".join(part))

    def leave(self, place: Place, to: Path) -> None:
        """Count for a while there, and export it under load; whatever runs is killed all the while, and in the end."""
        at_least = place.total("lines") + 1000
        ingestor, *aggregators = self._services(place, aggregators=3)
        export = self._process("export", place, str(to), "--wait", "300")
        with running(ingestor, *aggregators):
            wait_until(lambda: place.total("lines") > at_least, what=f"some is counted; {ingestor.log()[-2000:]}")
            with running(export):
                while export.exit_code is None:
                    victim = self._chance.choice([ingestor, *aggregators[1:]])  # one of them must have some time
                    victim.kill()
                    victim.start()
                    wait_until(lambda: export.exit_code is not None or victim.has_begun, what="it is at work")  # noqa: B023
                assert export.wait() == 0, export.log()[-3000:]

    def arrive(self, place: Place, of: Path) -> None:
        """Import it there; the first try is killed."""
        imports = self._process("import", place, str(of))
        with running(imports):
            wait_until(lambda: imports.exit_code is not None or self._has_begun(place), what="it has begun")
            imports.kill()
            imports.start()
            if imports.wait() != 0:  # it had come to its end before it was killed
                assert "is here already" in imports.log(), imports.log()[-3000:]

    @staticmethod
    def _has_begun(place: Place) -> bool:
        keys = place.keys[0]
        with place.client_of(keys) as client:
            return bool(client.exists(keys.imports))

    def finish(self, place: Place) -> None:
        """Count the rest, and compare."""
        ingestor, aggregator = self._services(place, aggregators=1)
        with running(ingestor, aggregator):
            assert ingestor.wait(300) == 0, ingestor.log()[-3000:]
        drain = self._process("aggregate", place, "--drain")
        with running(drain):
            assert drain.wait(300) == 0, drain.log()[-3000:]
        expected, found = Expected.of(self._written), place.counted()
        assert expected.difference(found) == ""
        assert found.by_type == expected.by_type

    def _services(self, place: Place, *, aggregators: int) -> list[Process]:
        services = [Process("ingestor", str(self._path), log=self._log("ingestor"), **place.variables)]
        return services + [
            Process("aggregator", log=self._log(f"aggregator-{at}"), **place.variables) for at in range(aggregators)
        ]

    def _process(self, command: str, place: Place, *arguments: str) -> Process:
        return Process("tally", command, *arguments, log=self._log(command), **place.variables)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def check_moves(places: Sequence[Place], folder: Path, *, seed: int) -> None:
    pipeline = Pipeline(folder, seed=seed, parts=len(places))
    pipeline.grow()
    for number, (place, following) in enumerate(pairwise(places)):
        export = folder / f"{number}.zst"
        pipeline.leave(place, export)
        pipeline.grow()
        pipeline.arrive(following, export)
    pipeline.finish(places[-1])


def on_server(server: Server, shards: int) -> Place:
    return Place(server.url, lambda _: server.client(), f"on-{shards}", shards)


def on_cluster(cluster: Cluster, shards: int) -> Place:
    return Place(cluster.url, lambda keys: cluster.owner(keys.tag).client(), f"in-{shards}", shards)


@pytest.mark.parametrize("seed", seeds([1], range(2, 6)))
def test_to_more_shards_on_one_server(server: Server, tmp_path: Path, seed: int) -> None:
    check_moves([on_server(server, 1), on_server(server, 4)], tmp_path, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds([1], range(2, 6)))
def test_into_a_cluster_within_it_and_back(server: Server, cluster: Cluster, tmp_path: Path, seed: int) -> None:
    places = [on_server(server, 1), on_cluster(cluster, 4), on_cluster(cluster, 3), on_server(server, 2)]
    check_moves(places, tmp_path, seed=seed)
