"""The sheet of sources: where the lines come from, and how many of them are rejected."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, StartPipeline
from tests.browser.pipeline import KEYS, Pipeline, event
from tests.server import Server

pytestmark = pytest.mark.browser


def test_sources_are_told_with_their_rejected_lines_and_then_with_their_rate(
    pipeline: Pipeline, open_tab: OpenTab
) -> None:
    pipeline.count(*[event("foo")] * 3, "{")
    with pipeline.server.client() as client:
        client.hset(KEYS.source_lines, mapping={"tail:/<b>.log": 7, "__other__": 2})
        client.hset(KEYS.source_rejected, mapping={"tail:/<b>.log": 0})
    tab = open_tab(pipeline.url)
    tab.page.get_by_role("button", name="Sources", exact=True).click()
    expect(tab.page).to_have_url(re.compile("sheet=sources"))
    expect(tab.page.locator("#sheet .note")).to_have_count(0)
    rows = tab.page.locator("#sheet tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0).locator("td")).to_have_text(["tail:/<b>.log", "–", "7", "0", "–", re.compile("none|not known")])
    expect(rows.nth(1).locator("td").nth(0)).to_have_text("(unnamed)")
    expect(rows.nth(1).locator("td").nth(3)).to_have_text("1 (25.0%)")
    expect(rows.nth(2).locator("td").nth(2)).to_have_text("2")
    expect(rows.nth(1).locator("td").nth(1)).to_have_text("0", timeout=30_000)

    pipeline.count(event("foo"))
    expect(rows.nth(1).locator("td").nth(2)).to_have_text("5", timeout=30_000)
    tab.page.go_back()
    expect(tab.page.locator("#sheet")).to_be_hidden()
    tab.page.goto(f"{pipeline.url}/?sheet=sources")
    expect(rows.first).to_contain_text("tail:/<b>.log")


def test_accepted_lines_stand_below_the_rejected_ones_if_they_are_kept(
    server: Server, start: StartPipeline, open_tab: OpenTab
) -> None:
    pipeline = start(server, TALLY_ACCEPTED_SAMPLES="3")
    pipeline.count(event("foo", "<b>kept</b>"), "{")
    tab = open_tab(f"{pipeline.url}/?sheet=rejected")
    samples = tab.page.locator("#sheet .samples")
    expect(samples.nth(0).locator("li")).to_have_count(1)
    expect(tab.page.locator("#sheet h3")).to_have_text("Accepted lines")
    expect(samples.nth(1).locator(".line")).to_contain_text("<b>kept</b>")
