"""Names whose counts are moved to `__other__`: by those who forget them, and because they are rare."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from tally.forgetting import Forgotten
from tally.keys import KINDS, OTHER, Keys, Kind, all_time_key, window_key
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import deltas, names
from tally.store.compacting import Compaction
from tally.store.names import NameStore
from tally.store.reads import CountReader
from tally.store.shards import Shard
from tests.effort import seeds
from tests.fakes import FakeClock
from tests.sharded import Sharded
from tests.stores import AllStores, in_minutes

KEYS = Keys()

#: A moment, in Unix seconds.
NOW = 1_600_000_000.0

#: So few words are the top ones here.
TOP = 5

#: Two lengths are folded, so that names are on their way from window to window.
SETTINGS: Any = {"windows": "60x10,300x24,3600x1000", "words_by_type": "2"}

Everything = dict[str, Counter[str]]


@pytest.fixture
def _few_top_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (deltas, names):
        monkeypatch.setattr(module, "TOP_WORDS", TOP)


async def hashes_of(redis: Any, shard: Shard) -> Everything:
    """Every hash of counts of a shard, by its key."""
    found: Everything = {}
    prefix = shard.keys.types.removesuffix("types")
    async for raw in redis.scan_iter(match=f"{prefix}*"):
        key = raw.decode()
        counts = key.removeprefix(prefix).startswith(("types", "words")) and key != shard.keys.types_numbers
        if counts and await redis.type(raw) == b"hash":
            found[key] = Counter({name.decode(): int(n) for name, n in (await redis.hgetall(raw)).items()})
    return found


def moved(counts: Counter[str], gone: Sequence[str]) -> Counter[str]:
    """What a hash holds when these are moved."""
    left = Counter({name: count for name, count in counts.items() if name not in gone})
    if over := sum(counts[name] for name in gone if name in counts):
        left[OTHER] += over
    return left


def is_of(kind: Kind, key: str) -> bool:
    return key.partition("}:")[2].startswith(kind)


async def assert_top_is_exact(redis: Any, shard: Shard) -> None:
    words = await redis.hgetall(shard.keys.words)
    words.pop(OTHER.encode(), None)
    counts = sorted(map(int, words.values()), reverse=True)
    top = await redis.zrange(shard.keys.top, 0, -1, withscores=True, desc=True)
    assert [int(count) for _, count in top] == counts[:TOP]
    assert all(int(words[name]) == count for name, count in top)
    assert await redis.hget(shard.keys.backlog, "top_floor") is None


def some_lines(chance: random.Random, now: float, lines: int) -> list[bytes]:
    """Lines of few types and many words, over some hours."""
    return [
        json.dumps(
            {
                "event_type": f"t{int(chance.expovariate(0.7))}",
                "data": " ".join(f"w{int(chance.expovariate(0.08))}" for _ in range(chance.randint(0, 12))),
                "timestamp": int(now - chance.expovariate(1 / 4000)),
            }
        ).encode()
        for _ in range(lines)
    ]


async def some_history(redis: Redis, chance: random.Random, *, shards: int) -> Sharded:
    """Counts over some windows, of which some wait to be folded."""
    sharded = Sharded(redis, Settings(shards=shards, **SETTINGS), now=NOW)
    await sharded.begin()
    for _ in range(chance.randint(2, 5)):
        await sharded.spread(some_lines(chance, sharded.now, chance.randint(1, 120)), chance)
        sharded.now += chance.choice([5, 400, 4000])
        if chance.random() < 0.6:
            for shard in sharded.shards:
                await shard.move(chance.randint(0, 5))
    return sharded


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("seed", seeds([1, 2], range(60)))
@pytest.mark.usefixtures("_few_top_words")
async def test_what_is_forgotten_is_under_other_everywhere(redis: Redis, seed: int, shards: int) -> None:
    chance = random.Random(seed)
    sharded = await some_history(redis, chance, shards=shards)
    words = chance.sample([f"w{at}" for at in range(30)], chance.choice([1, 7]))
    types = chance.sample(["t0", "t1", "t2", "t5"], chance.choice([0, 1, 2]))
    for shard in sharded.over:
        before = await hashes_of(redis, shard)
        numbers: Any = await redis.hmget(shard.keys.types_numbers, [*types, ""])
        gone = [f":words@{number.decode().partition(':')[0]}" for number in numbers if number]
        version = (await CountReader(redis, keys=shard.keys, settings=sharded.settings).version())[1]
        store = NameStore(redis, keys=shard.keys, settings=sharded.settings, lengths=sharded.settings.window_lengths)
        fields = 0
        for forgotten in (Forgotten.words(words, normalize=True, fold_case=False), Forgotten.types(types)):
            async for some in store.forget(forgotten):
                fields += some
        await store.rebuild_top()

        expected = {
            key: moved(counts, words if is_of("words", key) else types)
            for key, counts in before.items()
            if not any(key.endswith(each) or f"{each}:" in key for each in gone)
        }
        assert await hashes_of(redis, shard) == expected
        await assert_top_is_exact(redis, shard)
        now = (await CountReader(redis, keys=shard.keys, settings=sharded.settings).version())[1]
        assert (now != version) == bool(fields), "what was read before is outdated"
        assert not await redis.zcard(shard.keys.types_retired)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("seed", seeds([1, 2], range(60)))
@pytest.mark.usefixtures("_few_top_words")
async def test_rare_names_of_all_shards_together_are_compacted(redis: Redis, seed: int, shards: int) -> None:
    chance = random.Random(seed)
    sharded = await some_history(redis, chance, shards=shards)
    under = chance.choice([2, 4, 9])
    before = {shard: await hashes_of(redis, shard) for shard in sharded.over}
    for kind in KINDS:
        sums: Counter[str] = Counter()
        for shard in sharded.over:
            sums.update(before[shard][all_time_key(shard.keys, kind)])
        rare = [name for name, count in sums.items() if count < under and name != OTHER]

        def made(kind: Kind = kind) -> Compaction:
            lengths = sharded.settings.window_lengths
            return Compaction(sharded.over, settings=sharded.settings, lengths=lengths, kind=kind, under=under)

        assert (await made().look()).names == len(rare)
        found = await made().run()
        assert found.names == len(rare)
        for shard in sharded.over:
            after = await hashes_of(redis, shard)
            for key, counts in before[shard].items():
                if is_of(kind, key) and key in after:
                    assert after[key] == moved(counts, rare), key
            await assert_top_is_exact(redis, shard)
        again = await made().run()
        assert (again.names, again.in_windows) == (0, 0)
    for shard in sharded.over:
        numbered = set(await redis.hkeys(shard.keys.types_numbers))
        assert numbered <= set(await redis.hkeys(shard.keys.types)), "a type that went has no words of its own any more"


@pytest.mark.parametrize("seed", seeds([1, 2], range(40)))
@pytest.mark.usefixtures("_few_top_words")
async def test_what_is_counted_and_folded_meanwhile_is_not_lost(
    redis: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    sharded = await some_history(redis, chance, shards=2)
    lengths, compact = sharded.settings.window_lengths, NameStore.compact

    async def beside(self: NameStore, *arguments: Any, **options: Any) -> int:
        moved = await compact(self, *arguments, **options)
        if chance.random() < 0.5:
            await sharded.spread(some_lines(chance, sharded.now, chance.randint(1, 20)), chance)
        sharded.now += chance.choice([0, 0, 300, 3600])
        for shard in sharded.shards:
            await shard.move(chance.randint(0, 3))
        return moved

    async def totals() -> dict[str, int]:
        """What all names come to, of all time, and of all that is in windows, of the words by type, too."""
        found: Counter[str] = Counter()
        for shard in sharded.over:
            for key, counts in (await hashes_of(redis, shard)).items():
                table, _, start = key.partition("}:")[2].partition(":")
                if not start.startswith("60:"):  # what is in a minute is in its hour, too
                    found[f"{table} {bool(start)}"] += counts.total()
        return found

    monkeypatch.setattr(NameStore, "compact", beside)
    for kind in KINDS:
        await Compaction(sharded.over, settings=sharded.settings, lengths=lengths, kind=kind, under=3).run()
    monkeypatch.setattr(NameStore, "compact", compact)
    found = await totals()
    assert found["words False"] == found["words True"] == (await sharded.reader.totals())["words"]
    assert found["types False"] == found["types True"] == (await sharded.reader.totals())["events"]
    await sharded.move()
    assert await totals() == found, "all that is left to be folded is folded"
    for table in [table.partition(" ")[0] for table in found if "@" in table]:
        assert found[f"{table} False"] == found[f"{table} True"]
    for shard in sharded.over:
        await assert_top_is_exact(redis, shard)


async def test_what_is_frequent_in_a_window_stays_there_though_all_time_was_full(redis: Redis) -> None:
    settings = Settings(max_words=2)
    store = AllStores(redis, keys=KEYS, settings=settings)
    await store.create_group()
    for words in ({"a": 9, "b": 1}, {"late": 8, "rare": 1}):
        entry: Any = await redis.xadd(KEYS.stream, {"lines": b"x", "source": "s"})
        assert entry
        entries = await store.read(consumer="a", count=9, block_ms=None)
        await store.count(consumer="a", entries=entries, counts=in_minutes({0: ({}, words)}))
    (shard,) = Sharded(redis, settings, now=NOW).over
    compaction = Compaction([shard], settings=settings, lengths=settings.window_lengths, kind="words", under=5)  # type: ignore[arg-type]
    await compaction.run()
    found = await hashes_of(redis, shard)
    assert found[KEYS.words] == {"a": 9, OTHER: 10}
    assert found[KEYS.window_words(60, 0)] == {"a": 9, "late": 8, OTHER: 2}


async def test_a_name_on_its_way_into_all_time_is_waited_for(redis: Any) -> None:
    """Of a batch the windows come first, and all time last."""
    settings = Settings()
    sharded = Sharded(redis, settings, now=NOW)
    await sharded.begin()
    (shard,) = sharded.over
    await sharded.count([b'{"event_type": "a", "data": "rare often often often"}'], shard=0)
    at = window_key(shard.keys, "words", 60, int(NOW) // 60 * 60)
    await redis.hset(at, "new", 1)
    await redis.hincrby(shard.keys.backlog, "settled", 1)

    class Arriving(FakeClock):
        """It comes while it is waited for, if it does."""

        def __init__(self, *, comes: bool) -> None:
            super().__init__()
            self.comes = comes

        async def sleep(self, seconds: float) -> None:
            self.now += seconds
            if self.comes:
                await redis.hset(shard.keys.words, "new", 5)
                await redis.hset(shard.keys.backlog, "applied", await redis.hget(shard.keys.backlog, "settled"))

    def made(*, comes: bool) -> Compaction:
        clock, lengths = Arriving(comes=comes), settings.window_lengths
        return Compaction(sharded.over, settings=settings, lengths=lengths, kind="words", under=3, clock=clock)

    with pytest.raises(Failure, match="what aggregators have settled is not applied"):
        await made(comes=False).run()
    assert await redis.hmget(at, "new", "rare") == [b"1", b"1"], "windows are as they were"

    await made(comes=True).run()
    assert await redis.hmget(at, "new", "rare", OTHER) == [b"1", None, b"1"]
