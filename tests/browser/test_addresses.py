"""The page's address, which holds the view, and where else the page and the API docs page are."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, StartPipeline
from tests.browser.pipeline import Pipeline, event
from tests.server import Server

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_the_address_holds_the_view(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event(f"type {at:02}", f"word{at:02} other", ago=60) for at in range(40)])
    tab = open_tab(f"{pipeline.url}/?window=nonsense&types_offset=-1")
    tab.page.get_by_label("15 m").check()
    tab.page.get_by_label("Search names").fill("word")
    tab.page.locator("#words").get_by_role("button", name="Name").click()
    tab.page.locator("#words").get_by_role("button", name="Next").click()
    tab.expect_rows("words", {f"word{at:02}": 1 for at in range(25, 40)})
    tab.details("words", "word30").click()
    expect(tab.page.locator("#sheet .full-name")).to_have_text("word30")
    for other in (open_tab(tab.page.url), tab):
        other.page.reload()
        expect(other.page.locator("#sheet .full-name")).to_have_text("word30")
        other.page.keyboard.press("Escape")
        expect(other.page.locator("#sheet")).to_be_hidden()
        expect(other.page.get_by_label("15 m")).to_be_checked()
        expect(other.page.get_by_label("Search names")).to_have_value("word")
        other.expect_rows("words", {f"word{at:02}": 1 for at in range(25, 40)})
        assert "sheet=" not in other.page.url
        assert "name=" not in other.page.url


@pytest.mark.slow
def test_under_a_path(server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    pipeline = start(server, path="/some/where")
    pipeline.count(event("foo"))
    for page in ("", "/", "/static/index.html"):
        tab = open_tab(f"{pipeline.url}{page}")
        tab.expect_state("Live")
        tab.expect_rows("types", {"foo": 1})
        tab.page.get_by_label("15 m").check()
        assert tab.page.url == f"{pipeline.url}{page}?window=15m"
        tab.page.get_by_role("link", name="API docs").click()
        expect(tab.page.locator("#docs")).to_contain_text(re.compile("/v1/types|make assets"))


def test_the_page_at_its_other_address(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo"))
    tab = open_tab(f"{pipeline.url}/static/index.html")
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1})


@pytest.mark.slow
@pytest.mark.usefixtures("vendor")
def test_the_docs_page_needs_no_internet(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(f"{pipeline.url}/docs")
    expect(tab.page.get_by_text("/v1/words", exact=True)).to_be_visible()
    tab.page.locator("[id$=getHealth] button").first.click()
    tab.page.get_by_role("button", name="Execute").click()
    expect(tab.page.locator(".live-responses-table .response").first).to_contain_text("200")
