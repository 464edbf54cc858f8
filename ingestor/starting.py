"""What an ingestor does in Redis before it appends: each shard is prepared by itself, and then all are tidied.

What is pushed is let in when some shards are prepared and others have not answered for a while: it goes to those then.
What can be read again waits by itself, for it needs to know how far it is in each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from ingestor.log_events import FILES_FORGOTTEN, LET_IN
from ingestor.renewal import FORGET_AFTER_SECONDS
from ingestor.retrying import ask, or_stop
from ingestor.sources import Context
from tally.runtime import cancel_and_wait
from tally.settings import Settings
from tally.store import IngestorStore, PipelineStore
from tally.store.ingestor_stores import IngestorStores
from tally.store.shards import HOME_SECONDS, Shards, check_home, do_without_home
from tally.telemetry import get_logger

#: How long the others are waited for when one shard is prepared.
LET_IN_SECONDS = 2.0


class Start:
    """Prepares the shards, and sets `context.ready` when there is something to append to."""

    def __init__(self, shards: Shards, store: IngestorStore | IngestorStores, *, context: Context) -> None:
        self._shards = shards
        self._store = store
        self._context = context
        self._prepared: set[int] = set()
        self._one_is_prepared = asyncio.Event()
        self._spread_is_ours = asyncio.Event()  # as the layout of all says, or a copy of it

    async def run(self) -> None:
        """Return when all is done, or we are to stop.

        Raises LayoutRefused where Redis holds data of a format that we do not know, or what is spread otherwise, and
        Refused where our user may not do all that an ingestor does.
        """
        home = asyncio.create_task(self._check_home(), name="check the layout of all")
        preparing = [
            asyncio.create_task(self._prepare(shard), name=f"prepare shard {shard}")
            for shard in range(len(self._shards))
        ]
        letting_in = asyncio.create_task(self._let_in(), name="let in what is pushed")
        pending: set[asyncio.Task[None]] = {home, *preparing}
        try:
            while not pending.isdisjoint(preparing):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
            await cancel_and_wait(letting_in)
            # A copy has said the same already; but where it is another one by now, it is to be said at once.
            await asyncio.wait((home,), timeout=HOME_SECONDS)
            if home.done():
                home.result()
            await self._ask(partial(_tidy, self._shards, self._store, self._context.settings))
        finally:
            await asyncio.gather(*map(cancel_and_wait, (letting_in, home, *preparing)))
            if home.cancelled():
                do_without_home(self._shards)
        self._context.ready.set()

    async def _check_home(self) -> None:
        await self._ask(partial(check_home, self._shards, settings=self._context.settings, counts=False))
        self._spread_is_ours.set()

    async def _prepare(self, shard: int) -> None:
        store = self._store.shards[shard]

        async def prepare() -> None:
            if await store.check_start():
                self._spread_is_ours.set()
            # One that is empty learns how sources are spread only if that is how they are.
            await self._spread_is_ours.wait()
            await store.create_group()  # before anything can fill Redis, which refuses it when it is full
            self._prepared.add(shard)
            self._one_is_prepared.set()

        await self._ask(prepare, **({"shard": shard} if len(self._shards) > 1 else {}))

    async def _let_in(self) -> None:
        """Have what is pushed not wait any longer than this for shards that do not answer."""
        await self._one_is_prepared.wait()
        await self._context.clock.sleep(LET_IN_SECONDS)
        missing = [shard for shard in range(len(self._shards)) if shard not in self._prepared]
        get_logger().warning(LET_IN, missing_shards=missing)
        self._context.ready.set()

    async def _ask(self, question: Callable[[], Awaitable[None]], **logged: int) -> None:
        """Ask Redis until it answers, or we are to stop; what is `logged` is in all that is said of it."""
        stop = self._context.stop
        await or_stop(ask(question, stop=stop, log=get_logger().bind(**logged), clock=self._context.clock), stop)


async def _tidy(shards: Shards, store: IngestorStore | IngestorStores, settings: Settings) -> None:
    """Forget what ingestors that were killed left behind, and say what is dangerous. Raises StoreUnavailable."""
    pipelines = {shard.redis: PipelineStore(shard.redis, keys=shard.keys, settings=settings) for shard in shards}
    for sentence in dict.fromkeys([each for pipeline in pipelines.values() for each in await pipeline.advice()]):
        get_logger().warning("redis is set up dangerously", problem=sentence)
    before_ms = int((await store.server_seconds() - FORGET_AFTER_SECONDS) * 1000)
    await store.forget_left_behind(unseen_since_ms=before_ms)
    if settings.forget_files_after_days is not None:
        before_ms = int((await store.server_seconds() - settings.forget_files_after_days * 86_400) * 1000)
        forgotten = await store.forget_files(unseen_since_ms=before_ms)
        if forgotten:
            get_logger().info(FILES_FORGOTTEN, files=forgotten)
        await store.forget_source_counts(unseen_since_ms=before_ms)
