"""The page's modules that compute, by themselves, where they run: in the browser."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from unittest.mock import ANY

import pytest

from tests.browser.conftest import OpenTab
from tests.browser.pipeline import Pipeline

pytestmark = pytest.mark.browser

FEED = (
    ": a comment\n\n"
    'id: 7-1\nevent: tick\ndata: {"a":1}\n\n'
    "data: two\ndata:lines\nid: 7-2\n\n"
    "id: lost\0\nretry: 5\nunknown: x\ndata\n\n"
    "event: nothing\n\n"
    "data: never ended\n"
)
MESSAGES = [
    {"type": "tick", "data": '{"a":1}', "id": "7-1"},
    {"type": "message", "data": "two\nlines", "id": "7-2"},
    {"type": "message", "data": "", "id": "7-2"},
]


def test_server_sent_events_cut_anywhere(pipeline: Pipeline, open_tab: OpenTab) -> None:
    page = open_tab(f"{pipeline.url}/static/index.html").page
    for line_end in ("\n", "\r\n", "\r"):
        # The last line end may be the first half of one, so something follows it.
        feed = FEED.replace("\n", line_end) + ":"
        found = page.evaluate(
            """async (feed) => {
                const { Parser } = await import("./sse.js");
                return Array.from({ length: feed.length }, (_, cut) => {
                    const parser = new Parser();
                    return [...parser.feed(feed.slice(0, cut)), ...parser.feed(feed.slice(cut))];
                });
            }""",
            feed,
        )
        assert all(each == MESSAGES for each in found)


@pytest.mark.slow
def test_a_question_is_asked_again_after_a_nudge_that_came_too_early(pipeline: Pipeline, open_tab: OpenTab) -> None:
    page = open_tab("about:blank").page
    page.clock.install()
    page.goto(f"{pipeline.url}/static/index.html")
    page.clock.pause_at(time.time() + 3600)  # time goes on only when it is told to
    page.evaluate(
        """async () => {
            const { Poll } = await import("./poll.js");
            window.loads = 0;
            const load = () => new Promise((resolve) => { window.loads += 1; setTimeout(resolve, 20); });
            window.poll = new Poll({ load, show() {}, fail(error) { throw error; }, pauseMs: 200 });
        }"""
    )

    def ask() -> None:
        page.evaluate("() => { poll.ask(); }")

    def nudge(times: int = 1, *, at_once: bool = False) -> None:
        page.evaluate("([times, atOnce]) => { while (times--) poll.nudge(atOnce); }", [times, at_once])

    def loads_after(milliseconds: int) -> object:
        page.clock.run_for(milliseconds)
        return page.evaluate("loads")

    ask()
    assert loads_after(20) == 1
    nudge(3)  # in the pause: once, when it is over
    assert loads_after(190) == 1
    assert loads_after(20) == 2
    assert loads_after(600) == 2
    nudge()  # after it: at once
    assert loads_after(1) == 3
    nudge(3)  # while it is answered: once more, after the pause
    assert loads_after(190) == 3
    assert loads_after(600) == 4
    ask()
    assert loads_after(20) == 5
    nudge()
    ask()  # stands for the nudge
    assert loads_after(600) == 6
    ask()
    assert loads_after(20) == 7
    nudge()
    nudge(at_once=True)  # in the pause all the same
    assert loads_after(0) == 8
    assert loads_after(600) == 8


@pytest.mark.slow
def test_numbers_and_names_as_text(pipeline: Pipeline, open_tab: OpenTab) -> None:
    page = open_tab(f"{pipeline.url}/static/index.html").page
    found = page.evaluate(
        """async () => {
            const { duration, growth, percent, rate, size, visible } = await import("./format.js");
            return [
                [0.04, 9.96, 60, 119, 3600, 86400, 200000].map(duration),
                [[5, 10], [-5, 10], [0, 10], [3, 0], [0, 0], [990, 10], [1, 900]].map((each) => growth(...each)),
                [0, 0.0001, 0.5, 1].map(percent),
                [null, 0, 0.02, 0.25, 99.96, 1234.5, 2500000].map(rate),
                [0, 999, 1000, 1500000, 2e9].map(size),
                ["a b", " a ", "", "\\t", "\\u202e", "\\u{e0041}", "\\ud800", "نمی‌خواهم", "👩‍👩‍👧"].map(visible),
            ];
        }"""
    )
    assert found == [
        ["0\u00a0s", "10\u00a0s", "1\u00a0m", "119\u00a0s", "1\u00a0h", "1\u00a0d", "2\u00a0d"],
        ["↑\u00a050%", "↓\u00a050%", "0%", "new", "–", "↑\u00a0×100", "↑\u00a0<1%"],
        ["0.0%", "<0.1%", "50.0%", "100.0%"],
        ["–", "0", "<0.1", "0.3", "100", "1,235", "2.5M"],
        ["0\u00a0B", "999\u00a0B", "1\u00a0kB", "1.5\u00a0MB", "2\u00a0GB"],
        ["a b", "␣a␣", "(empty)", "⟨U+0009⟩", "⟨U+202E⟩", "⟨U+E0041⟩", "⟨U+D800⟩", "نمی‌خواهم", "👩‍👩‍👧"],
    ]


@pytest.mark.slow
def test_a_moment_of_another_day_has_its_date(pipeline: Pipeline, open_tab: OpenTab) -> None:
    page = open_tab(f"{pipeline.url}/static/index.html").page
    found = page.evaluate(
        """async () => {
            const { second } = await import("./format.js");
            return [Date.now() / 1000, 1.0e9].map(second);
        }"""
    )
    assert [re.sub(r"\d", "0", each) for each in found] == [ANY, "Sep 0, 0000, 0:00:00 AM"]
    assert re.fullmatch(r"\d+:\d\d:\d\d [AP]M", found[0])


def test_what_of_a_series_is_drawn(pipeline: Pipeline, open_tab: OpenTab) -> None:
    page = open_tab(f"{pipeline.url}/static/index.html").page
    found = page.evaluate(
        """async () => {
            const { drawnCells } = await import("./cells.js");
            const of = (asOf, counted) => drawnCells({ times: [0, 60, 120, 180], step: 60, asOf, counted });
            return [of(150, 120), of(124, 120), of(150, 180), of(300, 0)];
        }"""
    )
    assert found == [
        {"times": [0, 60, 120], "seconds": [60, 60, 30], "begun": 120},  # nothing is said yet of what is to come
        {"times": [0, 60], "seconds": [60, 60], "begun": None},  # four seconds say too little
        {"times": [0, 60, 120, 180], "seconds": [60, 60, 30, 60], "begun": 120},  # clocks that run ahead
        {"times": [0, 60, 120, 180], "seconds": [60, 60, 60, 60], "begun": None},
    ]


def test_a_name_has_the_same_colour_whatever_is_beside_it_but_for_few(pipeline: Pipeline, open_tab: OpenTab) -> None:
    page = open_tab(f"{pipeline.url}/static/index.html").page
    alone, sets = page.evaluate(
        """async () => {
            const { colorsOf } = await import("./series-colors.js");
            const names = Array.from({ length: 40 }, (_, at) => `types:name${at}`);
            const alone = names.map((name) => colorsOf([name]).get(name));
            const sets = names.slice(0, 34).map((_, at) => {
                const six = names.slice(at, at + 6);
                const of = (types) => Object.fromEntries(colorsOf(types, ["words:x", "words:y"]));
                return [of(six), of([...six].reverse())];
            });
            return [alone, sets];
        }"""
    )
    colors = {f"types:name{at}": color for at, color in enumerate(alone)}
    assert len(set(alone)) == 10, "all are liked"
    kept = 0
    for forwards, backwards in sets:
        assert forwards == backwards, "in whatever order they come"
        assert len(set(forwards.values())) == 8, "each has its own"
        kept += sum(forwards[name] == colors[name] for name in forwards if name in colors)
    assert kept > 0.7 * 6 * len(sets)
    pairs = [(one[0], other[0]) for one, other in pairwise(sets)]
    moved = sum(one[name] != other[name] for one, other in pairs for name in one if name in other and name in colors)
    assert moved < 0.3 * 5 * len(pairs), "one name that comes and one that goes move few others"


def test_the_labels_of_a_time_axis_tell_the_day_and_the_year(pipeline: Pipeline, open_tab: OpenTab) -> None:
    page = open_tab(f"{pipeline.url}/static/index.html", timezone_id="UTC").page
    year = time.gmtime().tm_year
    today = time.strftime(f"{year}-%m-%d", time.gmtime())
    labels = """async ([times, step]) => {
        const { timeLabels } = await import("./time-axis.js");
        return timeLabels(times.map((each) => Date.parse(each) / 1000), step);
    }"""
    for moments, step, want in (
        ([f"{today}T10:00Z", f"{today}T10:05Z"], 300, ["10:00 AM", "10:05 AM"]),
        (["2021-09-26T23:00Z", "2021-09-27T00:00Z"], 3600, ["11:00 PM\nSep 26, 2021", "12:00 AM\nSep 27, 2021"]),
        ([f"{year}-01-03T00:00Z", f"{year}-01-04T00:00Z"], 86400, ["Jan 3", "Jan 4"]),
        (
            ["2020-12-31T00:00Z", "2021-01-01T00:00Z", "2021-01-02T00:00Z"],
            86400,
            ["Dec 31\n2020", "Jan 1\n2021", "Jan 2"],
        ),
        (["2020-12-01T00:00Z", "2021-01-01T00:00Z"], 30 * 86400, ["Dec\n2020", "Jan\n2021"]),
        (["2020-01-01T00:00Z", "2021-01-01T00:00Z"], 365 * 86400, ["2020", "2021"]),
    ):
        assert page.evaluate(labels, [moments, step]) == want
