"""A list that is pointed at holds still."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.pipeline import Pipeline, event

pytestmark = pytest.mark.browser


def test_rows_do_not_move_under_the_pointer_and_their_counts_are_live(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("one")] * 3, *[event("two")] * 2)
    tab = open_tab(pipeline.url)
    tab.expect_rows("types", {"one": 3, "two": 2})
    expect(tab.page.locator("#legend li")).to_have_count(2)  # it stands above, and comes when the chart does
    rows, sign = tab.page.locator("#types tbody tr"), tab.page.locator("#types .held-note")
    expect(sign).to_have_css("opacity", "0")
    rows.nth(1).locator(".count").hover()
    place = rows.nth(1).bounding_box()
    pipeline.count(*[event("two")] * 5, *[event("new")] * 9)
    tab.expect_rows("types", {"one": 3, "two": 7})
    expect(rows.locator(".rank")).to_have_text(["3", "2"])
    expect(sign).to_have_css("opacity", "1")
    assert rows.nth(1).bounding_box() == place
    tab.page.mouse.move(5, 5)
    tab.expect_rows("types", {"new": 9, "two": 7, "one": 3})
    expect(sign).to_have_css("opacity", "0")
    # What the reader asks for comes at once, wherever the pointer is.
    tab.page.locator("#types thead").get_by_role("button", name="Name").focus()
    rows.nth(1).locator(".count").hover()
    tab.page.keyboard.press("Enter")
    tab.expect_rows("types", {"new": 9, "one": 3, "two": 7})


def test_rows_do_not_move_under_the_focus(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("one")] * 3, *[event("two")] * 2)
    tab = open_tab(pipeline.url)
    tab.expect_rows("types", {"one": 3, "two": 2})
    buttons = tab.page.locator("#types tbody .name button")
    tab.page.locator("#types thead").get_by_role("button", name="Count").focus()
    tab.page.keyboard.press("Tab")
    expect(buttons.first).to_be_focused()
    pipeline.count(*[event("two")] * 5)
    tab.expect_rows("types", {"one": 3, "two": 7})
    expect(buttons.first).to_be_focused()
    tab.page.locator("#search").focus()
    tab.expect_rows("types", {"two": 7, "one": 3})
