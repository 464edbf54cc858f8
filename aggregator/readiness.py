"""Whether an aggregator does all of its work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aggregator.worker import Worker
from tally.settings import Settings
from tally.store.pipeline import PipelineStore
from tally.store.shards import Shard
from tally.store.together import together
from tally.web.problem_types import NOT_READY, ProblemError


class Readiness:
    """Is called to find out."""

    def __init__(self, workers: Mapping[Shard, Worker], *, settings: Settings, stop: asyncio.Event) -> None:
        self._workers = workers
        self._stop = stop
        self._stores = [PipelineStore(shard.redis, keys=shard.keys, settings=settings) for shard in workers]

    async def __call__(self) -> None:
        """Raise ProblemError while a worker is not in its group, StoreUnavailable while Redis cannot be written to."""
        if self._stop.is_set():
            raise ProblemError(NOT_READY, "it is stopping")
        await together([store.check_writable() for store in self._stores])
        outside = {shard.index: worker.trouble for shard, worker in self._workers.items() if not worker.is_member}
        if outside:
            shards = f" of shards {', '.join(map(str, outside))}" if len(self._workers) > 1 else ""
            why = "".join(f": {trouble.public}" for trouble in [*filter(None, outside.values())][:1])
            raise ProblemError(NOT_READY, f"it is not in the consumer group{shards}{why}")
