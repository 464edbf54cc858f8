"""The time range that is chosen, and what the page says of it."""

from __future__ import annotations

import re
import time
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenTab
from tests.browser.pipeline import Pipeline, event
from tests.waiting import wait_until

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_windows(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("now"), *[event("earlier", ago=1800)] * 2, *[event("long ago", ago=40 * 86400)] * 3)
    tab = open_tab(pipeline.url)
    tab.expect_rows("types", {"long ago": 3, "earlier": 2, "now": 1})
    for name, rows in {
        "15 m": {"now": 1},
        "1 h": {"earlier": 2, "now": 1},
        "24 h": {"earlier": 2, "now": 1},
        "1 m": {"now": 1},
        "All": {"long ago": 3, "earlier": 2, "now": 1},
    }.items():
        tab.page.get_by_label(name, exact=True).check()
        if name == "1 m":
            pipeline.count(event("now"))
            rows = {"now": 2}
        elif name == "All":
            rows["now"] = 2
        tab.expect_rows("types", dict(sorted(rows.items(), key=lambda row: (-row[1], row[0]))))


@pytest.mark.slow
def test_the_chosen_window_can_be_read_under_the_mouse(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url)
    tab.expect_state("Live")
    background = "label => getComputedStyle(label.querySelector('span')).backgroundColor"
    chosen, other = (tab.page.locator("#windows label").filter(has_text=name) for name in ("All", "15 m"))
    away = {label: label.evaluate(background) for label in (chosen, other)}

    def under_the_mouse(label: Locator) -> str:
        label.hover()  # each time: what is above may still come, and move it away from there
        return str(label.evaluate(background))

    wait_until(lambda: under_the_mouse(other) not in away.values(), what="another one is marked")
    assert under_the_mouse(chosen) == away[chosen]


def test_a_custom_time_range(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("now"), *[event("earlier", ago=1800)] * 2, *[event("before", ago=3000)] * 3)
    tab = open_tab(pipeline.url, timezone_id="Asia/Kathmandu")
    custom = tab.page.get_by_role("button", name="Custom")
    custom.click()
    moments = tab.page.evaluate(
        """agos => agos.map(ago => {
            const at = new Date(Date.now() - ago * 1000);
            return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
        })""",
        [2400, 1200],
    )
    tab.page.get_by_label("From").fill(moments[0])
    tab.page.get_by_label("to", exact=True).fill(moments[1])
    tab.page.get_by_role("button", name="Apply").click()
    tab.expect_rows("types", {"earlier": 2})
    assert re.search(r"window=custom&from=\d{4}-.*Z&to=", tab.page.url)
    expect(tab.page.locator("#custom")).to_be_hidden()
    expect(custom).to_be_focused()
    custom.click()
    expect(tab.page.get_by_label("From")).to_have_value(moments[0])
    tab.page.get_by_label("to", exact=True).fill(moments[0])
    tab.page.get_by_label("to", exact=True).press("Enter")  # which is as good as the button, and cannot miss it
    expect(tab.page.locator("#custom-error")).to_have_text("The beginning must be before the end.")
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("#custom")).to_be_hidden()


def test_a_step_is_as_long_as_the_time_range(pipeline: Pipeline, open_tab: OpenTab) -> None:
    minute = int(time.time()) // 60 * 60
    pipeline.count(*[event("now")] * 2, *[{"event_type": "hour", "data": "x", "timestamp": minute - 4500}] * 3)
    tab = open_tab(f"{pipeline.url}/?window=1h")
    earlier, later = (tab.page.get_by_role("button", name=name) for name in ("Earlier", "Later"))
    tab.expect_rows("types", {"now": 2})
    expect(later).to_be_disabled()
    earlier.click()
    tab.expect_rows("types", {"hour": 3})
    asked = parse_qs(urlsplit(tab.page.url).query)
    start, end = (datetime.fromisoformat(asked[name][0]).timestamp() for name in ("from", "to"))
    assert (asked["window"], end - start, end % 60) == (["custom"], 3600, 0)
    expect(tab.page.locator("#timeline-range")).to_contain_text("–")
    # What comes to now is the trailing window again, and goes on with it.
    later.click()
    expect(tab.page.get_by_label("1 h", exact=True)).to_be_checked()
    expect(tab.page).to_have_url(f"{pipeline.url}/?window=1h")
    tab.page.get_by_label("All", exact=True).check()
    expect(earlier).to_be_disabled()


@pytest.mark.slow
def test_a_time_range_that_is_counted_in_whole_hours_says_so(pipeline: Pipeline, open_tab: OpenTab) -> None:
    day = (int(time.time()) // 86400 - 2) * 86400
    moment = day + 2 * 3600 + 600
    minutes = [{"event_type": "filler", "data": "x", "timestamp": time.time() - 60 * at} for at in range(400)]
    pipeline.count(*[{"event_type": "then", "data": "y", "timestamp": moment - 300}] * 7, *minutes)

    def asked(start: int, end: int) -> str:
        first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (start, end))
        return f"{pipeline.url}/?window=custom&from={first}&to={last}"

    # Ten minutes of two days ago, of which only hours are kept.
    tab = open_tab(asked(moment, moment + 600), timezone_id="UTC")
    tab.expect_rows("types", {"then": 7})
    types = tab.page.locator("#types")
    expect(types.locator(".summary")).to_contain_text(re.compile(r"2:00\s–\s3:00\sAM"))
    expect(types.locator(".widened")).to_contain_text(
        re.compile(r"Wider than the .*2:10\s–\s2:20\sAM that was asked for")
    )
    # A whole hour is what it is.
    tab.page.goto(asked(day + 7200, day + 10800))
    tab.expect_rows("types", {"then": 7})
    expect(types.locator(".summary")).to_contain_text(re.compile(r"2:00\s–\s3:00\sAM"))
    expect(types.locator(".widened")).to_be_hidden()
    # Seconds of today, of which minutes are kept.
    now = int(time.time()) // 60 * 60
    tab.page.goto(asked(now - 1795, now - 1205))
    expect(types.locator(".widened")).to_have_text("Widened to whole windows of time.")
    # What ends now is always a little wider.
    tab.page.get_by_label("15 m").check()
    expect(types.locator(".summary")).to_contain_text("–")
    expect(types.locator(".widened")).to_be_hidden()
    tab.page.get_by_label("All", exact=True).check()
    expect(types.locator(".summary")).to_have_text("2 distinct · 407 in all")


def test_arrow_keys_go_through_the_choices_and_the_form_closes(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url)
    tab.expect_state("Live")
    form, custom = tab.page.locator("#custom"), tab.page.get_by_role("button", name="Custom")
    tab.page.get_by_label("15 m").check()
    for name in ("1 h", "24 h", "All", "1 m"):
        tab.page.keyboard.press("ArrowRight")
        expect(tab.page.get_by_label(name, exact=True)).to_be_focused()
        expect(tab.page.get_by_label(name, exact=True)).to_be_checked()
    expect(form).to_be_hidden()
    for closing in (None, form.get_by_role("button", name="Close"), custom):
        custom.click()
        expect(tab.page.get_by_label("From")).to_be_focused()
        expect(custom).to_have_attribute("aria-expanded", "true")
        if closing:
            closing.click()
        else:
            tab.page.keyboard.press("Escape")
        expect(form).to_be_hidden()
        expect(custom).to_be_focused()
    expect(tab.page.get_by_label("1 m", exact=True)).to_be_checked()
    # A form that was only opened closes when something else is chosen, and what was applied can be had again.
    custom.click()
    tab.page.get_by_label("All", exact=True).check()
    expect(form).to_be_hidden()
    custom.click()
    form.get_by_role("button", name="Apply").click()
    expect(tab.page).to_have_url(re.compile("window=custom"))
    expect(form).to_be_hidden()
    expect(custom).to_have_attribute("aria-pressed", "true")
