"""Durations and moments as they are written in a query."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tally.moments import leap_second

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

#: 1000 weeks: longer than windows are kept.
MAX_DURATION_SECONDS = 1000 * 604_800

#: The first second of the year 10000: no event has a later time.
_LATEST = 253_402_300_800.0


def read_duration(value: Any) -> int:
    """Return the seconds of `15m`, `6h`, `1d`. Raises ValueError with what would be right."""
    match = re.fullmatch(r"([1-9]\d*)([smhdw])", str(value)[:100], re.ASCII)
    if match is None:
        raise ValueError("a duration is a number and one of s, m, h, d, w, as in 15m")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > MAX_DURATION_SECONDS:
        raise ValueError("a duration is at most 1000w")
    return seconds


def read_moment(value: Any) -> float:
    """Return the Unix seconds of themselves or of an RFC 3339 time. Raises ValueError with what would be right."""
    text = str(value)
    if re.fullmatch(r"-?\d{1,12}(\.\d{1,9})?", text, re.ASCII):
        moment = float(text)
    else:
        # A plus that is not escaped in a URL arrives as a space.
        unescaped = re.sub(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$", r"\1+\2", text, flags=re.ASCII)
        at: datetime | None
        try:
            at = datetime.fromisoformat(unescaped)
        except ValueError:
            at = leap_second(unescaped)
        if at is None or at.tzinfo is None:
            raise ValueError("a time is Unix seconds, or RFC 3339 with an offset, as in 2026-11-23T14:00:00Z")
        moment = at.timestamp()
    if not -_LATEST < moment < _LATEST:
        raise ValueError("a time is before the year 10000")
    return moment


Duration = Annotated[
    int,
    BeforeValidator(read_duration, json_schema_input_type=Annotated[str, Field(pattern="^[1-9][0-9]{0,8}[smhdw]$")]),
]
Moment = Annotated[
    float,
    BeforeValidator(read_moment, json_schema_input_type=str),
]
