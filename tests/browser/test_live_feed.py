"""What the page does with the live feed: counts that come by themselves, and what they come from going away."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, StartPipeline
from tests.browser.pipeline import Pipeline, event
from tests.server import Server

pytestmark = pytest.mark.browser


def test_counts_come_live_without_a_reload(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#types .note")).to_have_text("Nothing was counted yet.")
    tab.page.evaluate("window.loadedOnce = true")
    pipeline.count(event("foo"))
    tab.expect_rows("types", {"foo": 1})
    pipeline.count(event("bar"), event("bar"))
    tab.expect_rows("types", {"bar": 2, "foo": 1})
    expect(tab.page.locator("#rate-1")).to_have_text(re.compile(r"^\d"))
    assert tab.page.evaluate("window.loadedOnce") is True


@pytest.mark.slow
def test_the_lists_are_not_behind_the_totals(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#types .note")).to_have_text("Nothing was counted yet.")
    for burst in range(3):
        # The last one comes when those before it have just been answered; then comes nothing more.
        pipeline.count(*[event("foo")] * 7)
        tab.expect_rows("types", {"foo": 8 * burst + 7})
        pipeline.count(event("foo"))
        tab.expect_rows("types", {"foo": 8 * burst + 8})


@pytest.mark.slow
def test_a_list_that_is_behind_the_totals_does_not_say_that_nothing_was_counted(
    pipeline: Pipeline, open_tab: OpenTab
) -> None:
    tab = open_tab(pipeline.url)
    types, words = (tab.page.locator(f"#{kind} .note") for kind in ("types", "words"))
    expect(types).to_have_text("Nothing was counted yet.")
    tab.page.route(re.compile(r"/v1/(types|words)\?"), lambda route: None)  # and never answer
    pipeline.count(event("foo", ""))
    expect(types).to_have_text("Not up to date yet.")
    expect(words).to_have_text("No words in what was counted.")
    pipeline.count(event("foo", "lorem"))
    expect(words).to_have_text("Not up to date yet.")


@pytest.mark.slow
def test_pages_that_are_hidden_leave_connections_for_the_one_that_is_looked_at(
    pipeline: Pipeline, open_tab: OpenTab
) -> None:
    pipeline.count(event("foo"))
    tab = open_tab(pipeline.url)
    # A browser without a screen hides no page.
    hide = "Object.defineProperty(document, 'hidden', { get: () => hidden }); var hidden = true;"
    hidden = []
    for _ in range(7):  # it has six connections
        hidden.append(tab.page.context.new_page())
        hidden[-1].goto(pipeline.url)
        expect(hidden[-1].locator("#total-events")).to_have_text("1")
        hidden[-1].evaluate(hide)
    pipeline.count(event("foo"))
    tab.expect_rows("types", {"foo": 2})
    expect(hidden[0].locator("#total-events")).to_have_text("2")  # it looks now and then, for its title
    pipeline.count(event("foo"))
    hidden[1].evaluate("hidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(hidden[1].locator("#types tbody .count")).to_have_text("3")
    expect(hidden[1].locator("#total-events")).to_have_text("3")
    expect(hidden[1].locator("#connection-text")).to_have_text("Live")


@pytest.mark.slow
def test_the_api_goes_away_and_comes_back(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo"))
    tab = open_tab(pipeline.url)
    # What a killed server leaves of a request: refused, cut in the feed, cut before an answer, cut in the midst of one.
    tab.forgive("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE")
    tab.forgive("ERR_CONTENT_LENGTH_MISMATCH")
    tab.expect_rows("types", {"foo": 1})
    pipeline.api.kill()
    tab.expect_state(re.compile("^Disconnected, retrying"))
    expect(tab.page.get_by_role("button", name="Retry now")).to_be_visible()
    assert tab.rows("types") == {"foo": "1"}
    pipeline.api.start()
    pipeline.count(event("foo"))
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 2})
    expect(tab.page.get_by_role("button", name="Retry now")).to_be_hidden()


@pytest.mark.slow
def test_an_api_that_stops_does_not_wait_for_open_pages(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url)
    tab.forgive("ERR_")
    tab.expect_state("Live")
    tab.watch_states()
    assert pipeline.api.stop() == 0
    tab.expect_state(re.compile("^Disconnected, retrying"))
    # Cut off, after the server's patience, the feed would look as if the api did not answer.
    assert tab.states()[0] == "Disconnected, retrying: the connection ended"


@pytest.mark.slow
def test_the_server_goes_away_and_comes_back(durable_server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    pipeline = start(durable_server)
    pipeline.count(event("foo"))
    tab = open_tab(pipeline.url)
    tab.forgive("503")
    tab.expect_rows("types", {"foo": 1})
    expect(tab.page.locator("#rate-1")).to_have_text(re.compile(r"^\d"))
    durable_server.stop()
    tab.expect_state("Redis is unavailable, retrying")
    for seconds in (1, 10, 60):
        expect(tab.page.locator(f"#rate-{seconds}")).to_have_text("–")
    expect(tab.page.locator("#alarms p")).to_contain_text("Redis is unavailable")
    assert tab.rows("types") == {"foo": "1"}
    expect(tab.page.locator('.health [data-level=""]')).to_have_count(0)  # nothing is known to be well
    expect(tab.page.locator("#health-oldest .more")).to_have_text("not known")
    # Who comes now is told so in one sentence, and hears of no exception.
    late = open_tab(pipeline.url)
    late.forgive("503")
    expect(late.page.locator("#alarms p")).to_contain_text("there is nothing to show until it answers")
    for kind in ("types", "words"):
        expect(late.page.locator(f"#{kind} .note")).to_have_text("Waiting for Redis.")
    assert not re.search("Error|Exception", late.page.locator("main").inner_text())
    durable_server.start()
    tab.expect_state("Live")
    late.expect_rows("types", {"foo": 1})
    expect(tab.page.locator('.health [data-level=""]')).to_have_count(6)
    expect(tab.page.locator("#alarms p")).to_have_count(0)
    pipeline.count(event("foo"))
    tab.expect_rows("types", {"foo": 2})
