"""What the page says of the pipeline's health, and of rejected lines."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, StartPipeline
from tests.browser.pipeline import KEYS, Pipeline, event
from tests.server import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_what_is_wrong_is_loud(server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    pipeline = start(server, aggregator=False)
    pipeline.send(event("foo"))
    tab = open_tab(pipeline.url)
    expect(tab.page.get_by_role("alert")).to_contain_text(["No aggregator is alive"])
    expect(tab.page.locator("#health-aggregators")).to_have_attribute("data-level", "bad")
    expect(tab.page.locator("#health-backlog .value")).to_have_text("1")
    expect(tab.page.locator("#health-backlog .more")).to_have_text(re.compile(r"^block, about \d+ lines$"))
    expect(tab.page.locator("#health-oldest .more")).to_have_text("nothing is being counted")
    with server.client() as client:  # as when it was a source, and as when that is refused
        client.hset(KEYS.backlog, mapping={"blocks": 1, "bytes": 1500})
        expect(tab.page.locator("#health-backlog .more")).to_have_text("block, 1.5 kB")
        client.hset(KEYS.backlog, mapping={"settled_blocks": 2, "settled_bytes": 2500})
        expect(tab.page.locator("#health-backlog .value")).to_have_text("3")
        expect(tab.page.locator("#health-backlog .more")).to_have_text("blocks, 4 kB; 2 settled")
        client.hdel(KEYS.backlog, "settled_blocks", "settled_bytes")
        client.hset(KEYS.backlog, mapping={"full_blocks": 1, "full_bytes": 1024})
    expect(tab.page.locator("#health-backlog .more")).to_have_text("block, 1.5 kB: full, sources are not read")
    expect(tab.page.get_by_role("alert")).to_contain_text(["The backlog is full"])
    with server.client() as client:  # a command reads or changes all that is stored
        client.hset(KEYS.backlog, "lease", "export@backup-1-0f:1:99999999999999")
        expect(tab.page.locator("#health-backlog .more")).to_have_text("held by tally export, sources are not read")
        tab.page.locator("#show-pipeline").click()
        expect(tab.page.locator("#sheet")).to_contain_text("“tally export” on backup-1 holds appends since")
        tab.page.keyboard.press("Escape")
        client.hdel(KEYS.backlog, "lease")
    expect(tab.page).to_have_title("Alarm – Tally")
    pipeline.aggregator.start()
    try:
        expect(tab.page.locator("#alarms p")).to_have_count(0)
        tab.expect_rows("types", {"foo": 1})
    finally:
        pipeline.aggregator.kill()


@pytest.mark.slow
def test_lines_that_are_all_rejected_are_loud(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*["not an event"] * 5000)
    tab = open_tab(pipeline.url)
    cell = tab.page.locator("#health-rejected")
    expect(cell).to_contain_text("5,000")
    tab.page.reload()  # and see no line come: what was of all time has to do
    expect(cell).to_have_attribute("data-level", "bad")
    expect(cell).to_contain_text("100.0% of all")
    for kind in ("types", "words"):
        expect(tab.page.locator(f"#{kind} .note")).to_have_text("5,000 lines were rejected: show samples")
    expect(tab.page.locator("#alarms p")).to_have_count(0)  # none of late
    pipeline.count(*["not an event"] * 50)
    expect(cell).to_contain_text("100.0% lately")
    expect(tab.page.get_by_role("alert")).to_contain_text(["Most lines of the last minute were rejected"])
    # What is of now decides, and an event or two make a list.
    pipeline.count(*[event("foo")] * 150)
    expect(cell).to_have_attribute("data-level", "warn")
    expect(cell).to_contain_text("25.0% lately")
    expect(tab.page.locator("#alarms p")).to_have_count(0)
    tab.expect_rows("types", {"foo": 150})
    pipeline.count(*[event("foo")] * 350)
    expect(cell).to_have_attribute("data-level", "")


@pytest.mark.slow
def test_rejected_samples_and_the_pipeline_on_demand(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo"), "<b>not json</b>")
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#health-rejected .value")).to_have_text("1")
    tab.page.get_by_role("button", name="Show samples").click()
    expect(tab.page.locator("#sheet .samples li")).to_have_count(1)
    expect(tab.page.locator("#sheet .samples .line")).to_have_text("<b>not json</b>")
    expect(tab.page.locator("#sheet .samples .reason")).to_contain_text("not JSON")
    expect(tab.page.locator("#sheet .reasons")).to_have_text("By reason: not_json 1")
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("button", name="Show all").click()
    expect(tab.page.locator("#sheet tbody tr").first).to_contain_text("alive")


@pytest.mark.slow
def test_samples_of_rejected_lines_are_not_called_the_newest(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*["not an event"] * 205)
    kept = len(pipeline.ask("v1/rejected", limit=50)["items"])
    assert kept < 50, "so many are kept of a batch that this test says nothing"
    tab = open_tab(pipeline.url)
    tab.page.get_by_role("button", name="Show samples", exact=True).click()
    expect(tab.page.locator("#sheet")).to_contain_text(f"205 in all; {kept} as samples, with the reason:")


@pytest.mark.slow
def test_samples_of_rejected_lines_are_one_click_from_an_empty_list(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(f"{pipeline.url}/?window=15m")
    expect(tab.page.locator("#types .note")).to_contain_text("Nothing in this time range")
    pipeline.count("not an event")
    expect(tab.page.locator("#types .note")).to_have_text("1 line was rejected: show samples")
    tab.page.locator("#types").get_by_role("button", name="show samples").click()
    expect(tab.page.locator("#sheet .samples .line")).to_have_text("not an event")


def test_live_is_amber_while_nothing_comes_and_says_for_how_long(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url)
    dot, stillness = tab.page.locator("#connection .dot"), tab.page.locator("#stillness")
    color = "dot => getComputedStyle(dot).backgroundColor"
    tab.expect_state("Live")
    expect(stillness).to_have_text("nothing came yet")
    amber = dot.evaluate(color)
    with pipeline.server.client() as client:
        wait_until(lambda: bool(client.exists(KEYS.stream)), what="there is a stream")
        # Two hours ago a block came, and went.
        client.execute_command("XSETID", KEYS.stream, f"{int(1000 * (time.time() - 7200))}-0")
    expect(stillness).to_have_text("nothing came for 2 h")
    pipeline.count(event("foo"))
    expect(stillness).to_be_hidden()
    assert dot.evaluate(color) != amber
    pipeline.aggregator.kill()
    with pipeline.server.client() as client:
        client.xgroup_destroy(KEYS.stream, "aggregators")
    pipeline.send(event("foo"))
    expect(stillness).to_have_text("lines wait, none is counted")
    assert dot.evaluate(color) == amber
    tab.expect_state("Live")


def test_what_words_mean_is_told_by_mouse_and_keyboard(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url, viewport={"width": 390, "height": 700})
    tab.expect_state("Live")
    tip = tab.page.get_by_text("Blocks that ended every aggregator")
    button = tab.page.get_by_role("button", name="What are dead letters?")
    button.press("Enter")
    expect(tip).to_be_visible()

    def is_beside() -> bool:
        boxes = tab.page.locator("#health-dead-letters .tip, #tip-dead-letters")
        at, told = boxes.evaluate_all("each => each.map(one => one.getBoundingClientRect().toJSON())")
        beside = 0 < told["y"] - at["bottom"] < 20 or 0 < at["y"] - told["bottom"] < 20
        return bool(told["x"] >= 0 and told["right"] <= 390 and beside)

    wait_until(is_beside, what="it stands at its button, when all above has its height")
    tab.page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    expect(button).to_be_focused()
    button.click()
    expect(tip).to_be_visible()
    tab.page.get_by_role("button", name="What is the backlog?").click()
    expect(tip).to_be_hidden()
    expect(tab.page.get_by_text("What sources have sent")).to_be_visible()


@pytest.mark.slow
def test_what_is_over_the_limit_of_names_is_explained_where_there_is_some(
    server: Server, start: StartPipeline, open_tab: OpenTab
) -> None:
    pipeline = start(server, TALLY_MAX_TYPES="1")
    pipeline.count(event("foo", "lorem"))
    pipeline.count(event("bar", "lorem"))
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#types .summary")).to_contain_text("1 over the limit of names")
    tips = tab.page.get_by_role("button", name="What is over the limit of names?")
    expect(tips).to_have_count(1)  # words are all counted by name
    tips.click()
    expect(tab.page.get_by_text("counted under __other__")).to_be_visible()
