"""Troubles of real services raise the alerts that are meant for them, as a real Prometheus sees them.

How long an alert waits before it fires, and that it clears, is what promtool proves: test_alerts.py.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tally.keys import Keys
from tests.processes import Process, running
from tests.prometheus import Prometheus, prometheus
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()
TOKEN = "a-token"

#: There is room for so many types.
MAX_TYPES = 20


def _until(prometheus: Prometheus, *alerts: str, meanwhile: Callable[[], object] = bool) -> None:
    """Wait until these fire, doing something again and again."""

    def fire() -> bool:
        meanwhile()
        return set(alerts) <= prometheus.firing()

    wait_until(fire, what=f"these fire: {alerts}", pause_seconds=0.3)


@pytest.mark.slow
def test_troubles_raise_their_alerts(tmp_path: Path) -> None:
    server = Server(tmp_path, options=("--maxmemory", "256mb"))
    server.start()
    ingestor_port, aggregator_port, api_port, http_port = (free_port() for _ in range(4))
    events = tmp_path / "events.ndjson"
    everywhere = {"TALLY_REDIS_URL": server.url, "TALLY_MAX_TYPES": str(MAX_TYPES), "TALLY_CLAIM_IDLE_SECONDS": "3"}

    def append(*types: str, garbage: str = "") -> None:
        with events.open("a") as file:
            file.writelines(f'{{"event_type": "{type_}", "data": "of a file"}}\n' for type_ in types)
            file.write(garbage)

    with ExitStack() as stack:
        stack.callback(server.kill)
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        api = Process("api", log=tmp_path / "api.log", TALLY_HTTP_PORT=str(api_port), **everywhere)
        aggregator = Process(
            "aggregator", log=tmp_path / "aggregator.log", TALLY_METRICS_PORT=str(aggregator_port), **everywhere
        )
        ingestor = Process(
            "ingestor",
            *(f"tail:{events}", f"http://127.0.0.1:{http_port}", f"tcp://127.0.0.1:{taken}"),
            log=tmp_path / "ingestor.log",
            TALLY_METRICS_PORT=str(ingestor_port),
            TALLY_INGEST_TOKEN=TOKEN,
            TALLY_MAX_BACKLOG_BLOCKS="10",
            **everywhere,
        )
        append("a")
        targets = {
            "tally-ingestor": f"127.0.0.1:{ingestor_port}",
            "tally-aggregator": f"127.0.0.1:{aggregator_port}",
            "tally-api": f"127.0.0.1:{api_port}",
        }
        found = stack.enter_context(prometheus(tmp_path, targets, at_once=True))
        stack.enter_context(running(api, aggregator, ingestor))
        http = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=30, trust_env=False))
        redis = stack.enter_context(server.client())

        wait_until(lambda: (found.value("tally_lines_total") or 0) >= 1, what="all is well")
        _until(found, "TallySourceDown")
        assert found.query("tally_ingestor_source_up == 0")[0]["metric"]["source"] == f"tcp://127.0.0.1:{taken}"
        well = {"TallySourceDown", "TallyErrorsLogged"}
        wait_until(lambda: found.firing() <= well, what="nothing else is wrong")

        _until(found, "TallyRejectedShare", meanwhile=lambda: append(garbage="garbage\n"))
        _until(found, "TallyPushRefused", meanwhile=lambda: http.post("/events", content=b"a"))
        append(*(f"type{n}" for n in range(MAX_TYPES - 2)))
        _until(found, "TallyNamesNearBound")
        assert "TallyNamesOverBound" not in found.firing()
        append("one", "too", "many")
        _until(found, "TallyNamesOverBound")
        redis.xadd(KEYS.dead_letters, {"lines": "x"})
        _until(found, "TallyDeadLetters")

        assert "TallyNoAggregator" not in found.firing()
        aggregator.send(signal.SIGSTOP)
        _until(found, "TallyDown", "TallyNoAggregator")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        one = b'{"event_type": "a", "data": "b"}\n'
        _until(found, "TallyBacklogFull", meanwhile=lambda: http.post("/events", content=one, headers=headers))
        redis.xtrim(KEYS.stream, maxlen=1, approximate=False)
        aggregator.send(signal.SIGCONT)
        _until(found, "TallyBlocksLost")
        of_aggregator = 'ALERTS{alertname="TallyErrorsLogged", job="tally-aggregator"}'
        wait_until(lambda: bool(found.query(of_aggregator)), what="it fires for what the aggregator logs")

        redis.config_set("maxmemory", "1mb")
        _until(found, "TallyRedisNearlyFull", "TallyRedisRefuses", meanwhile=lambda: append("a"))
        redis.config_set("maxmemory", "0")

        server.kill()
        words = f"http://127.0.0.1:{api_port}/v1/words"
        _until(found, "TallyRedisDown", "TallyApiErrors", meanwhile=lambda: httpx.get(words, timeout=30))
