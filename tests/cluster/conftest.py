"""Real clusters of processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import many_events
from tests.cluster.nodes import PATIENT_TIMEOUT_MS, Cluster, running_cluster

__all__ = ["many_events"]


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), timeout_ms=PATIENT_TIMEOUT_MS) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """Three masters, empty. Not to be killed, and to be left with their slots: others have them, too."""
    for node in shared_cluster.nodes:
        node.ask("FLUSHALL")
    return shared_cluster


@pytest.fixture
def replicated_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three masters with a replica each, of the test's own: they may be killed."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with running_cluster(folder, replicas=1) as cluster:
        yield cluster
