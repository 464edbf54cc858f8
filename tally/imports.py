"""What of an export goes to which shard where it is imported, and as what. Pure: no I/O, no clock.

Where there are as many shards as there were, each gets what one of them had. Else a count goes to the shard of its
name, so that a name is in one of them and no bound is met by names that are in all; what has no name goes by the number
of the shard that it was in. Samples and dead letters, too: they are told of all shards together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from tally.deltas import ALL_TIME, Part, Place
from tally.export_records import WORDS_OF_TYPE, Counts, Floors, Header, Once, Record, Source, Types
from tally.exports import NotAnExport
from tally.keys import SOURCE_NEWEST, TYPES, Table, words_of
from tally.shards import shard_of
from tally.words_by_type import Numbered

#: Opens an export again, from its beginning.
Opener: TypeAlias = Callable[[], AbstractContextManager[Iterator[Record]]]

#: What all counts of an export may come to at the most: hashes have numbers to 2^63, and names may be added up.
MOST_COUNTED = 1 << 62


@dataclass(slots=True)
class Plan:
    """What is to be known of an export before any of it is written."""

    header: Header
    #: How many records there are, the header among them.
    records: int = 1
    counted: int = 0
    #: Of each of its shards: floors by length, and since when types had words of their own, in Unix seconds.
    floors: dict[int, dict[int, int]] = field(default_factory=dict)
    since: dict[int, dict[str, int]] = field(default_factory=dict)
    #: Of each of its shards the types that were counted.
    types: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: How many sources, idempotency keys and names in hashes there are.
    sources: int = 0
    keys: int = 0
    names: int = 0

    def floors_for(self, shard: int, shards: int) -> dict[int, int]:
        """Return the floor of each length in one of so many shards: answers reach back as far as all shards do."""
        found: dict[int, int] = {}
        for each in self._shards_for(shard, shards):
            for seconds, start in self.floors.get(each, {}).items():
                found[seconds] = max(start, found.get(seconds, start))
        return found

    def since_for(self, shard: int, shards: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return since when types have their words apart in one of so many shards, in Unix seconds.

        And since when they would, of those that were counted without that: since the export was made.
        """
        own: dict[str, int] = {}
        without: dict[str, int] = {}
        for each in self._shards_for(shard, shards):
            numbered = self.since.get(each, {})
            for event_type, since in numbered.items():
                own[event_type] = max(since, own.get(event_type, since))
            without |= dict.fromkeys(self.types.get(each, set()) - numbered.keys(), self.header.exported_at)
        return {name: max(since, without.get(name, since)) for name, since in own.items()}, without

    def _shards_for(self, shard: int, shards: int) -> Iterable[int]:
        """Return the shards of the export of which something goes to one of so many."""
        return (shard,) if shards == self.header.shards else range(self.header.shards)


def planned(records: Iterator[Record]) -> Plan:
    """Return the plan for an export, which is read to its end. Raises NotAnExport where it is none, or not whole."""
    header = next(records)
    assert isinstance(header, Header)  # records_of sees to it
    plan = Plan(header)
    for record in records:
        plan.records += 1
        if isinstance(record, Counts):
            plan.names += len(record.counts)
            if record.table != SOURCE_NEWEST:
                plan.counted += sum(record.counts.values())
            if record.table == TYPES and not record.length:
                plan.types[record.shard].update(record.counts)
        elif isinstance(record, Floors):
            plan.floors.setdefault(record.shard, {}).update(record.starts)
        elif isinstance(record, Types):
            plan.since.setdefault(record.shard, {}).update(record.since)
        elif isinstance(record, Source):
            plan.sources += 1
        elif isinstance(record, Once):
            plan.keys += len(record.keys)
    if plan.counted > MOST_COUNTED:
        raise NotAnExport("its counts are larger than any that this program adds up")
    return plan


@dataclass(frozen=True, slots=True)
class Routes:
    """Which of so many shards something of an export goes to."""

    shards: int
    exported: int

    def of_shard(self, shard: int) -> int:
        """Return where that goes which has no name."""
        return shard % self.shards

    def of_names(self, record: Counts) -> dict[int, dict[str, int]]:
        """Return the counts of each shard that gets some."""
        if self.shards in (1, self.exported):
            return {record.shard % self.shards: record.counts}
        found: dict[int, dict[str, int]] = defaultdict(dict)
        for name, count in record.counts.items():
            found[shard_of(name, self.shards)][name] = count
        return found

    def of_keys(self, record: Once) -> dict[int, dict[bytes, bytes]]:
        """Return the idempotency keys of each shard that gets some."""
        if self.shards in (1, self.exported):
            return {record.shard % self.shards: record.keys}
        found: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        for key, digest in record.keys.items():
            found[shard_of(key, self.shards)][key] = digest
        return found


def renumbered(targets: bytes, numbers: Mapping[str, Numbered]) -> bytes:
    """Return the targets of a chunk with the numbers that types have here; as they are where they cannot be read.

    That is why a chunk is a dead letter. Words of a type that has no number here go nowhere.
    """
    try:
        parts = msgspec.json.decode(targets, type=list[list[Any]])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return targets
    for part in parts:
        if len(part) == 3 and isinstance(part[2], str) and (numbered := numbers.get(part[2])):
            part[0] = words_of(numbered.number)
    return msgspec.json.encode(parts)


def part_of(
    record: Counts, counts: Mapping[str, int], levels: Mapping[int, int], numbers: Mapping[str, Numbered]
) -> Part | None:
    """Return counts as they are applied: None if they are words of a type that has no number here.

    `levels` are the numbers of the window lengths by their seconds. The words are among those of all types, too.
    """
    place = Place(levels[record.length], record.start) if record.length else ALL_TIME
    table = Table(record.table)
    if record.table == WORDS_OF_TYPE:
        assert record.of_type is not None  # records_of sees to it
        if (numbered := numbers.get(record.of_type)) is None:
            return None
        table = words_of(numbered.number)
    return Part(table, (place,), list(counts), list(counts.values()), record.of_type)
