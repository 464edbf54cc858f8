"""An export that is written by hand, with everything in it that there is, and what it comes to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from tally.export_records import (
    Counts,
    DeadLetter,
    Floors,
    Header,
    Lane,
    Once,
    Record,
    Sample,
    Source,
    Top,
    Totals,
    Types,
    Vector,
)
from tally.exports import FORMAT, Encoder, in_lines, records_of
from tally.imports import Plan, planned
from tally.layout import Layout
from tally.settings import Settings

#: A day, in Unix seconds, in which the newest windows of these exports are.
DAY = 1_764_201_600

#: When they were made: in the hour behind that of the newest minutes.
AT = DAY + 7200

#: How many kinds of records need a shard.
SOURCE, KEY = "file:/logs/{}#4-0123456789abcdef", "key {}"


def stored(text: str, size: int = 12) -> bytes:
    """Return a key, or with eight bytes a digest, as append_once has stored it."""
    return blake2b(text.encode(), digest_size=size).digest()


class Export:
    """Its lines, and how an import reads them."""

    def __init__(self, records: Sequence[Record], settings: Settings, *, id_: str = "0" * 32) -> None:
        shards = settings.shards
        header = Header(
            format=FORMAT,
            id=id_,
            tally="0",
            namespace="elsewhere",
            exported_at=AT,
            shards=shards,
            stripe_bytes=settings.stripe_bytes if shards > 1 else None,
            layout=dict(Layout.of(settings).fields) | {"since": str(DAY)},
            layout_history=['{"at": 1, "changes": {"fold_case": ["true", "false"]}}'],
        )
        encoder = Encoder()
        self.records = records
        self.lines = [encoder.line(record) for record in (header, *records)]
        self.lines.append(encoder.end())

    @contextmanager
    def opened(self) -> Iterator[Iterator[Record]]:
        yield records_of(iter(self.lines))

    @property
    def plan(self) -> Plan:
        with self.opened() as records:
            return planned(records)

    def counts(self) -> dict[tuple[str, int, int, str | None], Counter[str]]:
        """What it comes to, of each table and window; of `sources:newest` the largest."""
        found: dict[tuple[str, int, int, str | None], Counter[str]] = defaultdict(Counter)
        for record in self.records:
            if isinstance(record, Counts):
                at = found[record.table, record.length, record.start, record.of_type]
                for name, count in record.counts.items():
                    at[name] = max(at[name], count) if record.table == "sources:newest" else at[name] + count
        return dict(found)

    def totals(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for record in self.records:
            if isinstance(record, Totals):
                found.update(record.fields)
        return found

    def of(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]


def everything(settings: Settings, *, names: int = 12, expires_ms: int = 1 << 50) -> list[Record]:
    """Return records of all kinds, of each shard: words in the newest minute and its hour, types in a day before."""
    shards = range(settings.shards)
    several = settings.shards > 1
    stripe_bytes = settings.stripe_bytes if several else None

    def vector(number: int) -> Vector:
        return Vector(
            len(shards), stripe_bytes, tuple(Lane(100 + number + shard, f"4-{number:016x}") for shard in shards)
        )

    found: list[Record] = [Source(SOURCE.format(number), AT * 1000, (vector(number),)) for number in range(5)]
    found += (
        Once(shard, False, age, AT * 1000, expires_ms, _keys(shard, age)) for shard in shards for age in ("old", "new")
    )
    found += (Types(shard, {"a": DAY + shard}) for shard in shards)
    for shard in shards:
        found += _of_shard(shard, names)
    found += (
        Totals(
            shard, {"events": 10 + shard, "words": 1 << 40, "rejected": 1, "rejected:json": 1, "lines": 11, "bytes": 99}
        )
        for shard in shards
    )
    return found


def _keys(shard: int, age: str) -> dict[bytes, bytes]:
    return {stored(KEY.format(f"{age} {shard} {number}")): stored("body", 8) for number in range(3)}


def _of_shard(shard: int, names: int) -> Iterator[Record]:
    words = {f"w{number}": number + 1 + shard for number in range(names)}
    for length, start in ((60, DAY + 3540), (60, DAY + 3480), (3600, DAY), (86400, DAY - 86400), (0, 0)):
        yield Counts(shard, "types", length, start, {"a": 7 + shard, "b": 3})
        for some in in_lines((words | {"é": 1, "__other__": 2}).items()):
            yield Counts(shard, "words", length, start, some)
        for some in in_lines(words.items()):
            yield Counts(shard, "words@", length, start, some, "a")
    for table in ("sources:lines", "sources:rejected", "sources:newest"):
        yield Counts(shard, table, 0, 0, {"file:/logs/0": 5 + shard, f"file:/logs/{shard}": 1})
    yield Top(shard, words)
    yield Floors(shard, {60: DAY - 3600 + 60 * shard})
    for number in range(3):
        at_ms = (DAY + 60 * number + shard) * 1000
        yield Sample(shard, "rejected", at_ms, b"garbage \xff %d" % number, "not JSON", "file:/logs/0")
        yield Sample(shard, "accepted", at_ms, b'{"data":"w%d"}' % number, "", "file:/logs/0")
    block = {"lines": b"x", "source": b"file:/logs/0", "appended_ms": b"1", "id": b"7-0", "deliveries": b"9"}
    yield DeadLetter(shard, f"{AT - 100 + shard}000-0", block)
