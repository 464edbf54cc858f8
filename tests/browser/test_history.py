"""Back and Forward: each thing that a person did is a step, and sheets are among them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, pipeline_for_all
from tests.browser.pipeline import Pipeline, event

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline for all tests here, none of which counts anything more."""
    events = (event(f"type{at:02}", f"word{at:02} other", ago=120) for at in range(30))
    with pipeline_for_all(tmp_path_factory.mktemp("history"), *events, "garbage") as pipeline:
        yield pipeline


def test_back_and_forward_walk_through_what_was_done(counted: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(counted.url)
    tab.forgive("404")
    page = tab.page
    window, search, chips = page.get_by_label("15 m"), page.get_by_label("Search names"), page.locator("#chips")
    sheet, position = page.locator("#sheet"), page.locator("#types .position")
    expect(position).to_have_text("1–25 of 30")
    window.check()
    page.locator("#types").get_by_role("button", name="Next").click()
    expect(position).to_have_text("26–30 of 30")
    tab.name("types", "type27").click()
    expect(chips).to_contain_text("type27")
    search.press_sequentially("word1", delay=400)  # longer than what is taken for typing
    search.blur()
    expect(page.locator("#types .note")).to_have_text("No name contains this.")
    page.get_by_role("button", name="Show samples").click()
    expect(sheet.locator(".samples li")).to_have_count(1)

    page.go_back()
    expect(sheet).to_be_hidden()
    expect(search).to_have_value("word1")
    page.go_back()  # all letters at once
    expect(search).to_have_value("")
    expect(chips).to_contain_text("type27")
    page.go_back()
    expect(page.locator("#filters")).to_be_hidden()
    expect(position).to_have_text("26–30 of 30")
    page.go_back()
    expect(position).to_have_text("1–25 of 30")
    expect(window).to_be_checked()
    page.go_back()
    expect(page.get_by_label("All", exact=True)).to_be_checked()
    assert page.url == f"{counted.url}/"

    for _ in range(5):
        page.go_forward()
    expect(sheet.locator(".samples li")).to_have_count(1)
    expect(search).to_have_value("word1")
    expect(chips).to_contain_text("type27")
    expect(window).to_be_checked()


def test_a_sheet_by_back_forward_escape_and_a_link(counted: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(counted.url)
    sheet, full_name = tab.page.locator("#sheet"), tab.page.locator("#sheet .full-name")
    tab.details("types", "type03").click()
    expect(full_name).to_have_text("type03")
    expect(tab.page).to_have_url(f"{counted.url}/?sheet=type&name=type03")
    tab.page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(tab.details("types", "type03")).to_be_focused()
    expect(tab.page).to_have_url(f"{counted.url}/")
    tab.page.go_back()  # closing was a step, too
    expect(full_name).to_have_text("type03")
    tab.page.go_back()
    expect(sheet).to_be_hidden()
    expect(tab.details("types", "type03")).to_be_focused()
    tab.page.go_forward()
    expect(full_name).to_have_text("type03")

    linked = open_tab(f"{counted.url}/?sheet=word&name=word04")
    expect(linked.page.locator("#sheet .full-name")).to_have_text("word04")
    linked.page.keyboard.press("Escape")
    expect(linked.page.locator("#sheet")).to_be_hidden()
    expect(linked.page.locator("#lists")).to_be_focused()
    expect(linked.page).to_have_url(f"{counted.url}/")


def test_an_address_that_cannot_be_is_told_and_the_rest_of_it_holds(counted: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(f"{counted.url}/?window=nonsense&types_offset=-1&tab=words&q=word0&sheet=type")
    note = tab.page.locator("#impossible")
    expect(note).to_have_text(
        "The address asks for what cannot be, and that is left out: window=nonsense, types_offset=-1, sheet=type"
    )
    expect(tab.page.get_by_label("Search names")).to_have_value("word0")
    expect(tab.page.get_by_label("All", exact=True)).to_be_checked()
    tab.page.get_by_label("1 h", exact=True).check()
    expect(note).to_be_hidden()
    tab.page.goto(f"{counted.url}/?window=custom&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z")
    expect(note).to_contain_text("from=2026-01-02T00:00:00Z, to=2026-01-01T00:00:00Z")
    # Nor is the api asked for what it would refuse, and nothing is left out in silence.
    for wrong in ("from=Nov 27 2026", "from=2026-02-31", "from=1", "from=2026-01-01T10:00"):
        tab.page.goto(f"{counted.url}/?window=custom&{wrong}")
        expect(note).to_contain_text(f"{wrong}, window=custom")
        expect(tab.page.locator("#types tbody tr")).to_have_count(25)
    search = "z" * 257
    tab.page.goto(f"{counted.url}/?window=1h&from=2026-01-01&name=lorem&overlay=lorem&q={search}")
    expect(note).to_have_text(
        "The address asks for what cannot be, and that is left out: "
        f"q={search[:98]}, overlay=lorem, from=2026-01-01, name=lorem"
    )
    expect(tab.page.locator("#types tbody tr")).to_have_count(25)
    tab.page.goto(f"{counted.url}/?window=1h&type=type01")
    tab.forgive("404")
    expect(tab.page.locator("#chips")).to_contain_text("type01")
    expect(note).to_be_hidden()


@pytest.mark.parametrize("clipboard", ["granted", "absent"])
def test_a_link_with_the_times_themselves_is_copied(counted: Pipeline, open_tab: OpenTab, clipboard: str) -> None:
    tab = open_tab("about:blank")
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if clipboard == "absent":  # as over plain http
        tab.page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    tab.open(f"{counted.url}/?window=15m&q=type0&tab=words")
    expect(tab.page.locator("#types tbody tr")).to_have_count(10)
    tab.page.get_by_role("button", name="Copy link").click()
    expect(tab.page.locator("#announcer")).to_have_text(re.compile(r"Link copied, with the times \d.*\d"))
    expect(tab.page.locator("#copy-link")).to_be_focused()
    search = tab.page.get_by_label("Search names")
    search.fill("")
    search.press("Control+V")
    link = search.input_value()
    found = parse_qs(urlsplit(link).query)
    first, last = (datetime.fromisoformat(found.pop(end)[0]).timestamp() for end in ("from", "to"))
    assert last - first == 900
    assert 0 <= time.time() - last < 600
    assert found == {"window": ["custom"], "q": ["type0"], "tab": ["words"]}
    other = open_tab(link)
    expect(other.page.locator("#types tbody tr")).to_have_count(10)
    expect(other.page.locator("#impossible")).to_be_hidden()


def test_where_nothing_can_be_copied_the_link_is_shown(counted: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab("about:blank")
    tab.page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined }); document.execCommand = () => false;"
    )
    tab.open(f"{counted.url}/?tab=words")
    tab.page.get_by_role("button", name="Copy link").click()
    field = tab.page.get_by_label("This browser lets no page copy")
    expect(field).to_have_value(f"{counted.url}/?tab=words")
    expect(field).to_be_focused()
