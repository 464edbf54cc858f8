"""`tally reset` on a cluster: each shard by the node that has it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.cluster.nodes import Cluster
from tests.resets import empties_under_load


def test_services_go_on_and_count_again_what_can_be_read_again(cluster: Cluster, tmp_path: Path) -> None:
    with ExitStack() as stack:
        clients = {node.port: stack.enter_context(node.client()) for node in cluster.nodes}
        empties_under_load(
            tmp_path,
            url=cluster.url,
            shards=4,
            namespace="shop",
            client_of=lambda tag: clients[cluster.owner(tag).port],
        )
