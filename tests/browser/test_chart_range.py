"""What the chart draws of the time range that is chosen: steps, what is not over, what was before, names besides."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.pipeline import Pipeline
from tests.browser.tab import Tab
from tests.processes import running
from tests.server import Server
from tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("vendor")]

#: For each column of pixels between two times: how far down a colour is found there first, null where it is not.
HEIGHTS = """([color, from, to]) => {
    const plot = document.getElementById("plot");
    const [canvas, over] = [plot.querySelector("canvas"), plot.querySelector(".u-over")];
    const scale = canvas.width / canvas.clientWidth;
    const at = (share) => Math.round((over.offsetLeft + share * over.clientWidth) * scale);
    const [left, right] = [at(from), at(to)];
    const [red, green, blue] = color.match(/\\d+/g).map(Number);
    const { data, width } = canvas.getContext("2d").getImageData(left, 0, right - left, canvas.height);
    return Array.from({ length: width }, (_, x) => {
        for (let y = 0; y < canvas.height; y += 1) {
            const [r, g, b] = data.subarray(4 * (y * width + x));
            if (Math.abs(r - red) + Math.abs(g - green) + Math.abs(b - blue) < 60) return y / scale;
        }
        return null;
    });
}"""


@pytest.fixture(scope="module")
def minute() -> int:
    """The minute in which these tests begin."""
    return int(time.time()) // 60 * 60


@pytest.fixture(scope="module")
def counted(minute: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline with half an hour of counts, half as many an hour before, and some of which the clock runs ahead."""
    folder = tmp_path_factory.mktemp("chart")
    server = Server(folder)
    server.start()
    pipeline = Pipeline(server, folder, TALLY_WORDS_BY_TYPE="10")

    def events(name: str, at: int, count: int) -> list[dict[str, Any]]:
        return [{"event_type": name, "data": "x" if name == "foo" else "y", "timestamp": at}] * count

    with running(pipeline.api, pipeline.aggregator):
        wait_until(pipeline.answers, what="the api answers")
        pipeline.count(
            *(each for at in range(1, 31) for each in events("foo", minute - 60 * at, 60 if at % 2 else 90)),
            *(each for at in range(1, 31) for each in events("bar", minute - 60 * at, 12)),
            *(each for at in range(1, 31) for each in events("foo", minute - 3600 - 60 * at, 30)),
            *events("foo", minute + 2400, 60),
        )
        yield pipeline
    server.stop()


def address(start: float, end: float) -> str:
    first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (start, end))
    return f"window=custom&from={first}&to={last}"


def parameters(tab: Tab) -> dict[str, list[str]]:
    return parse_qs(urlsplit(tab.page.url).query, keep_blank_values=True)


def color_of(tab: Tab, name: str) -> str:
    """Return the colour that a series has in the legend."""
    swatch = tab.page.locator("#legend li").filter(has_text=name).locator(".swatch")
    return cast(str, swatch.evaluate("each => getComputedStyle(each).borderColor"))


def test_a_minute_is_a_step_and_what_is_not_over_is_hatched(counted: Pipeline, minute: int, open_tab: OpenTab) -> None:
    start, end = minute - 1800, minute + 2700
    tab = open_tab(f"{counted.url}/?{address(start, end)}&hidden=bar")
    tab.forgive("getImageData")
    expect(tab.page.locator("#legend li")).to_have_count(2)
    expect(tab.page.locator("#plot canvas")).to_be_visible()
    color = color_of(tab, "foo")

    def heights(first: float, last: float) -> list[float | None]:
        shares = [(at - start) / (end - start) for at in (first, last)]
        return cast(list[float | None], tab.page.evaluate(HEIGHTS, [color, *shares]))

    wait_until(lambda: any(each is not None for each in heights(start, minute)), what="it is drawn")
    levels = []
    for at in range(start, minute, 60):
        inside = heights(at + 10, at + 50)
        assert None not in inside
        top, bottom = min(each for each in inside if each is not None), max(each for each in inside if each is not None)
        assert bottom - top <= 1, "it is as high from its beginning to its end"
        levels.append(top)
    steps = [one - other for one, other in pairwise(levels)]
    assert all(abs(step) > 10 for step in steps), "every other minute has half as much again"
    assert all(one * other < 0 for one, other in pairwise(steps))
    ahead = heights(minute + 2400, minute + 2460)
    flat = sum(each is not None and abs(each - levels[-1]) <= 1 for each in ahead)
    assert 0 < flat < 0.8 * len(ahead), "what is not over is as high as it is so far, and drawn in pieces"


def test_the_time_range_before_and_names_besides(counted: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(f"{counted.url}/?window=1h")
    tab.forgive("getImageData")
    said, previous = tab.page.locator(".timeline .said"), tab.page.get_by_role("button", name="Previous period")
    besides = tab.page.locator("#legend .besides")
    draw = tab.page.locator("#words").get_by_role("button", name="Draw y in the chart")
    draw.click()
    expect(draw).to_have_attribute("aria-pressed", "true")
    assert parameters(tab)["overlay"] == ["word:y"]
    expect(besides).to_have_text(re.compile("^y"))
    color = color_of(tab, "y")
    wait_until(lambda: any(tab.page.evaluate(HEIGHTS, [color, 0, 1])), what="its line is drawn")
    previous.click()
    expect(previous).to_have_attribute("aria-pressed", "true")
    assert parameters(tab)["previous"] == ["1"]
    tab.page.locator("#plot").focus()

    def read() -> str:
        tab.page.keyboard.press("Home")
        for _ in range(4):
            tab.page.keyboard.press("PageDown")
        return said.text_content() or ""

    wait_until(lambda: " before, " in read(), what="what was before is told")
    assert re.search(r": (1\.2|1\.7) a second, 0\.5 before, foo (1|1\.5), bar 0\.2, y 0\.2$", read())
    tab.page.get_by_role("button", name="Draw y no longer").click()
    expect(besides).to_have_count(0)
    expect(draw).to_have_attribute("aria-pressed", "false")
    assert "overlay" not in parameters(tab)
    tab.page.go_back()
    expect(besides).to_have_count(1)
    tab.page.get_by_label("All", exact=True).check()
    expect(previous).to_be_hidden()


def test_the_legend_filters_and_shows_details_and_keeps_its_colours(counted: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(f"{counted.url}/?window=1h")
    legend = tab.page.locator("#legend")
    expect(legend.locator("li")).to_have_count(2)
    colors = {name: color_of(tab, name) for name in ("foo", "bar")}
    assert len(set(colors.values())) == 2
    legend.get_by_role("button", name="Details of bar").click()
    expect(tab.page.locator("#sheet .full-name")).to_have_text("bar")
    expect(tab.page.locator("#sheet canvas")).to_be_visible()
    draw = tab.page.locator("#sheet").get_by_role("button", name="Draw in the chart")
    for drawn in (True, False):
        draw.click()
        expect(draw).to_have_attribute("aria-pressed", str(drawn).lower())
        expect(legend.locator(".besides")).to_have_count(int(drawn))
    tab.page.keyboard.press("Escape")
    legend.locator("li").filter(has_text="foo").locator(".choose").click()
    expect(legend.locator("li")).to_have_text([re.compile("^foo")])
    assert parameters(tab)["type"] == ["foo"]
    assert color_of(tab, "foo") == colors["foo"]
    # With a word it is how often that stands in which types, and with both how often in these.
    title = tab.page.locator("#timeline-title")
    tab.page.goto(f"{counted.url}/?window=1h&word=y")
    expect(legend.locator("li")).to_have_text([re.compile("^bar")])
    expect(title).to_have_text("By type")
    assert color_of(tab, "bar") == colors["bar"]
    tab.page.goto(f"{counted.url}/?window=1h&word=x&word=y&type=foo")
    expect(legend.locator("li")).to_have_text([re.compile("^x"), re.compile("^y")])
    expect(title).to_have_text("By word")
    tab.page.goto(f"{counted.url}/")
    expect(legend.locator("li")).to_have_count(2)
    assert {name: color_of(tab, name) for name in ("foo", "bar")} == colors


def test_events_of_another_year_are_drawn_there(pipeline: Pipeline, open_tab: OpenTab) -> None:
    start = 1_632_664_020  # a minute of 2021
    pipeline.count(*[{"event_type": "foo", "data": "x", "timestamp": start + 60 * at} for at in range(20)])
    tab = open_tab(pipeline.url, timezone_id="UTC")
    heading, note = tab.page.locator("#timeline-range"), tab.page.locator("#plot-note")
    expect(heading).to_have_text(re.compile(r"^all time, Sep 26, 2021, 1:47\s–\s2:07\sPM$"))
    # The sheet of a name draws them there, too, and not in one step of all the years since.
    tab.details("types", "foo").click()
    expect(tab.page.locator("#sheet")).to_contain_text(
        re.compile(r"Counts in each 1\sm, Sep 26, 2021, 1:07\s–\s2:07\sPM")
    )
    tab.page.keyboard.press("Escape")
    tab.page.locator("#plot").focus()
    tab.page.keyboard.press("Home")
    expect(tab.page.locator(".timeline .said")).to_have_text(re.compile(r"^Sep 26, 2021, 1:47\sPM: "))
    # The last hour has none of them, but leads to where they are.
    tab.page.get_by_label("1 h", exact=True).check()
    expect(note).to_contain_text(re.compile(r"No events in the last hour.*The newest are of Sep 26, 2021, 2:07\sPM"))
    expect(tab.page.locator("#plot")).to_be_hidden()
    note.get_by_role("button", name="go there").click()
    expect(tab.page.locator("#plot canvas")).to_be_visible()
    assert parameters(tab) == {
        "window": ["custom"],
        "from": ["2021-09-26T13:07:00Z"],
        "to": ["2021-09-26T14:07:00Z"],
    }
    tab.expect_rows("types", {"foo": 20})
