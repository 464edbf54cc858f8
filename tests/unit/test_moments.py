"""Times and durations of a query: the forms that they have, and what is said of others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from api.moments import Moment, read_duration, read_moment
from api.params import TimeRangeParams

NOW = 1_795_000_000.0

#: 2026-11-23T00:00:00Z
DAY = 1_795_392_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("now-1h", NOW - 3600),
        ("now-7d", NOW - 7 * 86_400),
        ("now-1000w", NOW - 1000 * 604_800),
        ("2026-11-23", DAY),
        ("2024-02-29", 1_709_164_800),
        ("0001-01-01", datetime(1, 1, 1, tzinfo=UTC).timestamp()),
        ("2026-11-23T00:00:00Z", DAY),
        ("2026-11-23t01:00:00+01:00", DAY),
        ("2026-11-23T01:00:00 01:00", DAY),  # a plus that was not escaped
        ("2026-11-23 00:00:00.250Z", DAY + 0.25),
        ("2016-12-31T23:59:60Z", 1_483_228_799.999999),
        ("1795392000", DAY),
        ("1795392000.125", DAY + 0.125),
        ("-1", -1),
        ("0", 0),
    ],
)
def test_each_form_of_a_time(text: str, moment: float) -> None:
    assert read_moment(text).at(NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "Now",
        "now+1h",
        "now -1h",
        "2026-11-23T14:00:00",
        "2026-W47-1",
        "23.11.2026",
        "1e9",
        "٢٠٢٦-11-23",
        "nan",
    ],
)
def test_of_another_form_it_is_said_which_are_right(text: str) -> None:
    with pytest.raises(ValueError, match=r"now-1h.*2026-11-23T14:00:00Z.*2026-11-23 .*UTC.*Unix seconds"):
        read_moment(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-02-30", "there is no such day"),
        ("0000-01-01", "there is no such day"),
        ("1795392000000", "ten digits"),
        ("now-1", "a duration is a number and one of"),
        ("now-1001w", "at most 1000w"),
        ("999999999999", "before the year 10000"),
    ],
)
def test_what_is_nearly_a_time_is_told_what_it_lacks(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_moment(text)


@given(st.text(st.sampled_from("now-17hdT:Z.+ 2026٣\n\0"), max_size=20) | st.text(max_size=12))
def test_any_text_is_a_time_or_is_refused_with_a_sentence(text: str) -> None:
    try:
        found: Moment | str = read_moment(text)
    except ValueError as error:
        found = str(error)
    assert found


@given(st.from_regex(TypeAdapter(TimeRangeParams).json_schema()["properties"]["window"]["pattern"], fullmatch=True))
def test_a_duration_that_the_schema_allows_is_taken(text: str) -> None:
    assert read_duration(text) > 0


def forms(which: str) -> Any:
    return next(
        form for form in TypeAdapter(TimeRangeParams).json_schema()["properties"]["from"]["anyOf"] if which in str(form)
    )


@given(
    st.from_regex(forms("now")["pattern"], fullmatch=True)
    | st.from_regex(forms("{1,11}")["pattern"], fullmatch=True)
    | st.dates().map(str)
    | st.datetimes(timezones=st.just(UTC)).map(lambda at: at.isoformat().replace("+00:00", "Z"))
)
def test_a_time_that_the_schema_allows_is_taken(text: str) -> None:
    read_moment(text)


def range_of(**given: str) -> TimeRangeParams:
    return TimeRangeParams.model_validate(given)


def test_a_time_range_of_relative_times_moves_with_the_clock() -> None:
    asked = range_of(**{"from": "now-1h", "to": "now"})
    for now in (NOW, NOW + 86_400):
        assert not list(asked.contradictions(now=now))
        bounds = asked.bounds(unit_seconds=60, now=now)
        assert bounds is not None
        assert bounds[0] <= now - 3600 < bounds[0] + 60
        assert bounds[1] - 60 < now <= bounds[1]


def test_a_day_is_from_a_date_to_the_next() -> None:
    asked = range_of(**{"from": "2026-11-23", "to": "2026-11-24"})
    assert asked.bounds(unit_seconds=60, now=NOW) == (DAY, DAY + 86_400)
    assert asked.closed(unit_seconds=3600, now=DAY + 2 * 86_400) == (DAY, DAY + 86_400)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"from": "now-1h", "to": "now-1h"}, "from"),
        ({"from": "now", "to": "now-1h"}, "from"),
        ({"from": "2026-11-23", "to": "2026-11-23"}, "from"),
        ({"from": "now"}, "from"),
        ({"to": "now"}, "from"),
        ({"window": "1h", "from": "now-1h"}, "window"),
    ],
)
def test_what_contradicts_is_told(given: dict[str, str], wrong: str) -> None:
    ((name, _),) = range_of(**given).contradictions(now=NOW)
    assert name == wrong
