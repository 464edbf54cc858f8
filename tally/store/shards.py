"""The shards as the services have them: each with its keys and a client that reaches them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.asyncio import Redis

from tally.keys import Keys
from tally.redis_location import redis_url
from tally.redis_urls import parts_of
from tally.settings import Settings
from tally.shards import HOME_TAG, slot_of, tags
from tally.store import measured
from tally.store.client import NO_ANSWER, StoreUnavailable, connect
from tally.store.cluster import Owners, connect_to_slot
from tally.store.layouts import LayoutStore
from tally.store.measured import MeasuredRedis
from tally.store.patience import Patience
from tally.store.rewrite import connect_for_writing

#: How long the server with the layout of all is waited for where a copy would do.
HOME_SECONDS = 2.0


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
        return cls.by(lambda _: redis, settings)

    @classmethod
    def by(cls, client_for: Callable[[int], Redis], settings: Settings) -> Shards:
        """Return them with what `client_for` gives for the tag of each."""
        each = ((index, Keys(tag, settings.namespace)) for index, tag in enumerate(tags(settings.shards)))
        shards = cls(Shard(index, keys, client_for(keys.tag)) for index, keys in each)
        shards.home = Shard(0, Keys(HOME_TAG, settings.namespace), client_for(HOME_TAG))
        return shards

    @property
    def with_home(self) -> tuple[Shard, ...]:
        """All that have a layout: that with the one of all, and then the others."""
        return (self.home, *(shard for shard in self if shard.keys != self.home.keys))

    async def aclose(self) -> None:
        """Close their clients."""
        for redis in dict.fromkeys((*(shard.redis for shard in self), self.home.redis)):
            await redis.aclose()


class _Way:
    """How clients of the shards are made: of one server or by Sentinels one for all, of a cluster one a slot."""

    def __init__(self, settings: Settings, *, timeout_seconds: float) -> None:
        self._url = redis_url(settings)
        self._shards = settings.shards
        self._common: dict[str, Any] = {"timeout_seconds": timeout_seconds, "tls": settings.redis_tls}
        self._owners = Owners(self._url, **self._common) if parts_of(self._url).kind == "cluster" else None

    def slot(self, tag: int) -> int:
        """Return the slot of a tag; the same for all where one client is enough."""
        return slot_of(tag) if self._owners else 0

    def reading(self, slot: int) -> Redis:
        """Return a client for reading."""
        return self._connect(slot)(self._url, **self._common)

    def writing(self, slot: int, keys: Keys, stop: asyncio.Event) -> AbstractAsyncContextManager[MeasuredRedis]:
        """Give a client for writing, which sees to the rewrite."""
        return connect_for_writing(self._url, **self._common, keys=keys, stop=stop, connect=self._connect(slot))

    def _connect(self, slot: int) -> Callable[..., MeasuredRedis]:
        if self._owners:
            return partial(connect_to_slot, slot=slot, owners=self._owners)
        return partial(connect, readers=self._shards - 1)


def connect_shards(settings: Settings, *, timeout_seconds: float | None = None) -> Shards:
    """Return the shards with clients for reading, which connect with the first command. To be closed."""
    way = _Way(settings, timeout_seconds=timeout_seconds or settings.read_timeout_seconds)
    clients = {slot: way.reading(slot) for slot in map(way.slot, _all_tags(settings))}
    return Shards.by(lambda tag: clients[way.slot(tag)], settings)


def _all_tags(settings: Settings) -> tuple[int, ...]:
    """Return the tags of the shards, the first one first, and that of the layout of all."""
    return (*tags(settings.shards), HOME_TAG)


@asynccontextmanager
async def open_shards(
    settings: Settings, *, stop: asyncio.Event, for_writing: bool, timeout_seconds: float | None = None
) -> AsyncIterator[Shards]:
    """Give the shards; close their clients in the end. Nothing is asked before the first command is.

    Those for writing see to the rewrite of the append-only file first, until `stop` is set; see rewrite. They wait
    longer for an answer than those for reading, unless it is said how long, and are measured if somebody may ask.
    """
    if not for_writing:
        shards = connect_shards(settings, timeout_seconds=timeout_seconds)
        try:
            yield shards
        finally:
            await shards.aclose()
        return
    way = _Way(settings, timeout_seconds=timeout_seconds or settings.redis_timeout_seconds)
    patience = Patience(stop)
    async with patience.watched(), AsyncExitStack() as stack:
        clients: dict[int, MeasuredRedis] = {}
        for tag in _all_tags(settings):
            if (slot := way.slot(tag)) not in clients:
                clients[slot] = await stack.enter_async_context(way.writing(slot, Keys(tag, settings.namespace), stop))
                clients[slot].patience = patience
                clients[slot].is_measured = settings.metrics_port is not None
        yield Shards.by(lambda tag: clients[way.slot(tag)], settings)


async def check_home(shards: Shards, *, settings: Settings, counts: bool) -> None:
    """Store the layout of all where there is none, and raise LayoutRefused where there is another one.

    With `counts` all of it, as an aggregator does; else over what sources are spread, as an ingestor does. Where there
    is one shard, its own store does that. Raises StoreUnavailable.
    """
    if len(shards) == 1:
        return
    store = LayoutStore(shards.home.redis, keys=shards.home.keys, settings=settings)
    await (store.ensure() if counts else store.ensure_format())


async def check_home_or_copy(shards: Shards, shard: Shard, *, settings: Settings) -> None:
    """Do what `check_home` does for a worker of a shard, unless home does not answer and the shard has a whole copy.

    A copy is there only if the layout of all was; whether it is that of our settings its own store tells.
    """
    try:
        async with asyncio.timeout(HOME_SECONDS):
            await check_home(shards, settings=settings, counts=True)
    except (StoreUnavailable, TimeoutError) as error:
        if not (await LayoutStore(shard.redis, keys=shard.keys, settings=settings).read()).whole:
            raise StoreUnavailable(f"the layout of all cannot be read: {str(error) or NO_ANSWER}") from error
        do_without_home(shards)


def do_without_home(shards: Shards) -> None:
    """Note that the layout of all is asked for no more by this process, though it may not have been answered."""
    if all(shard.redis is not shards.home.redis for shard in shards):
        measured.answers.forget(shards.home.redis)
