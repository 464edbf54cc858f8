"""Counts made independently of Tally, with plain json: what every test of the whole pipeline compares with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import redis

from tally.keys import Keys
from tests.unit.plain_count import is_nothing, text_of
from tests.words import words_of


@dataclass
class Expected:
    """All-time counts and totals of some lines."""

    types: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    events: int = 0
    rejected: int = 0

    @classmethod
    def of(cls, lines: Iterable[bytes]) -> Expected:
        """Count these lines."""
        found = cls()
        for line in lines:
            text = text_of(line)
            if is_nothing(line):
                continue
            event = parse(text)
            if event is None:
                found.rejected += 1
            else:
                found.events += 1
                found.types[event["event_type"]] += 1
                found.words.update(words_of(event["data"]))
        return found


def parse(line: bytes) -> dict[str, Any] | None:
    """The event on this line; None if it is none."""
    try:
        event = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    if not isinstance(event.get("event_type"), str) or not isinstance(event.get("data"), str):
        return None
    timestamp = event.get("timestamp")
    if isinstance(timestamp, str):
        try:
            return event if datetime.fromisoformat(timestamp).tzinfo else None
        except ValueError:
            return None
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float | None):
        return None
    return event


def counted(client: redis.Redis) -> Expected:
    """What the store says."""
    keys: Any = Keys()
    read: Any = client
    totals = read.hgetall(keys.totals)
    return Expected(
        types=Counter({name: int(count) for name, count in read.hgetall(keys.types).items()}),
        words=Counter({name: int(count) for name, count in read.hgetall(keys.words).items()}),
        events=int(totals.get("events", 0)),
        rejected=int(totals.get("rejected", 0)),
    )
