"""The aggregator's process: one worker with a name of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid

from aggregator.log_events import STARTED
from aggregator.worker import Worker
from tally.keys import Keys
from tally.redis_location import redis_url
from tally.settings import Settings
from tally.store import AggregatorStore, WindowStore, connect_for_writing
from tally.telemetry import get_logger

#: How long one thread may go on when another one could.
SWITCH_SECONDS = 0.001


def consumer_name() -> str:
    """Return a name that no other process has, now or after a restart, and that tells people where it runs."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


async def run(settings: Settings, stop: asyncio.Event, *, drain: bool = False) -> None:
    """Count until `stop` is set; with `drain`, until what is in the stream now is counted."""
    keys = Keys()
    # Blocks are decoded in a thread, which is not to keep the other one waiting that speaks to Redis.
    sys.setswitchinterval(SWITCH_SECONDS)
    async with connect_for_writing(
        redis_url(settings),
        timeout_seconds=settings.redis_timeout_seconds,
        tls=settings.redis_tls,
        keys=keys,
        stop=stop,
    ) as redis:
        worker = Worker(
            store=AggregatorStore(redis, keys=keys, settings=settings),
            windows=WindowStore(redis, keys=keys, settings=settings),
            settings=settings,
            consumer=consumer_name(),
            stop=stop,
            drain=drain,
        )
        get_logger().info(STARTED, drain=drain)
        await worker.run()
