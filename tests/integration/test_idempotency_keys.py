"""Idempotency keys: bounded in number and time, in structures that take turns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from tally.keys import Keys
from tally.settings import Settings
from tally.store import connect
from tally.store.idempotent import Body, OnceWord
from tally.store.reads import CountReader
from tally.store.status import IdempotencyKeys
from tests.processes import run
from tests.server import Server
from tests.stores import AllStores

KEYS = Keys()
DAY_MS = 86_400_000


class Sender:
    """Sends bodies of one line under keys."""

    def __init__(self, redis: Redis, **settings: Any) -> None:
        self.redis: Any = redis
        self._store = AllStores(redis, keys=KEYS, settings=Settings(**settings))
        self._reader = CountReader(redis, keys=KEYS, settings=Settings(**settings))

    async def send(self, *keys: str, digest: str = "d", own: bool = False) -> list[OnceWord]:
        bodies = [Body(key, digest, DAY_MS, [b"x"], own=own) for key in keys]
        return await self._store.append_once(source="h", bodies=bodies)

    async def known(self) -> IdempotencyKeys:
        return await self._reader.idempotency_keys()

    async def a_day_goes_by(self) -> None:
        """Since keys were put where they are put now."""
        since_ms = int(await self.redis.hget(KEYS.once_new, ""))
        await self.redis.hset(KEYS.once_new, "", since_ms - DAY_MS)


@pytest.fixture
def sender(redis: Redis) -> Sender:
    return Sender(redis, max_idempotency_keys=100)


async def test_no_more_keys_are_kept_than_may_be_and_the_last_half_of_them_always(sender: Sender) -> None:
    sent: list[str] = []
    for number in range(260):
        assert await sender.send(f"{number}") == ["appended"]
        sent.append(f"{number}")
        assert (await sender.known()).known <= 100
        if number % 13 == 0:
            assert set(await sender.send(*sent[-50:])) == {"duplicate"}
            assert set(await sender.send(*sent[-50:], digest="other")) == {"conflict"}
    assert (await sender.known()).known >= 50
    assert await sender.send("0") == ["appended"], "it is forgotten"


async def test_what_we_make_ourselves_pushes_out_no_key_of_a_client(sender: Sender) -> None:
    await sender.send("client's")
    own = [f"{number}" for number in range(300)]
    assert set(await sender.send(*own, own=True)) == {"appended"}
    assert set(await sender.send(*own, own=True)) == {"duplicate"}, "nor is it forgotten for its number"
    assert await sender.send("client's") == ["duplicate"]
    assert (await sender.known()).known == 1
    assert await sender.send("0") == ["appended"], "they are apart"


async def test_a_key_is_kept_for_a_day_and_not_for_ever(sender: Sender) -> None:
    await sender.send("first", "second")
    since = (await sender.known()).since_at
    assert since is not None
    assert DAY_MS < await sender.redis.pttl(KEYS.once_new) <= 2 * DAY_MS
    await sender.a_day_goes_by()
    assert await sender.send("third", "first") == ["appended", "duplicate"]
    found = await sender.known()
    assert found.known == 3
    assert found.since_at == pytest.approx(since - DAY_MS / 1000, abs=1)
    assert await sender.send("second", digest="other") == ["conflict"]
    assert 0 < await sender.redis.pttl(KEYS.once_old) <= 2 * DAY_MS, "it goes by itself, too"
    await sender.a_day_goes_by()
    assert await sender.send("fourth") == ["appended"]
    assert await sender.send("third") == ["duplicate"]
    assert await sender.send("second") == ["appended"]


async def test_when_no_key_was_ever_sent_none_is_known(sender: Sender) -> None:
    assert await sender.known() == IdempotencyKeys(known=0, since_at=None)
    await sender.send("own", own=True)
    assert await sender.known() == IdempotencyKeys(known=0, since_at=None)


async def test_a_repeated_body_is_answered_by_a_full_redis(durable_server: Server) -> None:
    redis: Any = connect(durable_server.url, timeout_seconds=30)
    sender = Sender(redis)
    assert await sender.send("key") == ["appended"]
    await redis.set("anything", b"x" * 2_000_000)
    await redis.config_set("maxmemory", "1mb")
    with pytest.raises(OutOfMemoryError):
        await redis.set("anything", "else")
    assert await sender.send("key") == ["duplicate"]
    assert await sender.send("key", digest="other") == ["conflict"]
    await redis.aclose()


async def test_a_key_takes_as_much_memory_as_the_documents_say(redis: Redis) -> None:
    sender = Sender(redis)
    number = 20_000
    for first in range(0, number, 1000):
        await sender.send(*(f"a rather long key, as clients send them {at}" for at in range(first, first + 1000)))
    assert (await sender.known()).known == number
    assert await sender.redis.memory_usage(KEYS.once_new, samples=0) / number < 110


async def test_status_says_how_far_back_they_reach(redis: Redis, server: Server) -> None:
    sender = Sender(redis)
    await sender.send("first", "second")
    await sender.a_day_goes_by()
    text = run("tally", "status", env={"TALLY_REDIS_URL": server.url, "COLUMNS": "200"}).stdout
    assert "Idempotency keys: 2, all of the last 24.0 h" in text
    found = run("tally", "status", "--json", env={"TALLY_REDIS_URL": server.url}).stdout
    assert json.loads(found)["idempotency_keys"]["known"] == 2
