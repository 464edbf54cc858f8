"""The lease under which a namespace stands still: what it stops, whose it is, and when it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from tally.keys import Keys
from tally.layout import LayoutRefused
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import Block, WindowStore
from tally.store.acceptance import Acceptance
from tally.store.dead_letters import DeadLetterStore
from tally.store.held import LEASE_FIELD, held
from tally.store.idempotent import Body
from tally.store.lease import Lease, quiesced
from tally.store.shards import Shards
from tests.effort import seeds
from tests.stores import AllStores, in_minutes
from tests.waiting import wait_until_async

KEYS = Keys()
DAY = 86_400


@pytest.fixture
def shards(redis: Redis, settings: Settings) -> Shards:
    return Shards.over(redis, settings)


@pytest.fixture
def store(redis: Redis, settings: Settings) -> AllStores:
    return AllStores(redis, keys=KEYS, settings=settings)


def _lease(shards: Shards, settings: Settings, what: str = "export") -> Lease:
    return Lease(shards, settings=settings, what=what)


@asynccontextmanager
async def _held(shards: Shards, settings: Settings) -> AsyncIterator[Lease]:
    """Somebody has it, and does not give it back by itself."""
    lease = _lease(shards, settings)
    await lease.take()
    yield lease


async def _clock_goes(redis: Any, seconds: float) -> None:
    """Make it look as if the server's clock had gone, or were set, so far: leases are all there is of the past here."""
    stored = await redis.hget(KEYS.backlog, LEASE_FIELD)
    if stored is not None:
        token, since, until = stored.decode().rsplit(":", 2)
        moved = (str(int(each) - round(seconds * 1000)) for each in (since, until))
        await redis.hset(KEYS.backlog, LEASE_FIELD, ":".join((token, *moved)))


async def _dump(redis: Any) -> dict[bytes, bytes]:
    """All that is stored, but for what expires by itself."""
    return {key: await redis.dump(key) for key in await redis.keys("*") if await redis.pttl(key) < 0}


async def test_while_it_is_held_nothing_is_put_on_the_stream(
    redis: Redis, shards: Shards, settings: Settings, store: AllStores
) -> None:
    await store.append(source="s", blocks=[Block(0, 1, b"x")])
    await store.append_once(source="t", bodies=[Body("key", "digest", 60_000, [b"x"])])
    await redis.xadd(KEYS.dead_letters, {"lines": b"{}", "source": "s", "appended_ms": 1, "id": "1-1", "deliveries": 3})
    letters = DeadLetterStore(redis, keys=KEYS, settings=settings)
    (letter,) = [letter async for letter in letters.all()]
    async with _held(shards, settings) as lease:
        before = await _dump(redis)
        assert not await store.has_room()
        assert not await store.has_room(bulk=True)
        assert [each.outcome for each in await store.append(source="s", blocks=[Block(1, 2, b"y")])] == ["full"]
        assert await store.append_once(source="t", bodies=[Body("other", "digest", 60_000, [b"y"])]) == ["held"]
        assert await letters.retry(letter) == ("full", "")
        assert await letters.drop(letter) == "held"
        assert await _dump(redis) == before
        # What was appended before is known as that.
        assert [each.outcome for each in await store.append(source="s", blocks=[Block(0, 1, b"x")])] == ["duplicate"]
        assert await store.append_once(source="t", bodies=[Body("key", "digest", 60_000, [b"x"])]) == ["duplicate"]
        await lease.release()
    assert [each.outcome for each in await store.append(source="s", blocks=[Block(1, 2, b"y")])] == ["appended"]
    assert (await letters.retry(letter))[0] == "appended"


async def test_a_chunk_that_is_a_dead_letter_stays_one_and_goes_by_the_holder_alone(
    redis: Redis, shards: Shards, settings: Settings, store: AllStores
) -> None:
    await store.ensure_layout()
    fields: dict[Any, Any] = {
        "targets": "[]",
        "body": b"x",
        "chunk": 1,
        "blocks": 1,
        "lengths": "60,3600,86400",
        "appended_ms": 1,
    }
    await redis.xadd(KEYS.dead_letters, fields)
    letters = DeadLetterStore(redis, keys=KEYS, settings=settings)
    (letter,) = [letter async for letter in letters.all()]
    async with _held(shards, settings) as lease:
        assert await letters.retry(letter) == ("full", "")
        assert await letters.drop(letter, lease="export@other-1") == "held"
        assert await letters.drop(letter, lease=lease.token) == "dropped"


async def test_windows_and_sources_and_the_layout_stay_as_they_are(
    redis: Redis, shards: Shards, settings: Settings, store: AllStores
) -> None:
    windows = WindowStore(redis, keys=KEYS, settings=settings)
    old = 1_600_000_020
    for start in (old, old + 500 * DAY):
        await store.create_group()
        await redis.xadd(KEYS.stream, {"lines": b"x", "source": "s"})
        entries = await store.read(consumer="a", count=1, block_ms=None)
        await store.count(consumer="a", entries=entries, counts=in_minutes({start: ({"a": 1}, {"w": 1})}))
    await store.register_sources(["file:/gone#1-f"])
    await redis.hset(KEYS.source_lines, "file:/gone", 1)
    overdue = await windows.overdue()
    assert overdue.folds
    assert overdue.drops
    (level, start), drops = overdue.folds[0], overdue.drops[1]
    other = Settings(word_pattern=r"\w+")
    async with _held(shards, settings) as lease:
        before = await _dump(redis)
        assert await windows.fold(level=level, start=start, cursor="") == ("held", "", 0)
        assert await windows.drop(level=1, starts=drops) is None
        assert not await store.forget_sources(["file:/gone#1-f"])
        assert await store.forget_files(unseen_since_ms=10**15) == 0
        await store.forget_source_counts(unseen_since_ms=10**15, names=["file:/gone"])
        with pytest.raises(Failure, match=r"`tally export` on .* holds appends, until .*; run it again when"):
            await Acceptance(redis, keys=KEYS, settings=other).accept()
        assert await _dump(redis) == before
        await lease.release()
    assert (await windows.fold(level=level, start=start, cursor=""))[0] == "folded"
    assert await windows.drop(level=1, starts=drops) == len(drops)
    assert await store.forget_files(unseen_since_ms=10**15) == 1
    await store.forget_source_counts(unseen_since_ms=10**15, names=["file:/gone"])
    assert not await redis.exists(KEYS.sources, KEYS.source_lines)
    assert await Acceptance(redis, keys=KEYS, settings=other).accept()


async def test_what_waits_is_counted_meanwhile_and_then_it_is_quiet(
    redis: Redis, shards: Shards, settings: Settings, store: AllStores
) -> None:
    await store.create_group()
    await store.append(source="s", blocks=[Block(0, 1, b"x")])
    quiet = asyncio.Event()

    async def hold() -> None:
        async with quiesced(shards, settings, what="export") as lease:
            quiet.set()
            lease.check()
            await lease.confirm()

    holding = asyncio.create_task(hold())
    await wait_until_async(lambda: _is_held(redis), what="it is held")
    entries = await store.read(consumer="a", count=1, block_ms=None)
    assert not quiet.is_set(), "a block waits"
    await store.count(consumer="a", entries=entries, counts=in_minutes({0: ({"a": 1}, {})}))
    await holding
    assert not await _is_held(redis)
    assert await store.has_room()


async def _is_held(redis: Redis) -> bool:
    return await held(redis, keys=KEYS) is not None


async def test_what_is_not_counted_in_time_is_told_and_nothing_is_held_any_more(
    redis: Redis, settings: Settings
) -> None:
    settings = settings.model_copy(update={"shards": 4})
    shards = Shards.over(redis, settings)
    for shard in shards[1:3]:
        store = AllStores(redis, keys=shard.keys, settings=settings)
        await store.create_group()
        await store.append(source="s", blocks=[Block(0, 1, b"x")])
    await AllStores(redis, keys=shards[1].keys, settings=settings).read(consumer="a", count=1, block_ms=None)
    sentence = r"after 0 s 2 blocks still wait to be counted, and no aggregator counts those of shard 2: start one"
    with pytest.raises(Failure, match=sentence):
        async with quiesced(shards, settings, what="export", seconds=0):
            pytest.fail("something waits")
    for shard in shards.with_home:
        assert await held(redis, keys=shard.keys) is None
    async with quiesced(shards, settings, what="reset", drain=False) as lease:
        await lease.confirm()


async def test_of_two_one_has_it_and_the_other_gives_back_what_it_took(redis: Redis, settings: Settings) -> None:
    settings = settings.model_copy(update={"shards": 3})
    shards = Shards.over(redis, settings)
    # As if another one had come to the last of them first.
    await redis.hset(shards[1].keys.backlog, LEASE_FIELD, "forget@there-0f:1:99999999999999")
    with pytest.raises(Failure, match="`tally forget` on there holds appends"):
        async with quiesced(shards, settings, what="export", drain=False):
            pytest.fail("another one has it")
    assert [await held(redis, keys=shard.keys) is not None for shard in shards.with_home] == [False, False, True]


async def test_with_other_shards_it_is_refused_with_the_way_on(
    redis: Redis, settings: Settings, store: AllStores
) -> None:
    await store.ensure_layout()
    settings = settings.model_copy(update={"shards": 3})
    with pytest.raises(LayoutRefused, match="TALLY_SHARDS was 1"):
        async with quiesced(Shards.over(redis, settings), settings, what="export"):
            pytest.fail("it would hold only some of them")


async def test_it_is_renewed_and_given_back_whatever_ends_the_work(
    redis: Redis, shards: Shards, settings: Settings
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with quiesced(shards, settings, what="export"):
            raise ZeroDivisionError
    assert not await redis.exists(KEYS.backlog)

    async def hold() -> None:
        async with quiesced(shards, settings, what="export"):
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await wait_until_async(lambda: _is_held(redis), what="it is held")
    holding.cancel()
    await asyncio.wait([holding])
    assert not await redis.exists(KEYS.backlog)


async def test_one_that_was_lost_is_told(redis: Redis, shards: Shards, settings: Settings, store: AllStores) -> None:
    async with quiesced(shards, settings, what="export") as lease:
        await redis.flushall()
        lease.check()  # nobody knows yet
        with pytest.raises(Failure, match="the lease was lost"):
            await lease.confirm()
        with pytest.raises(Failure, match="the lease was lost"):
            lease.check()
        assert await store.has_room(), "nor is it taken again"


async def test_a_full_redis_is_held_too(redis: Redis, shards: Shards, settings: Settings, store: AllStores) -> None:
    await store.ensure_layout()
    client: Any = redis
    await client.config_set("maxmemory", 1)
    try:
        async with quiesced(shards, settings, what="export") as lease:
            await lease.confirm()
    finally:
        await client.config_set("maxmemory", 0)


@pytest.mark.parametrize("seed", seeds(range(3), range(3, 30)))
async def test_whoever_is_told_that_it_holds_had_it_all_along(
    redis: Redis, shards: Shards, settings: Settings, store: AllStores, seed: int
) -> None:
    """Two take, renew and give back at random, replies are lost, the clock jumps; somebody appends all the time."""
    chance = random.Random(seed)
    leases: dict[str, Lease] = {}  # of those that believe to have it
    disturbed: set[str] = set()  # those of them behind whose back something was appended, or another one took it
    position = 0
    outcomes: set[str] = set()
    for _ in range(600):
        who = chance.choice("ab")
        tries = chance.choice((1, 2))  # the second after a lost reply
        match chance.choice(
            ("take", "renew", "renew", "renew", "release", "append", "append", "clock", "clock", "flush")
        ):
            case "take" if who not in leases:  # another command has another token
                lease = _lease(shards, settings, who)
                try:
                    for _ in range(tries):
                        await lease.take()
                except Failure:
                    outcomes.add("held")
                    continue
                disturbed |= leases.keys()
                leases[who] = lease
                outcomes.add("taken")
            case "renew" if who in leases:
                try:
                    for _ in range(tries):
                        await leases[who].confirm()
                except Failure:
                    outcomes.add("lost")
                    disturbed.discard(who)
                    del leases[who]
                    continue
                outcomes.add("renewed")
                assert who not in disturbed
            case "release" if who in leases:
                for _ in range(tries):
                    await leases[who].release()
                disturbed.discard(who)
                del leases[who]
            case "append":
                (answer,) = await store.append(source="s", blocks=[Block(position, position + 1, b"x")])
                outcomes.add(answer.outcome)
                if answer.outcome == "appended":
                    position += 1
                    disturbed |= leases.keys()
                else:
                    assert await held(redis, keys=KEYS) is not None
            case "clock":
                await _clock_goes(redis, chance.choice((-100, 100, -31, 31, -1, 1)))
            case "flush" if chance.random() < 0.1:
                await redis.flushall()
                position = 0
    assert outcomes == {"appended", "full", "held", "taken", "renewed", "lost"}
