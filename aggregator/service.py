"""The aggregator's process: one worker with a name of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid

from aggregator.log_events import STARTED
from aggregator.worker import Worker
from tally.settings import Settings
from tally.store import AggregatorStore, WindowStore
from tally.store.shards import only, open_shards
from tally.telemetry import get_logger

#: How long one thread may go on when another one could.
SWITCH_SECONDS = 0.001


def consumer_name() -> str:
    """Return a name that no other process has, now or after a restart, and that tells people where it runs."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


async def run(settings: Settings, stop: asyncio.Event, *, drain: bool = False) -> None:
    """Count until `stop` is set; with `drain`, until what is in the stream now is counted."""
    # Blocks are decoded in a thread, which is not to keep the other one waiting that speaks to Redis.
    sys.setswitchinterval(SWITCH_SECONDS)
    async with open_shards(settings, stop=stop, for_writing=True) as shards:
        shard = only(shards, what="an aggregator")
        worker = Worker(
            store=AggregatorStore(shard.redis, keys=shard.keys, settings=settings),
            windows=WindowStore(shard.redis, keys=shard.keys, settings=settings),
            settings=settings,
            consumer=consumer_name(),
            stop=stop,
            drain=drain,
        )
        get_logger().info(STARTED, drain=drain)
        await worker.run()
