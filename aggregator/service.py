"""The aggregator's process: a worker for each shard that it serves, all with the same name, which is its own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid
from collections.abc import Sequence
from functools import partial

from aggregator.decoding import Decoder
from aggregator.log_events import STARTED
from aggregator.readiness import Readiness
from aggregator.turns import Turns
from aggregator.worker import Worker
from tally.settings import Settings
from tally.store import AggregatorStore, WindowStore
from tally.store.shards import check_home_or_copy, open_shards
from tally.telemetry import get_logger
from tally.web.metrics_server import metrics_served

#: How long one thread may go on when another one could.
SWITCH_SECONDS = 0.001


def consumer_name() -> str:
    """Return a name that no other process has, now or after a restart, and that tells people where it runs."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


async def run(settings: Settings, stop: asyncio.Event, *, drain: bool = False) -> None:
    """Count until `stop` is set; with `drain`, until what is in the streams now is counted.

    Sets `stop` when a worker cannot go on.
    """
    # Blocks are decoded in a thread, which is not to keep the other one waiting that speaks to Redis.
    sys.setswitchinterval(SWITCH_SECONDS)
    async with open_shards(settings, stop=stop, for_writing=True) as shards:
        several = len(shards) > 1
        served = [shards[index] for index in settings.served_shards]
        name, decoder, turns = consumer_name(), Decoder(settings), Turns(len(served)).of_each()
        workers = {
            shard: Worker(
                store=AggregatorStore(shard.redis, keys=shard.keys, settings=settings),
                windows=WindowStore(shard.redis, keys=shard.keys, settings=settings),
                settings=settings,
                consumer=name,
                stop=stop,
                drain=drain,
                decoder=decoder,
                turn=turn,
                shard=shard.index if several else None,
                check_home=partial(check_home_or_copy, shards, shard, settings=settings) if several else None,
            )
            for shard, turn in zip(served, turns, strict=True)
        }
        which = {"namespace": settings.namespace} | ({"shards": settings.served_shards} if several else {})
        get_logger().info(STARTED, drain=drain, **which)
        async with metrics_served(settings, readiness=Readiness(workers, settings=settings, stop=stop)):
            await _run_all([*workers.values()], stop)


async def _run_all(workers: Sequence[Worker], stop: asyncio.Event) -> None:
    """Run the workers, which end at a stop, or when each has drained its shard. If one fails, the others end, too.

    Raises what the first one raised. Others have left as at a stop.
    """
    running = [asyncio.create_task(worker.run()) for worker in workers]
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    if any(task.exception() is not None for task in done):
        stop.set()
    for outcome in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
