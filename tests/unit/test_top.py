"""What `tally top` shows of a state of the pipeline, at the width of a common terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from tally.cli.top_screen import Frame, Sort, View, page, screen
from tally.store.blocks import Consumer
from tally.store.held import Held
from tally.store.status import ALIVE_SECONDS, Backlog, IdempotencyKeys, Status

RED = "\x1b[1;31m"

SILENT = Consumer(name="killed", pending=3, idle_seconds=ALIVE_SECONDS)
ALIVE = Consumer(name="working", pending=3, idle_seconds=ALIVE_SECONDS - 0.001)


def frame(
    *consumers: Consumer,
    blocks: int = 0,
    settled: int = 0,
    full: bool = False,
    bulk_full: bool = False,
    held: Held | None = None,
    dead: int = 0,
    lost: int = 0,
    events: int = 123_456_789_012,
) -> Frame:
    totals = {"events": events, "words": 3 * events, "rejected": events // 10, "lost": lost}
    totals |= {"lines": events, "bytes": events * 100, "blocks": 5}
    status = Status(
        namespace="tally",
        rejected_by_reason={},
        other_types=0,
        other_words=0,
        totals=totals,
        backlog=Backlog(
            blocks=blocks,
            settled_blocks=settled,
            bytes=blocks * 12_345,
            lines=blocks * 100,
            oldest_seconds=12.3 if blocks else None,
            full=full,
            bulk_full=bulk_full,
            held=held,
        ),
        idempotency_keys=IdempotencyKeys(known=0, since_at=None),
        dead_letters=dead,
        distinct_types=30,
        distinct_words=30,
        aggregators=list(consumers),
        sources=[],
        kept=None,
        sources_total=0,
    )
    names = {f"name{at}": 100 - at for at in range(60)}
    return Frame(status, {"types": names, "words": names}, rates={"1": 801_234.0, "10": 799_000.0, "60": None})


def shown(frame: Frame, *, width: int = 80, height: int = 24, problem: str = "", view: View | None = None) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(screen(frame, console, problem, "q quits", view=view))
    return captured.get()


@pytest.mark.parametrize("width", [50, 60, 80, 100, 200])
def test_no_figure_is_cut_off_or_torn_however_wide_the_terminal_is(width: int) -> None:
    text = shown(frame(ALIVE, SILENT, blocks=1234, settled=1123, dead=7), width=width, height=30)
    for part in (
        "123,456,789,012 events",
        "370,370,367,036 words",
        "12,345,678,901 rejected",
        "0 lost",
        "1 s 801,234/s",
        "60 s –/s",
        "backlog 1,234 blocks, 15.2 MB, oldest 12.3 s",
        "1,123 of them settled",
        "1 aggregator alive",
        "7 dead letters",
        "q quits",
        "name0",
    ):
        assert part in text
    assert len(text.rstrip("\n").split("\n")) <= 30


def test_the_rest_of_the_screen_is_filled_with_names() -> None:
    lines = shown(frame(ALIVE)).rstrip("\n").split("\n")
    assert len(lines) == 24
    assert sum("name" in line for line in lines) == 24 - 6 - 5 + 1, "but for the head and the tables' own heads"


def test_a_narrow_terminal_has_the_names_of_both_tables() -> None:
    big = replace(frame(ALIVE), counts={"types": {"a-type": 98_765_432_109}, "words": {"a-word": 98_765_432_109}})
    text = shown(big, width=40, height=30)
    for part in ("a-type", "a-word", "98,765,432,109"):
        assert part in text
    assert len(text.rstrip("\n").split("\n")) == 30


def test_of_a_batch_that_is_applied_in_part_no_share_is_over_all() -> None:
    text = shown(replace(frame(ALIVE, events=10), counts={"types": {"a-type": 30, "b-type": 10}, "words": {}}))
    assert "75.0%" in text
    assert "300.0%" not in text


def test_a_few_events_a_minute_are_not_none() -> None:
    for rate, text in {0.0: "0", 0.02: "<0.1", 0.3: "0.3", 41.24: "41.2", 1234.5: "1,234"}.items():
        assert f"1 s {text}/s" in shown(replace(frame(ALIVE), rates={"1": rate}))


def test_that_redis_does_not_answer_is_shown_in_full() -> None:
    why = "Error 111 connecting to a-rather-long-host-name.example.net:6379. Connection refused."
    text = shown(frame(ALIVE), problem=why)
    assert f"{RED}disconnected, retrying: Error 111" in text
    assert "refused." in text
    assert "q quits" in text


def test_aggregators_that_are_all_dead_raise_the_alarm_as_if_there_were_none() -> None:
    for consumers in ((), (SILENT,), (SILENT, SILENT)):
        text = shown(frame(*consumers, blocks=3))
        assert f"{RED}backlog 3 blocks" in text
        assert "0 aggregators alive" in text
        assert "nothing is being counted" in text
    for calm in (frame(SILENT), frame(ALIVE, SILENT, blocks=3)):
        assert RED not in shown(calm).partition("name0")[0].replace(f"{RED}count", "")


def test_that_sources_are_not_read_is_said() -> None:
    text = shown(frame(ALIVE, blocks=3, full=True), width=120)
    assert f"{RED}backlog 3 blocks" in text
    assert "full, sources are not read" in text


def test_that_files_are_not_read_is_said_and_is_no_alarm() -> None:
    text = shown(frame(ALIVE, blocks=3, full=True, held=Held("export", "there", 1.0, 31.0)), width=120)
    assert "sources are not read: tally export holds appends" in text
    assert "full" not in text
    text = shown(frame(ALIVE, blocks=3, bulk_full=True), width=120)
    assert "full for files" in text
    assert f"{RED}backlog" not in text


@pytest.mark.parametrize("wrong", [{"dead": 1}, {"lost": 1}])
def test_what_went_wrong_is_red(wrong: dict[str, Any]) -> None:
    assert f"{RED}backlog" in shown(frame(ALIVE, **wrong))


def test_a_pipe_is_told_of_no_key() -> None:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as captured:
        console.print(page(frame(ALIVE, blocks=2), console))
    assert "backlog 2 blocks" in captured.get()
    assert "settled" not in captured.get(), "nothing is"
    assert "quits" not in captured.get()


COUNTS = {"a": 5, "d": 9, "c": 7, "b": 9}
CHANGES = {"a": 3, "d": 0, "c": -4, "b": 1}


@pytest.mark.parametrize(
    ("sort", "rows"),
    [
        ("count", [("b", 9), ("d", 9), ("c", 7)]),
        ("name", [("b", 9), ("c", 7), ("d", 9)]),
        ("change", [("c", 7), ("a", 5), ("b", 9)]),
    ],
)
def test_rows_are_the_first_ones_in_the_order_that_was_asked_for(sort: Sort, rows: list[tuple[str, int]]) -> None:
    one = replace(frame(ALIVE), counts={"types": COUNTS, "words": {}}, changes={"types": CHANGES})
    assert one.rows("types", sort, 3) == rows
    assert sorted(one.rows("types", sort)) == sorted(COUNTS.items())


def test_what_has_changed_and_of_which_time_is_shown() -> None:
    one = replace(frame(ALIVE), counts={"types": COUNTS, "words": {}}, changes={"types": CHANGES})
    text = shown(one, view=View("15m", 900, "change"))
    for each in ("Event types, the last 15m", "Words, the last 15m", "change", "-4", "+3", "+0"):
        assert each in text
    # Of a time range shares are of what was counted in it, not of all totals.
    assert "30.0%" in shown(replace(one, range=(0, 900)), view=View("15m", 900))
