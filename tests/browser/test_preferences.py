"""What the reader prefers: light or dark, the zone of times. And what the instance is called."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenTab, StartPipeline
from tests.browser.pipeline import Pipeline, event
from tests.server import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

DARK, LIGHT = "rgb(14, 17, 23)", "rgb(244, 245, 248)"

#: A minute of yesterday, which no zone has at an hour of the same name.
MOMENT = datetime(2026, 3, 5, 14, 30, tzinfo=UTC)


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_a_choice_of_colours_is_kept_and_is_there_before_any_module(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url, color_scheme="light")
    assert background(tab.page) == LIGHT
    tab.page.get_by_role("button", name="Display").press("Enter")
    tab.page.get_by_label("Dark", exact=True).check()
    assert background(tab.page) == DARK
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("#preferences")).to_be_hidden()
    # Without a flash: what waits for the page to be read does not come at all here.
    tab.page.route(
        "**/static/*.js", lambda route: route.continue_() if "theme.js" in route.request.url else route.abort()
    )
    tab.forgive("ERR_FAILED")
    tab.page.reload()
    assert background(tab.page) == DARK
    tab.page.unroute_all()
    tab.page.goto(f"{pipeline.url}/docs")
    assert tab.page.evaluate("document.documentElement.classList.contains('dark-mode')"), "the API docs, too"
    tab.page.goto(pipeline.url)
    tab.page.get_by_role("button", name="Display").click()
    expect(tab.page.get_by_label("Dark", exact=True)).to_be_checked()
    tab.page.get_by_label("System", exact=True).check()
    assert background(tab.page) == LIGHT
    tab.page.emulate_media(color_scheme="dark")
    assert background(tab.page) == DARK


def test_the_chart_is_drawn_anew_in_the_chosen_colours(pipeline: Pipeline, open_tab: OpenTab, vendor: None) -> None:
    pipeline.count(*[event("foo", ago=60 * at) for at in range(20)])
    tab = open_tab(pipeline.url, color_scheme="light", viewport={"width": 900, "height": 700})
    expect(tab.page.locator("#plot canvas")).to_have_count(1)
    drawn = """() => {
        const canvas = document.querySelector("#plot canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const found = new Set();
        for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) found.add(data.slice(at, at + 3).join());
        return [...found];
    }"""

    def color() -> str:
        """Return the colour of the type as the legend has it."""
        border = tab.page.locator("#legend .swatch").evaluate("each => getComputedStyle(each).borderColor")
        return ",".join(re.findall(r"\d+", border))

    def shows(color: str, *, not_: str) -> bool:
        found = tab.page.evaluate(drawn)
        return color in found and not_ not in found

    tab.forgive("willReadFrequently")
    tab.page.emulate_media(color_scheme="dark")
    dark = color()
    tab.page.emulate_media(color_scheme="light")
    light = color()
    assert light != dark
    wait_until(lambda: shows(light, not_=dark), what="it is drawn")
    tab.page.get_by_role("button", name="Display").click()
    tab.page.get_by_label("Dark", exact=True).check()
    wait_until(lambda: shows(dark, not_=light), what="it is drawn in the colours for dark")
    tab.page.emulate_media(media="print")
    wait_until(lambda: shows(light, not_=dark), what="it is drawn for paper, which is white")
    tab.page.emulate_media(media="screen", forced_colors="active")
    wait_until(lambda: shows(dark, not_=light), what="it has its colours where a system forces others on the page")


def test_times_of_utc(pipeline: Pipeline, open_tab: OpenTab) -> None:
    at = MOMENT.timestamp()
    pipeline.count({"event_type": "foo", "data": "x", "timestamp": at})
    asked = f"{pipeline.url}/?window=custom&from=2026-03-05T14:00:00Z&to=2026-03-05T15:00:00Z"
    tab = open_tab(asked, timezone_id="Asia/Kathmandu")
    summary, start = tab.page.locator("#types .summary"), tab.page.locator("#custom-from")
    expect(summary).to_contain_text(re.compile(r"7:45\s–\s8:45\sPM"))
    tab.page.get_by_role("button", name="Custom").click()
    expect(start).to_have_value("2026-03-05T19:45")
    tab.page.get_by_role("button", name="Display").click()
    tab.page.get_by_label("UTC", exact=True).check()
    expect(summary).to_contain_text(re.compile(r"2:00\s–\s3:00\sPM"))
    expect(start).to_have_value("2026-03-05T14:00")
    tab.page.keyboard.press("Escape")
    # What is typed is UTC, too, and the next page knows.
    start.fill("2026-03-05T13:00:00")
    start.press("Enter")
    expect(tab.page).to_have_url(re.compile("from=2026-03-05T13%3A00%3A00Z"))
    tab.page.reload()
    expect(summary).to_contain_text(re.compile(r"1:00\s–\s3:00\sPM"))
    expect(tab.page.get_by_role("button", name="Display, UTC")).to_be_visible()


def test_the_instances_name_is_in_title_and_head(server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    name = 'eu <img src=x onerror=alert(1)> & "co"'
    pipeline = start(server, TALLY_INSTANCE_NAME=name, TALLY_NAMESPACE="web-shop")
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#instance")).to_have_text(name)
    tab.expect_state(re.compile("^Live"))
    expect(tab.page).to_have_title(f"0/s – {name} – Tally")
    tab.page.goto(f"{pipeline.url}/?sheet=pipeline")
    expect(tab.page.locator("#sheet-body")).to_contain_text("Namespace: web-shop")
    tab.page.goto(f"{pipeline.url}/docs")
    expect(tab.page).to_have_title(f"{name} – Tally API")
