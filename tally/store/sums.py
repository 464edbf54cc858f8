"""Hashes of counts added up, in slices that hold up neither Redis nor the api, and bounded while they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tally.store.client import errors_translated, execute

#: How many fields of a hash are asked for at once: about a millisecond of Redis' time.
SCAN_FIELDS = 2000

#: How many hashes are asked at once; between such rounds Redis serves others.
SCAN_HASHES = 8

#: How many names the hashes have together, at the most, that are read at once. One larger hash is read alone.
SCAN_NAMES = 100_000

#: How many small reads go in one pipeline.
PIPELINE_READS = 200

#: How many names are moved before others have their turn: a few milliseconds.
SLICE_NAMES = 10_000


class Gauge(Protocol):
    """Is told what a sum takes, and may refuse it by raising."""

    async def expect(self, *, at_least: int, at_most: int) -> None:
        """Hear how many names there will be, before any is read."""

    def hold(self, names: int, name_bytes: int) -> None:
        """Hear how many names are held now, and the bytes of these names."""


class Ungauged:
    """Refuses nothing."""

    async def expect(self, *, at_least: int, at_most: int) -> None:
        """Take any number."""

    def hold(self, names: int, name_bytes: int) -> None:
        """Take any number."""


@dataclass(slots=True)
class _Part:
    """A hash that is being read. HSCAN may tell a field twice while the hash grows, so it is added when it is whole."""

    key: str
    size: int
    cursor: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    name_bytes: int = 0


async def sizes(redis: Any, keys: Sequence[str]) -> dict[str, int]:
    """Return how many fields each of these hashes has; those that have none are left out. Raises StoreUnavailable."""
    found: list[int] = []
    with errors_translated():
        for first in range(0, len(keys), PIPELINE_READS):
            pipeline = redis.pipeline(transaction=False)
            for key in keys[first : first + PIPELINE_READS]:
                pipeline.hlen(key)
            found += await execute(pipeline)
    return {key: size for key, size in zip(keys, found, strict=True) if size}


async def add_up(redis: Any, keys: Sequence[str], *, gauge: Gauge) -> dict[bytes, int]:
    """Add up hashes of counts: name, in UTF-8, -> count. Raises StoreUnavailable, and what `gauge` raises."""
    found = await sizes(redis, keys)
    await gauge.expect(at_least=max(found.values(), default=0), at_most=sum(found.values()))
    sums: dict[bytes, int] = {}
    try:
        await _add_up(redis, found, sums, gauge)
    except BaseException:
        # To free millions of names at once would hold up everybody for as long.
        while sums:
            for _ in range(min(SLICE_NAMES, len(sums))):
                sums.popitem()
            await asyncio.sleep(0)
        raise
    return sums


async def _add_up(redis: Any, found: dict[str, int], sums: dict[bytes, int], gauge: Gauge) -> None:
    waiting = [_Part(key, size) for key, size in reversed(found.items())]
    reading: list[_Part] = []
    alone = len(waiting) == 1
    sums_bytes = 0
    while waiting or reading:
        names = sum(part.size for part in reading)
        while waiting and len(reading) < SCAN_HASHES and (not reading or names + waiting[-1].size <= SCAN_NAMES):
            reading.append(waiting.pop())
            names += reading[-1].size
        with errors_translated():
            pipeline = redis.pipeline(transaction=False)
            for part in reading:
                pipeline.hscan(part.key, part.cursor, count=SCAN_FIELDS)
            replies = await execute(pipeline)
        for part, (part.cursor, fields) in zip(reading, replies, strict=True):
            name_bytes = sum(map(len, fields))
            if alone:
                # A field that comes again takes its own place.
                sums.update(zip(fields, map(int, fields.values()), strict=True))
                sums_bytes += name_bytes
                continue
            if part.fields:
                part.fields.update(fields)
            else:
                part.fields = fields
            part.name_bytes += name_bytes
            while part.fields and not part.cursor:
                sums_bytes += _move(part.fields, sums)
                await asyncio.sleep(0)
        reading = [part for part in reading if part.cursor]
        gauge.hold(
            len(sums) + sum(len(part.fields) for part in reading), sums_bytes + sum(part.name_bytes for part in reading)
        )


def _move(fields: dict[bytes, bytes], sums: dict[bytes, int]) -> int:
    """Take fields, a slice at the most, out of `fields` and add them. Return the bytes of the names that are new."""
    new_bytes = 0
    for _ in range(min(SLICE_NAMES, len(fields))):
        name, count = fields.popitem()
        held = sums.get(name)
        if held is None:
            sums[name] = int(count)
            new_bytes += len(name)
        else:
            sums[name] = held + int(count)
    return new_bytes
