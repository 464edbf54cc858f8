"""The port of an ingestor and an aggregator: metrics, and health that says what is missing."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from ingestor.service import run
from ingestor.sources import Context
from tally import __version__
from tally.keys import Keys
from tally.local.up import metrics_ports
from tally.runtime import Misuse
from tally.settings import Settings
from tests.processes import Process, running
from tests.scraping import Scrape, ready
from tests.server import Server, free_port
from tests.waiting import wait_until, wait_until_async

KEYS = Keys()

EVENT = '{"event_type": "a", "data": "Lorem ipsum", "timestamp": 1600000000}\n'


def _service(folder: Path, server: Server, *arguments: str, **variables: str) -> tuple[Process, str]:
    """One with a port for metrics, which is yet to be started, and the URL of that."""
    port = free_port()
    process = Process(
        *arguments,
        log=folder / f"{arguments[0]}.log",
        TALLY_REDIS_URL=server.url,
        TALLY_METRICS_PORT=str(port),
        **variables,
    )
    return process, f"http://127.0.0.1:{port}"


def _is_ready(url: str) -> bool:
    return ready(url)[0] == 200


def _looks_at_its_loop(url: str) -> bool:
    return Scrape.of(url).value("tally_event_loop_lag_seconds_count") > 0


def test_services_tell_what_they_do_and_whether_redis_answers(durable_server: Server, tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_text(EVENT * 1000)
    ingestor, of_ingestor = _service(tmp_path, durable_server, "ingestor", "--stay", str(tmp_path / "events.ndjson"))
    aggregator, of_aggregator = _service(tmp_path, durable_server, "aggregator")
    with running(ingestor, aggregator):
        for url in (of_ingestor, of_aggregator):
            wait_until(lambda url=url: _is_ready(url), what=f"{url} is ready")  # type: ignore[misc]
        with durable_server.client() as client:
            wait_until(lambda: client.hget("tally:{0}:totals", "events") == "1000", what="all are counted")
        # Also now that its source has ended.
        assert _is_ready(of_ingestor)

        for url, service, scripts in (
            (of_ingestor, "ingestor", {"append", "known_sources"}),
            (of_aggregator, "aggregator", {"settle", "apply", "xreadgroup"}),
        ):
            scrape = Scrape.of(url)
            assert scrape.value("tally_build_info", version=__version__, service=service, tally_namespace="tally") == 1
            assert scrape.value("tally_redis_up") == 1
            done = scrape.labels("tally_redis_operation_duration_seconds_count", "operation")
            assert scripts <= done, done
            assert not any(each.startswith("eval") for each in done), "scripts have their names"
            assert scrape.value("process_resident_memory_bytes") > 0
            assert scrape.total("tally_log_messages_total", level="info") > 0
            wait_until(lambda url=url: _looks_at_its_loop(url), what="how late the loop is, is looked at")  # type: ignore[misc]

        durable_server.kill()
        for url in (of_ingestor, of_aggregator):
            wait_until(lambda url=url: ready(url)[0] == 503, what="it says that it is not")  # type: ignore[misc]
            answer = httpx.get(f"{url}/readyz", timeout=30)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "/problems/redis-unavailable"
            assert str(durable_server.port) not in answer.text, "where Redis is, is nobody's business"
            assert httpx.get(f"{url}/healthz", timeout=30).json() == {"status": "ok"}, "and yet it is alive"
            scrape = Scrape.of(url)
            assert scrape.value("tally_redis_up") == 0
            assert scrape.total("tally_redis_operation_duration_seconds_count", outcome="unavailable") > 0

        durable_server.start()
        for url in (of_ingestor, of_aggregator):
            wait_until(lambda url=url: _is_ready(url), what=f"{url} is ready again")  # type: ignore[misc]
            scrape = Scrape.of(url)
            assert scrape.value("tally_redis_up") == 1
            assert scrape.value("tally_redis_reconnects_total") >= 1


def test_an_ingestor_says_which_source_is_not_open(server: Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody_else:
        taken, free = somebody_else.getsockname()[1], free_port()
        ingestor, url = _service(tmp_path, server, "ingestor", f"tcp://127.0.0.1:{taken}", f"tcp://127.0.0.1:{free}")
        ingestor.start()
        try:
            detail = f"not open: tcp://127.0.0.1:{taken}"
            wait_until(lambda: ready(url) == (503, detail), what="it says which")
            assert httpx.get(f"{url}/readyz", timeout=30).json()["type"] == "/problems/not-ready"
            somebody_else.close()
            wait_until(lambda: _is_ready(url), what="it has the address")
        finally:
            ingestor.kill()


def test_an_aggregator_says_which_key_it_cannot_write(server: Server, tmp_path: Path) -> None:
    """It leaves and joins its group meanwhile, so that the group alone would say nothing."""
    aggregator, url = _service(tmp_path, server, "aggregator")
    with running(aggregator), server.client() as client:
        wait_until(lambda: _is_ready(url), what="it is in its group")
        client.set(KEYS.words, "mine")
        client.xadd(KEYS.stream, {"lines": EVENT.strip()})
        why = f"group: {KEYS.words} is a string and should be a hash"
        wait_until(lambda: why in ready(url)[1], what="it says which")
        client.rename(KEYS.words, "mine")
        wait_until(lambda: client.hget(KEYS.words, "Lorem") == "1", what="what waited is counted")
        wait_until(lambda: _is_ready(url), what="it is in its group again")


class Held:
    """A source that takes its time to end."""

    label = "held"
    is_early = False

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def run(self, _: Context) -> None:
        await self.may_end.wait()


async def test_it_answers_until_the_work_is_done(server: Server) -> None:
    """What is done after a stop is to be seen, too."""
    settings, stop, source = Settings(redis_url=server.url, metrics_port=free_port()), asyncio.Event(), Held()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.metrics_port}", timeout=30) as client:

        async def is_ready() -> bool:
            with suppress(httpx.TransportError):
                return (await client.get("/readyz")).status_code == 200
            return False

        running = asyncio.create_task(run(settings, stop, sources=[source]))
        await wait_until_async(is_ready, what="it is ready")
        stop.set()
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).json()["detail"] == "it is stopping"
        source.may_end.set()
        await running
        with pytest.raises(httpx.TransportError):
            await client.get("/healthz")


def test_what_is_no_path_and_who_asks_by_another_name_is_refused(server: Server, tmp_path: Path) -> None:
    aggregator, url = _service(tmp_path, server, "aggregator")
    with running(aggregator):
        wait_until(lambda: _is_ready(url), what="it is ready")
        port = url.rpartition(":")[2]
        assert Scrape.of(url, headers={"Host": f"localhost:{port}"}).value("tally_redis_up") == 1
        rebound = httpx.get(f"{url}/metrics", headers={"Host": "tally.example.com"})
        assert (rebound.status_code, rebound.json()["type"]) == (421, "/problems/host-not-allowed")
        nothing = httpx.get(f"{url}/metrics/")
        assert (nothing.status_code, nothing.json()["paths"]) == (404, ["/metrics", "/healthz", "/readyz"])
        posted = httpx.post(f"{url}/metrics")
        assert (posted.status_code, posted.json()["type"]) == (405, "/problems/method-not-allowed")
        page = httpx.get(f"{url}/problems/not-ready")
        assert "What to do" in page.text
        newer = httpx.get(f"{url}/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
        assert newer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert newer.text.endswith("# EOF\n")


def test_the_services_of_tally_up_have_a_port_each() -> None:
    settings = Settings(metrics_port=9100)
    ports = metrics_ports(settings, ingestors=2, aggregators=1)
    assert [each["TALLY_METRICS_PORT"] for each in ports] == ["9100", "9101", "9102"]
    assert list(metrics_ports(Settings(), ingestors=1, aggregators=1)) == [{}, {}]
    with pytest.raises(Misuse, match="take 3 ports from there on, to 9090, which the api's 9090 is among"):
        metrics_ports(Settings(metrics_port=9088), ingestors=1, aggregators=2)
    with pytest.raises(Misuse, match="to 65536, which is more than there are"):
        metrics_ports(Settings(metrics_port=65535), ingestors=1, aggregators=1)


def test_a_port_that_is_taken_is_said_at_the_start(server: Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody_else:
        taken = str(somebody_else.getsockname()[1])
        aggregator = Process("aggregator", log=tmp_path / "log", TALLY_REDIS_URL=server.url, TALLY_METRICS_PORT=taken)
        with running(aggregator):
            assert aggregator.wait() == 1
        assert f"tally: cannot listen on 127.0.0.1 port {taken}: Address already in use" in aggregator.log()
        assert aggregator.log().endswith("; set TALLY_METRICS_HOST or TALLY_METRICS_PORT\n")
