"""A server filled with many counts, as quickly as it takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import redis

from tally.keys import Keys

KEYS = Keys()

#: Fields in one command, commands in one round trip.
FIELDS, COMMANDS = 5000, 20


def fill(client: redis.Redis, counts: Mapping[str, Iterable[tuple[str, int]]]) -> None:
    """Write hashes of counts, by key."""
    pipeline = client.pipeline(transaction=False)
    for key, items in counts.items():
        part: dict[Any, Any] = {}
        for name, count in items:
            part[name] = count
            if len(part) == FIELDS:
                pipeline.hset(key, mapping=part)
                part = {}
                if len(pipeline) == COMMANDS:
                    pipeline.execute()
        if part:
            pipeline.hset(key, mapping=part)
    pipeline.execute()


def fill_windows(client: redis.Redis, windows: Mapping[int, Iterable[tuple[str, int]]], *, seconds: int = 60) -> None:
    """Write windows of words, by their starts."""
    client.zadd(KEYS.windows(seconds), {str(start): start for start in windows})
    fill(client, {KEYS.window_words(seconds, start): items for start, items in windows.items()})
