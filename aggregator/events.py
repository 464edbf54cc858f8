"""What is read of a line: a structure for msgspec, built once from the settings, and how to get at what it holds.

The structure has only the fields that the settings name, so msgspec passes over the rest without making anything of
it. Under other names, or nested, events are read as fast as under the default ones: no dictionary is made of a line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import msgspec

from tally.fields import Path
from tally.moments import leap_second
from tally.settings import Settings

#: An event as msgspec makes it; only this module knows its attributes.
Event = Any

#: A time as it stands in an event: a number of units, a moment, or nothing.
Time = int | float | datetime | None

#: What a unit of time is: how many make a second.
UNITS_PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}

_MOMENT = Annotated[datetime, msgspec.Meta(tz=True)]

_TIME: Any = int | float | _MOMENT | None

# Where numbers are also read from strings, "nan" and "inf" would be numbers too. The bounds keep them out.
_FINITE = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
_TIME_OR_STRING: Any = int | _FINITE | _MOMENT | None


@dataclass(slots=True)
class _Node:
    """A field of the structure: an object if it has parts, else a value of this type."""

    required: bool = False
    type: Any = None
    attribute: str = ""
    parts: dict[str, _Node] = field(default_factory=dict)


class EventFields:
    """Reads events and gives what is counted of them: types, texts and times.

    - The type is required, and a string.
    - A single text field is required, and a string. Of several, each is a string, null or missing, on its own.
    - The time may be null or missing: a number in the unit of the settings, or an RFC 3339 string. When the settings
      name a unit, a number may also stand in a string.

    An object on the way to a required field is required; another may be null or missing.
    """

    def __init__(self, settings: Settings) -> None:
        root = _tree(settings, _TIME if settings.time_unit is None else _TIME_OR_STRING)
        alone = len(settings.text_paths) == 1
        decoder = msgspec.json.Decoder(_structure(root), strict=settings.time_unit is None)
        #: One event of a line. Raises msgspec.MsgspecError, ValueError or RecursionError.
        self.decode: Callable[[bytes], Event] = decoder.decode
        #: Many events; no judge of which stand on which lines. Raises likewise.
        self.decode_lines: Callable[[bytes], list[Event]] = decoder.decode_lines
        self.units_per_second = UNITS_PER_SECOND[settings.time_unit or "seconds"]
        self.types: Callable[[list[Event]], list[str]] = _reader(root, settings.type_path)
        self._texts = [_reader(root, path) for path in settings.text_paths]
        self._texts_may_miss = not alone
        self._times = _reader(root, settings.time_path) if settings.time_path is not None else None
        self._decode_text_time = msgspec.json.Decoder(_structure(_tree(settings, str | None))).decode
        self._time_attributes = _attributes(root, settings.time_path or ())

    def decode_leap_second(self, line: bytes) -> Event:
        """Return one event of a line that `decode` refuses for a leap second in its time. Raises as `decode` does."""
        event = holder = self._decode_text_time(line)
        *outer, last = self._time_attributes
        for attribute in outer:
            holder = holder and getattr(holder, attribute)
        text = holder and getattr(holder, last)
        moment = leap_second(text) if text else None
        if moment is None:
            raise ValueError("its time is no leap second")
        setattr(holder, last, moment)
        return event

    def texts(self, events: list[Event]) -> list[str]:
        """Return all the texts of these events, in no particular order."""
        if not self._texts_may_miss:
            return self._texts[0](events)
        return [text for read in self._texts for text in read(events) if text is not None]

    def text_columns(self, events: list[Event]) -> list[list[Any]]:
        """Return the text of each of these events, in their order: a list for each field, but at least one.

        Where an event has none of several fields, that is None.
        """
        return [read(events) for read in self._texts] or [[""] * len(events)]

    def times(self, events: list[Event]) -> list[Time]:
        """Return the time of each of these events, in their order; of those with no time, None."""
        return [None] * len(events) if self._times is None else self._times(events)


def _tree(settings: Settings, time: Any) -> _Node:
    """Return the fields that the settings name, of which the time has this type."""
    root = _Node(required=True)
    alone = len(settings.text_paths) == 1
    for path in settings.text_paths:
        _grow(root, path, str if alone else str | None, required=alone)
    _grow(root, settings.type_path, str, required=True)
    if settings.time_path is not None:
        _grow(root, settings.time_path, time, required=False)
    return root


def _grow(root: _Node, path: Path, value: Any, *, required: bool) -> None:
    """Add the field at `path` to the tree. What one setting requires is required."""
    node = root
    for name in path:
        node = node.parts.setdefault(name, _Node(attribute=f"part_{len(node.parts)}"))
        node.required = node.required or required
    if required or node.type is None:
        node.type = value


def _structure(node: _Node) -> Any:
    """Return the type of this node for msgspec."""
    if not node.parts:
        return node.type
    fields: list[Any] = []
    for part in node.parts.values():
        kind = _structure(part)
        fields.append(
            (part.attribute, kind) if part.required else (part.attribute, kind | None if part.parts else kind, None)
        )
    rename = {part.attribute: name for name, part in node.parts.items()}
    return msgspec.defstruct("Event", fields, rename=rename, kw_only=True, gc=False)


def _attributes(root: _Node, path: Path) -> list[str]:
    """Return the attributes of the structure on the way to what is at `path`."""
    found, node = [], root
    for name in path:
        node = node.parts[name]
        found.append(node.attribute)
    return found


def _reader(root: _Node, path: Path) -> Callable[[list[Event]], list[Any]]:
    """Return a function from events to what they have at `path`, None where they have nothing."""
    steps: list[str] = []  # attributes after which there is always something, with dots between
    node = root
    for name in path:
        if steps and node.required:
            steps[-1] += f".{node.parts[name].attribute}"
        else:
            steps.append(node.parts[name].attribute)
        node = node.parts[name]
    # Compiled from our own names of attributes: spelled out, they are read in half the time that attrgetter takes.
    reads = [eval(f"lambda values: [value.{steps[0]} for value in values]")]  # nosec B307 # no setting's text is in it
    reads += [eval(f"lambda values: [value and value.{step} for value in values]") for step in steps[1:]]  # nosec B307
    if len(reads) == 1:
        only: Callable[[list[Event]], list[Any]] = reads[0]
        return only

    def read(events: list[Event]) -> list[Any]:
        values: list[Any] = events
        for each in reads:
            values = each(values)
        return values

    return read
