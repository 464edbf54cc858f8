"""The containers over a Redis Cluster, as deploy/compose.cluster.yml runs them, through a fail-over."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tally.generator import Generator, GeneratorSpec
from tests.compose.test_compose import LINES, ODD_LINES, ROOT, Pipeline, docker, engine, wait_until
from tests.oracle import Expected

__all__ = ["engine"]

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def pipeline(engine: None, tmp_path: Path) -> Iterator[Pipeline]:
    """The whole, ready, with the file that it counts."""
    pipeline = Pipeline(tmp_path, ROOT / "deploy" / "compose.cluster.yml")
    lines = b"".join(Generator(GeneratorSpec(count=LINES, seed=7, start=time.time())).lines())
    pipeline.source.write_bytes(lines + ODD_LINES)
    pipeline.build()
    try:
        pipeline.compose("up", "--detach", "--no-build")
        wait_until(pipeline.ready, what="the api answers at the published port")
        yield pipeline
    finally:
        sys.stdout.write(pipeline.compose("ps", "--all") + pipeline.compose("logs", "--tail", "50"))
        pipeline.down()


def test_it_counts_over_six_nodes_and_through_a_fail_over(pipeline: Pipeline) -> None:
    expected = Expected.of(pipeline.source.read_bytes().split(b"\n"))
    (master,) = pipeline.containers("redis")
    wait_until(lambda: pipeline.totals()["lines"] > 0, what="something is counted")
    docker("kill", master)

    def is_counted() -> bool:
        with suppress(AssertionError):  # no answer, while nobody has its slots
            return pipeline.totals()["lines"] >= expected.lines
        return False

    wait_until(is_counted, what="all is counted")
    assert pipeline.counts("CountByEventType") == expected.types
    assert pipeline.counts("CountWords") == expected.words
    docker("start", master)

    def is_back() -> bool:
        with suppress(AssertionError):  # no answer, while it only starts
            return "cluster_state:ok" in docker("exec", master, "redis-cli", "cluster", "info")
        return False

    wait_until(is_back, what="it has come back")
    assert pipeline.counts("CountWords") == expected.words
    for node in ("redis", *(f"redis-{number}" for number in range(2, 7))):
        wait_until(lambda node=node: _is_in_touch(pipeline, node), what="each replica follows its master")  # type: ignore[misc]
        log = pipeline.compose("exec", "-T", node, "redis-cli", "--json", "acl", "log")
        assert json.loads(log) == [], f"something was refused by {node}"


def _is_in_touch(pipeline: Pipeline, node: str) -> bool:
    role = pipeline.compose("exec", "-T", node, "redis-cli", "info", "replication")
    return "role:master" in role or "master_link_status:up" in role
