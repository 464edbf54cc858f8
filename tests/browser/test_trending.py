"""What rises against its own past."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.pipeline import Pipeline, event
from tests.waiting import wait_until

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_trending(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(
        *[event("steady", "same", ago=60 * at) for at in range(1, 70)],
        *[event("sudden", "fresh")] * 30,
    )
    wait_until(lambda: bool(pipeline.ask("v1/types:trending")["items"]), what="something rises")
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#trending-types li").first).to_contain_text("sudden")
    expect(tab.page.locator("#trending-words li").first).to_contain_text("fresh")
    expect(tab.page.locator("#trending-types li").first).to_contain_text("30 now, never before")
    tab.details("trending-types", "sudden").click()
    expect(tab.page.locator("#sheet .full-name")).to_have_text("sudden")


@pytest.mark.slow
def test_what_is_a_little_more_frequent_by_chance_is_not_trending(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(
        *[event("one", "this", ago=2400)] * 200,
        *[event("two", "that", ago=2400)] * 200,
        *[event("one", "this")] * 53,
        *[event("two", "that")] * 47,
        event("two", "once"),
    )
    wait_until(lambda: bool(pipeline.ask("v1/types:trending")["items"]), what="something rises")
    tab = open_tab(pipeline.url)
    for kind in ("types", "words"):
        expect(tab.page.locator(f"#trending-{kind} li")).to_have_text(["Nothing rises."])


@pytest.mark.slow
def test_trending_without_a_past_is_not_that_nothing_rises(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("sudden", "fresh")] * 30)
    tab = open_tab(pipeline.url)
    for kind in ("types", "words"):
        expect(tab.page.locator(f"#trending-{kind} li")).to_have_text(["Nothing to compare with yet."])
    pipeline.count(*[event("sudden", "fresh", ago=2400)] * 300)
    for kind in ("types", "words"):
        expect(tab.page.locator(f"#trending-{kind} li")).to_have_text(["Nothing rises."])
