"""Filters: a click on a name narrows the page to it, and the address, Back and Forward know of it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.pipeline import Pipeline, event
from tests.browser.tab import Tab
from tests.processes import running
from tests.server import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline for all tests here, none of which counts anything more."""
    folder = tmp_path_factory.mktemp("filters")
    server = Server(folder)
    server.start()
    pipeline = Pipeline(server, folder)
    with running(pipeline.api, pipeline.aggregator):
        wait_until(pipeline.answers, what="the api answers")
        pipeline.count(
            *[event("error.500", "timeout redis", ago=120)] * 4,
            *[event("error.404", "missing", ago=120)] * 3,
            *[event("page", "home", ago=120)] * 2,
            event("", "timeout", ago=120),
        )
        yield pipeline
    server.stop()


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
    tab.forgive("422|404")
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
