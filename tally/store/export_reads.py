"""What an export is read by: hashes and streams, slice by slice, so that nothing holds Redis up for long.

The names of a hash are held until they are in their order: two exports of the same counts have the same lines, and
HSCAN may tell a name twice. So it takes as much memory as the largest hash does, 120 bytes a name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from tally.export_records import MOST_COUNT
from tally.runtime import Failure
from tally.store.client import errors_translated, execute
from tally.store.sums import NAMES_AT_ONCE, PIPELINE_READS, sizes, together


async def each_hash(redis: Any, keys: list[str]) -> AsyncIterator[tuple[str, AsyncIterator[dict[bytes, bytes]]]]:
    """Yield all of these hashes that there are, in this order, with their fields, some at a time, to be read at once.

    Small ones are read together, large ones in slices.
    """
    for first in range(0, len(keys), PIPELINE_READS):
        for group in together(await sizes(redis, keys[first : first + PIPELINE_READS])):
            with errors_translated():
                pipeline = redis.pipeline(transaction=False)
                for key in group:
                    pipeline.hscan(key, count=NAMES_AT_ONCE)
                replies = await execute(pipeline)
            for key, (cursor, fields) in zip(group, replies, strict=True):
                yield key, _slices(redis, key, cursor, fields)


async def _slices(redis: Any, key: str, cursor: int, fields: dict[bytes, bytes]) -> AsyncIterator[dict[bytes, bytes]]:
    yield fields
    while cursor:
        with errors_translated():
            cursor, fields = await redis.hscan(key, cursor, count=NAMES_AT_ONCE)
        yield fields


async def counts_of(
    key: str, slices: AsyncIterator[dict[bytes, bytes]], *, newest: bool = False
) -> Iterator[tuple[str, int]]:
    """Return the names in a hash with their counts, in their order.

    What in another client's name is no text is replaced, as in answers. Raises Failure for what is no count.
    """
    found: dict[str, int] = {}
    no_text: dict[bytes, int] = {}
    async for fields in slices:
        try:
            found.update(zip(map(bytes.decode, fields), map(int, fields.values()), strict=True))
        except ValueError:  # as UnicodeDecodeError is one, too
            _take_one_by_one(key, fields, found, no_text)
    for name, count in no_text.items():
        text = name.decode("utf-8", "replace")
        found[text] = max(count, found.get(text, 0)) if newest else count + found.get(text, 0)
    if not 0 <= min(found.values(), default=0) <= max(found.values(), default=0) <= MOST_COUNT:
        raise _no_count(key, *next(each for each in found.items() if not 0 <= each[1] <= MOST_COUNT))
    return ((name, found[name]) for name in sorted(found))


def _take_one_by_one(key: str, fields: dict[bytes, bytes], found: dict[str, int], no_text: dict[bytes, int]) -> None:
    for name, value in fields.items():
        try:
            count = int(value)
        except ValueError:
            raise _no_count(key, name, value) from None
        try:
            found[name.decode()] = count
        except UnicodeDecodeError:
            no_text[name] = count


def _no_count(key: str, name: str | bytes, value: int | bytes) -> Failure:
    return Failure(
        f"{key} holds {value!r:.50} for {name!r:.50}, which is no count: another client has written it; remove it"
    )


async def entries(redis: Any, key: str, at_once: int) -> AsyncIterator[tuple[str, dict[bytes, bytes]]]:
    """Yield the entries of a stream, the oldest first, so many of them read at once."""
    after = "-"
    while True:
        with errors_translated():
            found = await redis.xrange(key, after, "+", count=at_once)
        for id_, fields in found:
            yield id_.decode(), fields
        if len(found) < at_once:
            return
        after = f"({found[-1][0].decode()}"
