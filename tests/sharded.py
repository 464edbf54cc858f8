"""Several shards on one server, through the real scripts, with the clock in a test's hands."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from redis.asyncio import Redis

from aggregator.decoding import Decoder
from aggregator.folding import Folding
from api.app import create_app
from tally.clock import Clock
from tally.settings import Settings
from tally.store import WindowStore
from tally.store.layouts import LayoutStore
from tally.store.merged_reads import reader_of
from tally.store.shards import Shard, Shards
from tests.fakes import FakeClock
from tests.stores import AllStores


class OneShard:
    """Counts what is given to one of them."""

    def __init__(self, shard: Shard, settings: Settings) -> None:
        self.redis: Any = shard.redis
        self.keys = shard.keys
        self.store = AllStores(shard.redis, keys=shard.keys, settings=settings)
        self.folding = Folding(WindowStore(shard.redis, keys=shard.keys, settings=settings))
        self._decoder = Decoder(settings)
        self._sequence = 0

    async def count(self, lines: Sequence[bytes], *, now: float) -> None:
        """Count these lines as one block that arrives then."""
        self._sequence += 1
        fields = {"lines": b"\n".join(lines), "source": "test"}
        await self.redis.xadd(self.keys.stream, fields, id=f"{int(now * 1000) + self._sequence}-0")
        await self.count_what_waits()

    async def count_what_waits(self) -> None:
        """Count all blocks that were appended, as an aggregator does."""
        await self.store.create_group()
        entries = await self.store.read(consumer="test", count=100, block_ms=None)
        if not entries:
            return
        await self.store.count(consumer="test", entries=entries, counts=self._decoder.count(entries))

    async def move(self, steps: int = 1_000_000) -> None:
        """Fold and drop what is behind its floor, as an aggregator does; with `steps`, so much of it."""
        self.folding.overdue = True
        for _ in range(steps):
            if not self.folding.overdue:
                break
            await self.folding.step()


class Sharded:
    """All of them, and what reads them."""

    def __init__(self, redis: Redis, settings: Settings, *, now: float) -> None:
        self.settings = settings
        self.clock = FakeClock(now)
        self.over = Shards.over(redis, settings)
        self.shards = [OneShard(shard, settings) for shard in self.over]
        self.reader: Any = reader_of(self.over, settings=settings)

    async def begin(self) -> None:
        """Store the layout of all."""
        await LayoutStore(self.over.home.redis, keys=self.over.home.keys, settings=self.settings).ensure()
        for shard in self.shards:
            await shard.store.ensure_layout()

    @property
    def now(self) -> float:
        return self.clock.now

    @now.setter
    def now(self, seconds: float) -> None:
        self.clock.now = seconds

    async def count(self, lines: Sequence[bytes], *, shard: int) -> None:
        await self.shards[shard].count(lines, now=self.now)

    async def spread(self, lines: Sequence[bytes], chance: random.Random) -> None:
        """Count some of the lines in each shard, as it happens."""
        parts: list[list[bytes]] = [[] for _ in self.shards]
        for line in lines:
            chance.choice(parts).append(line)
        for shard, part in zip(self.shards, parts, strict=True):
            if part:
                await shard.count(part, now=self.now)

    async def move(self) -> None:
        for shard in self.shards:
            await shard.move()


@asynccontextmanager
async def asked(settings: Settings, redis: Redis, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the application over these shards."""
    app = create_app(settings, redis=redis, clock=clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        yield client
