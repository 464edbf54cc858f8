"""Whether an ingestor does its work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tally.refused import Refused
from tally.settings import Settings
from tally.store import StoreUnavailable
from tally.store.pipeline import PipelineStore
from tally.store.shards import Shards
from tally.web.problem_types import NOT_READY, ProblemError


class Readiness:
    """Is called to find out. `down` tells which sources are not open just now."""

    def __init__(
        self,
        shards: Shards,
        *,
        settings: Settings,
        ready: asyncio.Event,
        stop: asyncio.Event,
        down: Callable[[], Sequence[str]],
    ) -> None:
        self._stores = [PipelineStore(shard.redis, keys=shard.keys, settings=settings) for shard in shards]
        self._ready = ready
        self._stop = stop
        self._down = down

    async def __call__(self) -> None:
        """Raise ProblemError while sources are not open, StoreUnavailable or Refused while no shard can be written to.

        One shard is enough: lines that are pushed go to those that there are.
        """
        if self._stop.is_set():
            raise ProblemError(NOT_READY, "it is stopping")
        await self._any_is_writable()
        if not self._ready.is_set():
            raise ProblemError(NOT_READY, "it has not prepared Redis yet")
        if down := self._down():
            raise ProblemError(NOT_READY, f"not open: {', '.join(down)}")

    async def _any_is_writable(self) -> None:
        checks = [asyncio.ensure_future(store.check_writable()) for store in self._stores]
        errors: list[BaseException] = []
        try:
            for check in asyncio.as_completed(checks):
                try:
                    await check
                    return
                except (StoreUnavailable, Refused) as error:
                    errors.append(error)
        finally:
            for each in checks:
                each.cancel()
            await asyncio.gather(*checks, return_exceptions=True)
        raise errors[0]
