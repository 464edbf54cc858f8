"""A worker whose server hangs in the middle of a batch ends its turn all the same: the others count on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from redis.asyncio import Redis

from aggregator.turns import Turns
from aggregator.worker import Worker
from tally.deltas import Chunk
from tally.settings import Settings
from tally.store import AggregatorStore, Entry, WindowStore
from tally.store.shards import Shard, Shards
from tests.server import Server
from tests.waiting import wait_until_async

LINES = b"\n".join([b'{"event_type":"a","data":"%s"}' % (b"lorem " * 100)] * 200)


class Hangs(AggregatorStore):
    """A store whose server gives some blocks and then hangs, when it is to give more or to take what they come to."""

    when = ""
    hanging = False

    async def read(self, *, consumer: str, count: int, block_ms: int | None) -> list[Entry]:
        if self.when == "read" and self.hanging:
            await asyncio.Event().wait()
        found = await super().read(consumer=consumer, count=count, block_ms=block_ms)
        self.hanging = self.hanging or len(found) == count
        return found

    async def retry(self, *, consumer: str, entry_id: str, deliveries: int) -> Entry | None:
        if self.when == "retry":
            self.hanging = True
            await asyncio.Event().wait()
        return await super().retry(consumer=consumer, entry_id=entry_id, deliveries=deliveries)

    async def stage(self, *, name: str, first: int, chunks: Sequence[Chunk]) -> Literal["staged", "stale", "full"]:
        if self.when == "stage":
            self.hanging = True
            await asyncio.Event().wait()
        return await super().stage(name=name, first=first, chunks=chunks)


@pytest.mark.parametrize(
    ("when", "pending"), [("read", False), ("stage", False), ("retry", True), ("stage", True)], ids=str
)
async def test_others_go_on(redis: Redis, server: Server, when: str, pending: bool) -> None:
    """Blocks are new, or pending to it since before a failure."""
    settings = Settings(redis_url=server.url, shards=2)
    client: Any = redis
    shards = Shards.over(redis, settings)
    turns = Turns(2).of_each()
    stores = [Hangs(redis, keys=shard.keys, settings=settings) for shard in shards]
    stores[0].when = when
    stop = asyncio.Event()

    def work(shard: Shard) -> asyncio.Task[None]:
        worker = Worker(
            store=stores[shard.index],
            windows=WindowStore(redis, keys=shard.keys, settings=settings),
            settings=settings,
            consumer="a",
            stop=stop,
            turn=turns[shard.index],
        )
        return asyncio.create_task(worker.run())

    async def events(shard: Shard) -> int:
        return int(await client.hget(shard.keys.totals, "events") or 0)

    for _ in range(100):  # more than are read at once
        await client.xadd(shards[0].keys.stream, {"lines": LINES})
    if pending:
        await stores[0].create_group()
        await AggregatorStore.read(stores[0], consumer="a", count=2, block_ms=None)
    working = [work(shard) for shard in shards]

    async def hangs() -> bool:
        return stores[0].hanging

    await wait_until_async(hangs, what="the first one hangs")
    for number in range(1, 4):
        await client.xadd(shards[1].keys.stream, {"lines": LINES})

        async def counted(number: int = number) -> bool:
            return await events(shards[1]) == 200 * number

        await wait_until_async(counted, what="the other one counts")
    assert await events(shards[0]) < 100 * 200
    for each in working:
        each.cancel()
    await asyncio.gather(*working, return_exceptions=True)
