"""Services that are started while one of several servers hangs: what others have is appended to, and counted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestor import starting
from ingestor.log_events import LET_IN
from ingestor.sources import Context
from ingestor.starting import Start
from tally.layout import LayoutRefused
from tally.runtime import cancel_and_wait
from tally.settings import Settings
from tally.shards import HOME_TAG, tags
from tally.store import IngestorStore, StoreUnavailable, connect
from tally.store import shards as shards_module
from tally.store.ingestor_stores import IngestorStores
from tally.store.layouts import LayoutStore
from tally.store.shards import Shard, Shards, check_home, check_home_or_copy
from tests.server import Server
from tests.waiting import wait_until_async

#: Of so many shards neither has the layout of all.
SHARDS = 2


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "LET_IN_SECONDS", 0.1)
    monkeypatch.setattr(starting, "HOME_SECONDS", 0.1)
    monkeypatch.setattr(shards_module, "HOME_SECONDS", 0.1)


@pytest.fixture
def hanging(durable_server: Server) -> Iterator[Server]:
    """A server that hangs until it is told to go on: connections are made, and nothing is answered."""
    durable_server.process.send(signal.SIGSTOP)
    yield durable_server
    durable_server.process.send(signal.SIGCONT)


@asynccontextmanager
async def _shards(server: Server, other: Server, *there: int) -> AsyncIterator[tuple[Shards, Settings]]:
    """Give shards on one server, but of these tags, which are on the other one."""
    clients = [connect(each.url, timeout_seconds=60) for each in (server, other)]
    settings = Settings(shards=SHARDS)
    try:
        yield Shards.by(lambda tag: clients[tag in there], settings), settings
    finally:
        for each in clients:
            await each.aclose()


class Starting:
    """An ingestor that begins, as a task."""

    def __init__(self, shards: Shards, settings: Settings) -> None:
        stores = [IngestorStore(shard.redis, keys=shard.keys, settings=settings) for shard in shards]
        store = IngestorStores(stores, settings=settings)
        self.stop, self.ready = asyncio.Event(), asyncio.Event()
        context = Context(store=store, settings=settings, stop=self.stop, ready=self.ready)
        self.task = asyncio.create_task(Start(shards, store, context=context).run())

    async def __aenter__(self) -> Starting:
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel_and_wait(self.task)

    async def ends(self) -> None:
        await asyncio.wait_for(self.task, 60)


async def _has_group(shard: Shard) -> bool:
    client: Any = shard.redis
    return bool(await client.exists(shard.keys.stream)) and bool(await client.xinfo_groups(shard.keys.stream))


async def test_all_are_prepared_before_anything_is_let_in(server: Server, durable_server: Server) -> None:
    async with _shards(server, durable_server, tags(SHARDS)[1]) as (shards, settings):
        with capture_logs() as logs:
            async with Starting(shards, settings) as start:
                await start.ends()
        assert start.ready.is_set()
        assert all([await _has_group(shard) for shard in shards])
        assert not [line for line in logs if line["event"] == LET_IN]
        assert (await LayoutStore(shards.home.redis, keys=shards.home.keys, settings=settings).read()).fields


async def test_what_is_pushed_does_not_wait_for_a_shard_that_hangs(server: Server, hanging: Server) -> None:
    async with _shards(server, hanging, tags(SHARDS)[1]) as (shards, settings):
        with capture_logs() as logs:
            async with Starting(shards, settings) as start:
                await asyncio.wait_for(start.ready.wait(), 60)
                assert [line["missing_shards"] for line in logs if line["event"] == LET_IN] == [[1]]
                assert await _has_group(shards[0])
                assert not start.task.done(), "what can be read again waits for that one"
                hanging.process.send(signal.SIGCONT)
                await start.ends()
        assert await _has_group(shards[1])


async def test_a_stop_does_not_wait_for_it_either(server: Server, hanging: Server) -> None:
    async with _shards(server, hanging, tags(SHARDS)[1]) as (shards, settings), Starting(shards, settings) as start:
        await asyncio.wait_for(start.ready.wait(), 60)
        start.stop.set()
        await start.ends()


@pytest.mark.parametrize("copies", [1, SHARDS])
async def test_a_copy_stands_in_for_the_layout_of_all_that_does_not_answer(
    server: Server, hanging: Server, copies: int
) -> None:
    """Where one shard has it, what it says is so for all: only what all have said was ever copied."""
    async with _shards(server, hanging, HOME_TAG) as (shards, settings):
        for shard in shards[:copies]:
            await LayoutStore(shard.redis, keys=shard.keys, settings=settings).ensure_format()
        async with Starting(shards, settings) as start:
            await start.ends()
        assert start.ready.is_set()
        assert all([await _has_group(shard) for shard in shards])


async def _reads(client: Any) -> int:
    """How many hashes were read so far."""
    return int((await client.info("commandstats")).get("cmdstat_hgetall", {}).get("calls", 0))


async def test_nothing_is_written_while_nobody_says_how_sources_are_spread(server: Server, hanging: Server) -> None:
    async with _shards(server, hanging, HOME_TAG) as (shards, settings):
        looking: Any = shards[0].redis
        before = await _reads(looking)

        async def have_looked() -> bool:
            return await _reads(looking) >= before + SHARDS

        async with Starting(shards, settings) as start:
            await wait_until_async(have_looked, what="each shard is found to have no layout")
            assert await looking.keys("*") == []
            assert not start.ready.is_set()
            hanging.process.send(signal.SIGCONT)
            await start.ends()
        assert start.ready.is_set()


async def test_a_copy_that_says_otherwise_is_refused_at_once(server: Server, hanging: Server) -> None:
    async with _shards(server, hanging, HOME_TAG) as (shards, settings):
        other = Settings(shards=SHARDS, stripe_bytes=4096)
        await LayoutStore(shards[1].redis, keys=shards[1].keys, settings=other).ensure_format()
        async with Starting(shards, settings) as start:
            with pytest.raises(LayoutRefused, match="TALLY_STRIPE_BYTES was 4096"):
                await start.ends()
        assert not start.ready.is_set()


async def test_the_layout_of_all_is_refused_though_a_copy_is_ours(server: Server, durable_server: Server) -> None:
    """As where Redis was flushed but for a shard, and begun anew with others."""
    async with _shards(server, durable_server, HOME_TAG) as (shards, settings):
        other = Settings(shards=8)
        await LayoutStore(shards.home.redis, keys=shards.home.keys, settings=other).ensure_format()
        await LayoutStore(shards[0].redis, keys=shards[0].keys, settings=settings).ensure_format()
        async with Starting(shards, settings) as start:
            with pytest.raises(LayoutRefused, match="TALLY_SHARDS was 8"):
                await start.ends()


# An aggregator.


async def test_a_shard_with_a_whole_copy_is_counted_without_the_layout_of_all(server: Server, hanging: Server) -> None:
    async with _shards(server, hanging, HOME_TAG) as (shards, settings):
        whole, other = shards
        await LayoutStore(whole.redis, keys=whole.keys, settings=settings).ensure()
        await check_home_or_copy(shards, whole, settings=settings)
        with pytest.raises(StoreUnavailable, match="the layout of all cannot be read"):
            await check_home_or_copy(shards, other, settings=settings)
        await LayoutStore(other.redis, keys=other.keys, settings=settings).ensure_format()  # as an ingestor does
        with pytest.raises(StoreUnavailable, match="the layout of all cannot be read"):
            await check_home_or_copy(shards, other, settings=settings)


async def test_the_layout_of_all_is_what_counts_where_it_answers(server: Server, durable_server: Server) -> None:
    """Another one is accepted there first, so that who starts with the one before is refused from then on."""
    async with _shards(server, durable_server, HOME_TAG) as (shards, settings):
        shard = shards[0]
        await LayoutStore(shard.redis, keys=shard.keys, settings=settings).ensure()
        await check_home(shards, settings=Settings(shards=SHARDS, fold_case=True), counts=True)
        with pytest.raises(LayoutRefused, match="TALLY_FOLD_CASE was true"):
            await check_home_or_copy(shards, shard, settings=settings)
