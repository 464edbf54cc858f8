"""Redis's clock was ahead for a moment, or is set back: events without a time, and blocks of aggregators that died."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis as blocking
from redis.asyncio import Redis

from aggregator.counts import Counts
from aggregator.decoding import Decoder
from tally.deltas import Sample
from tally.keys import Keys
from tally.settings import Settings
from tally.store import Block
from tally.store.aggregator import CLAIM_FROM_START
from tally.store.blocks import Settled
from tally.store.idempotent import Body
from tally.store.reads import CountReader
from tally.store.status import is_alive
from tests.clock_set_back import clock_set_back
from tests.server import Server
from tests.stores import AllStores

KEYS = Keys()
DAY = 86_400
EVENT = b'{"event_type":"n","data":"now"}'


@pytest.fixture
async def store(redis: Redis) -> AllStores:
    store = AllStores(redis, keys=KEYS, settings=Settings())
    await store.create_group()
    return store


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A blocking client, with bytes replies."""
    with blocking.Redis(port=server.port, socket_timeout=30) as client:
        yield client


async def _id_of_tomorrow(redis: Any, key: str) -> None:
    """What a clock that was ahead leaves behind: no later entry has a smaller ID."""
    await redis.xadd(key, {"lines": EVENT, "reason": "r"}, id=f"{int((time.time() + DAY) * 1000)}-0")


async def test_an_event_without_a_time_belongs_to_when_it_was_appended_whatever_the_ids_are(
    redis: Redis, store: AllStores
) -> None:
    await _id_of_tomorrow(redis, KEYS.stream)
    began = time.time()
    await store.append(source="s", blocks=[Block(0, 1, EVENT)])
    await store.append_once(source="t", bodies=[Body("key", "digest", 60_000, [EVENT, EVENT])])
    ahead, *entries = await store.read(consumer="a", count=10, block_ms=None)
    assert ahead.arrived_seconds == pytest.approx(began + DAY, abs=60), "what others add has nothing but its ID"
    assert len(entries) == 3
    for entry in entries:
        assert began - 1 <= entry.arrived_seconds <= time.time() + 1
        again = await store.retry(consumer="a", entry_id=entry.id, deliveries=2)
        assert again == entry
    counts = Decoder(Settings()).count(entries)
    assert all(began - 61 <= place.start <= time.time() for place in counts.windows)


@pytest.mark.parametrize("written", [b"", b"x", b"-5", b"1.5", "٣".encode(), b"9" * 16])
async def test_a_time_that_is_none_in_an_entry_of_others_gives_way_to_its_id(
    redis: Redis, store: AllStores, written: bytes
) -> None:
    await redis.xadd(KEYS.stream, {"lines": EVENT, "appended_ms": written}, id="5000-0")
    (entry,) = await store.read(consumer="a", count=1, block_ms=None)
    assert entry.arrived_seconds == 5.0
    oldest = await store.oldest()
    assert oldest is not None
    assert oldest.waited_seconds == pytest.approx(time.time() - 5, abs=60)


async def test_the_age_of_the_backlog_is_told_by_when_it_was_appended(redis: Redis, store: AllStores) -> None:
    await _id_of_tomorrow(redis, KEYS.stream)
    reader = CountReader(redis, keys=KEYS, settings=Settings())
    assert (await reader.backlog(await reader.totals())).oldest_seconds == 0, "never under it"
    (ahead,) = await store.read(consumer="a", count=1, block_ms=None)
    await store.count(consumer="a", entries=[ahead], counts=Counts())
    hour_ago_ms = int((time.time() - 3600) * 1000)
    await redis.xadd(KEYS.stream, {"lines": EVENT, "appended_ms": hour_ago_ms})
    assert (await reader.backlog(await reader.totals())).oldest_seconds == pytest.approx(3600, abs=60)


async def test_a_sample_has_the_time_at_which_it_was_rejected(redis: Redis, store: AllStores) -> None:
    await _id_of_tomorrow(redis, KEYS.rejected)
    await store.append(source="s", blocks=[Block(0, 1, b"x")])
    (entry,) = await store.read(consumer="a", count=1, block_ms=None)
    counts = Counts(rejected_by_reason=Counter({"not_json": 1}), samples=[Sample(b"x", "why", "s")])
    assert isinstance(await store.count(consumer="a", entries=[entry], counts=counts), Settled)
    newest, before = await CountReader(redis, keys=KEYS, settings=Settings()).rejected(2)
    assert newest.rejected_at == pytest.approx(time.time(), abs=60)
    assert before.rejected_at == pytest.approx(time.time() + DAY, abs=60)


async def test_blocks_of_a_dead_aggregator_are_claimed_though_the_clock_was_set_back(
    redis: Redis, store: AllStores, client: Any
) -> None:
    quick = AllStores(redis, keys=KEYS, settings=Settings(claim_idle_seconds=0.1))
    blocks = [Block(at, at + 1, EVENT) for at in range(3)]
    await store.append(source="s", blocks=blocks)
    await store.read(consumer="dead", count=3, block_ms=None)
    client.xdel(KEYS.stream, client.xrange(KEYS.stream)[1][0])
    clock_set_back(client, KEYS.stream, seconds=365 * DAY)

    deadline = time.monotonic() + 60
    claimed = 0
    while not claimed:
        assert time.monotonic() < deadline, "they are never claimed"
        _, claimed = await quick.claim(consumer="living", cursor=CLAIM_FROM_START, count=100)
    assert claimed == 2
    assert [deliveries for _, deliveries in await store.pending(consumer="living", count=10)] == [1, 1]
    assert (await redis.hgetall(KEYS.totals)) == {b"lost": b"1"}


async def test_after_the_clock_was_set_back_the_dead_are_told_from_the_living_and_removed(
    redis: Redis, store: AllStores, client: Any
) -> None:
    for consumer in ("dead", "living"):
        await store.claim(consumer=consumer, cursor=CLAIM_FROM_START, count=1)
    clock_set_back(client, KEYS.stream, seconds=365 * DAY)
    deadline = time.monotonic() + 60
    idle_seconds: dict[str, float] = {"dead": 0}
    while idle_seconds["dead"] < 0.2:
        assert time.monotonic() < deadline, "the dead one looks alive"
        await store.claim(consumer="living", cursor=CLAIM_FROM_START, count=1)
        consumers = await store.consumers()
        assert is_alive(next(each for each in consumers if each.name == "living"))
        idle_seconds = {each.name: each.idle_seconds for each in consumers}
    assert await store.remove_consumer(consumer="dead", idle_seconds=0.2) == "removed"
