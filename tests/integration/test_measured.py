"""What is asked of Redis is measured under its name, with what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis import exceptions
from redis.asyncio import Redis

from ingestor.sources import Context
from ingestor.starting import Start
from tally.keys import Keys
from tally.metrics import REDIS_RECONNECTS, exposition
from tally.settings import Settings
from tally.store import AggregatorStore, connect, measured
from tally.store.ingestor_stores import ingestor_store
from tally.store.lua import ReadingScript
from tally.store.shards import Shards, check_home_or_copy, open_shards
from tests.scraping import Scrape
from tests.server import Server
from tests.sharded import Sharded

COUNT = "tally_redis_operation_duration_seconds_count"


class Since:
    """How often operations were done since it was made: the metrics are those of the whole process."""

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> Scrape:
        return Scrape(exposition("")[0].decode())

    def times(self, operation: str, outcome: str) -> int:
        labels = {"operation": operation, "outcome": outcome}
        return int(self._now().value(COUNT, **labels) - self._before.value(COUNT, **labels))


@pytest.fixture
def since() -> Since:
    return Since()


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> measured.Answers:
    """Those of the test's own clients."""
    own = measured.Answers()
    monkeypatch.setattr(measured, "answers", own)
    return own


@pytest.fixture
async def own_redis(durable_server: Server) -> AsyncIterator[Redis]:
    client = connect(durable_server.url, timeout_seconds=30)
    yield client
    await client.aclose()


async def test_a_script_has_its_name_however_it_is_sent(redis: Redis, since: Since) -> None:
    await redis.script_flush()
    script = ReadingScript("distinct")
    for _ in range(2):  # as text, and then by its hash
        await script.run(redis, [Keys().types, Keys().backlog], {"other": "__other__"})
    assert since.times("distinct", "ok") == 2
    assert since.times("eval", "ok") == 0


async def test_a_pipeline_of_one_command_has_its_name(redis: Redis, since: Since) -> None:
    for commands in (("get", "get"), ("get", "hlen")):
        pipeline = redis.pipeline(transaction=False)
        for command in commands:
            getattr(pipeline, command)("key")
        await pipeline.execute()
    assert (since.times("get", "ok"), since.times("pipeline", "ok")) == (1, 1)


async def test_what_is_refused_for_good_is_told_apart_from_what_passes(
    own_redis: Redis, since: Since, answers: measured.Answers
) -> None:
    await own_redis.set("text", "text")
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        await own_redis.hlen("text")
    pipeline = own_redis.pipeline(transaction=False)
    pipeline.hlen("text")
    await pipeline.execute(raise_on_error=False)
    assert since.times("hlen", "refused") == 2

    await own_redis.config_set("maxmemory", 1)
    with pytest.raises(exceptions.OutOfMemoryError):
        await own_redis.set("text", "more")
    assert (since.times("set", "ok"), since.times("set", "unavailable")) == (1, 1)
    assert answers.all_are_there(), "a full one answers"


async def test_redis_is_up_if_it_answers_every_client(
    durable_server: Server, own_redis: Redis, redis: Redis, since: Since, answers: measured.Answers
) -> None:
    assert not answers.all_are_there(), "nothing was asked"
    await own_redis.ping()
    assert answers.all_are_there()

    reconnects = REDIS_RECONNECTS._value.get()
    durable_server.kill()
    with pytest.raises(exceptions.ConnectionError):
        await own_redis.ping()
    await redis.ping()
    assert since.times("ping", "unavailable") == 1
    assert not answers.all_are_there(), "the other one does not help"

    durable_server.start()
    await own_redis.ping()
    await own_redis.ping()
    assert answers.all_are_there()
    assert REDIS_RECONNECTS._value.get() - reconnects == 1


async def test_the_layout_of_all_is_not_missed_for_ever_by_who_does_without_it(
    redis: Redis, server: Server, answers: measured.Answers
) -> None:
    settings = Settings(redis_url=server.url, shards=3)
    await Sharded(redis, settings, now=1_700_000_000.0).begin()
    dead = connect("redis://127.0.0.1:1/0", timeout_seconds=5)
    shards = Shards.over(redis, settings)
    shards.home = replace(shards.home, redis=dead)
    await check_home_or_copy(shards, shards[1], settings=settings)
    assert answers.all_are_there(), "as the shards are, which is all that it needs"

    stop = asyncio.Event()
    store = ingestor_store(shards, settings=settings)
    context = Context(store=store, settings=settings, stop=stop, ready=asyncio.Event())
    await Start(shards, store, context=context).run()
    assert answers.all_are_there()
    await dead.aclose()


async def test_a_group_that_is_not_there_is_no_outage(redis: Redis, settings: Settings, since: Since) -> None:
    store = AggregatorStore(redis, keys=Keys(), settings=settings)
    with pytest.raises(Exception, match="NOGROUP"):
        await store.read(consumer="a", count=1, block_ms=1)
    assert since.times("xreadgroup", "refused") == 1


@pytest.mark.parametrize(("port", "times"), [(9100, 1), (None, 0)])
async def test_what_nobody_can_ask_for_is_not_measured(
    server: Server, since: Since, port: int | None, times: int
) -> None:
    settings = Settings(redis_url=server.url, metrics_port=port)
    async with open_shards(settings, stop=asyncio.Event(), for_writing=True) as (shard,):
        pipeline = shard.redis.pipeline(transaction=False)
        pipeline.hlen("key")
        assert (await pipeline.execute(), await shard.redis.llen("key")) == ([0], 0)
    assert (since.times("hlen", "ok"), since.times("llen", "ok")) == (times, times)
