"""A real Chromium on the real api: processes on a real server, counting real lines.

TALLY_REQUIRE_BROWSER=1 makes these tests fail, rather than be skipped, where there is no Chromium.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tally.keys import Keys
from tests.processes import Process, running
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()

#: Read here, because each test is run without the TALLY_ variables of the shell.
REQUIRED = os.environ.get("TALLY_REQUIRE_BROWSER") == "1"

#: Chromium gives up what it is loading when a network interface comes or goes, as when a container starts nearby.
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"

#: A name of somebody else, whose address is this machine's.
REBOUND_NAME = "rebound.example"

expect.set_options(timeout=20_000)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Not for the whole session: while it runs there is an event loop in this thread, and other tests start their own.
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        if REQUIRED:
            pytest.fail("TALLY_REQUIRE_BROWSER=1, and there is no chromium on the PATH")
        pytest.skip("there is no chromium on the PATH; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=executable,
            args=[
                *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
                f"--host-resolver-rules=MAP {REBOUND_NAME} 127.0.0.1",
            ],
        )
        yield found
        found.close()


class Pipeline:
    """An api and an aggregator; lines are put onto the stream by the test itself."""

    def __init__(self, server: Server, folder: Path, *, path: str = "", **variables: str) -> None:
        self.server = server
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{path}"
        self.token = variables.get("TALLY_API_TOKEN")
        self.sent = 0
        variables |= {"TALLY_REDIS_URL": server.url, "TALLY_HTTP_PORT": str(self.port), "TALLY_ROOT_PATH": path}
        self.api = Process("api", log=folder / "api.log", **variables)
        self.aggregator = Process("aggregator", log=folder / "aggregator.log", **variables)

    def send(self, *events: dict[str, Any] | str) -> None:
        """Put events, or lines as they are, onto the stream as one block."""
        lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
        with self.server.client() as client:
            client.xadd(KEYS.stream, {"lines": "\n".join(lines)})
        self.sent += len(lines)

    def count(self, *events: dict[str, Any] | str) -> None:
        """The same, and wait until all that was ever sent is counted."""
        self.send(*events)
        with self.server.client() as client:
            wait_until(
                lambda: int(client.hget(KEYS.totals, "lines") or 0) == self.sent,
                what="all lines are counted",
            )

    def ask(self, path: str, **parameters: str | int) -> Any:
        """The api's own answer."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.get(f"{self.url}/{path}", params=parameters, headers=headers).raise_for_status().json()

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False


StartPipeline = Callable[..., Pipeline]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartPipeline]:
    """Run a pipeline on a server until the test ends."""
    with ExitStack() as stack:

        def run(server: Server, *, aggregator: bool = True, path: str = "", **variables: str) -> Pipeline:
            pipeline = Pipeline(server, tmp_path, path=path, **variables)
            stack.callback(pipeline.aggregator.kill)
            stack.enter_context(running(pipeline.api, *([pipeline.aggregator] if aggregator else [])))
            wait_until(pipeline.answers, what="the api answers")
            return pipeline

        yield run


@pytest.fixture
def pipeline(server: Server, start: StartPipeline) -> Pipeline:
    """A pipeline on an empty server, with the defaults."""
    return start(server)


class Tab:
    """A page that is watched: what it complains of, and whom it talks to."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self._forgiven = [NETWORK_CHANGED]
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._asked)

    def open(self, url: str) -> None:
        """Go there; again, if the page could not be loaded for what happens to this machine's network."""
        for _ in range(5):
            before = len(self.complaints)
            self.page.goto(url)
            if not any(NETWORK_CHANGED in complaint for complaint in self.complaints[before:]):
                return

    def forgive(self, pattern: str) -> None:
        """A complaint that this test brings about on purpose."""
        self._forgiven.append(pattern)

    def check(self) -> None:
        """No complaint of its own, no word to anybody but the api."""
        left = [each for each in self.complaints if not any(re.search(known, each) for known in self._forgiven)]
        assert left == []
        assert len(self.hosts) <= 1, self.hosts

    def rows(self, kind: str) -> dict[str, str]:
        """Name -> count, as the list of types or words shows them."""
        found: list[list[str]] = self.page.locator(f"#{kind} tbody tr").evaluate_all(
            "rows => rows.map(row => ['.given', '.count'].map(part => row.querySelector(part).textContent))"
        )
        return {name: count for name, count in found}  # noqa: C416 - dict() has no type for lists of two

    def expect_rows(self, kind: str, rows: dict[str, int], *, seconds: float = 20) -> None:
        """Wait until the list shows these, in this order."""
        wanted = {name: f"{count:,}" for name, count in rows.items()}
        found: dict[str, str] = {}

        def as_wanted() -> bool:
            nonlocal found
            self.page.wait_for_timeout(50)  # Playwright hears of nothing while we only sleep
            found = self.rows(kind)
            return list(found.items()) == list(wanted.items())

        try:
            wait_until(as_wanted, what=f"{kind} are as they should be", seconds=seconds)
        except AssertionError:
            assert list(found.items()) == list(wanted.items())
            raise

    def expect_state(self, text: str | re.Pattern[str]) -> None:
        """Wait until the connection is said to be in this state."""
        expect(self.page.locator("#connection-text")).to_have_text(text)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(request.url.split("/")[2])


OpenTab = Callable[..., Tab]


@pytest.fixture
def open_tab(browser: Browser, start: StartPipeline) -> Iterator[OpenTab]:
    """Open pages in new profiles; all of them are checked in the end, while what they talk to is still there."""
    del start  # so that it ends after this
    tabs: list[Tab] = []

    def new(url: str, **options: Any) -> Tab:
        options = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US"} | options
        tab = Tab(browser.new_context(**options).new_page())
        tabs.append(tab)
        tab.open(url)
        return tab

    yield new
    for tab in tabs:
        tab.page.context.close()
    for tab in tabs:
        tab.check()
