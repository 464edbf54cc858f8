"""Any batches in any order, applied chunk by chunk, and windows folded and dropped slice by slice in between.

On the real server, against a count of its own: at every moment each window that is kept is what was added for it.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

import tally.store.windows
from tally.deltas import ALL_TIME, Chunk, Part, Place, chunks_of
from tally.keys import TYPES, WORDS, Keys, Table, window_key, words_of
from tally.settings import Settings
from tally.store import WindowStore
from tally.store.blocks import PendingBlock, Settled
from tally.store.windows import FOLD_FROM_START
from tally.windows import WindowLength
from tally.words_by_type import Numbers
from tests.effort import THOROUGH, seeds
from tests.stores import AllStores

KEYS = Keys()

#: Types that may have their words apart.
TYPES_APART = "xyzw"

#: One to four lengths, so short that their numbers can be followed by hand.
WINDOWS = ["1x5", "1x8,4x6", "1x8,4x6,12x3", "1x6,3x4,6x16,48x3"]


class Truth:
    """What was added, by kind and by the start of the shortest window it is of."""

    def __init__(self) -> None:
        self.copies: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        self.base: list[tuple[str, int, int, Counter[str]]] = []  # kind, level, start
        self.all_time: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, parts: Sequence[Part], n: int) -> None:
        for part in parts:
            counts = Counter(dict(zip(part.names, part.counts, strict=True)))
            for level, start in part.places:
                if level == 0:
                    self.all_time[part.table].update(counts)
                elif level == 1 and n > 1:
                    self.copies[part.table, start].update(counts)
                else:
                    self.base.append((part.table, level, start, counts))

    def between(self, kind: str, start: int, end: int) -> Counter[str]:
        found = (counts for each, _, at, counts in self.base if each == kind and start <= at < end)
        return sum(found, Counter[str]())


class Walk:
    """One shard, whatever happens to it, and what should be in it."""

    def __init__(self, redis: Redis, windows: str, chance: random.Random) -> None:
        self.redis: Any = redis
        self.chance = chance
        self.lengths = Settings(windows=windows).window_lengths
        self.set_up(self.lengths)
        self.truth = Truth()
        self.waiting: list[list[Part]] = []  # the parts of each chunk that is settled and not yet applied
        self.now = chance.choice([-60, 0, 1_600_000_000 // 48 * 48])
        self.cursors: dict[tuple[int, int], str] = {}
        self.floors: tuple[int | None, ...] = (None,) * len(self.lengths)
        self.serial = 0
        self.numbers = Numbers()

    def set_up(self, lengths: Sequence[WindowLength]) -> None:
        settings = Settings(
            windows=",".join(f"{each.seconds}x{each.kept}" for each in lengths), words_by_type=str(len(TYPES_APART))
        )
        self.store = AllStores(self.redis, keys=KEYS, settings=settings)
        # Another one may have given numbers that this one does not know of yet.
        self.windows = WindowStore(self.redis, keys=KEYS, settings=settings)

    async def number(self) -> None:
        """One more type may have its words apart from now on."""
        self.numbers = await self.store.number_types([self.chance.choice(TYPES_APART)])

    @property
    def tables(self) -> list[Table]:
        return [TYPES, WORDS, *(words_of(each.number) for each in self.numbers.by_type.values())]

    # What may happen.

    async def settle(self) -> None:
        self.now += self.chance.choice([0, 0, 0, 1, 1, 2, 7, 40])
        minutes: dict[int, dict[Table, Counter[str]]] = {}
        for _ in range(self.chance.randint(1, 5)):
            at = self.now - self.chance.choice([0, 0, 0, 0, 1, 2, 5, 11, 30, 90, 300])
            counts = minutes.setdefault(at, defaultdict(Counter))
            counts[TYPES].update(self.chance.choices("xyz", k=2))
            counts[WORDS].update(self.chance.choices("abcdefghijkl", k=self.chance.randint(1, 8)))
            for table in self.tables[2:]:
                counts[table].update(self.chance.choices("abcdef", k=self.chance.randint(0, 3)))
        parts = list(self.parts(minutes))
        events = sum(counts[TYPES].total() for counts in minutes.values())
        chunks: list[Chunk] = []
        by_chunk: list[list[Part]] = []
        while parts:  # cut as the caller likes: some parts a chunk
            number = self.chance.randint(1, 4)
            some, parts = parts[:number], parts[number:]
            chunks += chunks_of(some, totals={} if parts else {"events": events, "blocks": 1}, samples=())
            by_chunk.append(some)
        assert len(chunks) == len(by_chunk)
        await self.put(chunks)
        self.waiting += by_chunk

    def parts(self, minutes: Mapping[int, Mapping[Table, Counter[str]]]) -> Iterator[Part]:
        """As an aggregator makes them: the newest first, what is surely old in a longer window at once."""
        n = len(self.lengths)
        bases: dict[tuple[int, int], dict[Table, Counter[str]]] = {}
        for at in sorted(minutes, reverse=True):
            if n > 1:
                for table in self.tables:
                    yield self.part(table, (Place(1, at),), minutes[at][table])
            level = 1 if n == 1 else 2
            while level < n and self.chance.random() < 0.7:
                floor, start = self.floors[level - 1], self.lengths[level - 1].start_of(at)
                if floor is None or start >= floor:
                    break
                level += 1
            base = bases.setdefault((level, self.lengths[level - 1].start_of(at)), defaultdict(Counter))
            for table in self.tables:
                base[table].update(minutes[at][table])
        together = len(bases) == 1
        for (level, start), counts in bases.items():
            for table in self.tables:
                yield self.part(table, (Place(level, start), *([ALL_TIME] if together else [])), counts[table])
        if not together:
            for table in self.tables:
                yield self.part(table, (ALL_TIME,), sum((each[table] for each in bases.values()), Counter[str]()))

    def part(self, table: Table, places: tuple[Place, ...], counts: Counter[str]) -> Part:
        of_type = next((each for each, by in self.numbers.by_type.items() if words_of(by.number) == table), None)
        return Part(table, places, list(counts), list(counts.values()), of_type)

    async def put(self, chunks: Sequence[Chunk]) -> None:
        self.serial += 1
        entry_id: str = (await self.redis.xadd(KEYS.stream, {"lines": b"x", "source": "s"})).decode()
        await self.store.read(consumer="a", count=1, block_ms=None)
        assert await self.store.stage(name=str(self.serial), first=0, chunks=chunks) == "staged"
        blocks = [PendingBlock(entry_id, -1, None)]
        settled = await self.store.settle(consumer="a", blocks=blocks, name=str(self.serial), chunks=chunks)
        assert isinstance(settled, Settled)

    async def apply(self) -> None:
        chunk = await self.store.next_chunk()
        assert (chunk is None) == (not self.waiting)
        if chunk is not None:
            result = await self.store.apply(chunk)
            assert result.word == "applied"
            for before, after in zip(self.floors, result.floors, strict=True):
                assert before is None or (after is not None and after >= before), "floors only rise"
            self.floors = result.floors
            self.truth.add(self.waiting.pop(0), len(self.lengths))
            overdue = await self.windows.overdue()
            assert result.overdue == bool(overdue.folds or overdue.drops)
            assert result.next == await self.store.next_chunk()

    async def fold(self) -> None:
        if folds := (await self.windows.overdue()).folds:
            level, start = self.chance.choice(folds)
            cursor = self.cursors.get((level, start), FOLD_FROM_START)
            if self.chance.random() < 0.2:  # another aggregator, which has not yet heard of any number
                self.set_up(self.lengths)
            word, cursor, _ = await self.windows.fold(level=level, start=start, cursor=cursor)
            assert word in ("more", "folded")
            # Another aggregator may begin anew in the middle.
            self.cursors[level, start] = self.chance.choice([cursor, cursor, FOLD_FROM_START])

    async def drop(self) -> None:
        for level, starts in (await self.windows.overdue()).drops.items():
            some = self.chance.sample(starts, self.chance.randint(1, len(starts)))
            assert await self.windows.drop(level=level, starts=some) == len(some)
            assert await self.windows.drop(level=level, starts=some) == 0

    async def keep_others(self) -> None:
        """More or fewer windows are kept from now on."""
        self.set_up([WindowLength(each.seconds, each.kept + self.chance.choice([0, 0, 8])) for each in self.lengths])

    # What is then so.

    async def starts(self, length: WindowLength) -> list[int]:
        return [int(start) for start in await self.redis.zrange(KEYS.windows(length.seconds), 0, -1)]

    async def check(self) -> None:
        floors, n = (await self.windows.overdue()).floors, len(self.lengths)
        found = [await self.starts(length) for length in self.lengths]
        own: dict[tuple[str, int, int], Counter[str]] = {
            (kind, level, start): Counter(
                {
                    name.decode(): int(count)
                    for name, count in (await self.redis.hgetall(window_key(KEYS, kind, length.seconds, start))).items()
                }
            )
            for level, (length, each) in enumerate(zip(self.lengths, found, strict=True), 1)
            for start in each
            for kind in self.tables
        }
        for table in self.tables:
            key = KEYS.table(table)
            stored = {name.decode(): int(count) for name, count in (await self.redis.hgetall(key)).items()}
            assert stored == self.truth.all_time[table]
        for (kind, start), counts in self.truth.copies.items():
            if floors[0] is None or start >= floors[0]:
                assert own.get((kind, 1, start)) == counts, (kind, 1, start)
        for kind in self.tables:
            for level in range(1 if n == 1 else 2, n + 1):
                length, floor = self.lengths[level - 1], floors[level - 1]
                for start in {length.start_of(at) for _, _, at, _ in self.truth.base}:
                    if floor is not None and start < floor:
                        continue
                    parts = [
                        counts
                        for (each, at_level, at), counts in own.items()
                        if each == kind and (2 if n > 1 else 1) <= at_level <= level
                        if start <= at < start + length.seconds
                    ]
                    assert sum(parts, Counter[str]()) == self.truth.between(kind, start, start + length.seconds), (
                        kind,
                        length,
                        start,
                    )
        assert int(await self.redis.hget(KEYS.totals, "events") or 0) <= self.truth.all_time["types"].total()
        hashes = {key for each in ("types:*:*", "words*:*:*") for key in await self.redis.keys("tally:{0}:" + each)}
        listed = {
            window_key(KEYS, kind, length.seconds, start).encode()
            for length, each in zip(self.lengths, found, strict=True)
            for start in each
            for kind in self.tables
        }
        assert hashes <= listed, "no window is forgotten that still holds names"


@pytest.mark.parametrize("seed", seeds(range(4), range(200 if THOROUGH else 20)))
@pytest.mark.parametrize("windows", WINDOWS)
async def test_every_window_that_is_kept_is_what_was_added(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, windows: str, seed: int
) -> None:
    monkeypatch.setattr(tally.store.windows, "FOLD_NAMES", 2)
    monkeypatch.setattr(tally.store.windows, "FOLD_TABLES", 3)
    walk = Walk(redis, windows, random.Random(seed))
    await walk.store.create_group()
    for _ in range(60):
        steps = [walk.settle] * 3 + [walk.apply] * 7 + [walk.fold] * 4 + [walk.drop] * 2
        steps += [walk.keep_others, walk.number]
        await walk.chance.choice(steps)()
        await walk.check()
    while walk.waiting:
        await walk.apply()
    while (overdue := await walk.windows.overdue()).folds or overdue.drops:
        await walk.fold()
        await walk.drop()
    await walk.check()
    for length, floor in zip(walk.lengths, (await walk.windows.overdue()).floors, strict=True):
        assert all(floor is None or start >= floor for start in await walk.starts(length)), length
    progress = await walk.store.progress()
    assert progress.settled == progress.applied
    events = int(await redis.hget(KEYS.totals, "events") or 0)
    assert events == walk.truth.all_time["types"].total()
