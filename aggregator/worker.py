"""One member of the consumer group, from when it joins until it leaves, through whatever failures of Redis.

Whatever fails, what was taken and not counted is still pending to us, and is tried again before new blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from aggregator.applying import Applier
from aggregator.decoding import Decoder
from aggregator.drain import Drain
from aggregator.folding import Folding
from aggregator.log_events import GROUP_CREATED, LEFT_PENDING, STOPPED, STREAM_LOST
from aggregator.pacing import Pace
from aggregator.pending import PendingBlocks
from aggregator.pipeline import Pipeline
from aggregator.settling import Done, Settler
from aggregator.turns import Turn
from aggregator.upkeep import Upkeep
from tally.backoff import Backoff
from tally.clock import SYSTEM, Clock
from tally.log_throttle import Outage
from tally.settings import Settings
from tally.store import GroupMissing, LayoutChanged, StoreUnavailable
from tally.store.protocols import FoldingStore, WorkerStore
from tally.telemetry import get_logger


class Worker:
    """One consumer of the group `aggregators` of one shard.

    Where a process serves several, each has one, with a turn of its own. `check_home` sees to the layout of all.
    """

    def __init__(
        self,
        *,
        store: WorkerStore,
        windows: FoldingStore,
        settings: Settings,
        consumer: str,
        stop: asyncio.Event,
        drain: bool = False,
        decoder: Decoder | None = None,
        turn: Turn | None = None,
        shard: int | None = None,
        check_home: Callable[[], Awaitable[None]] | None = None,
        clock: Clock = SYSTEM,
        backoff: Backoff | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._consumer = consumer
        self._stop = stop
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._check_home = check_home
        self.is_member = False  # of the group, as far as it knows
        self.trouble: StoreUnavailable | None = None  # why it was not at the last try, until it counts again
        self._log = get_logger().bind(consumer=consumer, **({} if shard is None else {"shard": shard}))
        self._outage = Outage(self._log, clock=clock)
        self._decoder = decoder or Decoder(settings)
        self._turn = turn or Turn()
        self._pace = Pace(claim_idle_seconds=settings.claim_idle_seconds, max_block_bytes=settings.max_block_bytes)
        self._drain = Drain(store=store, clock=clock, stop=stop) if drain else None
        self._applier = Applier(store=store, folding=Folding(windows), clock=clock, stop=stop, log=self._log)
        self._settler = Settler(
            store=store,
            applier=self._applier,
            settings=settings,
            consumer=consumer,
            pace=self._pace,
            backoff=self._backoff,
            clock=clock,
            log=self._log,
        )
        self._pending = PendingBlocks(
            store=store,
            settings=settings,
            consumer=consumer,
            decoder=self._decoder,
            settler=self._settler,
            turn=self._turn,
            clock=clock,
            stop=stop,
            log=self._log,
        )
        self._upkeep = Upkeep(
            store=store,
            settings=settings,
            pending=self._pending,
            settler=self._settler,
            clock=clock,
            log=self._log,
        )

    @property
    def done(self) -> Done:
        """Return what it has done so far."""
        return self._settler.done

    async def run(self) -> None:
        """Count until `stop` is set, or with `drain` until what was there at the start is counted.

        Raises LayoutRefused as soon as Redis holds what was counted with another layout. What is pending to us then is
        left to aggregators that have that one.
        """
        while not self._stop.is_set():
            try:
                await self._join()
                self.is_member, self.trouble = True, None
                await self._count()
                break
            except GroupMissing as error:
                self.is_member = False
                # A flush, or a server that came back without its data. The ingestors send again what they can.
                self._log.error(STREAM_LOST, error=str(error))
                self._settler.tried.clear()
            except LayoutChanged:
                self.is_member = False
                # The next look at it says how, or finds ours: Redis may have been flushed.
                await self._clock.wait(self._stop, Backoff().next_seconds())
            except StoreUnavailable as error:
                self.is_member, self.trouble = False, error
                delay_seconds = self._backoff.next_seconds()
                self._outage.lasts(error, retry_in_seconds=delay_seconds)
                await self._clock.wait(self._stop, delay_seconds)
        self.is_member = False
        await self._leave()

    async def _join(self) -> None:
        if self._check_home is not None:
            await self._check_home()
        await self._store.ensure_layout()
        await self._settler.numbering.learn()
        if await self._store.create_group():
            self._log.info(GROUP_CREATED)

    async def _count(self) -> None:
        self._applier.forget()
        await self._pending.count()
        if self._drain is not None:
            await self._drain.begin()
        pipeline = Pipeline(
            store=self._store,
            settings=self._settings,
            consumer=self._consumer,
            decoder=self._decoder,
            pace=self._pace,
            settler=self._settler,
            applier=self._applier,
            upkeep=self._upkeep,
            drain=self._drain,
            turn=self._turn,
            outage=self._outage,
            clock=self._clock,
            stop=self._stop,
            log=self._log,
        )
        await pipeline.run()

    async def _leave(self) -> None:
        self._applier.forget()  # what ended us may have been a server that lost its last writes
        try:
            await self._pending.leave()
        except (StoreUnavailable, GroupMissing, LayoutChanged) as error:
            self._log.warning(LEFT_PENDING, error=str(error))
        self._log.info(STOPPED, **asdict(self.done))
