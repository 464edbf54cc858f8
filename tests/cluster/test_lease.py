"""The lease over masters that fail: it goes on with the replica, or its holder is told that it was lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tally.keys import Keys
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import Block, IngestorStore, StoreUnavailable
from tally.store.held import held
from tally.store.lease import Lease, quiesced
from tally.store.shards import Shards, open_shards
from tests.cluster.nodes import Cluster
from tests.waiting import wait_until, wait_until_async

SHARDS = 3


class Appender:
    """Tries to append to all shards, all the time."""

    def __init__(self, shards: Shards, settings: Settings) -> None:
        self._stores = [IngestorStore(shard.redis, keys=shard.keys, settings=settings) for shard in shards]
        self.outcomes: list[set[str]] = [set() for _ in shards]

    async def run(self) -> None:
        while True:
            for store, outcomes in zip(self._stores, self.outcomes, strict=True):
                with suppress(StoreUnavailable):
                    (found,) = await store.append(source="file:a", blocks=[Block(0, 1, b"x")])
                    outcomes.add(found.outcome)
            await asyncio.sleep(0.01)


async def _confirmed(lease: Lease) -> bool:
    """Ask until it is answered; return whether it was held all along."""
    while True:
        try:
            await lease.confirm()
        except StoreUnavailable:
            await asyncio.sleep(0.1)
        except Failure:
            return False
        else:
            return True


@pytest.mark.slow
async def test_after_a_fail_over_it_holds_or_its_holder_is_told(replicated_cluster: Cluster) -> None:
    settings = Settings(redis_url=replicated_cluster.url, shards=SHARDS, redis_timeout_seconds=5)
    stop = asyncio.Event()
    async with open_shards(settings, stop=stop, for_writing=True) as shards:
        appender = Appender(shards, settings)
        async with quiesced(shards, settings, what="export", drain=False) as lease:
            appending = asyncio.create_task(appender.run())
            last: Keys = shards[-1].keys
            master = replicated_cluster.owner(last.tag)
            replica = replicated_cluster.replica_of(master)
            await asyncio.to_thread(master.kill)
            await asyncio.to_thread(wait_until, replica.is_master, what="the replica takes over")
            for outcomes in appender.outcomes:
                outcomes.clear()
            await wait_until_async(lambda: _all_answer(appender), what="all shards answer again")
            before = [set(outcomes) for outcomes in appender.outcomes]
            is_held = await _confirmed(lease)
            assert not is_held or before == [{"full"}] * SHARDS
        await wait_until_async(lambda: _nobody_holds(shards), what="it was given back")
        for outcomes in appender.outcomes:
            outcomes.clear()
        await wait_until_async(lambda: _all_answer(appender), what="appends go on")
        appending.cancel()
        await asyncio.wait((appending,))
        assert all(outcomes <= {"appended", "duplicate"} for outcomes in appender.outcomes), appender.outcomes


async def _all_answer(appender: Appender) -> bool:
    return all(appender.outcomes)


async def _nobody_holds(shards: Shards) -> bool:
    return not any([await held(shard.redis, keys=shard.keys) for shard in shards.with_home])
