"""The card of an empty store: what to do for a first event, and that it works."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.pipeline import KEYS, Pipeline
from tests.processes import Process, running
from tests.server import free_port

pytestmark = pytest.mark.browser


def test_an_empty_store_says_how_to_send_an_event_and_stops_with_it(
    pipeline: Pipeline, open_tab: OpenTab, tmp_path: Path
) -> None:
    tab = open_tab(pipeline.url, permissions=["clipboard-read", "clipboard-write"])
    card = tab.page.locator("#first-event")
    expect(card).to_be_visible()
    commands = card.locator("code:visible").filter(has_text=re.compile("^(tally|curl|[.]/)"))
    expect(commands).to_have_text(
        [
            "tally ingest http://127.0.0.1:9000",
            re.compile("^curl .* http://127.0.0.1:9000/events$"),
            "tally ingest events.ndjson",
            "./program | tally ingest -",
        ]
    )
    port = free_port()
    source = f"http://127.0.0.1:{port}"
    ingestor = Process(
        "ingestor", log=tmp_path / "ingestor.log", TALLY_REDIS_URL=pipeline.server.url, TALLY_SOURCE=source
    )
    with running(ingestor):
        # One that listens is named as it is, and needs not be started.
        curl = card.locator("#first-http")
        expect(curl.locator("code")).to_contain_text(f"{source}/events")
        expect(card.locator("#first-source")).to_be_hidden()
        curl.get_by_role("button", name="Copy").click()
        expect(curl.get_by_role("button", name="Copied")).to_be_visible()
        copied = tab.page.evaluate("navigator.clipboard.readText()")
        subprocess.run(shlex.split(copied), check=True, capture_output=True, timeout=60)
        expect(card).to_be_hidden()
        tab.expect_rows("types", {"login": 1})
        tab.expect_rows("words", {"hello": 1, "world": 1})


def test_lines_that_were_rejected_are_no_empty_store(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count("garbage")
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#types .note")).to_contain_text("1 line was rejected")
    expect(tab.page.locator("#first-event")).to_be_hidden()


def test_a_command_is_copied_without_a_clipboard_and_the_address_is_one_that_can_be_reached(
    pipeline: Pipeline, open_tab: OpenTab, axe: str
) -> None:
    with pipeline.server.client() as client:
        client.zadd(KEYS.sources_seen, {"http://0.0.0.0:9000": 1.0})
        client.hset(KEYS.sources, "http://0.0.0.0:9000", "0")
    tab = open_tab("about:blank")
    tab.page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    tab.page.goto(pipeline.url)
    expect(tab.page.locator("#first-http code")).to_contain_text("http://127.0.0.1:9000/events")
    tab.page.evaluate(axe)
    assert tab.page.evaluate("axe.run('#first-event', { resultTypes: ['violations'] })")["violations"] == []
    file = tab.page.locator("#first-event .command").filter(has_text="events.ndjson")
    file.get_by_role("button", name="Copy").click()
    expect(file.get_by_role("button", name="Copied")).to_be_visible()
    search = tab.page.locator("#search")
    search.focus()
    tab.page.keyboard.press("ControlOrMeta+v")
    expect(search).to_have_value("tally ingest events.ndjson")
