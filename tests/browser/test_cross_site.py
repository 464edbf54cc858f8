"""What a page of another site can do to services on this machine, in a real browser: only lead to the live page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ingestor.log_events import HTTP_TO_LINES
from tests.browser.conftest import REBOUND_NAME
from tests.browser.pipeline import KEYS, Pipeline
from tests.processes import Process, running
from tests.senders import wait_for_port
from tests.server import Server, free_port

pytestmark = pytest.mark.browser


@contextmanager
def page_of_another_site() -> Iterator[int]:
    """An empty page under a port of this machine, which the browser reaches as another site by the name localhost."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield site.server_port
        site.shutdown()


def test_it_adds_no_events_and_reads_no_counts(
    server: Server, pipeline: Pipeline, browser: Browser, tmp_path: Path
) -> None:
    http, tcp = free_port(), free_port()
    sources = [f"http://127.0.0.1:{http}", f"tcp://127.0.0.1:{tcp}"]
    ingestor = Process("ingestor", *sources, log=tmp_path / "ingestor.log", TALLY_REDIS_URL=server.url)
    with running(ingestor), page_of_another_site() as port:
        wait_for_port(http)
        wait_for_port(tcp)
        page = browser.new_context().new_page()
        page.goto(f"http://localhost:{port}/")
        done = page.evaluate(
            """async ([http, tcp, api]) => {
                const body = '{"event_type": "evil", "data": "x"}\\n'
                const ask = (...what) => fetch(...what).then(() => 'done', () => 'failed')
                const send = url => ask(url, {method: 'POST', mode: 'no-cors', body})
                return [await send(http), await send(tcp), await ask(api)]
            }""",
            [f"http://127.0.0.1:{http}/events", f"http://127.0.0.1:{tcp}/", f"{pipeline.url}/v1/types"],
        )
        assert done[0] == "done", "the browser itself does not keep it from being sent"
        assert done[2] == "failed"
        assert HTTP_TO_LINES in ingestor.log()
        assert ingestor.stop() == 0
        with server.client() as client:
            assert client.hget(KEYS.totals, "lines") is None
            assert client.xlen(KEYS.stream) == 0
        page.context.close()


@pytest.mark.slow
def test_a_link_there_leads_to_the_live_page(pipeline: Pipeline, browser: Browser) -> None:
    pipeline.count({"event_type": "a", "data": "b"})
    with page_of_another_site() as port:
        page = browser.new_context().new_page()
        page.goto(f"http://localhost:{port}/")
        page.set_content(f'<a href="{pipeline.url}/">Tally</a>')
        page.click("a")
        expect(page.locator("#types tbody tr .given")).to_have_text(["a"])
        page.context.close()


def test_a_name_that_is_made_to_lead_here_shows_nothing(pipeline: Pipeline, browser: Browser) -> None:
    """The browser's own resolver is told so; the page under that name may then read what it gets from there."""
    page = browser.new_context().new_page()
    for path in ("/", "/v1/types", "/events/CountWords"):
        answer = page.goto(f"http://{REBOUND_NAME}:{pipeline.port}{path}")
        assert answer is not None
        assert answer.status == 421, path
    page.context.close()
