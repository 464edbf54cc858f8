"""Which fields of some lines could be an event's type, text and time: guesses from names and values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import msgspec

from aggregator.events import UNITS_PER_SECOND
from tally.fields import Path, format_path
from tally.moments import leap_second

# Names that programs give these, the likeliest first; compared without case, signs and leading underscores.
_TYPES = """
eventtype eventname event type kind action category level loglevel severity status method stream syslogidentifier
systemdunit transport priority logger service name
"""
_TEXTS = "message msg text data log body content title description shortmessage request uri path query subject"
_TIMES = """
timestamp time ts realtimetimestamp sourcerealtimetimestamp eventtime datetime date timeiso8601 createdat created msec
epoch epochtime unixtime
"""
_TYPE_NAMES, _TEXT_NAMES, _TIME_NAMES = _TYPES.split(), _TEXTS.split(), _TIMES.split()

#: Objects within objects that are looked into, and fields that are looked at.
_MAX_DEPTH, _MAX_PATHS = 5, 500

#: Distinct values of a field that are told apart.
_MAX_DISTINCT = 200

#: Share of the lines that have to have a field for it to be the one that is required: few logs are without exceptions.
_MOST = 0.6

#: Characters in the longest name of a type.
_MAX_TYPE_LENGTH = 48

#: Unix seconds of 2000 and 2100: a number between, in some unit, may be a time of an event.
_FIRST_SECONDS, _LAST_SECONDS = 946_684_800, 4_102_444_800

# Only names that need no quotes, wherever a line of .env may be read.
_PASTABLE = re.compile(r"[^\s\"'#$`\\]+")

_NUMBER = re.compile(r"-?\d{9,20}(?:\.\d{1,9})?", re.ASCII)
_MOMENT = Annotated[datetime, msgspec.Meta(tz=True)]


@dataclass(slots=True)
class _Profile:
    """What a field holds in the lines that have it."""

    seen: int = 0
    strings: int = 0
    length: int = 0  # characters in all strings
    spaced: int = 0  # strings with white space in them
    distinct: set[str] = field(default_factory=set)
    moments: int = 0  # RFC 3339
    units: dict[str, int] = field(default_factory=dict)  # numbers that could be times, by their unit
    quoted: int = 0  # of those, in strings

    def add(self, value: Any) -> None:
        self.seen += 1
        if isinstance(value, str):
            self.strings += 1
            self.length += len(value)
            self.spaced += len(value.split(None, 1)) > 1
            if len(self.distinct) < _MAX_DISTINCT:
                self.distinct.add(value[:256])
            if _NUMBER.fullmatch(value):
                self.quoted += self._add_number(float(value))
            else:
                self.moments += _is_moment(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._add_number(value)

    def _add_number(self, value: float) -> bool:
        for unit, scale in UNITS_PER_SECOND.items():
            if _FIRST_SECONDS * scale <= value < _LAST_SECONDS * scale:
                self.units[unit] = self.units.get(unit, 0) + 1
                return True
        return False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Settings to try, by the names of their variables; and the other fields that might do, best first."""

    settings: dict[str, str]
    others: dict[str, list[str]]


def suggest(objects: Iterable[Mapping[str, Any]]) -> Suggestion | None:
    """Guess the fields of lines that are JSON objects; None if nothing looks like a type."""
    profiles, lines = _profile(objects)
    types = _ranked((path, _type_score(path, profile, lines)) for path, profile in profiles.items())
    if not types:
        return None
    time = _suggest_time(profiles, lines)
    texts = _ranked((path, _text_score(path, profile, lines)) for path, profile in profiles.items())
    chosen = _together([path for path in texts if path != types[0]], profiles, lines)
    return Suggestion(
        {
            "TALLY_TYPE_FIELD": format_path(types[0]),
            "TALLY_TEXT_FIELD": ",".join(map(format_path, chosen)),
            # Lines of which none has a time need no setting for it: it is not required.
            **time.settings,
        },
        {
            "TALLY_TYPE_FIELD": [format_path(path) for path in types[1:4]],
            "TALLY_TEXT_FIELD": [format_path(path) for path in texts if path not in chosen and path != types[0]][:3],
            **time.others,
        },
    )


def suggest_time(objects: Iterable[Mapping[str, Any]]) -> Suggestion | None:
    """Suggest a field for the time alone; None if nothing looks like one."""
    found = _suggest_time(*_profile(objects))
    return found if found.settings else None


def _profile(objects: Iterable[Mapping[str, Any]]) -> tuple[dict[Path, _Profile], int]:
    """Return what the fields hold, and how many objects there are."""
    profiles: dict[Path, _Profile] = {}
    lines = 0
    for each in objects:
        lines += 1
        for path, value in _leaves(each, ()):
            if path in profiles or len(profiles) < _MAX_PATHS:
                profiles.setdefault(path, _Profile()).add(value)
    return profiles, lines


def _suggest_time(profiles: Mapping[Path, _Profile], lines: int) -> Suggestion:
    times = _ranked((path, _time_score(path, profile, lines)) for path, profile in profiles.items())
    if not times:
        return Suggestion({}, {})
    settings = {"TALLY_TIME_FIELD": format_path(times[0])}
    unit = _unit(profiles[times[0]])
    if unit is not None:
        settings["TALLY_TIME_UNIT"] = unit
    return Suggestion(settings, {"TALLY_TIME_FIELD": [format_path(path) for path in times[1:4]]})


def _together(texts: Sequence[Path], profiles: Mapping[Path, _Profile], lines: int) -> Sequence[Path]:
    """Return the text fields to name: the best if most lines have it, else several, which then need not be there."""
    if not texts or profiles[texts[0]].strings >= _MOST * lines:
        return texts[:1]
    # One alone would be required.
    return texts[:4] if len(texts) > 1 else ()


def _leaves(value: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for name, inner in value.items():
        if not isinstance(name, str) or not _PASTABLE.fullmatch(name) or not name.isprintable():
            continue
        if isinstance(inner, Mapping):
            if len(path) + 1 < _MAX_DEPTH:
                yield from _leaves(inner, (*path, name))
        elif inner is not None:
            yield (*path, name), inner


def _ranked(scores: Iterable[tuple[Path, float]]) -> list[Path]:
    """Return paths with a score over 0, the best first; of equals the outermost, then the one first seen."""
    found = [(score, path) for path, score in scores if score > 0]
    return [path for score, path in sorted(found, key=lambda each: (-each[0], len(each[1])))]


def _name_score(path: Path, names: Sequence[str]) -> float:
    """1 for the likeliest name, a little for the least likely, 0 for one that is not among them."""
    name = re.sub(r"[\W_]", "", path[-1]).lower()
    return 1 - names.index(name) / len(names) / 1.5 if name in names else 0.0


def _type_score(path: Path, profile: _Profile, lines: int) -> float:
    """Short strings without white space, of which few are distinct, in most lines."""
    if profile.strings < _MOST * lines or profile.strings < profile.seen:
        return 0
    if profile.moments or profile.units or profile.spaced * 5 > lines:
        return 0
    if profile.length > _MAX_TYPE_LENGTH * lines or not profile.length:
        return 0
    named = _name_score(path, _TYPE_NAMES)
    distinct = len(profile.distinct)
    if not named and (distinct < 2 or distinct * 3 > lines):
        return 0
    return named * 3 + (1 - distinct / lines) + (distinct > 1) + 2 * profile.strings / lines - 0.4 * (len(path) - 1)


def _text_score(path: Path, profile: _Profile, lines: int) -> float:
    """Strings with white space in them, or with the name of a text; the more lines have it, the better."""
    if not profile.strings or profile.strings < _MOST * profile.seen or profile.moments or profile.units:
        return 0
    named = _name_score(path, _TEXT_NAMES)
    spaced = profile.spaced / profile.strings
    if spaced < 0.3 and not named:
        return 0
    return named * 2 + spaced + 2 * profile.strings / lines - 0.1 * (len(path) - 1)


def _time_score(path: Path, profile: _Profile, lines: int) -> float:
    """RFC 3339, or, under the name of a time, numbers that are one in some unit."""
    named = _name_score(path, _TIME_NAMES)
    numbers = max(profile.units.values(), default=0)
    good = profile.moments + (numbers if named else 0)
    if good < profile.seen:  # the others would be rejected
        return 0
    return named + 2 * profile.seen / lines - 0.4 * (len(path) - 1)


def _unit(profile: _Profile) -> str | None:
    """Return what to set as the unit; None where nothing need be set."""
    if not profile.units:
        return None
    unit = max(profile.units, key=lambda each: profile.units[each])
    return None if unit == "seconds" and not profile.quoted else unit


def _is_moment(value: str) -> bool:
    try:
        msgspec.convert(value, type=_MOMENT)
    except (msgspec.MsgspecError, ValueError):
        return leap_second(value) is not None
    return True
