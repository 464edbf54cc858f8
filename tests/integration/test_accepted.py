"""Accepted lines that are kept: as many as are set, beside those that were rejected, and for no longer than a day."""

from __future__ import annotations

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from tally.settings import Settings
from tally.shards import tags
from tally.store.samples import ACCEPTED_SECONDS
from tests.integration.test_source_counts import BAD, Shard


def line(number: int) -> bytes:
    return b'{"event_type":"a","data":"%d"}' % number


async def count(shard: Shard, *numbers: int) -> None:
    await shard.append("tcp://h:1#a", *map(line, numbers), BAD)
    await shard.count()


async def test_as_many_are_kept_as_are_set_and_none_of_those_that_were_rejected(
    redis: Redis, settings: Settings
) -> None:
    shard = Shard(redis, settings.model_copy(update={"accepted_samples": 6}))
    assert await shard.reader.accepted(10) == []
    for first in (0, 4, 8):
        await count(shard, *range(first, first + 4))
    found = await shard.reader.accepted(10)
    assert [each.line.encode() for each in found] == [line(number) for number in (11, 10, 9, 8, 7, 6)]
    assert {each.source for each in found} == {"tcp://h:1#a"}
    assert len(await shard.reader.accepted(2)) == 2
    assert [each.line for each in await shard.reader.rejected(10)] == ["{"] * 3
    assert 0 < await shard.redis.ttl(shard.keys.accepted) <= ACCEPTED_SECONDS


async def test_none_are_kept_by_default_nor_by_who_does_not_keep_any(redis: Redis, settings: Settings) -> None:
    await count(Shard(redis, settings), 1, 2)
    assert await redis.exists(Shard(redis, settings).keys.accepted) == 0
    keeping = Shard(redis, settings.model_copy(update={"accepted_samples": 6}))
    keeping.store = Shard(redis, settings).store  # another aggregator applies what it has settled
    await count(keeping, 3)
    assert await keeping.reader.accepted(10) == []
    assert len(await keeping.reader.rejected(10)) == 2


async def test_more_than_are_read_at_once_are_all_there(redis: Redis, settings: Settings) -> None:
    shard = Shard(redis, settings)
    for number in range(450):
        await shard.redis.xadd(shard.keys.accepted, {"line": str(number), "source": "s"})
    found = await shard.reader.accepted(1000)
    assert [int(each.line) for each in found] == list(range(449, -1, -1))


@pytest.mark.parametrize("shards", [1, 2])
async def test_the_api_tells_the_newest_of_all_shards(redis: Redis, settings: Settings, shards: int) -> None:
    settings = settings.model_copy(update={"accepted_samples": 6, "shards": shards})
    for number, tag in enumerate(tags(shards)):
        await count(Shard(redis, settings, tag), number)
    app = create_app(settings, redis=redis)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        answer = (await client.get("/v1/accepted")).json()
        assert [item["line"].encode() for item in answer["items"]] == [line(number) for number in range(shards)][::-1]
        assert answer["total"] == shards
        table = await client.get("/v1/accepted", params={"format": "csv", "limit": 1})
        assert table.text.splitlines()[0] == "id,accepted_at,line,source"
        assert len(table.text.splitlines()) == 2
