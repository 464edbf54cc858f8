"""The ranked lists of types and words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, StartPipeline
from tests.browser.pipeline import KEYS, Pipeline, event
from tests.server import Server

pytestmark = pytest.mark.browser


def test_counts_on_the_page_are_those_of_the_api(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo", "lorem ipsum dolor")] * 1500, *[event("bar", "ipsum")] * 20, "garbage")
    tab = open_tab(pipeline.url)
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1500, "bar": 20})
    tab.expect_rows("words", {"ipsum": 1520, "dolor": 1500, "lorem": 1500})
    assert pipeline.ranking("types") == {"foo": 1500, "bar": 20}
    assert pipeline.ranking("words") == {"ipsum": 1520, "dolor": 1500, "lorem": 1500}
    expect(tab.page.locator("#total-events")).to_have_text("1,520")
    expect(tab.page.locator("#health-rejected .value")).to_have_text("1")
    expect(tab.page.locator("#types tbody tr").first.locator(".share")).to_have_text("98.7%")
    expect(tab.page.locator("#health-aggregators .value")).to_have_text("1")
    expect(tab.page.locator("#alarms p")).to_have_count(0)


@pytest.mark.slow
def test_search(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("Apple", "banana apple"), event("pear", "Pineapple"))
    tab = open_tab(pipeline.url)
    tab.page.get_by_label("Search names").fill("APPLE")
    tab.expect_rows("types", {"Apple": 1})
    tab.expect_rows("words", {"Pineapple": 1, "apple": 1})
    tab.page.get_by_label("Search names").fill("nowhere")
    expect(tab.page.locator("#types .note")).to_have_text("No name contains this.")
    tab.expect_rows("types", {})


@pytest.mark.slow
def test_only_a_rank_is_shown_as_one(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo", ago=60)] * 3, *[event("bar", ago=60)] * 2, event("baz", ago=60))
    tab = open_tab(pipeline.url)
    ranks = tab.page.locator("#types tbody .rank")
    expect(ranks).to_have_text(["1", "2", "3"])
    expect(ranks.first).to_be_visible()
    tab.page.get_by_label("Search names").fill("ba")
    tab.expect_rows("types", {"bar": 2, "baz": 1})
    expect(ranks.first).to_be_hidden()
    expect(tab.page.locator("#types thead .rank")).to_be_hidden()
    tab.page.get_by_label("Search names").fill("")
    tab.expect_rows("types", {"foo": 3, "bar": 2, "baz": 1})
    expect(ranks.first).to_be_visible()
    tab.page.locator("#types").get_by_role("button", name="Name").click()
    tab.expect_rows("types", {"bar": 2, "baz": 1, "foo": 3})
    expect(ranks.first).to_be_hidden()
    expect(tab.page.locator("#words tbody .rank").first).to_be_visible()


@pytest.mark.slow
def test_a_window_shows_the_change_against_the_one_before(pipeline: Pipeline, open_tab: OpenTab) -> None:
    # Minutes that are over are compared; what was counted a second ago is shown and not compared yet.
    pipeline.count(
        *[event("rises", ago=1500)] * 4,
        *[event("rises", ago=90)] * 6,
        *[event("falls", ago=1500)] * 2,
        event("falls", ago=90),
    )
    tab = open_tab(f"{pipeline.url}/?window=15m")
    tab.expect_rows("types", {"rises": 6, "falls": 1})
    changes = tab.page.locator("#types tbody .change")
    expect(changes).to_have_text(["↑ 50%", "↓ 50%"])
    tab.page.get_by_role("button", name="Change").first.click()
    expect(tab.page.locator("#types th.change")).to_have_attribute("aria-sort", "descending")
    tab.page.locator("#types").get_by_role("button", name="Change").click()
    tab.expect_rows("types", {"falls": 1, "rises": 6})


@pytest.mark.slow
def test_a_change_against_nothing_is_not_called_new(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo", ago=120)] * 2)
    tab = open_tab(f"{pipeline.url}/?window=15m")
    tab.expect_rows("types", {"foo": 2})
    expect(tab.page.locator("#types tbody .change")).to_have_text(["–"])
    expect(tab.page.locator("#types th.change")).to_have_attribute("title", re.compile("–.* against .*–"))
    pipeline.count(event("bar", ago=1500))
    expect(tab.page.locator("#types tbody .change")).to_have_text(["new"])


def test_types_and_words_as_csv(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo", "lorem"))
    tab = open_tab(pipeline.url)
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="Words as CSV").click()
    assert re.fullmatch(r"tally-words-until-\d{8}T\d{6}Z\.csv", download.value.suggested_filename)
    assert "lorem,1" in Path(download.value.path()).read_text()


@pytest.mark.slow
def test_numbers_in_the_billions_have_room(server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    counts = {f"type{at}": 98_765_432_109 // 10**at for at in range(11)}
    with server.client() as client:
        client.hset(KEYS.types, mapping=counts)
        client.hset(KEYS.totals, mapping={"events": sum(counts.values()), "rejected": 1_234_567_890})
    pipeline = start(server, aggregator=False)
    for width in (360, 1280):
        tab = open_tab(pipeline.url, viewport={"width": width, "height": 900})
        tab.expect_rows("types", counts)
        expect(tab.page.locator("#health-rejected .value")).to_have_text("1,234,567,890")
        cut = "cells => cells.filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"
        cells = tab.page.locator("#types :is(th, td):not(.name), .health li")
        assert cells.evaluate_all(cut) == []
        past_the_padding = """cells => cells.filter((cell) => {
            const text = document.createRange();
            text.selectNodeContents(cell);
            const edge = cell.getBoundingClientRect().right - parseFloat(getComputedStyle(cell).paddingRight);
            return text.getBoundingClientRect().right > edge + 1;
        }).map((cell) => cell.textContent)"""
        assert tab.page.locator("#types td:is(.count, .share)").evaluate_all(past_the_padding) == []
        tab.page.get_by_label("1 h", exact=True).check()
        tab.page.locator("#types").get_by_role("button", name="Change").click()
        expect(tab.page.locator("#types th.change")).to_have_attribute("aria-sort", "descending")
        assert cells.evaluate_all(cut) == []


@pytest.mark.slow
def test_ten_thousand_words_and_five_hundred_types_stay_smooth(pipeline: Pipeline, open_tab: OpenTab) -> None:
    def everything() -> list[dict[str, object] | str]:
        return [event(f"type{at % 500}", " ".join(f"word{at + 20 * n}" for n in range(5))) for at in range(10_000)]

    pipeline.count(*everything())
    tab = open_tab(f"{pipeline.url}/?window=15m")
    expect(tab.page.locator("#words .position")).to_have_text("1–25 of 10,080")
    expect(tab.page.locator("#types .position")).to_have_text("1–25 of 500")
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="Words as CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 1 + 10_080
    tab.page.evaluate(
        """() => {
            window.longest = 0;
            new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
            }).observe({ type: "longtask" });
        }"""
    )
    for _ in range(3):
        pipeline.count(*everything())
        expect(tab.page.locator("#total-events")).to_have_text(f"{pipeline.sent:,}")
    tab.page.locator("#words").get_by_role("button", name="Next").click()
    expect(tab.page.locator("#words .position")).to_have_text("26–50 of 10,080")
    assert tab.page.evaluate("document.querySelectorAll('*').length") < 1500
    # What a person would feel is 0.1 s or so; the bound is for a machine that does ten other things.
    assert tab.page.evaluate("window.longest") < 500
