"""The records of an export, each a line of JSON; in exports is in which order they come, and how they are checked."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from tally.shards import MOST_SHARDS

#: The largest count there may be: Redis' scripts have numbers that are exact up to it.
MOST_COUNT = 1 << 53

#: The table of words of a type, which has a number in Redis and its own name in an export.
WORDS_OF_TYPE = "words@"

Count: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_COUNT)]
Moment: TypeAlias = Annotated[int, Meta(ge=-MOST_COUNT, le=MOST_COUNT)]
ShardNumber: TypeAlias = Annotated[int, Meta(ge=0, lt=MOST_SHARDS)]
HowManyShards: TypeAlias = Annotated[int, Meta(ge=1, le=MOST_SHARDS)]
StripeBytes: TypeAlias = Annotated[int, Meta(ge=1, le=1 << 40)]
Seconds: TypeAlias = Annotated[int, Meta(ge=1, le=1 << 40)]


class _Record(msgspec.Struct, frozen=True, tag_field="is", forbid_unknown_fields=True):
    """A line. Its name in small letters is what it `is`."""


class Header(_Record, frozen=True, tag="header"):
    """The first line. `stripe_bytes` is None where there is one shard, over which nothing is spread."""

    format: int
    id: str
    tally: str
    namespace: str
    exported_at: Moment
    shards: HowManyShards
    stripe_bytes: StripeBytes | None
    layout: dict[str, str]
    layout_history: list[str]


class Lane(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far one lane of a source is, and the fingerprint of the bytes before that."""

    position: Count
    last: str


class Vector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a source is in each shard, as it was spread over so many."""

    shards: HowManyShards
    stripe_bytes: StripeBytes | None
    lanes: tuple[Lane, ...]


class Source(_Record, frozen=True, tag="source"):
    """A source that can be read again, by its name in the store. The present vector is the first one.

    `seen_ms` is when it was last appended to; None if that is not known.
    """

    name: str
    seen_ms: Moment | None
    vectors: tuple[Vector, ...]


class Once(_Record, frozen=True, tag="once"):
    """Some keys of one of the hashes of idempotency keys, with the digests of their bodies.

    `own` are those that ingestors make; `old` what is next to be forgotten.
    """

    shard: ShardNumber
    own: bool
    age: Literal["new", "old"]
    since_ms: Moment
    expires_ms: Moment
    keys: dict[bytes, bytes]


class Types(_Record, frozen=True, tag="types"):
    """Since when each of these types has words of its own."""

    shard: ShardNumber
    since: dict[str, Moment]


class Counts(_Record, frozen=True, tag="counts", omit_defaults=True):
    """Some names of one hash with their counts: of a window, or of all time, whose length and start are 0.

    Of the table `sources:newest` they are times in Unix milliseconds. `of_type` is with `words@` alone.
    """

    shard: ShardNumber
    table: str
    length: Annotated[int, Meta(ge=0, le=1 << 40)]
    start: Moment
    counts: dict[str, Count]
    of_type: str | None = None


class Top(_Record, frozen=True, tag="top"):
    """The most frequent words of a shard."""

    shard: ShardNumber
    counts: dict[str, Count]


class Floors(_Record, frozen=True, tag="floors"):
    """Length of windows -> start of the oldest one that still gets counts."""

    shard: ShardNumber
    starts: dict[Seconds, Moment]


class Sample(_Record, frozen=True, tag="sample"):
    """A line as it was kept. One that was accepted has no reason."""

    shard: ShardNumber
    kind: Literal["rejected", "accepted"]
    at_ms: Moment
    line: bytes
    reason: str
    source: str


class DeadLetter(_Record, frozen=True, tag="dead_letter"):
    """An entry of the dead letters, with all of its fields."""

    shard: ShardNumber
    id: str
    fields: dict[str, bytes]


class Totals(_Record, frozen=True, tag="totals"):
    """What a shard has counted in all."""

    shard: ShardNumber
    fields: dict[str, Count]


class End(_Record, frozen=True, tag="end"):
    """The last line: how many came before it, and their SHA-256, line ends among them."""

    records: int
    sha256: str


Record: TypeAlias = Header | Source | Once | Types | Counts | Top | Floors | Sample | DeadLetter | Totals | End
