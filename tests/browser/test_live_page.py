"""What the live page shows, and how it goes on when what it shows goes away."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import KEYS, OpenTab, Pipeline, StartPipeline
from tests.server import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


def event(event_type: str, data: str = "lorem ipsum", *, ago: float = 0.0) -> dict[str, object]:
    """An event of so many seconds ago."""
    return {"event_type": event_type, "data": data, "timestamp": time.time() - ago}


def expected(pipeline: Pipeline, kind: str, **parameters: str | int) -> dict[str, int]:
    """What the api says, as the page should show it."""
    return {item["name"]: item["count"] for item in pipeline.ask(f"v1/{kind}", limit=25, **parameters)["items"]}


def test_counts_on_the_page_are_those_of_the_api(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo", "lorem ipsum dolor")] * 1500, *[event("bar", "ipsum")] * 20, "garbage")
    tab = open_tab(pipeline.url)
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1500, "bar": 20})
    tab.expect_rows("words", {"ipsum": 1520, "dolor": 1500, "lorem": 1500})
    assert expected(pipeline, "types") == {"foo": 1500, "bar": 20}
    assert expected(pipeline, "words") == {"ipsum": 1520, "dolor": 1500, "lorem": 1500}
    expect(tab.page.locator("#total-events")).to_have_text("1,520")
    expect(tab.page.locator("#health-rejected .value")).to_have_text("1")
    expect(tab.page.locator("#types tbody tr").first.locator(".share")).to_have_text("98.7%")
    expect(tab.page.locator("#health-aggregators .value")).to_have_text("1")
    expect(tab.page.locator("#alarms p")).to_have_count(0)


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


def test_the_lists_are_not_behind_the_totals(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#types .note")).to_have_text("Nothing was counted yet.")
    for burst in range(1, 4):
        # The second half comes when the first has just been asked for; then comes nothing more.
        pipeline.count(*[event("foo")] * 7)
        tab.page.wait_for_timeout(500)
        pipeline.count(event("foo"))
        tab.expect_rows("types", {"foo": 8 * burst}, seconds=5)


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


def test_the_api_stops_promptly_with_a_page_open(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(pipeline.url)
    tab.forgive("ERR_")
    tab.expect_state("Live")
    began = time.monotonic()
    assert pipeline.api.stop() == 0
    assert time.monotonic() - began < 3


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
    durable_server.start()
    tab.expect_state("Live")
    expect(tab.page.locator('.health [data-level=""]')).to_have_count(6)
    expect(tab.page.locator("#alarms p")).to_have_count(0)
    pipeline.count(event("foo"))
    tab.expect_rows("types", {"foo": 2})


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
    expect(changes).to_have_text(["+50%", "-50%"])
    tab.page.get_by_role("button", name="Change").first.click()
    expect(tab.page.locator("#types th.change")).to_have_attribute("aria-sort", "descending")
    tab.page.locator("#types").get_by_role("button", name="Change").click()
    tab.expect_rows("types", {"falls": 1, "rises": 6})


def test_a_custom_time_range(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("now"), *[event("earlier", ago=1800)] * 2, *[event("before", ago=3000)] * 3)
    tab = open_tab(pipeline.url, timezone_id="Asia/Kathmandu")
    tab.page.get_by_label("Custom").check()
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
    tab.page.get_by_label("to", exact=True).fill(moments[0])
    tab.page.get_by_role("button", name="Apply").click()
    expect(tab.page.locator("#custom-error")).to_have_text("The beginning must be before the end.")


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


def test_search(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("Apple", "banana apple"), event("pear", "Pineapple"))
    tab = open_tab(pipeline.url)
    tab.page.get_by_label("Search names").fill("APPLE")
    tab.expect_rows("types", {"Apple": 1})
    tab.expect_rows("words", {"Pineapple": 1, "apple": 1})
    tab.page.get_by_label("Search names").fill("nowhere")
    expect(tab.page.locator("#types .note")).to_have_text("No name contains this.")
    tab.expect_rows("types", {})


HOSTILE = "<img/src=x/onerror=window.hacked=1>"
TURNED = "\u202eabc\u2066אבג"
LONG = "ü" * 128
HIDDEN = "a\u0000b\u200bc"


def test_hostile_names_are_text(server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    pipeline = start(server, TALLY_WORD_PATTERN=r"\S+")
    pipeline.count(*[event(HOSTILE, f"{HOSTILE} {TURNED} {LONG} {HIDDEN} %2e%2e/../x?y#z")] * 2, event("", "x"))
    assert set(expected(pipeline, "words")) >= {HOSTILE, TURNED, LONG, HIDDEN}
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
        tab.page.locator("#words").get_by_role("button", name=name, exact=True).click()
        expect(tab.page.locator("#sheet .full-name")).to_have_text(name)
        expect(tab.page.locator("#sheet .facts dd").first).to_have_text("2")
        tab.page.get_by_role("button", name="Close").click()
        expect(tab.page.locator("#sheet")).to_be_hidden()
    assert tab.page.locator("img").count() == 0
    assert tab.page.evaluate("window.hacked") is None


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a\nb", "?name=b"])
def test_a_type_may_have_any_name(pipeline: Pipeline, open_tab: OpenTab, name: str) -> None:
    pipeline.count(*[event(name)] * 3, event("other"))
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#types tbody tr")).to_have_count(2)
    shown = next(iter(tab.rows("types")))
    tab.page.locator("#types").get_by_role("button", name=shown, exact=True).click()
    for _ in range(2):
        expect(tab.page.locator("#sheet .full-name")).to_have_text(shown)
        expect(tab.page.locator("#sheet .facts dd").first).to_have_text("3")
        assert parse_qs(urlsplit(tab.page.url).query, keep_blank_values=True) == {"type": [name]}
        tab.page.reload()
    tab.page.get_by_role("button", name="Close").click()
    expect(tab.page.locator("#sheet")).to_be_hidden()
    expect(tab.page).to_have_url(f"{pipeline.url}/")


def test_the_address_holds_the_view(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event(f"type {at:02}", f"word{at:02} other", ago=60) for at in range(40)])
    tab = open_tab(f"{pipeline.url}/?window=nonsense&types_offset=-1")
    tab.page.get_by_label("15 m").check()
    tab.page.get_by_label("Search names").fill("word")
    tab.page.locator("#words").get_by_role("button", name="Name").click()
    tab.page.locator("#words").get_by_role("button", name="Next").click()
    tab.expect_rows("words", {f"word{at:02}": 1 for at in range(25, 40)})
    tab.page.locator("#words").get_by_role("button", name="word30").click()
    expect(tab.page.locator("#sheet .full-name")).to_have_text("word30")
    for other in (open_tab(tab.page.url), tab):
        other.page.reload()
        expect(other.page.locator("#sheet .full-name")).to_have_text("word30")
        other.page.keyboard.press("Escape")
        expect(other.page.locator("#sheet")).to_be_hidden()
        expect(other.page.get_by_label("15 m")).to_be_checked()
        expect(other.page.get_by_label("Search names")).to_have_value("word")
        other.expect_rows("words", {f"word{at:02}": 1 for at in range(25, 40)})
        assert "word=" not in other.page.url


def test_one_name(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo")] * 3, event("bar"))
    tab = open_tab(pipeline.url)
    tab.page.locator("#types").get_by_role("button", name="foo").click()
    facts = tab.page.locator("#sheet .facts dd")
    expect(facts.nth(0)).to_have_text("3")
    expect(facts.nth(1)).to_have_text("75.0%")
    expect(facts.nth(2)).to_have_text("1")
    assert "type=foo" in tab.page.url


def test_one_name_in_the_time_range_that_is_chosen(pipeline: Pipeline, open_tab: OpenTab) -> None:
    needs_vendor()
    now = int(time.time()) // 60 * 60
    pipeline.count(*[{"event_type": "foo", "data": "x", "timestamp": now - 3 * 3600}] * 3, event("bar"))
    tab = open_tab(f"{pipeline.url}/?window=15m&type=foo")
    sheet, facts = tab.page.locator("#sheet"), tab.page.locator("#sheet .facts")
    expect(sheet).to_contain_text(re.compile(r"Not counted in \d.*: there is nothing to draw\."))
    expect(facts).to_contain_text("Count in this time range0")
    expect(facts).to_contain_text("Count of all time3")
    expect(sheet.locator(".plot")).to_have_count(0)
    tab.page.goto(f"{pipeline.url}/?window=24h&type=foo")
    expect(facts).to_contain_text("Count in this time range3")
    expect(sheet.locator("canvas")).to_be_visible()
    # All time, from when it was first seen.
    tab.page.goto(f"{pipeline.url}/?type=foo")
    expect(sheet).to_contain_text("Counts in each")
    expect(sheet.locator("canvas")).to_be_visible()
    sheet.locator(".plot").focus()
    tab.page.keyboard.press("Home")
    expect(sheet.locator(".said")).to_have_text(re.compile(r"\d:\d\d.*: \d+$"))
    # A single cell is drawn as well.
    first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 3 * 3600 + each)) for each in (0, 60))
    tab.page.goto(f"{pipeline.url}/?window=custom&from={first}&to={last}&type=foo")
    expect(facts).to_contain_text("Count in this time range3")
    tab.page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()


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


def test_rejected_samples_and_the_pipeline_on_demand(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo"), "<b>not json</b>")
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#health-rejected .value")).to_have_text("1")
    tab.page.get_by_role("button", name="Show samples").click()
    expect(tab.page.locator("#sheet .samples li")).to_have_count(1)
    expect(tab.page.locator("#sheet .samples .line")).to_have_text("<b>not json</b>")
    expect(tab.page.locator("#sheet .samples .reason")).to_contain_text("not JSON")
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("button", name="Show all").click()
    expect(tab.page.locator("#sheet tbody tr").first).to_contain_text("alive")


def test_samples_of_rejected_lines_are_not_called_the_newest(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*["not an event"] * 205)
    kept = len(pipeline.ask("v1/rejected", limit=50)["items"])
    assert kept < 50, "so many are kept of a batch that this test says nothing"
    tab = open_tab(pipeline.url)
    tab.page.get_by_role("button", name="Show samples").click()
    expect(tab.page.locator("#sheet")).to_contain_text(f"205 in all; {kept} as samples, with the reason:")


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


def test_samples_of_rejected_lines_are_one_click_from_an_empty_list(pipeline: Pipeline, open_tab: OpenTab) -> None:
    tab = open_tab(f"{pipeline.url}/?window=15m")
    expect(tab.page.locator("#types .note")).to_contain_text("Nothing in this time range")
    pipeline.count("not an event")
    expect(tab.page.locator("#types .note")).to_have_text("1 line was rejected: show samples")
    tab.page.locator("#types").get_by_role("button", name="show samples").click()
    expect(tab.page.locator("#sheet .samples .line")).to_have_text("not an event")


def test_what_is_wrong_is_loud(server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    pipeline = start(server, aggregator=False)
    pipeline.send(event("foo"))
    tab = open_tab(pipeline.url)
    expect(tab.page.get_by_role("alert")).to_contain_text(["No aggregator is alive"])
    expect(tab.page.locator("#health-aggregators")).to_have_attribute("data-level", "bad")
    expect(tab.page.locator("#health-backlog .value")).to_have_text("1")
    expect(tab.page.locator("#health-backlog .more")).to_have_text(re.compile(r"^blocks, about \d+ lines$"))
    expect(tab.page.locator("#health-oldest .more")).to_have_text("nothing is being counted")
    with server.client() as client:  # as when it was a source, and as when that is refused
        client.hset(KEYS.backlog, mapping={"blocks": 1, "bytes": 1500})
        expect(tab.page.locator("#health-backlog .more")).to_have_text("blocks, 1.5 kB")
        client.hset(KEYS.backlog, mapping={"full_blocks": 1, "full_bytes": 1024})
    expect(tab.page.locator("#health-backlog .more")).to_have_text("blocks, 1.5 kB: full, sources are not read")
    expect(tab.page.get_by_role("alert")).to_contain_text(["The backlog is full"])
    expect(tab.page).to_have_title("Alarm – Tally")
    pipeline.aggregator.start()
    try:
        expect(tab.page.locator("#alarms p")).to_have_count(0)
        tab.expect_rows("types", {"foo": 1})
    finally:
        pipeline.aggregator.kill()


def test_the_token_is_asked_for(server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    pipeline = start(server, TALLY_API_TOKEN="sésame".encode().hex())
    pipeline.count(event("foo"))
    tab = open_tab(pipeline.url)
    tab.forgive("401")
    dialog = tab.page.get_by_role("dialog", name="Token")
    expect(dialog).to_be_visible()
    tab.page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    tab.page.keyboard.type("wrong")
    tab.page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The api does not know this token.")
    dialog.get_by_label("Token").fill(pipeline.token or "")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog).to_be_hidden()
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1})
    tab.page.reload()
    tab.expect_rows("types", {"foo": 1})
    expect(dialog).to_be_hidden()
    assert (pipeline.token or "") not in tab.page.url
    tab.page.get_by_role("link", name="API docs").click()
    expect(tab.page.locator("#docs")).to_contain_text(re.compile("/v1/types|make assets"))


def test_who_looks_for_the_token_is_not_called_disconnected(
    server: Server, start: StartPipeline, open_tab: OpenTab
) -> None:
    pipeline = start(server, TALLY_API_TOKEN="right")
    tab = open_tab("about:blank")
    tab.forgive("401")
    tab.page.clock.install()
    tab.open(pipeline.url)
    dialog = tab.page.get_by_role("dialog", name="Token")
    expect(dialog).to_be_visible()
    tab.page.clock.fast_forward(15_000)
    tab.page.evaluate(
        """() => {
            const text = document.getElementById("connection-text");
            window.said = [];
            new MutationObserver(() => window.said.push(text.textContent)).observe(text, { childList: true });
        }"""
    )
    dialog.get_by_label("Token").fill("right")
    dialog.get_by_role("button", name="Continue").click()
    tab.expect_state("Live")
    assert tab.page.evaluate("window.said") == ["Live"]


@pytest.mark.parametrize("token", ["☃", "sésame", "two words", "   "])
def test_a_token_that_no_header_carries_is_refused_in_the_dialog(
    server: Server, start: StartPipeline, open_tab: OpenTab, token: str
) -> None:
    pipeline = start(server, TALLY_API_TOKEN="right")
    pipeline.count(event("foo"))
    tab = open_tab(pipeline.url)
    tab.forgive("401")
    dialog = tab.page.get_by_role("dialog", name="Token")
    dialog.get_by_label("Token").fill(token)
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_role("alert")).to_contain_text("ASCII")
    assert tab.page.evaluate("sessionStorage.length") == 0
    # One that an earlier page has kept is asked for again.
    tab.page.evaluate("token => sessionStorage.setItem('tally-token', token)", token)
    tab.page.reload()
    expect(dialog).to_be_visible()
    dialog.get_by_label("Token").fill(" right\t")
    dialog.get_by_role("button", name="Continue").click()
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1})


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
    tab_until("#words tbody button")
    press("Enter")
    expect(tab.page.locator("#sheet .full-name")).to_have_text("first")
    expect(focused).to_have_text("Close")
    press("Enter")
    expect(tab.page.locator("#sheet")).to_be_hidden()
    expect(focused).to_have_text("first")  # back where it was


@pytest.mark.parametrize("query", ["", "?window=custom&from=2026-01-01T00:00:00Z"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_focus_is_never_behind_the_toolbar(pipeline: Pipeline, open_tab: OpenTab, width: int, query: str) -> None:
    pipeline.count(*[event(f"type{at}") for at in range(25)])
    tab = open_tab(f"{pipeline.url}/{query}", viewport={"width": width, "height": 500})
    expect(tab.page.locator("#types tbody tr")).to_have_count(25)
    behind = """() => {
        const toolbar = document.querySelector(".toolbar");
        const [focused, bar] = [document.activeElement, toolbar].map((each) => each.getBoundingClientRect());
        return !toolbar.contains(document.activeElement) && focused.top < bar.bottom && focused.bottom > bar.top;
    }"""
    tab.page.locator("#types tbody button").last.focus()
    for _ in range(24):
        tab.page.keyboard.press("Shift+Tab")
        assert not tab.page.evaluate(behind), tab.page.evaluate("document.activeElement.textContent")
    tab.page.get_by_role("link", name="Skip to the counts").focus()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#lists")).to_be_focused()
    assert not tab.page.evaluate(behind)


def test_the_focus_stays_on_a_name_whose_place_changes(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo")] * 2, event("bar"))
    tab = open_tab(pipeline.url)
    tab.expect_rows("types", {"foo": 2, "bar": 1})
    tab.page.locator("#types").get_by_role("button", name="bar").focus()
    pipeline.count(*[event("bar")] * 5)
    tab.expect_rows("types", {"bar": 6, "foo": 2})
    expect(tab.page.locator(":focus")).to_have_text("bar")


def test_ten_thousand_words_and_five_hundred_types_stay_smooth(pipeline: Pipeline, open_tab: OpenTab) -> None:
    def everything() -> list[dict[str, object] | str]:
        return [event(f"type{at % 500}", " ".join(f"word{at + 20 * n}" for n in range(5))) for at in range(10_000)]

    pipeline.count(*everything())
    tab = open_tab(f"{pipeline.url}/?window=15m")
    expect(tab.page.locator("#words .position")).to_have_text("1–25 of 10,080")
    expect(tab.page.locator("#types .position")).to_have_text("1–25 of 500")
    expect(tab.page.locator("#types .export")).to_have_text("CSV")
    expect(tab.page.locator("#words .export")).to_have_text("CSV, the first 10,000")
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


@pytest.mark.parametrize("width", [360, 1280])
def test_numbers_in_the_billions_have_room(server: Server, start: StartPipeline, open_tab: OpenTab, width: int) -> None:
    counts = {f"type{at}": 98_765_432_109 // 10**at for at in range(11)}
    with server.client() as client:
        client.hset(KEYS.types, mapping=counts)
        client.hset(KEYS.totals, mapping={"events": sum(counts.values()), "rejected": 1_234_567_890})
    pipeline = start(server, aggregator=False)
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


def test_types_and_words_as_csv(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo", "lorem"))
    tab = open_tab(pipeline.url)
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="Words as CSV").click()
    assert download.value.suggested_filename == "tally-words.csv"
    assert "lorem,1" in Path(download.value.path()).read_text()


def needs_vendor() -> None:
    if not (ROOT / "api/static/vendor/uplot/uPlot.esm.js").exists():
        pytest.skip("uPlot and Swagger UI are not here; to get them: make assets")


def test_the_chart(pipeline: Pipeline, open_tab: OpenTab) -> None:
    needs_vendor()
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
    # Off and on again.
    legend.first.get_by_role("button").click()
    expect(legend.first.get_by_role("button")).to_have_attribute("aria-pressed", "false")
    legend.first.get_by_role("button").click()
    # What was when.
    box = canvas.bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    expect(tab.page.locator("#timeline-at")).to_have_text(re.compile(r"\d:\d\d"))
    # A time range of it, and the lists of that time range.
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 80, steps=5)
    tab.page.mouse.up()
    expect(tab.page.get_by_role("button", name="Zoom out")).to_be_visible()
    tab.page.get_by_role("button", name="Rank this time range").click()
    expect(tab.page.get_by_label("Custom")).to_be_checked()
    expect(tab.page.locator("#timeline-range")).to_contain_text("–")
    expect(tab.page.locator("#types tbody tr").first).to_be_visible()


def test_no_chart_where_there_is_nothing_to_draw(pipeline: Pipeline, open_tab: OpenTab) -> None:
    needs_vendor()
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


def test_the_chart_by_keyboard_and_for_the_ear(pipeline: Pipeline, open_tab: OpenTab) -> None:
    needs_vendor()
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
    # It stays zoomed in while new counts come and types change places, and the arrows stay inside.
    pipeline.count(*[event("bar")] * 4000)
    expect(tab.page.locator("#legend li").first).to_contain_text("bar")
    expect(zoom_out).to_be_visible()
    press("End")
    last = said.text_content()
    press("ArrowRight")
    expect(said).to_have_text(last or "")
    press("Escape")
    expect(said).to_have_text("Zoomed out")
    expect(zoom_out).to_be_hidden()
    press("End")
    expect(said).not_to_have_text(last or "")
    # A selection is taken back alone.
    press("Shift+Home")
    press("Escape")
    expect(said).to_have_text("Nothing is selected")


@pytest.mark.parametrize("width", [375, 480, 1280])
def test_the_first_click_after_the_chart_was_used_by_keyboard(
    pipeline: Pipeline, open_tab: OpenTab, width: int
) -> None:
    needs_vendor()
    charted(pipeline)
    tab = open_tab(f"{pipeline.url}/?window=1h", viewport={"width": width, "height": 1200})
    expect(tab.page.locator("#legend li")).to_have_count(2)
    button = tab.page.locator("#types").get_by_role("button", name="foo")
    # Zoomed in, the chart's head is at its fullest.
    tab.page.locator("#plot").focus()
    for key in ("End", "Shift+Home", "Enter"):
        tab.page.keyboard.press(key)
    expect(tab.page.get_by_role("button", name="Zoom out")).to_be_visible()
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
    tab.page.locator("#legend").get_by_role("button", name="foo").click()
    expect(tab.page.locator("#legend [aria-pressed=false]")).to_have_count(1)


def test_the_chart_by_touch(pipeline: Pipeline, open_tab: OpenTab) -> None:
    needs_vendor()
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
    tab.page.get_by_role("button", name="Rank this time range").click()
    expect(tab.page.get_by_label("Custom")).to_be_checked()


def test_without_the_chart_everything_else_works(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo"))
    tab = open_tab("about:blank")
    tab.forgive("404")
    tab.page.route("**/vendor/**", lambda route: route.fulfill(status=404))
    tab.page.goto(pipeline.url)
    expect(tab.page.locator("#plot-note")).to_contain_text("make assets")
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1})
    tab.page.locator("#types").get_by_role("button", name="foo").click()
    expect(tab.page.locator("#sheet .facts dd").first).to_have_text("1")
    tab.page.goto(f"{pipeline.url}/docs")
    expect(tab.page.locator("#docs")).to_contain_text("make assets")


def test_the_docs_page_needs_no_internet(pipeline: Pipeline, open_tab: OpenTab) -> None:
    needs_vendor()
    tab = open_tab(f"{pipeline.url}/docs")
    expect(tab.page.get_by_text("/v1/words", exact=True)).to_be_visible()
    tab.page.locator("[id$=getHealth] button").first.click()
    tab.page.get_by_role("button", name="Execute").click()
    expect(tab.page.locator(".live-responses-table .response").first).to_contain_text("200")


@pytest.mark.parametrize("page", ["", "/", "/static/index.html"])
def test_under_a_path(server: Server, start: StartPipeline, open_tab: OpenTab, page: str) -> None:
    pipeline = start(server, path="/some/where")
    pipeline.count(event("foo"))
    tab = open_tab(f"{pipeline.url}{page}")
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1})
    tab.page.get_by_label("15 m").check()
    assert tab.page.url == f"{pipeline.url}{page}?window=15m"
    tab.page.get_by_role("link", name="API docs").click()
    expect(tab.page.locator("#docs")).to_contain_text(re.compile("/v1/types|make assets"))


def test_the_page_at_its_other_address(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(event("foo"))
    tab = open_tab(f"{pipeline.url}/static/index.html")
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_accessible_and_narrow_enough(pipeline: Pipeline, open_tab: OpenTab, scheme: str, width: int) -> None:
    axe = ROOT / "node_modules/axe-core/axe.min.js"
    if not axe.exists():
        pytest.skip("axe-core is not here; to get it: make assets")
    pipeline.count(*[event(f"type{at % 9}", f"word{at} {'w' * at}") for at in range(90)], "garbage")
    tab = open_tab(
        f"{pipeline.url}/?window=15m",
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
        reduced_motion="reduce",
    )
    tab.expect_state("Live")
    expect(tab.page.locator("#types tbody tr")).to_have_count(9)
    tab.page.evaluate(axe.read_text())

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
        check()
    tab.page.get_by_role("button", name="Show samples").click()
    expect(tab.page.locator("#sheet .samples li")).to_have_count(1)
    check()
    tab.page.keyboard.press("Escape")
    pipeline.aggregator.kill()
    with pipeline.server.client() as client:
        client.xgroup_destroy("tally:{0}:stream", "aggregators")
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


def test_trending(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(
        *[event("steady", "same", ago=60 * at) for at in range(1, 70)],
        *[event("sudden", "fresh")] * 30,
    )
    wait_until(lambda: bool(pipeline.ask("v1/types:trending")["items"]), what="something rises")
    tab = open_tab(pipeline.url)
    expect(tab.page.locator("#trending-types li").first).to_contain_text("sudden")
    expect(tab.page.locator("#trending-words li").first).to_contain_text("fresh")
    tab.page.locator("#trending-types").get_by_role("button", name="sudden").click()
    expect(tab.page.locator("#sheet .full-name")).to_have_text("sudden")


def test_what_is_a_little_more_frequent_by_chance_is_not_trending(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(
        *[event("one", "this", ago=2400)] * 200,
        *[event("two", "that", ago=2400)] * 200,
        *[event("one", "this")] * 53,
        *[event("two", "that")] * 47,
        event("two", "once"),
    )
    wait_until(lambda: bool(pipeline.ask("v1/types:trending")["items"]), what="something rises")
    tab = open_tab(pipeline.url)
    for kind in ("types", "words"):
        expect(tab.page.locator(f"#trending-{kind} li")).to_have_text(["Nothing rises."])


def test_trending_without_a_past_is_not_that_nothing_rises(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("sudden", "fresh")] * 30)
    tab = open_tab(pipeline.url)
    for kind in ("types", "words"):
        expect(tab.page.locator(f"#trending-{kind} li")).to_have_text(["Nothing to compare with yet."])
    pipeline.count(*[event("sudden", "fresh", ago=2400)] * 300)
    for kind in ("types", "words"):
        expect(tab.page.locator(f"#trending-{kind} li")).to_have_text(["Nothing rises."])


def test_a_change_against_nothing_is_not_called_new(pipeline: Pipeline, open_tab: OpenTab) -> None:
    pipeline.count(*[event("foo", ago=120)] * 2)
    tab = open_tab(f"{pipeline.url}/?window=15m")
    tab.expect_rows("types", {"foo": 2})
    expect(tab.page.locator("#types tbody .change")).to_have_text(["–"])
    expect(tab.page.locator("#types th.change")).to_have_attribute("title", re.compile("–.* against .*–"))
    pipeline.count(event("bar", ago=1500))
    expect(tab.page.locator("#types tbody .change")).to_have_text(["new"])
