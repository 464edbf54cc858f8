"""What is forgotten on a cluster is in no file of its servers, masters or replicas."""

from __future__ import annotations

from pathlib import Path

import pytest

from tally.keys import OTHER, Keys
from tally.shards import tags
from tests.cli.commands import assert_refused, tally
from tests.cli.test_forget import append, files_with, forgotten, lines
from tests.cluster.nodes import Cluster
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.waiting import wait_until

SHARDS = 4

EACH = [Keys(tag) for tag in tags(SHARDS)]

NAMES = (b"cret-word", b"cret.type")


def found(cluster: Cluster) -> Expected:
    whole = Expected()
    for keys in EACH:
        with cluster.owner(keys.tag).client() as client:
            whole += counted(client, keys)
    return whole


@pytest.mark.slow
def test_no_server_of_a_cluster_has_it_in_its_files(replicated_cluster: Cluster, tmp_path: Path) -> None:
    cluster, path = replicated_cluster, tmp_path / "events.ndjson"
    made = lines(0, 4000, secret=True)
    append(path, made)
    expected = Expected.of(made)
    variables = {
        "TALLY_REDIS_URL": cluster.url,
        "TALLY_SHARDS": str(SHARDS),
        "TALLY_STRIPE_BYTES": "20000",
        "TALLY_MAX_BLOCK_BYTES": "5000",
        "TALLY_WORDS_BY_TYPE": "3",
    }
    names = ("--word", "S\u00e9cret-word", "--type", "s\u00e9cret.type", "--yes")
    services = [
        Process(*arguments, log=tmp_path / f"{arguments[0]}.log", **variables)
        for arguments in (("ingestor", f"tail:{path}"), ("aggregator",))
    ]
    with running(*services):
        wait_until(lambda: found(cluster).events == expected.events, what="all is counted")
        holders = [node for node in cluster.nodes if files_with(node.folder, *NAMES)]
        assert len(holders) > 3, "replicas have it, too"

        away = next(node for node in cluster.nodes if not node.is_master())
        away.kill()
        failed = tally("forget", *names, env=variables)
        assert failed.returncode == 1
        assert "Forgotten: what was counted in" in failed.stdout
        assert f":{away.port} (replica): its append-only file was not rewritten" in failed.stdout
        assert "Run this again" in failed.stderr
        away.start()
        wait_until(away.is_synchronized, what="the replica is there again")
        done = tally("forget", *names, env=variables)
        assert (done.returncode, done.stderr.count("rewrites its append-only file")) == (0, len(cluster.nodes)), done
        assert [node.folder.name for node in cluster.nodes if files_with(node.folder, *NAMES)] == []
        assert_refused(tally("forget", *names, env=variables), 1, "was never counted")
        expected = forgotten(expected)
        assert expected.difference(found(cluster)) == ""

        rare = [word for word, count in expected.words.items() if count < 3 and word != OTHER]
        compacted = tally("compact", "--under", "3", "--yes", env=variables)
        assert f"{len(rare):,} words were moved to {OTHER}" in compacted.stdout, compacted.stderr
        for word in rare:
            expected.words[OTHER] += expected.words.pop(word)
        assert expected.difference(found(cluster)) == ""
