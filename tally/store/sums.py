"""Hashes of counts added up, in slices that hold up neither Redis nor the api, and bounded while they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tally.store.client import errors_translated, execute

#: How many names are read at once, of one hash or of several: about a millisecond of Redis' time. A pipeline holds
#: Redis for as long as a single command that did all its work.
NAMES_AT_ONCE = 2000

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
class Sums:
    """Counts added up, by name in UTF-8, and how many bytes these names have."""

    counts: dict[bytes, int] = field(default_factory=dict)
    name_bytes: int = 0

    async def take(self, other: Sums) -> None:
        """Add other sums, which are empty then."""
        if not self.counts:
            self.counts, self.name_bytes, other.counts, other.name_bytes = other.counts, other.name_bytes, {}, 0
        while other.counts:
            self._move(other.counts)
            await asyncio.sleep(0)

    def set_fields(self, fields: dict[bytes, bytes]) -> None:
        """Add some fields of the only hash there is, and empty them. One that comes again takes its own place."""
        self.counts.update(zip(fields, map(int, fields.values()), strict=True))
        self.name_bytes += sum(map(len, fields))
        fields.clear()

    async def take_fields(self, fields: dict[bytes, bytes]) -> None:
        """Add the fields of a hash, which is empty then."""
        while fields:
            self._move(fields)
            await asyncio.sleep(0)

    def _move(self, fields: dict[bytes, bytes] | dict[bytes, int]) -> None:
        """Take fields, a slice at the most, out of `fields` and add them."""
        counts = self.counts
        for _ in range(min(SLICE_NAMES, len(fields))):
            name, count = fields.popitem()
            held = counts.get(name)
            if held is None:
                counts[name] = int(count)
                self.name_bytes += len(name)
            else:
                counts[name] = held + int(count)

    async def clear(self) -> None:
        """Forget everything. To free millions of names at once would hold up everybody for as long."""
        while self.counts:
            for _ in range(min(SLICE_NAMES, len(self.counts))):
                self.counts.popitem()
            await asyncio.sleep(0)
        self.name_bytes = 0


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


async def read_rows(redis: Any, keys: Sequence[str], names: Sequence[str]) -> list[list[int | None]]:
    """Return the count of each name in each of these hashes, None where it has none: a row a hash, a column a name.

    Raises StoreUnavailable.
    """
    rows: list[list[int | None]] = []
    fields, at_once = list(names), max(1, min(PIPELINE_READS, NAMES_AT_ONCE // max(1, len(names))))
    with errors_translated():
        for first in range(0, len(keys), at_once):
            pipeline = redis.pipeline(transaction=False)
            for key in keys[first : first + at_once]:
                pipeline.hmget(key, fields)
            rows += [[None if count is None else int(count) for count in row] for row in await execute(pipeline)]
    return rows


def together(found: Mapping[str, int], *, names: int = NAMES_AT_ONCE) -> Iterator[list[str]]:
    """Yield the keys of hashes, whose sizes these are, in the order they came: as many as are read in one pipeline.

    Together they have at most so many names, or one has more by itself.
    """
    group: list[str] = []
    size = 0
    for key, each in found.items():
        if group and (size + each > names or len(group) == PIPELINE_READS):
            yield group
            group, size = [], 0
        group.append(key)
        size += each
    if group:
        yield group


async def add_up(redis: Any, keys: Sequence[str], *, gauge: Gauge, beside: Iterable[Sums] = ()) -> Sums:
    """Add up hashes of counts. Raises StoreUnavailable, and what `gauge` raises, which hears of those `beside`, too."""
    found = await sizes(redis, keys)
    await gauge.expect(at_least=max(found.values(), default=0), at_most=sum(found.values()))
    sums, others = Sums(), tuple(beside)
    alone = len(found) == 1

    def hold(names: int, name_bytes: int) -> None:
        held = (sums, *others)
        gauge.hold(sum(len(each.counts) for each in held) + names, sum(each.name_bytes for each in held) + name_bytes)

    try:
        for group in together(found):
            with errors_translated():
                pipeline = redis.pipeline(transaction=False)
                for key in group:
                    pipeline.hscan(key, count=NAMES_AT_ONCE)
                replies = await execute(pipeline)
            for key, (cursor, fields) in zip(group, replies, strict=True):
                if alone:
                    sums.set_fields(fields)
                name_bytes = sum(map(len, fields))
                while cursor:
                    hold(len(fields), name_bytes)
                    with errors_translated():
                        cursor, more = await redis.hscan(key, cursor, count=NAMES_AT_ONCE)
                    if alone:
                        sums.set_fields(more)
                        continue
                    # HSCAN may tell a field twice while the hash grows, so they are added when it is whole.
                    name_bytes += sum(map(len, more))
                    fields.update(more)
                await sums.take_fields(fields)
            hold(0, 0)
    except BaseException:
        await sums.clear()
        raise
    return sums
