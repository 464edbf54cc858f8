"""The chart: what it draws, and how it is used by mouse, by keyboard and by touch."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, StartPipeline
from tests.browser.pipeline import KEYS, Pipeline, event
from tests.browser.tab import Tab
from tests.server import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.browser


def parameters(tab: Tab) -> dict[str, list[str]]:
    return parse_qs(urlsplit(tab.page.url).query, keep_blank_values=True)


@pytest.mark.usefixtures("vendor")
def test_the_chart(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event(f"type{at % 8}", ago=at * 30) for at in range(1, 100)])
    tab = open_tab(pipeline.url)
    legend = tab.page.locator("#legend li")
    expect(legend).to_have_count(7)
    expect(legend.last).to_contain_text("all others")
    canvas = tab.page.locator("#plot canvas")
    expect(canvas).to_be_visible()
    colours = """canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
    }"""
    assert canvas.evaluate(colours) > 20
    # Off and on again, which is in the address.
    first = tab.page.get_by_role("button", name="Show type1 in the chart")
    first.click()
    expect(first).to_have_attribute("aria-pressed", "false")
    assert parameters(tab)["hidden"] == ["type1"]
    tab.page.reload()
    expect(first).to_have_attribute("aria-pressed", "false")
    first.click()
    expect(first).to_have_attribute("aria-pressed", "true")
    others = tab.page.get_by_role("button", name="Show all others in the chart")
    others.click()
    assert parameters(tab) == {"others": ["hidden"]}
    tab.page.go_back()
    expect(others).to_have_attribute("aria-pressed", "true")
    # What was when.
    box = canvas.bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    expect(tab.page.locator("#timeline-at")).to_have_text(re.compile(r"\d:\d\d"))
    # A part of it is the time range of the whole page, until that is taken back.
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 80, steps=5)
    tab.page.mouse.up()
    zoom_out = tab.page.get_by_role("button", name="Zoom out")
    expect(zoom_out).to_be_visible()
    for end in ("zoom_from", "zoom_to"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", parameters(tab)[end][0]), "it has whole minutes"
    expect(tab.page.locator("#timeline-range")).to_have_text(re.compile(r"\d:\d\d\s–"))
    expect(tab.page.locator("#types .summary")).to_contain_text("–")
    expect(tab.page.locator("#windows :checked")).to_have_count(0)
    tab.page.go_back()
    expect(zoom_out).to_be_hidden()
    expect(tab.page.get_by_label("All", exact=True)).to_be_checked()
    expect(tab.page.locator("#types .summary")).not_to_contain_text("–")
    tab.page.go_forward()
    zoom_out.click()
    expect(tab.page).to_have_url(f"{pipeline.url}/")


@pytest.mark.slow
@pytest.mark.usefixtures("vendor")
def test_no_chart_where_there_is_nothing_to_draw(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url)
    plot, note = tab.page.locator("#plot"), tab.page.locator("#plot-note")
    expect(note).to_have_text("No events in this time: nothing to draw.")
    expect(plot).to_be_hidden()
    pipeline.count(event("foo", ago=60))
    expect(plot).to_be_visible()
    expect(note).to_be_hidden()
    canvas = tab.page.locator("#plot canvas")
    wait_until(
        lambda: canvas.evaluate("(canvas) => canvas.clientWidth === canvas.closest('.plot').clientWidth"),
        what="the chart is as wide as its place",
    )
    tab.page.goto(f"{pipeline.url}/?window=custom&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z")
    expect(note).to_be_visible()
    expect(plot).to_be_hidden()


@pytest.mark.slow
def test_the_labels_of_the_chart_have_room_in_every_language(
    server: Server, start: StartPipeline, open_tab: OpenTab
) -> None:
    minute = int(time.time()) // 60 * 60 - 120
    with server.client() as client:
        client.zadd(KEYS.windows(60), {str(minute): minute})
        client.hset(KEYS.window_types(60, minute), "foo", 60 * 9_500_000)  # 2,5 Mio., 5 Mio., 7,5 Mio.
    pipeline = start(server, aggregator=False)
    tab = open_tab(pipeline.url, locale="de-DE")
    room = tab.page.locator("#plot .u-over")
    expect(room).to_be_visible()
    label = """label => {
        const context = document.createElement("canvas").getContext("2d");
        context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
        return context.measureText(label).width;
    }"""
    gap = 5  # uPlot's own, between a label and what is drawn
    assert room.evaluate("over => over.offsetLeft") >= tab.page.evaluate(label, "7,5 Mio.") + gap


def charted(pipeline: Pipeline) -> None:
    """Half an hour of which every minute has 60 of one type and 30 of another."""
    now = int(time.time()) // 60 * 60
    each = [("foo", 60), ("bar", 30)]
    pipeline.count(
        *[
            {"event_type": name, "data": "x", "timestamp": now - 60 * at}
            for at in range(1, 31)
            for name, count in each
            for _ in range(count)
        ]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("vendor")
def test_the_chart_by_keyboard_and_for_the_ear(pipeline: Pipeline, open_tab: OpenTab) -> None:
    charted(pipeline)
    tab = open_tab(f"{pipeline.url}/?window=1h")
    plot, said = tab.page.locator("#plot"), tab.page.locator(".timeline .said")
    press = tab.page.keyboard.press
    zoom_out = tab.page.get_by_role("button", name="Zoom out")
    expect(tab.page.locator("#legend li")).to_have_count(2)
    expect(plot).to_have_attribute("role", "application")
    expect(plot).to_have_accessible_description(re.compile("Arrow keys.*Shift.*Enter.*Escape"))
    expect(tab.page.locator(".timeline .help")).to_be_hidden()
    plot.focus()
    press("End")
    expect(tab.page.locator(".timeline .help")).to_be_visible()
    press("ArrowLeft")
    press("ArrowLeft")
    expect(said).to_have_text(re.compile(r"^.*\d:\d\d.*: 1\.5 a second, foo 1, bar 0\.5$"))
    expect(tab.page.locator("#timeline-at")).to_have_text(re.compile(r"\d:\d\d"))
    earlier = said.text_content()
    press("ArrowLeft")
    expect(said).not_to_have_text(earlier or "")
    # Nothing is selected yet.
    press("Enter")
    expect(said).to_contain_text("Shift and an arrow key select")
    expect(zoom_out).to_be_hidden()
    for _ in range(4):
        press("Shift+ArrowLeft")
    expect(said).to_have_text(re.compile(r"^Selected .*–.*: 1\.5 a second$"))
    press("Enter")
    expect(said).to_contain_text("Zoomed in on")
    expect(zoom_out).to_be_visible()
    # The arrows stay inside.
    expect(tab.page.locator("#timeline-range")).to_contain_text("–")

    def at_the_end_of_what_is_zoomed_in_on() -> bool:
        press("End")
        return "not over yet" not in (said.text_content() or "")

    wait_until(at_the_end_of_what_is_zoomed_in_on, what="the cells of the zoom are there")
    last = said.text_content()
    press("ArrowRight")
    expect(said).to_have_text(last or "")
    press("Escape")
    expect(said).to_have_text("Zoomed out")
    expect(zoom_out).to_be_hidden()
    expect(tab.page.locator("#timeline-range")).to_have_text("last hour")
    # New counts come and types change places: it stays where it is.
    press("Home")
    first = said.text_content()
    pipeline.count(*[event("bar")] * 4000)
    expect(tab.page.locator("#legend li").first).to_contain_text("bar")
    expect(said).to_have_text(first or "")
    press("End")
    expect(said).not_to_have_text(last or "")
    # A selection is taken back alone.
    press("Shift+Home")
    press("Escape")
    expect(said).to_have_text("Nothing is selected")


@pytest.mark.slow
@pytest.mark.usefixtures("vendor")
def test_the_first_click_after_the_chart_was_used_by_keyboard(pipeline: Pipeline, open_tab: OpenTab) -> None:
    charted(pipeline)
    for width in (375, 480, 1280):
        tab = open_tab(f"{pipeline.url}/?window=1h", viewport={"width": width, "height": 1200})
        expect(tab.page.locator("#legend li")).to_have_count(2)
        button = tab.details("types", "foo")
        # Zoomed in, the chart's head is at its fullest.
        tab.page.locator("#plot").focus()
        for key in ("End", "Shift+Home", "Enter"):
            tab.page.keyboard.press(key)
        expect(tab.page.get_by_role("button", name="Zoom out")).to_be_visible()
        expect(tab.page.locator("#timeline-range")).to_contain_text("–")
        expect(tab.page.locator("#types")).not_to_have_attribute("aria-busy", "true")
        tab.page.evaluate("document.activeElement.blur()")
        expect(tab.page.locator(".timeline .help")).to_be_hidden()
        place = button.bounding_box()
        tab.page.locator("#plot").focus()
        tab.page.keyboard.press("End")
        expect(tab.page.locator("#timeline-at")).not_to_be_empty()
        expect(tab.page.locator(".timeline .help")).to_be_visible()
        assert button.bounding_box() == place
        assert place is not None
        tab.page.mouse.click(place["x"] + 5, place["y"] + 5, delay=100)
        expect(tab.page.locator("#sheet .full-name")).to_have_text("foo")
        expect(tab.page.locator(".timeline .help")).to_be_hidden()
        # Where the help lies over the legend, it is not there any more.
        tab.page.keyboard.press("Escape")
        tab.page.get_by_role("button", name="Show foo in the chart").click()
        expect(tab.page.locator("#legend .hide[aria-pressed=false]")).to_have_count(1)


@pytest.mark.slow
@pytest.mark.usefixtures("vendor")
def test_the_chart_by_touch(pipeline: Pipeline, open_tab: OpenTab) -> None:
    charted(pipeline)
    tab = open_tab(f"{pipeline.url}/?window=1h", has_touch=True, viewport={"width": 375, "height": 700})
    expect(tab.page.locator("#legend li")).to_have_count(2)
    over = tab.page.locator("#plot .u-over")
    assert over.evaluate("each => getComputedStyle(each).touchAction") == "pan-y pinch-zoom"
    box = over.bounding_box()
    assert box is not None
    devtools = tab.page.context.new_cdp_session(tab.page)
    zoom_out = tab.page.get_by_role("button", name="Zoom out")

    def touch(kind: str, *at: tuple[float, float]) -> None:
        points = [{"x": box["x"] + box["width"] * x, "y": box["y"] + box["height"] * y} for x, y in at]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    # A tap tells what was when.
    touch("touchStart", (0.5, 0.5))
    touch("touchEnd")
    expect(tab.page.locator("#timeline-at")).to_have_text(re.compile(r"\d:\d\d"))
    expect(zoom_out).to_be_hidden()
    # Up and down is the page's.
    touch("touchStart", (0.5, 0.9))
    for step in range(1, 9):
        touch("touchMove", (0.5, 0.9 - 0.1 * step))
    touch("touchEnd")
    wait_until(lambda: bool(tab.page.evaluate("scrollY > 0")), what="the page has scrolled")
    expect(zoom_out).to_be_hidden()
    tab.page.evaluate("scrollTo(0, 0)")
    # Sideways selects, and zooms when the finger goes.
    touch("touchStart", (0.3, 0.5))
    for step in range(1, 9):
        touch("touchMove", (0.3 + 0.05 * step, 0.5))
    assert over.locator(".u-select").evaluate("each => each.offsetWidth") > 50
    touch("touchEnd")
    expect(zoom_out).to_be_visible()
    expect(tab.page.get_by_role("button", name="Custom")).to_have_attribute("aria-pressed", "true")
    expect(tab.page.locator("#timeline-range")).to_contain_text("–")


@pytest.mark.slow
def test_without_the_chart_everything_else_works(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo"))
    tab = open_tab("about:blank")
    tab.forgive("404")
    tab.page.route("**/vendor/**", lambda route: route.fulfill(status=404))
    tab.page.goto(pipeline.url)
    expect(tab.page.locator("#plot-note")).to_contain_text("make assets")
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1})
    tab.details("types", "foo").click()
    expect(tab.page.locator("#sheet .facts dd").first).to_have_text("1")
    tab.page.goto(f"{pipeline.url}/docs")
    expect(tab.page.locator("#docs")).to_contain_text("make assets")
