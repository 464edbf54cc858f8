"""Filters: a click on a name narrows the page to it, and the address, Back and Forward know of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, pipeline_for_all
from tests.browser.pipeline import Pipeline, event
from tests.browser.tab import Tab

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline for all tests here, none of which counts anything more."""
    events = (
        *[event("error.500", "timeout redis", ago=120)] * 4,
        *[event("error.404", "missing", ago=120)] * 3,
        *[event("page", "home", ago=120)] * 2,
        event("", "timeout", ago=120),
    )
    folder = tmp_path_factory.mktemp("filters")
    with pipeline_for_all(folder, *events, TALLY_WORDS_BY_TYPE="error.500,error.404") as pipeline:
        yield pipeline


def parameters(tab: Tab) -> dict[str, list[str]]:
    return parse_qs(urlsplit(tab.page.url).query, keep_blank_values=True)


def watch_announcements(tab: Tab) -> None:
    """Write down from now on everything that is announced."""
    tab.page.evaluate(
        """() => {
            const announcer = document.getElementById("announcer");
            window.announced = [];
            const note = () => window.announced.push(announcer.textContent);
            new MutationObserver(note).observe(announcer, { childList: true });
        }"""
    )


def test_a_name_that_is_clicked_is_a_filter_until_its_chip_is_removed(counted: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(f"{counted.url}/?window=1h")
    tab.forgive("404")  # that type has no words of its own
    chips = tab.page.get_by_role("list", name="Filters")
    expect(chips).to_be_hidden()
    expect(tab.page.locator("#types tbody tr")).to_have_count(4)
    watch_announcements(tab)
    tab.name("types", "error.500").click()
    expect(chips.get_by_role("listitem")).to_have_text(["typeerror.500×"])
    expect(tab.name("types", "error.500")).to_have_attribute("aria-pressed", "true")
    expect(tab.name("types", "error.404")).to_have_attribute("aria-pressed", "false")
    expect(tab.page.locator("#words .narrowed")).to_have_text("of error.500")
    tab.name("types", "(empty)").click()
    expect(chips.get_by_role("listitem")).to_have_text(["typeerror.500×", "type(empty)×"])
    assert parameters(tab) == {"window": ["1h"], "type": ["error.500", ""]}
    # What is removed by keyboard leaves the focus beside it.
    tab.page.get_by_role("button", name="Remove the filter type (empty)").focus()
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("button", name="Remove the filter type error.500")).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(chips).to_be_hidden()
    expect(tab.page.locator("#lists")).to_be_focused()
    expect(tab.name("types", "error.500")).to_have_attribute("aria-pressed", "false")
    assert parameters(tab) == {"window": ["1h"]}
    assert tab.page.evaluate("announced") == [
        "Filtered by type error.500",
        "Filtered by type (empty)",
        "No longer filtered by type (empty)",
        "Not filtered",
    ]


def test_lists_figures_feed_and_exports_follow_the_filters(counted: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(f"{counted.url}/?window=1h")
    page = tab.page
    expect(page.locator("#words tbody tr")).to_have_count(4)
    with page.expect_request(re.compile(r"/v1/words:trending\?.*type=error\.500")):
        tab.name("types", "error.500").click()
    tab.expect_rows("words", {"redis": 4, "timeout": 4})
    tab.expect_rows("types", {"error.500": 4, "error.404": 3, "page": 2, "(empty)": 1})
    expect(page.locator("#words .summary")).to_contain_text("2 distinct · 8 in all")
    expect(page.locator("#now-title")).to_have_text("Events per second")
    expect(page.locator("#now-of")).to_have_text("of error.500")
    expect(page.locator("#selected-count")).to_have_text("4")
    expect(page.locator("#rate-1")).to_have_text("0")
    with page.expect_download() as download:
        page.get_by_role("button", name="Words as CSV").click()
    assert {line.split(",")[0] for line in Path(download.value.path()).read_text().splitlines()} == {
        "name",
        "redis",
        "timeout",
    }
    tab.name("words", "timeout").click()
    tab.expect_rows("types", {"error.500": 4})
    expect(page.locator("#types .narrowed")).to_have_text("with timeout")
    expect(page.locator("#types .summary")).to_contain_text("1 in types that are not told apart")
    expect(page.locator("#now-title")).to_have_text("Words per second")
    expect(page.locator("#now-of")).to_have_text("timeout in error.500")
    expect(page.locator("#selected-count")).to_have_text("4")
    tab.expect_state("Live")
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator("#selected")).to_be_hidden()
    tab.expect_rows("types", {"error.500": 4, "error.404": 3, "page": 2, "(empty)": 1})
    expect(page.locator("#words tbody tr")).to_have_count(4)


def test_a_type_without_words_of_its_own_is_said_with_what_to_set(counted: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(f"{counted.url}/?window=1h")
    tab.forgive("404")
    tab.name("types", "page").click()
    expect(tab.page.locator("#filters-note")).to_contain_text(re.compile("page.*TALLY_WORDS_BY_TYPE"))
    expect(tab.page.locator("#words .note")).to_be_visible()
    tab.expect_rows("words", {})
    expect(tab.page.locator("#selected-count")).to_have_text("2")  # its events are counted all the same
    tab.page.get_by_role("button", name="Remove the filter type page").click()
    expect(tab.page.locator("#words tbody tr")).to_have_count(4)
    expect(tab.page.locator("#filters-note")).to_be_hidden()


def test_where_words_are_not_counted_by_type_that_is_said(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo", "lorem"), event("bar", "ipsum"))
    tab = open_tab(f"{pipeline.url}/?word=lorem")
    tab.forgive("404")
    expect(tab.page.locator("#filters-note")).to_contain_text("set TALLY_WORDS_BY_TYPE")
    tab.expect_rows("types", {})
    expect(tab.page.locator("#selected-count")).to_have_text("1")
    pipeline.count(event("foo", "lorem"))
    expect(tab.page.locator("#selected-count")).to_have_text("2")
    tab.page.get_by_role("button", name="Remove the filter word lorem").click()
    tab.expect_rows("types", {"foo": 2, "bar": 1})
