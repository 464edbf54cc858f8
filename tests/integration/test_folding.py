"""Windows that are behind their floor: where late counts go, what is folded and what is dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

import tally.store.windows
from tally.deltas import Part, Place, chunks_of
from tally.keys import OTHER, Keys, Kind
from tally.settings import Settings
from tally.store import StoreUnavailable, WindowStore
from tally.store.windows import FOLD_FROM_START
from tests.stores import AllStores

KEYS = Keys()

#: A "minute" of 1 s, an "hour" of 4 s, a "day" of 12 s.
SMALL = "1x8,4x6,12x3"


class Shard:
    """A shard whose windows are looked at."""

    def __init__(self, redis: Redis, windows: str = SMALL, **bounds: Any) -> None:
        self.redis: Any = redis
        settings = Settings(windows=windows, **bounds)
        self.store = AllStores(redis, keys=KEYS, settings=settings)
        self.windows = WindowStore(redis, keys=KEYS, settings=settings)

    async def add(self, counts: Mapping[str, int], *places: tuple[int, int], kind: Kind = "words") -> None:
        """Add counts at these places: (level, start)."""
        await self.store.create_group()
        await self.redis.xadd(KEYS.stream, {"lines": b"x"})
        entries = await self.store.read(consumer="a", count=1, block_ms=None)
        parts = [Part(kind, tuple(Place(*place) for place in places), list(counts), list(counts.values()))]
        chunks = list(chunks_of(parts, totals={}, samples=()))
        name = entries[0].id
        await self.store.stage(name=name, first=0, chunks=chunks)
        await self.store.settle(consumer="a", blocks=[entries[0].pending], name=name, chunks=chunks)
        await self.store.apply_all()

    async def words(self, seconds: int) -> dict[int, dict[str, int]]:
        """The words of each window of this length: start -> word -> count."""
        starts = [int(start) for start in await self.redis.zrange(KEYS.windows(seconds), 0, -1)]
        return {start: await self.hash(KEYS.window_words(seconds, start)) for start in starts}

    async def hash(self, key: str) -> dict[str, int]:
        return {name.decode(): int(count) for name, count in (await self.redis.hgetall(key)).items()}

    async def floors(self) -> list[int | None]:
        return list((await self.windows.overdue()).floors)

    async def overdue(self) -> tuple[list[tuple[int, int]], dict[int, Sequence[int]]]:
        found = await self.windows.overdue()
        return list(found.folds), dict(found.drops)

    async def fold(self, level: int, start: int) -> int:
        """Fold a window to the end; return in how many calls."""
        word, cursor, calls = "more", FOLD_FROM_START, 0
        while word == "more":
            word, cursor, _ = await self.windows.fold(level=level, start=start, cursor=cursor)
            calls += 1
        assert word == "folded"
        return calls


# Floors.


async def test_floors_follow_the_newest_minute_and_only_rise(redis: Redis) -> None:
    shard = Shard(redis)
    assert await shard.floors() == [None, None, None]
    await shard.add({"a": 1}, (1, 100))
    assert await shard.floors() == [93, 80, None], "days are kept by number"
    more = Shard(redis, "1x20,4x8,12x3")
    assert await more.floors() == [93, 80, None]
    await more.add({"a": 1}, (1, 104))
    assert await more.floors() == [93, 80, None], "what is kept for longer was not so far"
    await shard.add({"a": 1}, (1, 104))
    assert await shard.floors() == [97, 84, None]
    fewer = Shard(redis, "1x8,4x6,12x2")
    for day in (36, 60, 84):
        await fewer.add({"a": 1}, (3, day))
    assert await fewer.floors() == [97, 84, 60]
    assert await shard.floors() == [97, 84, 60]


async def test_minutes_are_not_kept_longer_than_hours_where_days_follow(redis: Redis) -> None:
    shard = Shard(redis, "1x60,4x6,12x3")
    await shard.add({"a": 1}, (1, 100))
    assert await shard.floors() == [80, 80, None]


# Where counts go.


@pytest.mark.parametrize(
    ("windows", "place", "found"),
    [
        pytest.param(SMALL, (1, 93), (1, 93), id="a minute at its floor"),
        pytest.param(SMALL, (1, 92), None, id="a minute behind it, whose hour has it"),
        pytest.param(SMALL, (2, 80), (4, 80), id="an hour at its floor"),
        pytest.param(SMALL, (2, 76), (12, 72), id="an hour behind it"),
        pytest.param(SMALL, (3, -24), (12, -24), id="a day"),
        pytest.param("1x8,4x6", (2, 0), (4, 0), id="an hour where there are no days"),
        pytest.param("1x8", (1, -5), (1, -5), id="a minute where there is nothing else"),
        pytest.param("1x8,4x6,12x8,48x3", (2, 76), (12, 72), id="an hour behind its floor, of four lengths"),
        pytest.param("1x8,4x6,12x8,48x3", (2, 4), (48, 0), id="an hour behind the days' floor"),
        pytest.param("1x8,4x6,12x8,48x3", (2, -52), (48, -96), id="an hour before 1970"),
    ],
)
async def test_counts_go_to_the_first_length_that_reaches_back_to_them(
    redis: Redis, windows: str, place: tuple[int, int], found: tuple[int, int] | None
) -> None:
    shard = Shard(redis, windows)
    await shard.add({"now": 1}, (1, 100))
    await shard.add({"a": 3}, place, (0, 0))
    keys = {key.decode() for key in await shard.redis.keys("tally:{0}:words:*")} - {KEYS.window_words(1, 100)}
    assert keys == ({KEYS.window_words(*found)} if found else set())
    for key in keys:
        assert await shard.hash(key) == {"a": 3}
    assert await shard.hash(KEYS.words) == {"a": 3}


async def test_of_the_longest_the_newest_are_kept_however_far_apart(redis: Redis) -> None:
    shard = Shard(redis)
    for day in (0, 120, 1200, 12_000):
        await shard.add({"a": day + 1}, (3, day))
    assert await shard.overdue() == ([], {3: (0,)})
    await shard.add({"late": 1}, (3, 0), (0, 0))
    assert (await shard.words(12))[0] == {"a": 1}, "it is as good as gone"
    assert await shard.windows.drop(level=3, starts=[0, 120]) == 1
    assert sorted(await shard.words(12)) == [120, 1200, 12_000]
    await shard.add({"late": 1}, (3, 600))
    assert await shard.overdue() == ([], {3: (120,)})
    assert (await shard.words(12))[600] == {"late": 1}
    assert await shard.windows.drop(level=3, starts=[120]) == 1
    assert await shard.floors() == [None, None, 600]
    assert await shard.hash(KEYS.words) == {"late": 1}


async def test_a_window_that_is_kept_is_neither_folded_nor_dropped(redis: Redis) -> None:
    shard = Shard(redis)
    await shard.add({"a": 1}, (1, 100), (2, 100))
    before = {key: await redis.dump(key) for key in await redis.keys("*")}
    assert await shard.windows.fold(level=2, start=100, cursor="") == ("kept", "", 0)
    assert await shard.windows.fold(level=2, start=96, cursor="") == ("gone", "", 0)
    assert await shard.windows.drop(level=1, starts=[100, 99]) == 0
    assert await shard.windows.drop(level=3, starts=[]) == 0
    assert {key: await redis.dump(key) for key in await redis.keys("*")} == before


# Folding.


async def test_an_hour_is_folded_into_its_day_in_slices(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard(redis)
    words = {f"w{number}": number for number in range(2000)}
    await shard.add(words, (2, 4))
    await shard.add({"x": 3, "y": 4}, (2, 4), kind="types")
    await shard.add({"w7": 100}, (3, 0))
    await shard.add({"a": 1}, (1, 100))
    assert await shard.overdue() == ([(2, 4)], {})
    monkeypatch.setattr(tally.store.windows, "FOLD_NAMES", 300)
    word, cursor, moved = await shard.windows.fold(level=2, start=4, cursor=FOLD_FROM_START)
    assert word == "more"
    hour, day = await shard.hash(KEYS.window_words(4, 4)), await shard.hash(KEYS.window_words(12, 0))
    assert 200 <= len(day) <= 400
    assert moved == 2000 - len(hour) + 2, "with the types"
    assert not (hour.keys() & day.keys()) - {"w7"}, "each name is in one of them"
    assert await shard.hash(KEYS.folds) == {"number": 1, "0": 1}
    # What comes late now goes to the day, whether or not its name is still in the hour.
    await shard.add({"w1": 1000, "new": 1}, (2, 4))
    assert await shard.fold(2, 4) > 4
    words |= {"w1": 1001, "new": 1, "w7": 107}
    assert await shard.hash(KEYS.window_words(12, 0)) == words
    assert await shard.hash(KEYS.window_types(12, 0)) == {"x": 3, "y": 4}
    assert await shard.words(4) == {}
    folds = await shard.hash(KEYS.folds)
    assert folds["number"] == folds["0"] > 5
    assert await redis.exists(KEYS.window_words(4, 4), KEYS.window_types(4, 4)) == 0
    assert await shard.windows.fold(level=2, start=4, cursor=cursor) == ("gone", "", 0)


async def test_folds_are_told_of_the_longest_window_and_forgotten_with_it(redis: Redis) -> None:
    shard = Shard(redis, "1x8,4x6,12x8,48x3")
    await shard.add({"a": 1}, (2, 4))
    await shard.add({"a": 1}, (2, 52))
    await shard.add({"a": 1}, (1, 100))
    await shard.fold(2, 4)
    await shard.fold(2, 52)
    assert await shard.words(12) == {48: {"a": 1}}, "the days do not reach back to the first"
    assert await shard.words(48) == {0: {"a": 1}}
    assert await shard.hash(KEYS.folds) == {"number": 2, "0": 1, "48": 2}
    await shard.add({"a": 1}, (1, 400))
    await shard.fold(3, 48)
    for start in (96, 144, 192):
        await shard.add({"a": 1}, (4, start))
    assert await shard.overdue() == ([], {1: (100,), 4: (0, 48)})
    assert await shard.windows.drop(level=4, starts=[0, 48]) == 2
    assert await shard.hash(KEYS.folds) == {"number": 3}


async def test_what_is_folded_keeps_within_the_bounds_of_its_day(redis: Redis) -> None:
    shard = Shard(redis, max_window_words=3, max_types=2)
    await shard.add({"a": 1, "b": 2, "c": 4, "d": 8}, (2, 0))
    await shard.add({"b": 16, "e": 32, OTHER: 64}, (3, 0))
    await shard.add({"x": 1, "y": 1}, (2, 0), kind="types")
    await shard.add({"z": 1}, (3, 0), kind="types")
    await shard.add({"a": 1}, (1, 100))
    await shard.fold(2, 0)
    day = await shard.hash(KEYS.window_words(12, 0))
    assert (day["b"], day["e"]) == (18, 32)
    assert len(day) == 4
    assert sum(day.values()) == 127
    assert day[OTHER] == 64 + 8 + (5 - sum(day.get(name, 0) for name in "ac"))
    types = await shard.hash(KEYS.window_types(12, 0))
    assert (types["z"], len(types), sum(types.values())) == (1, 3, 3)


async def test_an_hour_that_is_too_old_for_every_longer_length_leaves(redis: Redis) -> None:
    shard = Shard(redis)
    await shard.add({"a": 1}, (2, 0), (0, 0))
    for day in (60, 72, 84):
        await shard.add({"b": 1}, (3, day))
    await shard.add({"a": 1}, (1, 100))
    assert await shard.overdue() == ([(2, 0)], {})
    assert await shard.windows.fold(level=2, start=0, cursor="") == ("folded", "", 0)
    assert (await shard.words(4), sorted(await shard.words(12))) == ({}, [60, 72, 84])
    assert await shard.hash(KEYS.words) == {"a": 1}


@pytest.mark.parametrize("key", [KEYS.window_words(4, 0), KEYS.window_types(12, 0), KEYS.folds, KEYS.windows(12)])
async def test_a_key_of_another_type_stops_folding(redis: Redis, key: str) -> None:
    shard = Shard(redis)
    await shard.add({"a": 1}, (2, 0))
    await shard.add({"x": 1}, (2, 0), kind="types")
    await shard.add({"a": 1}, (1, 100))
    kept = await redis.dump(key)
    await redis.set(key, "mine")
    before = {each: await redis.dump(each) for each in await redis.keys("*")}
    with pytest.raises(StoreUnavailable, match="is a string and should be a"):
        await shard.windows.fold(level=2, start=0, cursor="")
    assert {each: await redis.dump(each) for each in await redis.keys("*")} == before
    await redis.delete(key)
    if kept:
        await redis.restore(key, 0, kept)
    await shard.fold(2, 0)
    assert await shard.hash(KEYS.window_words(12, 0)) == {"a": 1}


async def test_a_cursor_that_is_lost_or_wrong_costs_nothing(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard(redis)
    words = {f"w{number}": 1 for number in range(1000)}
    await shard.add(words, (2, 0))
    await shard.add({"x": 1}, (2, 0), kind="types")
    await shard.add({"a": 1}, (1, 100))
    monkeypatch.setattr(tally.store.windows, "FOLD_NAMES", 100)
    for cursor in ["", "1:0", "9:9", "nonsense", "2:18446744073709551615", "2:512"]:
        assert (await shard.windows.fold(level=2, start=0, cursor=cursor))[0] == "more", cursor
    # A server that has lost its last second has again what was moved in it.
    await shard.redis.hset(KEYS.window_types(4, 0), "y", 2)
    word, cursor = "more", "2:512"
    while word == "more":
        word, cursor, _ = await shard.windows.fold(level=2, start=0, cursor=cursor)
    assert await shard.hash(KEYS.window_words(12, 0)) == words
    assert await shard.hash(KEYS.window_types(12, 0)) == {"x": 1, "y": 2}
