"""Words by type when another setting is accepted: which tables stay, and what becomes of the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from aggregator.folding import Folding
from tally.deltas import ALL_TIME, Part, chunks_of
from tally.keys import words_of
from tally.settings import Settings
from tally.store import WindowStore, windows
from tally.store.acceptance import Acceptance
from tally.store.dead_letters import DeadLetterStore
from tally.store.deltas import UsedNumbers
from tally.store.tables import HASHES_AT_ONCE
from tally.store.windows import FOLD_TABLES
from tests.integration.test_words_by_type import KEYS, Shard, chunks_with
from tests.stores import AllStores, typed_minutes

WINDOWS = "60x120,3600x48,86400x10"

#: Starts of windows: of a minute and its hour, and of the day before.
HOUR = 1_600_000_000 // 86_400 * 86_400 + 3600
BEFORE = HOUR - 86_400


async def _counted_by_type(redis: Redis, *types: str, **settings: Any) -> AllStores:
    """A shard in which there are words of these types, of all time, in two minutes and in what holds these."""
    shard = Shard(redis, windows=WINDOWS, words_by_type=str(len(types)), **settings)
    await shard.store.ensure_layout()
    for start in (BEFORE, HOUR):
        block = await shard.block()
        entry = await shard.store.retry(consumer="a", entry_id=block.id, deliveries=1)
        assert entry is not None
        counts = typed_minutes({start: {each: (1, {"a": 1, each: 2}) for each in types}})
        await shard.store.count(consumer="a", entries=[entry], counts=counts)
    return shard.store


async def _tables(redis: Any) -> set[str]:
    """The tables of the words of types of which there is any hash."""
    return {key.decode().split(":")[2] for key in await redis.keys("tally:{0}:words@*")}


async def _upkeep(redis: Redis, **settings: Any) -> None:
    folding = Folding(WindowStore(redis, keys=KEYS, settings=Settings(**settings)))
    while folding.overdue:
        await folding.step()


@pytest.mark.parametrize(
    ("setting", "stay"),
    [("2", {"x", "y"}), ("z,new", {"z"}), ("", set()), ("x,y,z", {"x", "y", "z"}), ("100", {"x", "y", "z"})],
)
async def test_types_that_are_to_have_no_words_of_their_own_any_more_lose_their_tables(
    redis: Redis, setting: str, stay: set[str]
) -> None:
    before = await (await _counted_by_type(redis, "x", "y", "z")).number_types([])
    settings: dict[str, Any] = {"windows": WINDOWS, "words_by_type": setting}
    await Acceptance(redis, keys=KEYS, settings=Settings(**settings)).accept()
    assert await _tables(redis) == {"words@1", "words@2", "words@3"}
    await _upkeep(redis, **settings)
    assert await _tables(redis) == {words_of(before.by_type[each].number) for each in stay}
    assert not await redis.exists(KEYS.types_retired)
    assert await redis.hlen(KEYS.words) == 4, "all words stay as they are"

    after = await Shard(redis, **settings).store.number_types(["new"] if setting else [])
    assert {each: after.by_type[each] for each in stay} == {each: before.by_type[each] for each in stay}
    if "new" in after.by_type:
        assert after.by_type["new"].number > 3, "none is given twice"


async def test_what_counted_with_the_numbers_of_before_looks_again(redis: Redis) -> None:
    store = await _counted_by_type(redis, "x", "y")
    numbers = await store.number_types([])
    for setting in ("1", "2"):  # and back
        await Acceptance(redis, keys=KEYS, settings=Settings(windows=WINDOWS, words_by_type=setting)).accept()
    shard = Shard(redis, windows=WINDOWS, words_by_type="2")
    x = numbers.by_type["x"]
    assert await shard.settle(chunks_with(x, "x", a=1), UsedNumbers(numbers.numbered, {"x": x})) == "renumbered"


async def test_a_dead_letter_of_a_type_that_has_lost_its_number_counts_among_all_words(redis: Any) -> None:
    store = await _counted_by_type(redis, "x")
    numbers = await store.number_types([])
    part = Part("words", (ALL_TIME,), ["late"], [1])
    (chunk,) = chunks_of([part, Part(words_of(1), (ALL_TIME,), ["late"], [1], "x")], totals={}, samples=())
    shard = Shard(redis, windows=WINDOWS, words_by_type="1")
    assert await shard.settle([chunk], UsedNumbers(1, {"x": numbers.by_type["x"]}))
    key = (await redis.keys(KEYS.delta("*")))[0]
    body = await redis.lindex(key, 1)
    await redis.lset(key, 1, b"\xc1")
    await store.apply_all()
    ((entry_id, fields),) = await redis.xrange(KEYS.dead_letters)
    await redis.delete(KEYS.dead_letters)
    await redis.xadd(KEYS.dead_letters, {**fields, b"body": body}, id=entry_id)  # what a later version can read

    settings = Settings(windows=WINDOWS)
    await Acceptance(redis, keys=KEYS, settings=settings).accept()
    await _upkeep(redis, windows=WINDOWS)
    letters = DeadLetterStore(redis, keys=KEYS, settings=settings)
    letter = await letters.find(entry_id.decode())
    assert letter is not None
    assert (await letters.retry(letter))[0] == "settled"
    await AllStores(redis, keys=KEYS, settings=settings).apply_all()
    assert await redis.hget(KEYS.words, "late") == b"1"
    assert not await _tables(redis)


async def test_windows_of_no_more_use_are_deleted_with_the_words_of_types(redis: Redis) -> None:
    await _counted_by_type(redis, "x", "y")
    settings = Settings(windows="3600x48,86400x10", words_by_type="1")  # minutes go, and a type
    acceptance = Acceptance(redis, keys=KEYS, settings=settings)
    await acceptance.accept()
    assert await acceptance.leftovers() == {60: 2}
    await acceptance.drop_leftovers()
    assert not await redis.keys("tally:{0}:words*:60:*")
    await _upkeep(redis, windows="3600x48,86400x10", words_by_type="1")
    assert await _tables(redis) == {"words@1"}


async def test_hours_with_the_words_of_many_types_are_folded_whole(redis: Redis) -> None:
    types = [f"t{number}" for number in range(2 * FOLD_TABLES + 10)]
    store = await _counted_by_type(redis, *types)
    shard = Shard(redis, windows=WINDOWS, words_by_type=str(len(types)))
    block = await shard.block()
    entry = await store.retry(consumer="a", entry_id=block.id, deliveries=1)
    assert entry is not None
    await store.count(consumer="a", entries=[entry], counts=typed_minutes({HOUR + 60 * 3600: {"t0": (1, {"late": 1})}}))
    await _upkeep(redis, windows=WINDOWS, words_by_type=str(len(types)))
    assert await redis.zrange(KEYS.windows(3600), 0, -1) == [str(HOUR + 60 * 3600).encode()]
    day = HOUR // 86_400 * 86_400
    for number, each in enumerate(types, 1):
        assert await shard.hash(KEYS.window(words_of(number), 86_400, day)) == {"a": 1, each: 2}
    assert len(await redis.keys("tally:{0}:words@*:3600:*")) == 1


async def test_one_who_does_not_know_the_tables_drops_no_more_hashes_at_once(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(windows="60x120,3600x48,86400x10", words_by_type="200")
    store = AllStores(redis, keys=KEYS, settings=settings)
    await store.ensure_layout()
    await store.number_types([f"t{number}" for number in range(200)])
    starts = [HOUR + 60 * number for number in range(220)]
    await redis.zadd(KEYS.windows(60), {str(start): start for start in starts})
    await redis.hset(KEYS.window(words_of(200), 60, starts[0]), "a", 1)

    calls: list[int] = []
    real = windows._drop_windows.run

    async def run(client: Any, keys: list[str], *arguments: Any, **others: Any) -> Any:
        calls.append(len(keys))
        return await real(client, keys, *arguments, **others)

    monkeypatch.setattr(windows, "_drop_windows", SimpleNamespace(run=run))
    folding = Folding(WindowStore(redis, keys=KEYS, settings=settings))
    await folding.step()
    await folding.step()
    assert await redis.zcard(KEYS.windows(60)) == 120
    assert not await redis.keys("tally:{0}:words@*")
    assert max(calls) <= HASHES_AT_ONCE + 10
