"""The shards as the services have them: each with its keys and a client that reaches them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from tally.keys import Keys
from tally.redis_location import redis_url
from tally.runtime import Failure
from tally.settings import Settings
from tally.shards import HOME_TAG, tags
from tally.store.client import connect
from tally.store.layouts import LayoutStore
from tally.store.rewrite import connect_for_writing


@dataclass(frozen=True, slots=True)
class Shard:
    """One of them: its place among all, from 0, its keys, and a client that reaches these."""

    index: int
    keys: Keys
    redis: Redis


class Shards(tuple[Shard, ...]):
    """All of them, in their order; and `home`, with the layout of all, which may be none of them."""

    home: Shard

    @classmethod
    def over(cls, redis: Redis, settings: Settings) -> Shards:
        """Return them all over one client, as of one server."""
        shards = cls(Shard(index, Keys(tag), redis) for index, tag in enumerate(tags(settings.shards)))
        shards.home = Shard(0, Keys(HOME_TAG), redis)
        return shards

    async def aclose(self) -> None:
        """Close their clients."""
        for redis in dict.fromkeys((*(shard.redis for shard in self), self.home.redis)):
            await redis.aclose()


def connect_shards(settings: Settings, *, timeout_seconds: float | None = None) -> Shards:
    """Return the shards of who reads only; their clients connect with the first command. To be closed."""
    return Shards.over(
        connect(
            redis_url(settings),
            timeout_seconds=timeout_seconds or settings.read_timeout_seconds,
            tls=settings.redis_tls,
        ),
        settings,
    )


@asynccontextmanager
async def open_shards(
    settings: Settings, *, stop: asyncio.Event, for_writing: bool, timeout_seconds: float | None = None
) -> AsyncIterator[Shards]:
    """Give the shards; close their clients in the end. Nothing is asked before the first command is.

    Those for writing see to the rewrite of the append-only file first, until `stop` is set; see rewrite. They wait
    longer for an answer than those of who reads, unless it is said how long.
    """
    if not for_writing:
        shards = connect_shards(settings, timeout_seconds=timeout_seconds)
        try:
            yield shards
        finally:
            await shards.aclose()
        return
    async with connect_for_writing(
        redis_url(settings),
        timeout_seconds=timeout_seconds or settings.redis_timeout_seconds,
        tls=settings.redis_tls,
        keys=Keys(tags(settings.shards)[0]),
        stop=stop,
    ) as redis:
        yield Shards.over(redis, settings)


def only(shards: Shards, *, what: str) -> Shard:
    """Return the only shard. Raises Failure if there are more, for what cannot do with several yet."""
    if len(shards) > 1:
        raise Failure(f"TALLY_SHARDS={len(shards)}: {what} works with one shard only, as yet")
    return shards[0]


async def check_home(shards: Shards, *, settings: Settings, counts: bool) -> None:
    """Store the layout of all where there is none, and raise LayoutRefused where there is another one.

    With `counts` all of it, as an aggregator does; else over what sources are spread, as an ingestor does. Where there
    is one shard, its own store does that. Raises StoreUnavailable.
    """
    if len(shards) == 1:
        return
    store = LayoutStore(shards.home.redis, keys=shards.home.keys, settings=settings)
    await (store.ensure() if counts else store.ensure_format())
