"""Words that are counted apart by type: which types have words of their own, and what is in their tables. Reads only.

Numbers are looked up at each read, one round trip: they cost less than being wrong about one that was just given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tally.keys import OTHER, WORDS, Keys, Table, all_time_key, window_key, words_of
from tally.ranges import Window
from tally.selections import TypesOf, WordsOf
from tally.store.client import errors_translated, execute
from tally.store.lua import ReadingScript
from tally.store.sums import NAMES_AT_ONCE, Gauge, read_rows
from tally.words_by_type import parse_numbered

_sum_fields = ReadingScript("sum_fields")

#: Of how many hashes at the most a call sums some fields: about a millisecond of Redis' time, as NAMES_AT_ONCE.
HASHES_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class Apart:
    """A type: how often it was counted, and since when its words are counted apart, in Unix seconds (None: not).

    Of several shards it is the latest of those that do; `whole` is whether all that counted the type do.
    """

    count: int
    since: int | None
    whole: bool

    @classmethod
    def of_all(cls, shards: Sequence[Apart]) -> Apart:
        """Return what is known of a type in several shards together."""
        return cls(
            sum(each.count for each in shards),
            max((each.since for each in shards if each.since is not None), default=None),
            all(each.whole for each in shards),
        )


@dataclass(slots=True)
class ByWord:
    """How often some words stand in events of each type that has words of its own, zeros too.

    `hidden` is how much more often they may, because a table had no room for one of them: only where that may be.
    `overall` is how often they stand in all events, and `overall_hidden` how much more often they may.
    """

    counts: dict[bytes, int] = field(default_factory=dict)
    hidden: dict[bytes, int] = field(default_factory=dict)
    overall: int = 0
    overall_hidden: int = 0

    @property
    def elsewhere(self) -> int:
        """Return how often they stand in events of other types, or of these before they had words of their own."""
        return max(0, self.overall - sum(self.counts.values()))

    def add(self, other: ByWord) -> None:
        """Add what is in other windows, or in another shard."""
        for mine, more in ((self.counts, other.counts), (self.hidden, other.hidden)):
            for name, count in more.items():
                mine[name] = mine.get(name, 0) + count
        self.overall += other.overall
        self.overall_hidden += other.overall_hidden

    @classmethod
    def of_all(cls, shards: Sequence[ByWord]) -> ByWord:
        """Return what several shards have. In one that counts a type's words not apart, they may be all elsewhere."""
        found = cls()
        for each in shards:
            found.add(each)
        for each in shards:
            if most := each.elsewhere + each.overall_hidden:
                for name in found.counts.keys() - each.counts.keys():
                    found.hidden[name] = found.hidden.get(name, 0) + most
        return found


class ApartReader:
    """Reads the tables of words by type, of one shard. Every method raises StoreUnavailable.

    A window that is None is all time.
    """

    def __init__(self, redis: Any, *, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def types(self, types: Sequence[str]) -> list[Apart]:
        """Return what is known of each of these types."""
        names = [type_.encode("utf-8", "replace") for type_ in types]
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hmget(self._keys.types, names)
            pipeline.hmget(self._keys.types_numbers, names)
            counts, numbers = await execute(pipeline)
        return [
            Apart(int(count or 0), parse_numbered(number).since if number else None, bool(number) or not count)
            for count, number in zip(counts, numbers, strict=True)
        ]

    async def tables(self) -> dict[bytes, Table]:
        """Return the tables of all types that have words of their own, by the type."""
        with errors_translated():
            numbers: Mapping[bytes, bytes] = await self._redis.hgetall(self._keys.types_numbers)
        return {name: _table(number) for name, number in numbers.items()}

    async def tables_of(self, types: Sequence[str]) -> list[Table | None]:
        """Return the table of each of these types; None for one without words of its own."""
        if not types:
            return []
        names = [type_.encode("utf-8", "replace") for type_ in types]
        with errors_translated():
            numbers = await self._redis.hmget(self._keys.types_numbers, names)
        return [None if number is None else _table(number) for number in numbers]

    async def keys_of(self, kind: WordsOf, windows: Sequence[Window | None]) -> list[str]:
        """Return the keys of the hashes of these windows that together have what is asked."""
        tables = [table for table in await self.tables_of(kind.types) if table is not None]
        return [self._key(table, window) for window in windows for table in tables]

    async def counts(
        self, kind: WordsOf | TypesOf, names: Sequence[str], windows: Sequence[Window | None]
    ) -> list[list[int]]:
        """Return how often each of these names was counted in each of these windows: a row a window, a column a name.

        Without names, of types by words, one column: how often the words stand in all events.
        """
        if isinstance(kind, WordsOf):
            tables = [table for table in await self.tables_of(kind.types) if table is not None]
            rows = await read_rows(self._redis, [self._key(table, at) for at in windows for table in tables], names)
            each = iter(rows)
            added = ([next(each) for _ in tables] for _ in windows)
            return [[sum(row[column] or 0 for row in part) for column in range(len(names))] for part in added]
        tables_of = await self.tables_of(names) if names else [WORDS]
        keys = (self._key(table, at) for at in windows for table in tables_of if table is not None)
        sums = iter(await self._sums(keys, kind.words))
        return [[0 if table is None else next(sums)[0] for table in tables_of] for _ in windows]

    async def hidden(self, kind: WordsOf, names: Sequence[str]) -> list[int]:
        """Return how much more often each of these words may have been counted in all time.

        That is what is under `__other__` in tables where it has no place of its own.
        """
        rows = await read_rows(self._redis, await self.keys_of(kind, [None]), [OTHER, *names])
        return [
            sum(other or 0 for other, *counts in rows if counts[at] is None) if name != OTHER else 0
            for at, name in enumerate(names)
        ]

    async def by_word(self, kind: TypesOf, windows: Sequence[Window | None], *, gauge: Gauge) -> ByWord:
        """Return what is in these windows by type.

        All words come first: where they do not stand, nothing is looked for by type, which is in most windows for a
        rare word. `gauge` hears how many names are looked up at the most; raises what it raises.
        """
        overall = await self._sums((self._key(WORDS, window) for window in windows), kind.words)
        wanted = _having(windows, [any(found) for found in overall])
        tables = await self.tables()
        await gauge.expect(at_least=len(tables), at_most=len(tables) * len(wanted) * len(kind.words))
        each = await self._sums((self._key(table, at) for table in tables.values() for at in wanted), kind.words)
        found = ByWord(dict.fromkeys(tables, 0), {}, *map(sum, zip((0, 0), *overall, strict=True)))
        for at, name in enumerate(tables):
            counts, hidden = map(sum, zip((0, 0), *each[at * len(wanted) : (at + 1) * len(wanted)], strict=True))
            found.counts[name] = counts
            if hidden:
                found.hidden[name] = hidden
        return found

    async def _sums(self, keys: Iterable[str], names: Sequence[str]) -> list[tuple[int, int]]:
        """Return what these names come to in each of these hashes, and what they may come to besides.

        The keys are made as they are needed: tens of thousands at once would hold up everybody.
        """
        sums: list[tuple[int, int]] = []
        at_once = min(HASHES_AT_ONCE, NAMES_AT_ONCE // (1 + len(names)))
        left = iter(keys)
        while some := list(islice(left, at_once)):
            found = await _sum_fields.run(self._redis, some, {"names": names, "other": OTHER})
            sums += zip(map(int, found[::2]), map(int, found[1::2]), strict=True)
        return sums

    def _key(self, table: Table, window: Window | None) -> str:
        if window is None:
            return all_time_key(self._keys, table)
        return window_key(self._keys, table, window.seconds, window.start)


def _table(number: bytes) -> Table:
    return words_of(parse_numbered(number).number)


def _having(windows: Sequence[Window | None], flags: Sequence[bool]) -> list[Window | None]:
    """Return the windows whose flag is set, and all that are in one of the longest with such a one.

    While a shorter one of these is folded, all words may be in the one, and those of a type in the other.
    """
    longest = max((window.seconds for window in windows if window is not None), default=1)
    places = [window and window.start // longest for window in windows]
    having = {place for place, flag in zip(places, flags, strict=True) if flag}
    return [window for window, place in zip(windows, places, strict=True) if place in having]
