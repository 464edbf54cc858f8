"""Moments that RFC 3339 knows and Python does not: leap seconds. Pure."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime
from typing import Annotated

import msgspec

_MOMENT = Annotated[datetime, msgspec.Meta(tz=True)]

_SECOND_60 = re.compile(r"(.+:[0-9]{2}):60(\.[0-9]+)?([Zz+-].*)")


def leap_second(text: str) -> datetime | None:
    """Return the last moment of the minute whose second 60 this RFC 3339 time names; None if it names none.

    So the event stays in the minute, and the day, that is written there. Second 60 is allowed where leap seconds are:
    at the end of the last day of a month, in UTC. Which months had, or will have, one is for no table to say.
    """
    match = _SECOND_60.fullmatch(text)
    if match is None:
        return None
    try:
        before = msgspec.convert(f"{match[1]}:59{match[3]}", type=_MOMENT)
        utc = before.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        return None
    if (utc.hour, utc.minute, utc.day) != (23, 59, monthrange(utc.year, utc.month)[1]):
        return None
    return before.replace(microsecond=999_999)
