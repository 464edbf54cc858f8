"""Durations and moments as they are written in a query."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

import msgspec
from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from tally.moments import leap_second

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

#: 1000 weeks: longer than windows are kept.
MAX_DURATION_SECONDS = 1000 * 604_800

#: What is surely not over that, as a pattern for the OpenAPI document: so many digits of each unit.
_DURATION = "([1-9][0-9]{0,7}s|[1-9][0-9]{0,6}m|[1-9][0-9]{0,4}h|[1-9][0-9]{0,2}[dw]|[1-6][0-9]{3}d)"

#: The first second of the year 10000: no event has a later time.
_LATEST = 253_402_300_800.0

#: How a time may be written.
_RIGHT = (
    "a time is now, now less a duration as in now-1h, RFC 3339 with an offset as in 2026-11-23T14:00:00Z, a date as in "
    "2026-11-23 (where that day begins in UTC), or Unix seconds"
)


class Moment(msgspec.Struct, frozen=True):
    """A moment that was asked for: Unix seconds, or seconds from now on.

    No dataclass: FastAPI would describe that in the OpenAPI document.
    """

    seconds: float
    from_now: bool = False

    def at(self, now: float) -> float:
        """Return it in Unix seconds, asked for at `now`."""
        return now + self.seconds if self.from_now else self.seconds


#: One that could not be read: neither before nor after any other.
UNREADABLE = Moment(float("nan"))


def read_duration(value: Any) -> int:
    """Return the seconds of `15m`, `6h`, `1d`. Raises ValueError with what would be right."""
    match = re.fullmatch(r"([1-9]\d*)([smhdw])", str(value)[:100], re.ASCII)
    if match is None:
        raise ValueError("a duration is a number and one of s, m, h, d, w, as in 15m")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > MAX_DURATION_SECONDS:
        raise ValueError("a duration is at most 1000w")
    return seconds


def read_moment(value: Any) -> Moment:
    """Return the moment that any of the forms tells. Raises ValueError with those that are right."""
    text = str(value)
    if text == "now":
        return Moment(0.0, from_now=True)
    if text.startswith("now-"):
        return Moment(-float(read_duration(text.removeprefix("now-"))), from_now=True)
    if re.fullmatch(r"-?\d{1,12}(\.\d{1,9})?", text, re.ASCII):
        seconds = float(text)
    elif re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        seconds = _day(text)
    else:
        seconds = _rfc3339(text)
    if not -_LATEST < seconds < _LATEST:
        raise ValueError("a time is before the year 10000")
    return Moment(seconds)


def _day(text: str) -> float:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"there is no such day; {_RIGHT}") from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _rfc3339(text: str) -> float:
    # A plus that is not escaped in a URL arrives as a space.
    unescaped = re.sub(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$", r"\1+\2", text, flags=re.ASCII)
    at: datetime | None
    try:
        at = datetime.fromisoformat(unescaped)
    except ValueError:
        at = leap_second(unescaped)
    if at is None or at.tzinfo is None:
        milliseconds = re.fullmatch(r"-?\d{13,19}", text, re.ASCII)
        raise ValueError(f"{_RIGHT}, which these are not: they have ten digits" if milliseconds else _RIGHT)
    return at.timestamp()


#: What the reference says in place of a pattern.
WRITTEN = "x-written"

_DURATION_SCHEMA = Field(pattern=f"^{_DURATION}$", json_schema_extra={WRITTEN: "duration"})

_MOMENT_FORMS: tuple[dict[str, str], ...] = (
    {"format": "date-time"},
    {"format": "date"},
    {"pattern": f"^now(-{_DURATION})?$"},
    {"pattern": r"^-?[0-9]{1,11}(\.[0-9]{1,9})?$"},
)

Duration = Annotated[
    int,
    BeforeValidator(read_duration, json_schema_input_type=Annotated[str, _DURATION_SCHEMA]),
]
AskedMoment = Annotated[
    Moment,
    PlainValidator(read_moment),
    WithJsonSchema({"anyOf": [{"type": "string", WRITTEN: "moment", **form} for form in _MOMENT_FORMS]}),
]
