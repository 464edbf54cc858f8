"""An independent count with the standard library, to compare Tally's with. It shares no code with it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.words import words_of


@dataclass
class Plain:
    """What lines add up to: counts by start of a 60 s window, and how many lines were no events."""

    types: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    words: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    events: int = 0
    rejected: int = 0

    def all_types(self) -> dict[str, int]:
        return dict(sum(self.types.values(), Counter()))

    def all_words(self) -> dict[str, int]:
        return dict(sum(self.words.values(), Counter()))


def plain_count(lines: bytes, *, arrived_seconds: float = 0.0) -> Plain:
    """Count a run of lines, each on its own, as the README says what an event is."""
    found = Plain()
    for line in lines.split(b"\n"):
        if not line.strip():
            continue
        event = _event(line)
        if event is None:
            found.rejected += 1
            continue
        at = event.get("timestamp")
        seconds = arrived_seconds if at is None else _seconds(at)
        if seconds > arrived_seconds + 3600:
            seconds = arrived_seconds
        start = int(seconds // 60) * 60
        found.events += 1
        found.types[start][event["event_type"]] += 1
        found.words[start].update(words_of(event["data"]))
    return found


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line.decode("utf-8"), parse_constant=_refuse)
        if not isinstance(event, dict):
            return None
        if not isinstance(event["event_type"], str) or not isinstance(event["data"], str):
            return None
        if event.get("timestamp") is not None:
            _seconds(event["timestamp"])
    except (ValueError, KeyError, RecursionError):
        return None
    return event


def _seconds(at: object) -> float:
    if isinstance(at, bool):
        raise ValueError("not a time")
    if isinstance(at, int | float):
        return at
    if not isinstance(at, str) or "T" not in at:
        raise ValueError("not a time")
    moment = datetime.fromisoformat(at.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.timestamp()


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
