"""The page by keyboard alone, for assistive technology, on narrow screens."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.pipeline import KEYS, Pipeline, event

pytestmark = pytest.mark.browser


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_accessible_and_narrow_enough(pipeline: Pipeline, open_tab: OpenTab, axe: str, scheme: str, width: int) -> None:
    pipeline.count(*[event(f"type{at % 9}", f"word{at} {'w' * at}") for at in range(90)], "garbage")
    tab = open_tab(
        f"{pipeline.url}/?window=15m",
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
        reduced_motion="reduce",
    )
    tab.expect_state("Live")
    expect(tab.page.locator("#types tbody tr")).to_have_count(9)
    tab.page.evaluate(axe)

    def violations() -> list[str]:
        found = tab.page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        return [f"{each['id']}: {node['html']}: {node['failureSummary']}" for each in found for node in each["nodes"]]

    def check() -> None:
        assert violations() == []
        assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    check()
    if width < 500:
        tab.page.get_by_role("button", name="Words", exact=True).click()
        expect(tab.page.locator("#words")).to_be_visible()
        expect(tab.page.locator("#types")).to_be_hidden()
        width_of = "element => element.getBoundingClientRect().width"
        assert tab.page.locator("#words").evaluate(width_of) == tab.page.locator("#lists").evaluate(width_of)
        check()
    tab.page.get_by_role("button", name="Show samples").click()
    expect(tab.page.locator("#sheet .samples li")).to_have_count(1)
    check()
    tab.page.keyboard.press("Escape")
    pipeline.aggregator.kill()
    with pipeline.server.client() as client:
        client.xgroup_destroy(KEYS.stream, "aggregators")
    pipeline.send(event("foo"))
    expect(tab.page.locator("#alarms p")).to_have_count(1)
    check()
    tab.forgive("ERR_|503")
    tab.page.route("**/v1/words*", lambda route: route.fulfill(status=503, json={"title": "Redis is unavailable"}))
    tab.page.get_by_label("1 h", exact=True).check()
    expect(tab.page.locator("#words.stale")).to_have_count(1)
    pipeline.api.kill()
    tab.expect_state(re.compile("^Disconnected, retrying"))
    check()


def test_by_keyboard_alone(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo", "first")] * 2, event("bar", "second", ago=1800))
    tab = open_tab(pipeline.url)
    tab.expect_rows("types", {"foo": 2, "bar": 1})
    press, focused = tab.page.keyboard.press, tab.page.locator(":focus")

    def tab_until(selector: str) -> None:
        for _ in range(60):
            press("Tab")
            if focused.evaluate("(element, selector) => element.matches(selector)", selector):
                return
        raise AssertionError(f"60 times Tab did not lead to {selector}")

    press("Tab")
    expect(focused).to_have_text("Skip to the counts")
    tab_until("#windows input")
    outline = "element => getComputedStyle(element.nextElementSibling).outlineStyle"
    assert focused.evaluate(outline) == "solid"
    press("ArrowLeft")  # from All to 24 h
    expect(tab.page.get_by_label("24 h")).to_be_checked()
    press("ArrowLeft")
    press("ArrowLeft")
    tab.expect_rows("types", {"foo": 2})
    press("/")
    expect(focused).to_have_attribute("id", "search")
    tab.page.keyboard.type("fir")
    tab.expect_rows("words", {"first": 2})
    tab_until("#words tbody .details")
    press("Enter")
    expect(tab.page.locator("#sheet .full-name")).to_have_text("first")
    expect(focused).to_have_text("Close")
    press("Enter")
    expect(tab.page.locator("#sheet")).to_be_hidden()
    expect(focused).to_have_accessible_name("Details of first")  # back where it was


@pytest.mark.slow
def test_the_focus_is_never_behind_the_toolbar(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event(f"type{at}") for at in range(25)])
    behind = """() => {
        const toolbar = document.querySelector(".toolbar");
        const [focused, bar] = [document.activeElement, toolbar].map((each) => each.getBoundingClientRect());
        return !toolbar.contains(document.activeElement) && focused.top < bar.bottom && focused.bottom > bar.top;
    }"""
    for width in (360, 1280):
        for query in ("", "?window=custom&from=2026-01-01T00:00:00Z", "?type=type1&type=type2&type=type3"):
            tab = open_tab(f"{pipeline.url}/{query}", viewport={"width": width, "height": 500})
            tab.forgive("404")  # words are not counted by type here
            expect(tab.page.locator("#types tbody tr")).to_have_count(25)
            tab.page.locator("#types tbody button").last.focus()
            for _ in range(24):
                tab.page.keyboard.press("Shift+Tab")
                assert not tab.page.evaluate(behind), tab.page.evaluate("document.activeElement.textContent")
            tab.page.get_by_role("link", name="Skip to the counts").focus()
            tab.page.keyboard.press("Enter")
            expect(tab.page.locator("#lists")).to_be_focused()
            assert not tab.page.evaluate(behind)


@pytest.mark.slow
def test_the_focus_stays_on_a_name_whose_place_changes(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo")] * 2, event("bar"))
    tab = open_tab(pipeline.url)
    tab.expect_rows("types", {"foo": 2, "bar": 1})
    tab.name("types", "bar").click()  # a row that the keyboard is at has its place for as long
    tab.page.mouse.move(5, 5)
    tab.forgive("404")  # words are not counted by type here
    pipeline.count(*[event("bar")] * 5)
    tab.expect_rows("types", {"bar": 6, "foo": 2})
    expect(tab.page.locator(":focus")).to_have_text("bar")


def test_screens_are_used_and_paper_has_what_is_counted(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo", "lorem"), "garbage")
    tab = open_tab(pipeline.url, viewport={"width": 1280, "height": 900})
    tab.expect_rows("types", {"foo": 1})

    def places() -> list[dict[str, float]]:
        lists = tab.page.locator("#types, #words, #trending")  # at one moment: what is above them may still grow
        return list(lists.evaluate_all("lists => lists.map(each => each.getBoundingClientRect().toJSON())"))

    types, words, trending = places()
    assert trending["x"] == types["x"]
    assert trending["y"] > types["bottom"], "under the types"
    assert words["y"] == types["y"]
    tab.page.set_viewport_size({"width": 1920, "height": 900})
    types, words, trending = places()
    assert types["y"] == words["y"] == trending["y"], "three columns"
    assert trending["right"] > 1750, "over the whole width"
    tab.page.emulate_media(media="print")
    tab.page.set_viewport_size({"width": 700, "height": 1000})
    for shown in ("#types", "#words", "#trending", "#health-rejected"):
        expect(tab.page.locator(shown)).to_be_visible()
    for pressed in (".toolbar", "#retry", "#show-preferences", "#types .export", ".tip >> nth=0", "#show-rejected"):
        expect(tab.page.locator(pressed)).to_be_hidden()
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.page.emulate_media(media="screen")
    tab.page.get_by_role("button", name="Show samples").click()
    expect(tab.page.locator("#sheet .samples li")).to_have_count(1)
    tab.page.emulate_media(media="print")
    expect(tab.page.locator("#sheet .samples li")).to_be_visible()
    expect(tab.page.locator("#types")).to_be_hidden()


def test_borders_of_controls_can_be_seen(pipeline: Pipeline, open_tab: OpenTab) -> None:
    for scheme in ("light", "dark"):
        tab = open_tab(pipeline.url, color_scheme=scheme)
        contrast = tab.page.evaluate(
            """() => {
                const luminance = (color) => {
                    const [r, g, b] = color.match(/\\d+/g).map((each) => each / 255)
                        .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const page = luminance(getComputedStyle(document.body).backgroundColor);
                return ["#search", "#windows", "#types .export", "#show-preferences"].map((each) => {
                    const style = getComputedStyle(document.querySelector(each));
                    const border = luminance(style.borderTopColor);
                    return Math.min(...[page, luminance(style.backgroundColor)].map((around) => (
                        (Math.max(border, around) + 0.05) / (Math.min(border, around) + 0.05))));
                });
            }"""
        )
        assert min(contrast) >= 3, (scheme, contrast)
