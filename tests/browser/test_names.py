"""Names from events: they are only text, and each can be seen in full."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, StartPipeline
from tests.browser.pipeline import Pipeline, event
from tests.server import Server

pytestmark = pytest.mark.browser


HOSTILE = "<img/src=x/onerror=window.hacked=1>"
TURNED = "\u202eabc\u2066אבג"
LONG = "ü" * 128
HIDDEN = "a\u0000b\u200bc"


def test_hostile_names_are_text(server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    pipeline = start(server, TALLY_WORD_PATTERN=r"\S+")
    pipeline.count(*[event(HOSTILE, f"{HOSTILE} {TURNED} {LONG} {HIDDEN} %2e%2e/../x?y#z")] * 2, event("", "x"))
    assert set(pipeline.ranking("words")) >= {HOSTILE, TURNED, LONG, HIDDEN}
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#words tbody tr")).to_have_count(6)
    assert set(tab.rows("words")) == {
        HOSTILE,
        "⟨U+202E⟩abc⟨U+2066⟩אבג",
        LONG,
        "a⟨U+0000⟩b⟨U+200B⟩c",
        "%2e%2e/../x?y#z",
        "x",
    }
    tab.expect_rows("types", {HOSTILE: 2, "(empty)": 1})
    # The long one is clipped, with the whole of it as its tooltip, and widens nothing.
    long = tab.page.locator("#words bdi.given").filter(has_text=LONG)
    expect(long).to_have_attribute("title", LONG)
    assert long.evaluate("each => each.scrollWidth > each.clientWidth")
    assert long.evaluate("each => getComputedStyle(each).unicodeBidi") == "isolate"
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # In full, for each of them.
    for name in (HOSTILE, LONG, "⟨U+202E⟩abc⟨U+2066⟩אבג", "a⟨U+0000⟩b⟨U+200B⟩c", "%2e%2e/../x?y#z"):
        tab.details("words", name).click()
        expect(tab.page.locator("#sheet .full-name")).to_have_text(name)
        expect(tab.page.locator("#sheet .facts dd").first).to_have_text("2")
        tab.page.get_by_role("button", name="Close").click()
        expect(tab.page.locator("#sheet")).to_be_hidden()
    assert tab.page.locator("img").count() == 0
    assert tab.page.evaluate("window.hacked") is None


@pytest.mark.slow
def test_a_type_may_have_any_name(pipeline: Pipeline, open_tab: OpenTab) -> None:
    # Each as often as no other, so that they stand in this order.
    counts = {name: 8 - at for at, name in enumerate(["", ".", "..", "/", "a\nb", "?name=b"])}
    pipeline.count(*[event(name) for name, count in counts.items() for _ in range(count)])
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#types tbody tr")).to_have_count(len(counts))
    for shown, (name, count) in zip(tab.rows("types"), counts.items(), strict=True):
        tab.details("types", shown).click()
        for _ in range(2):
            expect(tab.page.locator("#sheet .full-name")).to_have_text(shown)
            expect(tab.page.locator("#sheet .facts dd").first).to_have_text(str(count))
            assert parse_qs(urlsplit(tab.page.url).query, keep_blank_values=True) == {"sheet": ["type"], "name": [name]}
            tab.page.reload()
        tab.page.get_by_role("button", name="Close").click()
        expect(tab.page.locator("#sheet")).to_be_hidden()
        expect(tab.page).to_have_url(f"{pipeline.url}/")


def test_one_name(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo")] * 3, event("bar"))
    tab = open_tab(pipeline.url)
    tab.details("types", "foo").click()
    facts = tab.page.locator("#sheet .facts dd")
    expect(facts.nth(0)).to_have_text("3")
    expect(facts.nth(1)).to_have_text("75.0%")
    expect(facts.nth(2)).to_have_text("1")
    assert "sheet=type&name=foo" in tab.page.url


@pytest.mark.slow
@pytest.mark.usefixtures("vendor")
def test_one_name_in_the_time_range_that_is_chosen(pipeline: Pipeline, open_tab: OpenTab) -> None:
    now = int(time.time()) // 60 * 60
    pipeline.count(*[{"event_type": "foo", "data": "x", "timestamp": now - 3 * 3600}] * 3, event("bar"))
    tab = open_tab(f"{pipeline.url}/?window=15m&sheet=type&name=foo")
    sheet, facts = tab.page.locator("#sheet"), tab.page.locator("#sheet .facts")
    expect(sheet).to_contain_text(re.compile(r"Not counted in .*\d:\d\d.*: there is nothing to draw\."))
    expect(facts).to_contain_text("Count in this time range0")
    expect(facts).to_contain_text("Count of all time3")
    expect(facts).to_contain_text("Rank of all time1")
    expect(sheet.locator(".plot")).to_be_hidden()
    tab.page.goto(f"{pipeline.url}/?window=24h&sheet=type&name=foo")
    expect(facts).to_contain_text("Count in this time range3")
    expect(sheet.locator("canvas")).to_be_visible()
    # All time, from when it was first seen.
    tab.page.goto(f"{pipeline.url}/?sheet=type&name=foo")
    expect(sheet).to_contain_text("Counts in each")
    expect(sheet.locator("canvas")).to_be_visible()
    sheet.locator(".plot").focus()
    tab.page.keyboard.press("Home")
    expect(sheet.locator(".said")).to_have_text(re.compile(r"\d:\d\d.*: \d+$"))
    # A single cell is drawn as well.
    first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 3 * 3600 + each)) for each in (0, 60))
    tab.page.goto(f"{pipeline.url}/?window=custom&from={first}&to={last}&sheet=type&name=foo")
    expect(facts).to_contain_text("Count in this time range3")
    tab.page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()


def test_a_sheet_of_a_name_is_live_and_nothing_in_it_moves(
    server: Server, start: StartPipeline, open_tab: OpenTab
) -> None:
    pipeline = start(server, TALLY_WORDS_BY_TYPE="5")
    pipeline.count(*[event("foo", "lorem")] * 3, event("bar", "ipsum dolor"))
    tab = open_tab(pipeline.url, viewport={"width": 800, "height": 300})
    tab.details("types", "foo").click()
    sheet, count = tab.page.locator("#sheet"), tab.page.locator("#sheet .facts dd").first
    expect(count).to_have_text("3")
    expect(sheet.locator(".related li")).to_have_text(["lorem3100.0%"])
    expect(tab.page).to_have_title("foo – Tally")
    sheet.get_by_role("button", name="lorem").focus()
    place = "document.querySelector('#sheet').scrollTop"
    scrolled = tab.page.evaluate(place)
    assert scrolled > 0
    tab.page.evaluate(
        """() => {
            window.gone = 0;
            new MutationObserver((changes) => {
                for (const { removedNodes } of changes) {
                    window.gone += [...removedNodes].filter((node) => node instanceof HTMLElement).length;
                }
            }).observe(document.querySelector("#sheet-body"), { childList: true, subtree: true });
        }"""
    )
    pipeline.count(*[event("foo", "ipsum ipsum")] * 4)
    expect(count).to_have_text("7")
    expect(sheet.locator(".related li")).to_have_text(["ipsum872.7%", "lorem327.3%"])
    expect(sheet.get_by_role("button", name="lorem")).to_be_focused()
    assert tab.page.evaluate("window.gone") == 0
    assert tab.page.evaluate(place) == scrolled
    # Of one name one comes to another, and back.
    sheet.get_by_role("button", name="ipsum").click()
    expect(sheet.locator(".full-name")).to_have_text("ipsum")
    expect(sheet.locator(".related li")).to_have_text(["foo888.9%", "bar111.1%"])
    tab.page.go_back()
    expect(sheet.locator(".full-name")).to_have_text("foo")
    sheet.get_by_role("button", name="Filter by this").click()
    expect(sheet).to_be_hidden()
    expect(tab.page.locator("#chips")).to_contain_text("foo")
    expect(tab.page).to_have_title(re.compile(r"^[\d.]+/s – Tally$"))
