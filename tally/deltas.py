"""What a batch adds to the counts, cut into chunks that Redis takes in a few milliseconds each. Pure: no I/O, no clock.

A *part* is some names with their counts, and the *places* to which these are added: the same words are often those of a
minute, of its hour and of all time. A *chunk* is a run of parts, and what one call of a script applies. It is bounded
by its updates: each name once in each of its places, and something for each place itself, for a hash with one name
costs as well.

The level of a place is the number of a window length, 1 for the shortest; 0 is all time, whose start is 0. Level 1 is a
*copy* where there are longer ones: its counts are in a longer window, too, or were there. A count at any other level is
in that one window alone, or in a longer one, if that length does not reach back to it any more: the script sees to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from tally.keys import Kind, Table

#: How many updates a chunk has at the most: names times places, and HASH_UPDATES for each place.
CHUNK_UPDATES = 1500

#: What a place costs besides its names.
HASH_UPDATES = 20

#: How many bytes a chunk has at the most, unless a single name or the samples are longer.
CHUNK_BYTES = 128 << 10

_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode


class Place(NamedTuple):
    """A hash to which counts are added: the level and the start of a window, or level 0 and start 0 for all time."""

    level: int
    start: int


#: All time.
ALL_TIME = Place(0, 0)


@dataclass(frozen=True, slots=True)
class Part:
    """Names of one table and how often each occurred, to be added at all of these places.

    `of_type` is the type whose words they are, if it is the table of one.
    """

    table: Table | Kind
    places: tuple[Place, ...]
    names: Sequence[str]
    counts: Sequence[int]
    of_type: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A rejected line as it is kept: its first KiB, why, and the name of its source; or one that was accepted."""

    line: bytes
    reason: str
    source: str
    accepted: bool = False

    @property
    def encodable(self) -> tuple[Any, ...]:
        """Return it as it stands in a chunk."""
        found = (_as_str(self.line), self.reason, self.source)
        return (*found, True) if self.accepted else found


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one call of apply.lua adds.

    `targets` is JSON: of each part its table and its places, `[[table, [[level, start], ...]], ...]`, and of the words
    of one type that type, as a third element. `body` is MessagePack: `[[[names, counts], ...], totals, samples]`,
    totals by field and samples as `[line, reason, source]`, with a `true` behind that of a line that was accepted.
    """

    targets: bytes
    body: bytes
    updates: int

    @property
    def bytes(self) -> int:
        """How long it is."""
        return len(self.targets) + len(self.body)


class _Chunk:
    """A chunk that is being made."""

    def __init__(self) -> None:
        self.targets: list[tuple[Any, ...]] = []
        self.parts: list[msgspec.Raw] = []
        self.updates = self.bytes = 0

    def add(self, part: Part, encoded: bytes, updates: int) -> None:
        target = (part.table, part.places) if part.of_type is None else (part.table, part.places, part.of_type)
        self.targets.append(target)
        self.parts.append(msgspec.Raw(encoded))
        self.updates += updates
        self.bytes += len(encoded)

    def done(self, totals: Mapping[str, int], samples: Sequence[Any]) -> Chunk:
        return Chunk(_json(self.targets), _msgpack((self.parts, totals, samples)), self.updates)


def chunks_of(parts: Iterable[Part], *, totals: Mapping[str, int], samples: Sequence[Sample]) -> Iterator[Chunk]:
    """Cut parts into chunks, in their order; totals and samples are in the last one. There is at least one.

    Whatever is to be seen first comes first: the newest minute, so that what is too old is known by then.
    """
    chunk = _Chunk()
    for part in parts:
        places, first = len(part.places), 0
        while first < len(part.names):
            names = (CHUNK_UPDATES - chunk.updates) // places - HASH_UPDATES
            encoded = _encoded(part, first, names, CHUNK_BYTES - chunk.bytes) if names > 0 else None
            if encoded is None and chunk.parts:
                yield chunk.done({}, ())
                chunk = _Chunk()
                continue
            if encoded is None:  # one name that is too long, or too many places
                encoded = _slice(part, first, 1)
            names, data = encoded
            chunk.add(part, data, (names + HASH_UPDATES) * places)
            first += names
    yield chunk.done(totals, [each.encodable for each in samples])


def _encoded(part: Part, first: int, names: int, most_bytes: int) -> tuple[int, bytes] | None:
    """Return how many of these names fit, and those encoded with their counts; None if not even one does."""
    while names:
        names, data = _slice(part, first, names)
        if len(data) <= most_bytes:
            return names, data
        # As many as there would be room for if all were of the mean length, and surely fewer than before.
        names = min(names - 1, names * max(0, most_bytes) // len(data))
    return None


def _slice(part: Part, first: int, names: int) -> tuple[int, bytes]:
    some = part.names[first : first + names]
    return len(some), _msgpack((some, part.counts[first : first + names]))


def _as_str(data: bytes) -> msgspec.Raw:
    """Encode bytes as a string, which may hold any in MessagePack: Redis' Lua knows no other type for them."""
    length = len(data)
    header = b"\xda" + length.to_bytes(2) if length < 1 << 16 else b"\xdb" + length.to_bytes(4)
    return msgspec.Raw(header + data)
