"""What all three services tell Prometheus: what it takes for well made, and what the docs list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import Process, running
from tests.promtool import promtool
from tests.scraping import Scrape, ready
from tests.server import Server, free_port
from tests.waiting import wait_until

LISTED = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"

SERVICES = ("ingestor", "aggregator", "api")

LINES = (
    '{"event_type": "a", "data": "Lorem ipsum", "timestamp": 1600000000}\n',
    '{"event_type": "a \\"quoted\\" \\\\ one", "data": "dolor", "timestamp": 1600000000}\n',
    "not an event\n",
)


@pytest.fixture(scope="module")
def scrapes(tmp_path_factory: pytest.TempPathFactory, shared_server: Server) -> Iterator[dict[str, Scrape]]:
    """Of each service, when it has done some of everything."""
    folder = tmp_path_factory.mktemp("services")
    with shared_server.client() as client:
        client.flushall()
        client.config_set("maxmemory", 1 << 30)  # it is told only where there is one
    (folder / "events.ndjson").write_text("".join(LINES))
    (folder / "followed.ndjson").write_text("".join(LINES))
    ports = {service: free_port() for service in SERVICES}
    http, tcp = (f"127.0.0.1:{free_port()}" for _ in range(2))
    sources = (
        str(folder / "events.ndjson"),
        f"tail:{folder}/followed.ndjson",
        f"http://{http}",
        f"tcp://{tcp}",
        "exec:echo --password=secret",
    )
    arguments = {"ingestor": ["--stay", *sources]}
    of_port = {"api": "TALLY_HTTP_PORT"}
    processes = [
        Process(
            service,
            *arguments.get(service, []),
            log=folder / f"{service}.log",
            TALLY_REDIS_URL=shared_server.url,
            **{of_port.get(service, "TALLY_METRICS_PORT"): str(ports[service])},
        )
        for service in SERVICES
    ]
    with running(*processes), shared_server.client() as client:
        urls = {service: f"http://127.0.0.1:{port}" for service, port in ports.items()}
        for url in urls.values():
            wait_until(lambda url=url: ready(url)[0] == 200, what=f"{url} is ready")  # type: ignore[misc]
        lines = {"Content-Type": "application/x-ndjson"}
        sent = httpx.post(f"http://{http}/events", content="".join(LINES), headers=lines, timeout=60)
        assert sent.status_code == 202, sent.text
        wait_until(lambda: client.hget("tally:{0}:totals", "lines") == "10", what="all is counted")
        yield {service: Scrape.of(url) for service, url in urls.items()}
        client.config_set("maxmemory", 0)


@pytest.mark.parametrize("service", SERVICES)
def test_promtool_finds_nothing_wrong(scrapes: dict[str, Scrape], service: str) -> None:
    assert promtool("check", "metrics", given=scrapes[service].text) == ""


def test_what_is_told_is_what_the_docs_list(scrapes: dict[str, Scrape]) -> None:
    told = {
        family
        for scrape in scrapes.values()
        for family in re.findall(r"^# TYPE (tally_\w+) ", scrape.text, flags=re.MULTILINE)
    }
    listed = set(re.findall(r"^\| `(tally_\w+)` ", LISTED.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert told == listed


def test_no_label_tells_a_word_or_a_secret(scrapes: dict[str, Scrape]) -> None:
    for scrape in scrapes.values():
        labels = set(re.findall(r'="([^"]*)"', scrape.text))
        assert not labels & {"Lorem", "ipsum", "dolor"}
        assert not any("secret" in label for label in labels)
