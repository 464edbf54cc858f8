"""What an aggregator measures while it counts what is on a real server."""

from __future__ import annotations

import asyncio
import time

from redis.asyncio import Redis

from aggregator.service import run
from tally.keys import Keys
from tally.settings import Settings
from tally.store import Block
from tests.metrics import Change, value
from tests.server import Server
from tests.stores import AllStores


async def test_an_aggregator_measures_what_it_claims_decodes_settles_and_applies(redis: Redis, server: Server) -> None:
    settings = Settings(redis_url=server.url, claim_idle_seconds=0.5)
    store = AllStores(redis, keys=Keys(), settings=settings)
    await store.create_group()
    began = time.time()
    line = b'{"event_type": "a", "data": "x y z", "timestamp": %d}' % (began - 100)
    blocks = [b"\n".join([line] * 100), line, line]
    for at, block in enumerate(blocks):
        await store.append(source="s", blocks=[Block(at, at + 1, block)])
    await store.read(consumer="dead", count=1, block_ms=None)
    names = (
        "batch_bytes_sum",
        "batch_bytes_count",
        "batch_names_sum",
        "decode_duration_seconds_count",
        "settle_duration_seconds_count",
        "apply_duration_seconds_count",
        "claimed_blocks_total",
        "event_lag_seconds_count",
    )
    grown = {name: Change(f"tally_aggregator_{name}") for name in names}
    within = {le: Change("tally_aggregator_event_lag_seconds_bucket", le=le) for le in ("60.0", "300.0")}
    await asyncio.wait_for(run(settings, asyncio.Event(), drain=True), 60)
    batches = grown["batch_bytes_count"].so_far
    assert 1 <= batches <= 3
    assert grown["batch_bytes_sum"].so_far == sum(map(len, blocks))
    assert grown["batch_names_sum"].so_far == 4 * batches, "a type and three words"
    assert grown["decode_duration_seconds_count"].so_far == batches
    assert grown["settle_duration_seconds_count"].so_far == batches
    assert 1 <= grown["apply_duration_seconds_count"].so_far <= batches
    assert grown["claimed_blocks_total"].so_far == 1
    assert (within["60.0"].so_far, within["300.0"].so_far) == (0, batches)
    last = value("tally_aggregator_last_batch_timestamp_seconds")
    assert last is not None
    assert began <= last <= time.time()
