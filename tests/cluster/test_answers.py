"""The api over the shards of a cluster: exact answers, and while a node does not answer none, or one in part."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx
import pytest

from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tally.shards import HOME_TAG, tags
from tests.cluster.nodes import running_cluster
from tests.oracle import Expected
from tests.processes import Process, run, running
from tests.scraping import Scrape
from tests.server import free_port
from tests.waiting import wait_until


@pytest.mark.slow
def test_they_equal_an_independent_count_and_wait_for_every_node(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(Generator(GeneratorSpec(count=20_000, seed=5, corrupt=0.02)).lines()))
    want = Expected.of(path.read_bytes().split(b"\n"))
    folder, port = tmp_path / "cluster", free_port()
    folder.mkdir()
    with running_cluster(folder, options=("--cluster-require-full-coverage", "no")) as cluster:
        variables = {"TALLY_REDIS_URL": cluster.url, "TALLY_SHARDS": "4", "TALLY_STRIPE_BYTES": "65536"}
        for arguments in (["ingestor", str(path)], ["aggregator", "--drain"]):
            done = run(*arguments, env=variables)
            assert done.returncode == 0, done.stderr
        api = Process("api", log=tmp_path / "api.log", TALLY_HTTP_PORT=str(port), **variables)
        with running(api), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

            def is_right() -> bool:
                try:
                    answers = [client.get(f"/events/{name}") for name in ("CountByEventType", "CountWords")]
                except httpx.TransportError:
                    return False
                if any(answer.status_code != 200 for answer in answers):
                    return False
                assert [answer.json() for answer in answers] == [want.types, want.words]
                return True

            wait_until(is_right, what="the api answers")
            (most, count), *_ = want.words.most_common(1)
            one = client.get(f"/v1/words/{most}").json()
            assert (one["count"], one["at_most"], one["rank"]) == (count, count, 1)
            window = client.get("/v1/types?window=1h&limit=1000").json()
            assert {item["name"]: item["count"] for item in window["items"]} == want.types
            stats = client.get("/v1/stats").json()
            assert (stats["totals"]["events"], stats["totals"]["rejected"]) == (want.events, want.rejected)
            assert client.get("/readyz").status_code == 200
            scrape = Scrape.of(str(client.base_url))
            assert scrape.value("tally_lines_total") == want.lines
            assert scrape.total("tally_rejected_lines_total") == want.rejected
            assert scrape.total("tally_events_total") == want.events
            asked = {f"127.0.0.1:{cluster.owner(tag).port}" for tag in (*tags(4), HOME_TAG)}
            assert scrape.labels("tally_redis_used_memory_bytes", "node") == asked, "once each, however many shards"
            node = cluster.nodes[1]
            keys = [Keys(tag) for tag in tags(4)]
            missing = [place for place, each in enumerate(keys) if cluster.owner(each.tag) is node]
            assert 0 < len(missing) < 4
            rest: Counter[str] = Counter()
            for place, each in enumerate(keys):
                if place not in missing:
                    with cluster.owner(each.tag).client() as shard:
                        rest.update({name: int(count) for name, count in shard.hgetall(each.types).items()})
            node.hang()
            try:
                for question in ("/v1/types?partial=true&limit=1000", "/v1/types?partial=true&limit=1000&window=1h"):
                    answer = client.get(question)
                    assert (answer.status_code, answer.json()["missing_shards"]) == (200, missing), answer.text
                    assert {item["name"]: item["count"] for item in answer.json()["items"]} == rest
                for question in ("/v1/types?limit=3", "/v1/words?window=2h", "/v1/stats", "/readyz"):
                    answer = client.get(question)
                    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/redis-unavailable"), question
                assert client.get("/healthz").status_code == 200
                scrape = Scrape.of(str(client.base_url))  # which does not wait for longer than Prometheus does
                assert scrape.value("tally_redis_up") == 0
                assert "tally_lines_total" not in scrape.text
                assert scrape.value("process_resident_memory_bytes") > 0
            finally:
                node.go_on()
            wait_until(is_right, what="it answers again")
            wait_until(
                lambda: "missing_shards" not in client.get("/v1/types?partial=true").json(), what="and about all of it"
            )
        assert "Traceback" not in api.log()
