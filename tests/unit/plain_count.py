"""An independent count with the standard library, to compare Tally's with. It shares no code with it."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.words import words_of


@dataclass
class Plain:
    """What lines add up to: counts by start of a 60 s window, and how many lines were no events."""

    types: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    words: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    events: int = 0
    rejected: int = 0
    padded: int = 0

    def all_types(self) -> dict[str, int]:
        return dict(sum(self.types.values(), Counter()))

    def all_words(self) -> dict[str, int]:
        return dict(sum(self.words.values(), Counter()))


def plain_count(lines: bytes, *, arrived_seconds: float = 0.0, max_line_bytes: int = 1 << 20) -> Plain:
    """Count a run of lines, each on its own, as the README says what an event is."""
    found = Plain()
    for line in lines.split(b"\n"):
        text = text_of(line)
        fits = len(text) <= max_line_bytes
        event = _event(text) if fits else None
        torn = text.rpartition(b"\0")[0] if fits and event is None else b""
        if torn and _event(torn.rstrip(b"\0")) is None:
            event = _event(text_of(text.rpartition(b"\0")[2]))
            found.padded += event is not None and text == line
        found.padded += text != line
        if is_nothing(line):
            continue
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


def text_of(line: bytes) -> bytes:
    """A line without the NULs and byte order marks in front of it, and the white space among them."""
    text = line
    while text[:1] in (b"\0", b" ", b"\t", b"\r") or text[:3] == b"\xef\xbb\xbf":
        text = text[3:] if text[:1] == b"\xef" else text[1:]
    return text if line[: len(line) - len(text)].strip(b" \t\r") else line


def is_nothing(line: bytes) -> bool:
    """Whether a line is blank, or has nothing but NULs and byte order marks besides."""
    return not line.replace(b"\xef\xbb\xbf", b"").strip(b"\0 \t\r\v\f")


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
    leaps = ":60" in at
    moment = datetime.fromisoformat(re.sub(r":60(\.\d+)?", ":59.999999", at.replace("Z", "+00:00")))
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    if leaps and (moment + timedelta(microseconds=1)).astimezone(UTC).strftime("%d %H:%M:%S") != "01 00:00:00":
        raise ValueError("not where a leap second may be")
    return moment.timestamp()


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
