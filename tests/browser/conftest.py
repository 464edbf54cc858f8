"""A real Chromium on the real api: processes on a real server, counting real lines.

TALLY_REQUIRE_BROWSER=1 makes these tests fail, rather than be skipped, where there is no Chromium, or where
`make assets` has not brought what they need.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.pipeline import Pipeline
from tests.browser.tab import Tab
from tests.processes import running
from tests.server import Server
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]

#: Read here, because each test is run without the TALLY_ variables of the shell.
REQUIRED = os.environ.get("TALLY_REQUIRE_BROWSER") == "1"

#: A name of somebody else, whose address is this machine's.
REBOUND_NAME = "rebound.example"

#: A page asks a slow api less often, and this machine may be slow.
expect.set_options(timeout=60_000)


def _missing(what: str, *, to_get_it: str) -> NoReturn:
    if REQUIRED:
        pytest.fail(f"TALLY_REQUIRE_BROWSER=1, and there is no {what}")
    pytest.skip(f"there is no {what}; {to_get_it}")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Not for the whole session: while it runs there is an event loop in this thread, and other tests start their own.
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        _missing("chromium on the PATH", to_get_it="on Debian: apt-get install chromium")
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


@pytest.fixture
def vendor() -> None:
    """Need uPlot and Swagger UI, the page's third-party files."""
    if not (ROOT / "api/static/vendor/uplot/uPlot.esm.js").exists():
        _missing("uPlot and no Swagger UI", to_get_it="to get them: make assets")


@pytest.fixture
def axe() -> str:
    """The script of axe-core, which finds what keeps people from using a page."""
    script = ROOT / "node_modules/axe-core/axe.min.js"
    if not script.exists():
        _missing("axe-core", to_get_it="to get it: make assets")
    return script.read_text()


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


@contextmanager
def pipeline_for_all(folder: Path, *lines: dict[str, Any] | str, **variables: str) -> Iterator[Pipeline]:
    """Run a pipeline on a server of its own that has counted these, for tests of which none counts anything more."""
    server = Server(folder)
    server.start()
    pipeline = Pipeline(server, folder, **variables)
    with running(pipeline.api, pipeline.aggregator):
        wait_until(pipeline.answers, what="the api answers")
        pipeline.count(*lines)
        yield pipeline
    server.stop()


@pytest.fixture
def pipeline(server: Server, start: StartPipeline) -> Pipeline:
    """A pipeline on an empty server, with the defaults."""
    return start(server)


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
