"""Other people's fields: what settings may name, what is required then, and the pages in docs/fields.md."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.counts import Counts
from aggregator.decoding import Decoder
from tally.cli.report import read_lines
from tally.cli.report import report_on as check
from tally.cli.report_text import describe
from tally.fields import MAX_DEPTH, format_path, parse_one, parse_paths
from tally.settings import Settings, SettingsError, load
from tally.store import Entry
from tests.oracle import is_nothing

SAMPLES = Path(__file__).parents[1] / "samples"
PAGE = Path(__file__).parents[2] / "docs" / "fields.md"

#: 2021-09-26T13:46:24Z, and the start of its minute.
ARRIVED = 1_632_663_984
MINUTE = 1_632_663_960


def _count(*lines: str | bytes | dict[str, Any], **settings: Any) -> Counts:
    encoded = [
        json.dumps(line).encode() if isinstance(line, dict) else line.encode() if isinstance(line, str) else line
        for line in lines
    ]
    return Decoder(Settings(**settings)).count([Entry(f"{ARRIVED * 1000}-0", b"\n".join(encoded), "s")])


def _types(counts: Counts) -> dict[str, int]:
    return dict(sum((window.types for window in counts.windows.values()), Counter()))


def _words(counts: Counts) -> dict[str, int]:
    return dict(sum((window.words for window in counts.windows.values()), Counter()))


# Paths.


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", ()),
        ("  ", ()),
        ("type", (("type",),)),
        ("repo.name", (("repo", "name"),)),
        (" repo.name , payload.issue.title ", (("repo", "name"), ("payload", "issue", "title"))),
        (r"log\.level", (("log.level",),)),
        (r"a\,b,c\.d.e", (("a,b",), ("c.d", "e"))),
        ("@timestamp", (("@timestamp",),)),
        ("ключ.日本", (("ключ", "日本"),)),
        ("two words", (("two words",),)),
    ],
)
def test_paths_are_names_with_dots_between(text: str, paths: tuple[tuple[str, ...], ...]) -> None:
    assert parse_paths(text) == paths


_name = st.text(st.characters(exclude_characters='"\\', exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=6)
_path = st.lists(_name, min_size=1, max_size=4).map(tuple)


@given(st.lists(_path, min_size=1, max_size=4, unique=True))
def test_a_path_that_was_written_is_read_as_the_same(paths: list[tuple[str, ...]]) -> None:
    assert parse_paths(",".join(map(format_path, paths))) == tuple(paths)
    assert [parse_one(format_path(path)) for path in paths] == paths


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type_field": ""}, "TALLY_TYPE_FIELD=: name one field"),
        ({"type_field": "a,b"}, "TALLY_TYPE_FIELD=a,b: name one field"),
        ({"time_field": "a,b"}, "TALLY_TIME_FIELD=a,b: name one field"),
        ({"type_field": "a..b"}, "TALLY_TYPE_FIELD=a..b: 'a..b' has an empty name"),
        ({"type_field": "a."}, "empty name"),
        ({"text_field": "a,,b"}, "TALLY_TEXT_FIELD=a,,b: '' has an empty name"),
        ({"text_field": 'a"b'}, "quotation mark"),
        ({"text_field": r"a\b"}, "a backslash stands only before a dot or comma"),
        ({"text_field": "a\nb"}, "control character"),
        ({"text_field": "a,b,a"}, "a is named twice"),
        ({"text_field": ".".join("a" * (MAX_DEPTH + 1))}, f"at most {MAX_DEPTH} names"),
        ({"text_field": ",".join(f"f{at}" for at in range(65))}, "64 are the most"),
        ({"text_field": "a,a.b"}, "a is either a value or an object"),
        ({"type_field": "a", "text_field": "a.b"}, "TALLY_TEXT_FIELD=a.b: a.b and a (TALLY_TYPE_FIELD) exclude"),
        ({"type_field": "data.kind"}, "TALLY_TEXT_FIELD=data: data and data.kind (TALLY_TYPE_FIELD) exclude"),
        ({"time_field": "data"}, "TALLY_TIME_FIELD=data: TALLY_TEXT_FIELD names the same field"),
        ({"type_field": "timestamp"}, "TALLY_TIME_FIELD=timestamp: TALLY_TYPE_FIELD names the same field"),
        ({"time_unit": "hours"}, "TALLY_TIME_UNIT=hours: Input should be 'seconds', 'milliseconds'"),
        ({"min_word_length": "0"}, "TALLY_MIN_WORD_LENGTH=0"),
        ({"stop_words": "@nowhere"}, "TALLY_STOP_WORDS=@nowhere: the file cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_variable_and_value(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(**settings)
    assert message in str(raised.value)


# What is required.


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param({"t": "x", "a": "one", "b": {"c": "two"}}, {"one": 1, "two": 1}, id="both"),
        pytest.param({"t": "x", "a": "one"}, {"one": 1}, id="an object missing"),
        pytest.param({"t": "x", "a": "one", "b": {}}, {"one": 1}, id="a field in it missing"),
        pytest.param({"t": "x", "a": None, "b": None}, {}, id="null"),
        pytest.param({"t": "x", "b": {"c": None}}, {}, id="null in an object"),
        pytest.param({"t": "x"}, {}, id="none"),
        pytest.param({"t": "x", "a": 1}, None, id="a number"),
        pytest.param({"t": "x", "b": "two"}, None, id="a string for an object"),
        pytest.param({"t": "x", "b": [{"c": "two"}]}, None, id="an array for an object"),
        pytest.param({"t": "x", "b": {"c": ["two"]}}, None, id="an array in an object"),
        pytest.param({"a": "one"}, None, id="no type"),
        pytest.param({"t": None, "a": "one"}, None, id="type is null"),
    ],
)
@pytest.mark.parametrize("company", [0, 3])
def test_of_several_texts_none_is_required(line: dict[str, Any], words: dict[str, int] | None, company: int) -> None:
    counts = _count(*[{"t": "y"}] * company, line, *[{"t": "y"}] * company, type_field="t", text_field="a,b.c")
    assert counts.rejected == (words is None)
    assert _words(counts) == (words or {})
    assert counts.events == 2 * company + (words is not None)


def test_a_single_text_is_required_and_so_are_the_objects_on_the_way() -> None:
    names = {"type_field": "a.type", "text_field": "b.c.text"}
    counts = _count(
        {"a": {"type": "x"}, "b": {"c": {"text": "one"}}},
        {"a": {"type": "x"}, "b": {"c": {}}},
        {"a": {"type": "x"}, "b": {"c": None}},
        {"a": {"type": "x"}},
        {"b": {"c": {"text": "one"}}},
        {"a": "x", "b": {"c": {"text": "one"}}},
        **names,
    )
    assert (_types(counts), _words(counts), counts.rejected) == ({"x": 1}, {"one": 1}, 5)
    assert counts.samples[0].reason == "not an event: Object missing required field `text` - at `$.b.c`"


def test_without_a_text_only_types_are_counted() -> None:
    counts = _count({"event_type": "x"}, {"event_type": "x", "data": 5}, {"event_type": 5}, text_field="")
    assert (_types(counts), _words(counts), counts.rejected) == ({"x": 2}, {}, 1)


@pytest.mark.parametrize("text_field", ["name", "name,other"])
def test_the_type_may_be_a_text_too(text_field: str) -> None:
    counts = _count({"name": "a b"}, {"other": "c"}, {"name": None}, type_field="name", text_field=text_field)
    assert (_types(counts), _words(counts), counts.rejected) == ({"a b": 1}, {"a": 1, "b": 1}, 2)


def test_fields_of_one_object_may_be_named_by_several_settings() -> None:
    names = {"type_field": "e.type", "text_field": "e.a,e.b.c", "time_field": "e.b.at"}
    counts = _count(
        {"e": {"type": "x", "a": "one", "b": {"c": "two", "at": 0}}}, {"e": {"type": "x", "b": None}}, **names
    )
    assert {place.start: dict(window.words) for place, window in counts.windows.items()} == {
        0: {"one": 1, "two": 1},
        MINUTE: {},
    }


def test_a_dot_may_be_part_of_a_name() -> None:
    names = {"type_field": r"log\.level", "text_field": r"a\,b.c\.d"}
    counts = _count({"log.level": "info", "a,b": {"c.d": "one"}}, {"log": {"level": "info"}}, **names)
    assert (_types(counts), _words(counts), counts.rejected) == ({"info": 1}, {"one": 1}, 1)


# Times.


@pytest.mark.parametrize(
    ("unit", "time", "start"),
    [
        (None, 120, 120),
        (None, "120", None),
        ("", 120, 120),
        ("seconds", 120, 120),
        ("seconds", "179.999", 120),
        ("seconds", "1e2", 60),
        ("milliseconds", 120_000, 120),
        ("milliseconds", 119_999.5, 60),
        ("milliseconds", "120000", 120),
        ("milliseconds", -1, -60),
        ("microseconds", 120_000_000, 120),
        ("microseconds", "119999999", 60),
        ("nanoseconds", ARRIVED * 10**9, MINUTE),
        ("nanoseconds", str(ARRIVED * 10**9 + 999_999_999), MINUTE),
        ("milliseconds", (ARRIVED + 3600) * 1000, MINUTE + 3600),
        ("milliseconds", (ARRIVED + 3600) * 1000 + 1, MINUTE),
        ("milliseconds", 1e300, MINUTE),
        ("milliseconds", int("9" * 400), MINUTE),
        ("milliseconds", "1970-01-01T00:02:00Z", 120),
        ("milliseconds", None, MINUTE),
        ("milliseconds", "nan", None),
        ("milliseconds", "inf", None),
        ("milliseconds", "-Infinity", None),
        ("milliseconds", "1_000", None),
        ("milliseconds", " 1000", None),
        ("milliseconds", "soon", None),
        ("milliseconds", True, None),
        ("milliseconds", [1], None),
    ],
)
@pytest.mark.parametrize("company", [[], [0], [None], ["1970-01-01T00:00:00Z"]])
def test_a_time_is_in_the_unit_that_is_set(unit: str | None, time: Any, start: int | None, company: list[Any]) -> None:
    lines = [{"event_type": "other", "data": "", "timestamp": at} for at in company]
    counts = _count(*lines, {"event_type": "x", "data": "", "timestamp": time}, time_unit=unit)
    assert [place.start for place, window in counts.windows.items() if window.types["x"]] == (
        [] if start is None else [start]
    )
    assert counts.rejected == (start is None)
    assert counts.events == len(company) + (start is not None)


def test_without_a_time_field_the_arrival_is_the_time() -> None:
    counts = _count({"event_type": "x", "data": "", "timestamp": [0]}, time_field="")
    assert ([place.start for place in counts.windows], counts.rejected) == ([MINUTE], 0)


# Words.


def test_stop_words_and_short_words_are_as_if_they_were_not_there(tmp_path: Path) -> None:
    line = {"event_type": "x", "data": "The cat, the hat and a żó the-cat"}
    assert _words(_count(line, stop_words="the, and,,")) == {
        "The": 1,
        "cat": 1,
        "hat": 1,
        "a": 1,
        "żó": 1,
        "the-cat": 1,
    }
    assert _words(_count(line, stop_words="The", fold_case=True, min_word_length=2)) == {
        "cat": 1,
        "hat": 1,
        "and": 1,
        "żó": 1,
        "the-cat": 1,
    }
    (tmp_path / "words.txt").write_text("@a the\nand, cat\n", encoding="utf-8")
    settings = Settings(stop_words=f"@{tmp_path / 'words.txt'}")
    assert settings.stop_word_set == {"@a", "the", "and", "cat"}
    assert Settings(**settings.model_dump()).stop_word_set == settings.stop_word_set


# Whatever the fields are called, the same is counted.

_texts = st.sampled_from(["", "lorem", "lorem ipsum", "don't", "żółć 日本", "a\tb"]) | st.text(max_size=6)
_times = (
    st.none()
    | st.integers(-(10**10), 10**10)
    | st.integers(ARRIVED - 200, ARRIVED + 4000)
    | st.sampled_from([True, "2021-09-26T13:46:24Z", "1969-12-31T23:59:59+02:00", "yesterday"])
)
_event = st.fixed_dictionaries(
    {"event_type": _texts | st.just(5)}, optional={"data": _texts | st.just(None), "timestamp": _times}
)
_UNITS = {None: 1, "seconds": 1, "milliseconds": 1000, "microseconds": 10**6, "nanoseconds": 10**9}


@st.composite
def _names(draw: st.DrawFn) -> tuple[tuple[str, ...], ...]:
    """Three paths that don't lie within one another."""
    paths = draw(st.lists(_path, min_size=3, max_size=3, unique=True))
    if draw(st.booleans()):
        common = draw(_name)
        paths = [(common, *path) for path in paths]
    return tuple((*path[:-1], f"{at}{path[-1]}") for at, path in enumerate(paths))


def _put(line: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        line = line.setdefault(name, {})
    line[path[-1]] = value


@given(st.lists(_event, max_size=8), _names(), st.sampled_from([*_UNITS]), st.booleans())
def test_an_event_under_other_names_counts_as_under_the_default_ones(
    events: list[dict[str, Any]], names: tuple[tuple[str, ...], ...], unit: str | None, quoted: bool
) -> None:
    settings: dict[str, Any] = {
        f"{which}_field": format_path(path) for which, path in zip(("type", "text", "time"), names, strict=True)
    }
    try:
        Settings(**settings)
    except ValueError:  # one lies within another
        return
    lines = []
    for event in events:
        line: dict[str, Any] = {}
        for name, path in zip(("event_type", "data", "timestamp"), names, strict=True):
            if name in event:
                value = event[name]
                if name == "timestamp" and isinstance(value, int) and not isinstance(value, bool):
                    value *= _UNITS[unit]
                    value = str(value) if quoted and unit else value
                _put(line, path, value)
        lines.append(line)
    other = _count(*lines, **settings, time_unit=unit)
    default = _count(*events)
    assert (other.windows, other.rejected) == (default.windows, default.rejected)


@given(
    st.lists(st.binary(max_size=30) | _event.map(lambda event: json.dumps(event).encode()), max_size=5),
    st.sampled_from(["event_type", "a.b", "x"]),
    st.sampled_from(["", "data", "data,c.d", "a.c,e", "event_type"]),
    st.sampled_from(["", "timestamp", "a.at"]),
    st.sampled_from([*_UNITS]),
)
def test_no_bytes_make_it_raise_whatever_the_fields(
    lines: list[bytes], type_field: str, text_field: str, time_field: str, unit: str | None
) -> None:
    names: dict[str, Any] = {
        "type_field": type_field,
        "text_field": text_field,
        "time_field": time_field,
        "time_unit": unit,
    }
    counts = _count(*lines, **names)
    stripped = [line for line in b"\n".join(lines).split(b"\n") if not is_nothing(line)]
    assert counts.events + counts.rejected == len(stripped)
    decoder = Decoder(Settings(**names))
    assert [decoder.reason(line) for line in stripped].count(None) == counts.events


# The page.

_SECTION = re.compile(
    r"<!-- sample: (?P<sample>\S+) -->\n\n"
    r"(?:```json\n(?P<line>.*?)\n```\n\n```ini\n(?P<settings>.*?)\n```\n\n)?"
    r"```console\n\$ tally check (?P<named>\S+)\n(?P<output>.*?)\n```",
    re.DOTALL,
)
_SECTIONS = list(_SECTION.finditer(PAGE.read_text(encoding="utf-8")))


def test_the_page_has_a_section_for_each_sample() -> None:
    assert {section["sample"] for section in _SECTIONS} == {path.name for path in SAMPLES.iterdir()}


@pytest.mark.parametrize("section", _SECTIONS, ids=lambda section: f"{section['sample']}:{bool(section['settings'])}")
def test_the_page_says_what_tally_check_says(
    section: re.Match[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text((section["settings"] or "") + "\n", encoding="utf-8")
    settings = load()
    with (SAMPLES / section["sample"]).open("rb") as file:
        lines = list(read_lines(file, max_line_bytes=settings.max_line_bytes, most_lines=1000))
    assert section["named"] == section["sample"]
    assert describe(check(lines, settings, now_seconds=1_795_446_960)) == section["output"]
    if section["line"] is not None:
        assert section["line"].encode() in lines


def test_the_page_and_the_settings_name_each_other() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = {name.lower() for name in re.findall(r"TALLY_([A-Z_]+)", page)}
    assert named <= set(Settings.model_fields)
    assert {"type_field", "text_field", "time_field", "time_unit", "stop_words", "min_word_length"} <= named
    for name in re.findall(r"`TALLY_([A-Z_]+)` \| `([^`]*)`", page):
        assert str(Settings.model_fields[name[0].lower()].default) == name[1]
