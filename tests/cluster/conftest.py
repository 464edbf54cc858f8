"""Real clusters of processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.conftest import many_events
from tests.cluster.nodes import PATIENT_TIMEOUT_MS, Cluster, running_cluster
from tests.conftest import NOT_DECLARED
from tests.users import refusals

__all__ = ["many_events"]


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), timeout_ms=PATIENT_TIMEOUT_MS) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """Three masters, empty. Not to be killed, and to be left with their slots: others have them, too."""
    with ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in shared_cluster.nodes]
        for client in clients:
            client.flushall()
        refusals(*clients)
        yield shared_cluster
        assert not refusals(*clients), NOT_DECLARED


@pytest.fixture
def replicated_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three masters with a replica each, of the test's own: they may be killed."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with running_cluster(folder, replicas=1) as cluster:
        yield cluster
