"""The oracle: what lines come to, found with the standard library alone, as the README says what an event is.

Tests and benchmarks compare Tally's counts with it. It shares no code with what it checks.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unicodedata import category, normalize

import redis

from tally.keys import Keys
from tally.keys import words_of as words_of_number

_MARKS = "".join(each for each in map(chr, range(sys.maxunicode + 1)) if category(each) in ("Mn", "Mc"))

WORD = re.compile(rf"\w[\w{_MARKS}]*(?:['’\u200c\u200d-][\w{_MARKS}]+)*")

MAX_LINE_BYTES = 1 << 20


@dataclass
class Expected:
    """All-time counts and totals of some lines; and the words by type, which may be known of some types alone."""

    types: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    events: int = 0
    rejected: int = 0
    by_type: dict[str, Counter[str]] = field(default_factory=dict, compare=False)

    @property
    def lines(self) -> int:
        return self.events + self.rejected

    @classmethod
    def of(cls, lines: Iterable[bytes]) -> Expected:
        """Count these lines."""
        found = cls()
        for line in lines:
            if is_nothing(line):
                continue
            event, _ = event_on(line.removesuffix(b"\n"))
            if event is None:
                found.rejected += 1
            else:
                found.events += 1
                found.types[event["event_type"]] += 1
                found.by_type.setdefault(event["event_type"], Counter()).update(words_of(event["data"]))
        for words in found.by_type.values():
            found.words.update(words)
        return found

    def __add__(self, other: Expected) -> Expected:
        return Expected(
            self.types + other.types,
            self.words + other.words,
            self.events + other.events,
            self.rejected + other.rejected,
            {
                each: self.by_type.get(each, Counter()) + other.by_type.get(each, Counter())
                for each in self.by_type.keys() | other.by_type.keys()
            },
        )

    def difference(self, other: Expected) -> str:
        """Return how `other` differs, in a few words; empty when it does not."""
        parts = []
        if other.types != self.types:
            parts.append(f"{other.types.total() - self.types.total():+,} events")
        if other.words != self.words:
            parts.append(f"{other.words.total() - self.words.total():+,} words")
        if other.rejected != self.rejected:
            parts.append(f"{other.rejected - self.rejected:+,} rejected")
        if parts and all(part.startswith("+0") for part in parts):
            return "the same sums, but not the same counts"
        return ", ".join(parts)


def counted(client: redis.Redis, keys: Keys | None = None) -> Expected:
    """Return what the store says, of one shard."""
    keys = keys or Keys()
    read: Any = client
    totals = read.hgetall(keys.totals)
    return Expected(
        types=Counter({name: int(count) for name, count in read.hgetall(keys.types).items()}),
        words=Counter({name: int(count) for name, count in read.hgetall(keys.words).items()}),
        events=int(totals.get("events", 0)),
        rejected=int(totals.get("rejected", 0)),
        by_type=_words_by_type(client, keys),
    )


def _words_by_type(client: Any, keys: Keys) -> dict[str, Counter[str]]:
    numbers: dict[str, str] = client.hgetall(keys.types_numbers)
    return {
        event_type: Counter(
            {
                word: int(count)
                for word, count in client.hgetall(keys.table(words_of_number(int(number.partition(":")[0])))).items()
            }
        )
        for event_type, number in numbers.items()
    }


@dataclass
class Plain:
    """What lines come to: counts by start of a 60 s window, and how many lines were no events."""

    types: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    words: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    events: int = 0
    rejected: int = 0
    padded: int = 0

    def all_types(self) -> dict[str, int]:
        return dict(sum(self.types.values(), Counter()))

    def all_words(self) -> dict[str, int]:
        return dict(sum(self.words.values(), Counter()))


def plain_count(lines: bytes, *, arrived_seconds: float = 0.0, max_line_bytes: int = MAX_LINE_BYTES) -> Plain:
    """Count a run of lines, each on its own, by window."""
    found = Plain()
    for line in lines.split(b"\n"):
        event, padded = event_on(line, max_line_bytes=max_line_bytes)
        found.padded += padded
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


def event_on(line: bytes, *, max_line_bytes: int = MAX_LINE_BYTES) -> tuple[dict[str, Any] | None, bool]:
    """Return the event on a line, if there is one, and whether padding in front of it was passed over."""
    text = text_of(line)
    padded = text != line
    fits = len(text) <= max_line_bytes
    event = _parse(text) if fits else None
    torn = text.rpartition(b"\0")[0] if fits and event is None else b""
    if torn and _parse(torn.rstrip(b"\0")) is None:
        event = _parse(text_of(text.rpartition(b"\0")[2]))
        padded = padded or event is not None
    return event, padded


def words_of(text: str) -> list[str]:
    """Return the words of a text, in its order."""
    return WORD.findall(normalize("NFC", text))


def text_of(line: bytes) -> bytes:
    """Return a line without the NULs and byte order marks in front of it, and the white space among them."""
    text = line
    while text[:1] in (b"\0", b" ", b"\t", b"\r") or text[:3] == b"\xef\xbb\xbf":
        text = text[3:] if text[:1] == b"\xef" else text[1:]
    return text if line[: len(line) - len(text)].strip(b" \t\r") else line


def is_nothing(line: bytes) -> bool:
    """Return whether a line is blank, or has nothing but NULs and byte order marks besides."""
    return not line.replace(b"\xef\xbb\xbf", b"").strip(b"\0 \t\r\v\f")


def _parse(line: bytes) -> dict[str, Any] | None:
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
