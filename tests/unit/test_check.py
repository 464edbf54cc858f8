"""`tally check`: what it says of lines, what it suggests, and that no line can make it raise or harm a terminal."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from aggregator.decoding import Decoder
from tally.cli.app import app
from tally.cli.report import Report, read_lines
from tally.cli.report import report_on as check
from tally.cli.report_text import describe
from tally.generator import Generator, GeneratorSpec
from tally.settings import Settings
from tally.store import Entry
from tests.oracle import text_of
from tests.packing import PACK

#: 2021-09-26T13:46:24Z.
NOW = 1_632_663_984

EVENT = b'{"event_type":"foo","data":"lorem ipsum","timestamp":1632663984}'


def _check(lines: list[bytes], **settings: Any) -> Report:
    return check(lines, Settings(**settings), now_seconds=NOW)


def _lines(*events: Any) -> list[bytes]:
    return [json.dumps(event, ensure_ascii=False).encode() for event in events]


def test_it_says_what_would_be_counted_and_what_rejected() -> None:
    report = _check([EVENT, b"", b"garbage", EVENT, b'{"event_type":"foo"}', b'{"data":"a"}', b'{"event_type":"bar"}'])
    assert (report.lines, report.blank, report.events, report.rejected, report.words) == (7, 1, 2, 4, 4)
    assert report.top_types == {"foo": 2}
    assert report.top_words == {"lorem": 2, "ipsum": 2}
    assert [(each.reason, each.count, each.lines) for each in report.rejections] == [
        ("not an event: Object missing required field `data`", 2, [5, 7]),
        ("not JSON: JSON is malformed: invalid character", 1, [3]),
        ("not an event: Object missing required field `event_type`", 1, [6]),
    ]
    assert report.rejections[0].example == '{"event_type":"foo"}'
    assert report.suggestion is None


def test_it_agrees_with_the_aggregator_over_many_lines() -> None:
    block = b"".join(Generator(GeneratorSpec(count=2500, corrupt=0.2, seed=4, start=NOW)).lines())
    counts = Decoder(Settings()).count([Entry(f"{NOW * 1000}-0", block, "s")])
    report = _check(block.split(b"\n"))
    assert (report.events, report.rejected, report.words) == (counts.events, counts.rejected, counts.words)
    assert sum(each.count for each in report.rejections) == report.rejected
    assert max(len(each.lines) for each in report.rejections) == 5


def test_it_tells_a_bounded_number_of_reasons_apart() -> None:
    lines = _lines(*({"event_type": "x", "data": {}, "timestamp": "x" * at} for at in range(3)))
    lines += [b'{"event_type":"x","data":"","timestamp":' + b"[" * at for at in range(1, 100)]
    report = _check(lines)
    assert len(report.rejections) <= 51
    assert sum(each.count for each in report.rejections) == len(lines)


def test_it_says_how_many_events_have_no_time_that_is_believed() -> None:
    events = [
        {"event_type": "x", "data": "", "timestamp": at} for at in (None, 0, NOW, NOW + 3601, "2031-01-01T00:00:00Z")
    ]
    report = _check(_lines(*events))
    assert (report.without_time, report.ahead, report.first_window) == (1, 2, 0)
    text = describe(report)
    assert "Windows from 1970-01-01 00:00 UTC to 2021-09-26 13:46 UTC" in text
    assert "Without a time, and so counted at their arrival: 1" in text
    assert "is TALLY_TIME_UNIT right?" in text


# Reading.


def test_a_line_that_is_too_long_is_cut_and_skipped_to_its_end() -> None:
    file = io.BytesIO(b"a" * 300_000 + b"\n" + b"b" * 64 + b"\n" + b"c" * 65 + b"\n\nd")
    lines = list(read_lines(file, max_line_bytes=64, most_lines=0))
    assert lines == [b"a" * 65, b"b" * 64, b"c" * 65, b"", b"d"]
    reasons = {each.reason: each.lines for each in _check(lines, max_line_bytes=64).rejections}
    assert reasons["longer than 64 bytes (TALLY_MAX_LINE_BYTES)"] == [1, 3]


@given(st.binary(max_size=300), st.integers(1, 40))
def test_lines_are_those_between_line_ends(content: bytes, max_line_bytes: int) -> None:
    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    found = list(read_lines(io.BytesIO(content), max_line_bytes=max_line_bytes, most_lines=0))
    assert [text_of(line) for line in found] == [text_of(line)[: max_line_bytes + 1] for line in expected]
    assert all(len(line) <= 2 * max_line_bytes + 1 for line in found)


def test_padding_is_passed_over_whatever_its_length_and_said() -> None:
    file = io.BytesIO(b"\0" * 1_000_000 + EVENT + b"\n\xef\xbb\xbf" + EVENT + b"\n\0\0\n\0x\n")
    lines = list(read_lines(file, max_line_bytes=100, most_lines=0))
    assert lines == [b"\0" + EVENT, b"\xef\xbb\xbf" + EVENT, b"\0\0", b"\0x"]
    report = _check(lines)
    assert (report.lines, report.events, report.rejected, report.blank, report.padded) == (4, 2, 1, 1, 4)
    assert report.rejections[0].example == "x"
    assert "\nNULs or byte order marks in front of 4 of them are passed over\n" in describe(report)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (json.dumps([json.loads(EVENT)] * 3).encode(), "jq -c '.[]'"),
        (json.dumps([json.loads(EVENT)] * 3, indent=2).encode(), "jq -c '.[]'"),
        (b"\n\xef\xbb\xbf [" + b",\n".join([EVENT] * 3) + b"]", "jq -c '.[]'"),
        (b"[" + b",".join([EVENT] * 9999) + b"]", "jq -c '.[]'"),
        (json.dumps(json.loads(EVENT), indent=2).encode(), "jq -c ."),
        (b"\n".join([EVENT] * 3).decode().encode("utf-16"), "iconv -f UTF-16"),
        (b"\n".join([b"[1]", EVENT, EVENT]), None),
        (b"\n".join([b"garbage", b"[1]"]), None),
        (b"", None),
    ],
)
def test_what_is_no_lines_gets_a_hint(content: bytes, hint: str | None) -> None:
    report = _check(list(read_lines(io.BytesIO(content), max_line_bytes=100_000, most_lines=0)))
    if hint is None:
        assert report.hint is None
    else:
        assert hint in str(report.hint)
        assert str(report.hint) in describe(report)


@pytest.mark.parametrize(("most", "read"), [(0, 5), (1, 1), (4, 4), (5, 5), (9, 5)])
def test_it_reads_no_more_lines_than_it_is_told_to(most: int, read: int) -> None:
    file = io.BytesIO(b"x\n" * 5)
    assert len(list(read_lines(file, max_line_bytes=64, most_lines=most))) == read
    assert file.tell() == 2 * read


# Suggestions.


def _suggested(lines: list[bytes], **settings: Any) -> dict[str, str] | None:
    found = _check(lines, **settings).suggestion
    return None if found is None else found.settings


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        pytest.param(
            {"level": "info", "msg": "it works", "ts": NOW * 1000},
            {"TYPE_FIELD": "level", "TEXT_FIELD": "msg", "TIME_FIELD": "ts", "TIME_UNIT": "milliseconds"},
            id="milliseconds",
        ),
        pytest.param(
            {"log": {"level": "info"}, "message": "it works", "@timestamp": "2021-09-26T13:46:24Z"},
            {"TYPE_FIELD": "log.level", "TEXT_FIELD": "message", "TIME_FIELD": "@timestamp"},
            id="nested, RFC 3339",
        ),
        pytest.param(
            {"log.level": "info", "message": "it works"},
            {"TYPE_FIELD": r"log\.level", "TEXT_FIELD": "message"},
            id="a dot in a name, no time",
        ),
        pytest.param(
            {"kind": "a", "epoch": str(NOW)},
            {"TYPE_FIELD": "kind", "TEXT_FIELD": "", "TIME_FIELD": "epoch", "TIME_UNIT": "seconds"},
            id="no text, seconds in a string",
        ),
        pytest.param(
            {"kind": "a", "time": NOW + 0.5, "request_time": 0.004, "body": {"text": "it works"}},
            {"TYPE_FIELD": "kind", "TEXT_FIELD": "body.text", "TIME_FIELD": "time"},
            id="seconds",
        ),
        pytest.param(
            {"event": "a", "n": 5, "ok": True, "time": NOW * 10**9, "note": "it works"},
            {"TYPE_FIELD": "event", "TEXT_FIELD": "note", "TIME_FIELD": "time", "TIME_UNIT": "nanoseconds"},
            id="nanoseconds",
        ),
    ],
)
def test_it_suggests_fields_with_which_the_lines_are_counted(line: dict[str, Any], settings: dict[str, str]) -> None:
    lines = [*_lines(*[line] * 20), b"garbage"]
    report = _check(lines)
    assert report.events == 0
    assert report.suggestion is not None
    assert report.suggestion.settings == {f"TALLY_{name}": value for name, value in settings.items()}
    assert (report.suggestion_events, report.suggestion_lines) == (20, 21)

    changed = _check(lines, **{name.lower(): value for name, value in settings.items()})
    assert (changed.events, changed.ahead, changed.suggestion) == (20, 0, None)
    assert "TIME_FIELD" not in settings or changed.without_time == 0


def test_a_field_with_few_distinct_values_is_a_type_under_any_name() -> None:
    lines = _lines(*({"id": f"{at:x}", "animal": "cat" if at % 3 else "dog", "said": f"meow {at}"} for at in range(30)))
    assert _suggested(lines) == {"TALLY_TYPE_FIELD": "animal", "TALLY_TEXT_FIELD": "said"}


def test_of_texts_that_few_lines_have_it_suggests_several() -> None:
    lines = _lines(*({"type": f"t{at % 2}", f"text_{at % 4}": "some words here"} for at in range(20)))
    found = _suggested(lines)
    assert found is not None
    assert sorted(found["TALLY_TEXT_FIELD"].split(",")) == ["text_0", "text_1", "text_2", "text_3"]


@pytest.mark.parametrize(
    ("time", "settings"),
    [
        ({"timestamp": NOW * 1000}, {"TALLY_TIME_FIELD": "timestamp", "TALLY_TIME_UNIT": "milliseconds"}),
        ({"ts": NOW}, {"TALLY_TIME_FIELD": "ts"}),
        ({"timestamp": NOW}, None),
        ({"timestamp": NOW * 10**12}, None),
        ({}, None),
    ],
)
def test_it_suggests_a_time_where_events_have_none_that_is_believed(
    time: dict[str, int], settings: dict[str, str] | None
) -> None:
    lines = _lines(*[{"event_type": "x", "data": "it works", **time}] * 3)
    assert _suggested(lines) == settings


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="nothing"),
        pytest.param([b"garbage"] * 9 + [b'{"type":"a","message":"b"}'], id="mostly garbage"),
        pytest.param([EVENT] * 9 + [b'{"type":"a","message":"b"}'], id="mostly events"),
        pytest.param([b"[1,2]", b"5", b"null"], id="no objects"),
        pytest.param([b'{"a":1,"b":[{}]}'] * 9, id="no strings"),
        pytest.param([b'{"event_type":"x","data":["a"]}'] * 9, id="no text"),
    ],
)
def test_it_suggests_nothing_where_nothing_would_be_better(lines: list[bytes]) -> None:
    found = _suggested(lines)
    assert found is None or found["TALLY_TEXT_FIELD"] == ""


def test_a_leap_second_is_a_time_to_it() -> None:
    found = _suggested(_lines(*[{"kind": "a b", "level": "info", "at": "2016-12-31T23:59:60Z"}] * 3))
    assert found is not None
    assert found["TALLY_TIME_FIELD"] == "at"


def test_names_that_a_line_of_env_cannot_hold_are_not_suggested() -> None:
    lines = _lines(*[{"type": "a", "x\n TALLY_REDIS_URL=redis://evil": "a b", "${HOME}": "a b", "q'": "a b"}] * 5)
    assert _suggested(lines) == {"TALLY_TYPE_FIELD": "type", "TALLY_TEXT_FIELD": ""}


def test_a_suggestion_that_contradicts_what_is_set_is_not_made() -> None:
    lines = _lines(*[{"kind": "a", "ts": {"x": "b"}}] * 5)
    assert _suggested(lines, type_field="ts", time_field="kind.x", text_field="") is None


# Whatever the lines are.

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["info", "a b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "msg", "time", "a", "a.b", "\x1b[31m"]) | st.text(max_size=4), inner)
    ),
    max_leaves=8,
)


@given(st.lists(_json.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20), max_size=8))
def test_no_lines_make_it_raise_or_print_control_characters(lines: list[bytes]) -> None:
    lines = b"\n".join(lines).split(b"\n")
    report = _check(lines)
    assert report.lines == report.blank + report.events + report.rejected == len(lines)
    text = describe(report)
    assert all(each.isprintable() or each == "\n" for each in text)


@pytest.mark.parametrize("field", ["event_type", "data", "other"])
def test_what_stands_in_a_line_cannot_harm_a_terminal(field: str) -> None:
    hostile = "\x1b]0;owned\x07[bold red]\x9b31m\u202eevil\x00"
    event = {"event_type": "x", "data": "y", field: hostile}
    lines = [*_lines(event, {**event, "data": [hostile]}), hostile.encode(), b"\x1b[2J"]
    text = describe(_check(lines, word_pattern=r"\S+"))
    assert "[bold red]" in text or field == "other"
    assert not {*"\x1b\x07\x9b\u202e\x00"} & {*text}


# The command.


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


def test_the_command_exits_with_0_if_something_would_be_counted(runner: CliRunner) -> None:
    Path("events").write_bytes(EVENT + b"\ngarbage\n")
    result = runner.invoke(app, ["check", "events"])
    assert result.exit_code == 0
    assert result.output == describe(check([EVENT, b"garbage"], Settings(), now_seconds=NOW)) + "\n"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"garbage\n"])
def test_the_command_exits_with_1_if_nothing_would_be_counted(runner: CliRunner, content: bytes) -> None:
    result = runner.invoke(app, ["check", "-"], input=content)
    assert result.exit_code == 1
    assert "0 would be counted" in result.output


def test_the_command_uses_the_settings_and_prints_json(runner: CliRunner) -> None:
    Path(".env").write_text("TALLY_TYPE_FIELD=kind\nTALLY_TEXT_FIELD=\n")
    result = runner.invoke(
        app, ["check", "--json", "--lines", "2", "-"], input='{"kind":"\u202e"}\nbad\nbad\n'.encode()
    )
    assert result.exit_code == 0
    assert result.output.isascii()
    found = json.loads(result.output)
    assert (found["lines"], found["events"], found["top_types"]) == (2, 1, {"\u202e": 1})
    assert [each["lines"] for each in found["rejections"]] == [[2]]


@pytest.mark.parametrize("suffix", PACK)
def test_the_command_reads_archives_as_the_ingestor_does(runner: CliRunner, suffix: str) -> None:
    packed = PACK[suffix]((EVENT + b"\n") * 5000)
    Path(f"events.{suffix}").write_bytes(packed)
    result = runner.invoke(app, ["check", "--lines", "0", f"events.{suffix}"])
    assert result.exit_code == 0, result.output
    assert "5,000 lines: 5,000 would be counted, 0 rejected" in result.output
    Path(f"broken.{suffix}").write_bytes(packed[: len(packed) // 2])
    result = runner.invoke(app, ["check", "--lines", "0", f"broken.{suffix}"])
    assert result.exit_code == 2
    assert f"broken.{suffix}: the archive is cut off" in result.output


@pytest.mark.parametrize("file", ["nowhere", os.sep])
def test_a_file_that_cannot_be_read_is_named(runner: CliRunner, file: str) -> None:
    result = runner.invoke(app, ["check", file])
    assert result.exit_code == 2
    assert f"{file}: cannot be read" in result.output
