"""What the live feed tells of some types and words, compared with a count of the same events; one shard and several."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from api.cached_counts import CachedCounts
from api.memory import Memory
from api.watched import Selection, Watched
from api.work import Work
from tally.settings import Settings
from tally.store.merged_reads import reader_of
from tests.fakes import FakeClock
from tests.integration.test_words_by_type_answers import NOW, Tables, some_events
from tests.server import Server


@asynccontextmanager
async def watching(
    redis: Redis, url: str, numbers: Sequence[dict[str, int]], **variables: Any
) -> AsyncIterator[tuple[Tables, Watched]]:
    settings = Settings(redis_url=url, windows="60x1000,3600x100", shards=len(numbers), **variables)
    tables = Tables(redis, settings, numbers)
    await tables.begin()
    work = Work()
    reader = reader_of(tables.shards, settings=settings)
    counts = CachedCounts(reader, memory=Memory(2**20), work=work, clock=FakeClock(float(NOW)))
    yield tables, Watched(counts, every_seconds=1.0)
    work.close()


async def told(watched: Watched, selection: Selection) -> Any:
    with watched.watch(selection, now=lambda: 0.0):
        return msgspec.json.decode((await watched.read(0.0)).of(selection))


@pytest.mark.parametrize("shards", [1, 3])
async def test_it_is_as_often_as_was_counted(redis: Redis, server: Server, shards: int) -> None:
    numbers = [{"error": 1, "a:b": 2} for _ in range(shards)]
    async with watching(redis, server.url, numbers, words_by_type="error,a:b") as (tables, watched):
        await tables.write(some_events(random.Random(shards), 300, shards=shards))
        for types in (("error",), ("*", "login"), ("error", "never")):
            events = sum(event.type in types for event in tables.events)
            assert (await told(watched, Selection(types)))["count"] == events
            for words in (("timeout",), ("foo", "rare", "nowhere")):
                anywhere = tables.words(lambda _: True)
                found = await told(watched, Selection((), words))
                assert (found["unit"], found["count"]) == ("words", sum(anywhere[word] for word in words))
        apart = tables.words(lambda event: event.type in ("error", "a:b"))
        found = await told(watched, Selection(("a:b", "error"), ("foo", "timeout")))
        assert (found["unit"], found["count"]) == ("words", apart["foo"] + apart["timeout"])
        assert await told(watched, Selection(("error", "login"), ("foo",))) is None, "login has no words of its own"


async def test_of_words_that_a_shard_does_not_count_by_type_nothing_is_told(redis: Redis, server: Server) -> None:
    async with watching(redis, server.url, [{"error": 1}, {}], words_by_type="1") as (tables, watched):
        await tables.write(some_events(random.Random(1), 100, shards=2))
        assert await told(watched, Selection(("error",), ("foo",))) is None
        assert (await told(watched, Selection(("error",))))["count"] > 0


async def test_where_words_are_not_counted_by_type_nothing_is_told(redis: Redis, server: Server) -> None:
    async with watching(redis, server.url, [{}]) as (tables, watched):
        await tables.write(some_events(random.Random(1), 100))
        assert await told(watched, Selection(("error",), ("foo",))) is None
        assert await told(watched, Selection(("never",), ("foo",))) is None
