"""The path of a block through an aggregator: read, decode, settle, apply, four stages that work at the same time.

While Redis hands out blocks and applies what was settled, more are decoded. Those are added up into one batch for as
long as there is a backlog and the batch is not too large; as soon as there is none, a batch is what was read, so that
an event waits for nothing. Only blocks that are pending to us can be settled by us, so a batch is to be settled well
before others may claim it; for all these bounds see pacing.py.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aggregator.applying import Applier
from aggregator.counts import Counts
from aggregator.decoding import Decoder
from aggregator.drain import Drain
from aggregator.log_events import CLAIMED_BY_OTHERS
from aggregator.metrics import DECODE_DURATION
from aggregator.pacing import BATCH_BLOCKS, BATCH_BYTES, Batch, Pace
from aggregator.settling import Settler
from aggregator.stages import Item, Slot, first_of, in_thread, run_stages
from aggregator.turns import FEW_BYTES, STALL_SECONDS, Turn
from aggregator.upkeep import Upkeep
from tally.clock import Clock
from tally.log_throttle import Outage
from tally.settings import Settings
from tally.store import Entry
from tally.store.protocols import BatchStore
from tally.telemetry import Log

#: How long a read waits for a new block. Also how long a stop may take, because a read is not called off:
#: what the server gave to a reader that is gone would lie there until somebody claims it.
BLOCK_MS = 1000

#: Batches of ours that may wait to be applied while another one is settled: enough for the server not to wait for us.
MOST_UNAPPLIED = 1

#: Chunks that are applied before we leave, at the most; other aggregators apply the rest, or the next one does.
LEAVE_CHUNKS = 200


@dataclass(slots=True)
class Read:
    """Blocks that came with one read, since when they are ours, and whether more are waiting, as far as one can tell.

    Without any, and with no more waiting, it tells the next stage to hand on what it has.
    """

    entries: deque[Entry]
    since_seconds: float
    more: bool


class Pipeline:
    """One run of the stages; after a failure the next run has one of its own."""

    def __init__(
        self,
        *,
        store: BatchStore,
        settings: Settings,
        consumer: str,
        decoder: Decoder,
        pace: Pace,
        settler: Settler,
        applier: Applier,
        upkeep: Upkeep,
        drain: Drain | None,
        turn: Turn,
        outage: Outage,
        clock: Clock,
        stop: asyncio.Event,
        log: Log,
    ) -> None:
        self._store = store
        self._consumer = consumer
        self._decoder = decoder
        self._pace = pace
        self._settler = settler
        self._applier = applier
        self._upkeep = upkeep
        self._drain = drain
        self._turn = turn
        self._outage = outage
        self._clock = clock
        self._stop = stop
        self._log = log
        # An answer that comes as late as the connection waits for one would look like a server that is unavailable.
        self._block_ms = None if drain else min(BLOCK_MS, int(settings.redis_timeout_seconds * 500))
        self._read: Slot[Read] = Slot()
        self._decoded: Slot[list[tuple[Batch, Counts]]] = Slot()  # of one, which is taken out as soon as it is settled
        self._batch: Batch | None = None  # the one that grows, and what it has come to
        self._sums = decoder.begin()
        self._began_seconds = 0.0
        self._decode_seconds = 0.0  # that went into the batch so far

    async def run(self) -> None:
        """Count until `stop` is set or the drain is over. Raises what the store raises; what was taken is pending then.

        After a failure what was sent last may still take effect.
        """
        try:
            await run_stages(self._read_stage(), self._decode_stage(), self._settle_stage(), self._applier.run())
        finally:
            self._turn.give_back()

    async def _read_stage(self) -> None:
        while True:
            # With nothing under way, what is pending to us is what the upkeep claims.
            await self._read.until_taken()
            self._read.put(Read(deque(), self._clock.monotonic(), more=False))
            await self._read.until_done()
            await self._decoded.until_done()
            await self._upkeep.run()
            if self._stop.is_set() or (self._drain is not None and await self._drain.is_over()):
                await self._applier.apply(most=self._turn.part(LEAVE_CHUNKS))
                return
            more: bool | None = False
            while more is not None and not self._stop.is_set() and not self._upkeep.is_due():
                more = await self._read_one(wait=not more)

    async def _read_one(self, *, wait: bool) -> bool | None:
        """Read blocks and hand them on; return whether there seem to be more, None if there was nothing to read."""
        asked_for = self._turn.part(self._pace.blocks)
        block_ms = self._block_ms if wait else None
        entries = await self._store.read(consumer=self._consumer, count=asked_for, block_ms=block_ms)
        now_seconds = self._clock.monotonic()
        self._outage.is_over()
        if not entries and wait:
            return None
        self._settler.tried.update(entry.id for entry in entries)
        self._pace.read(entries)
        more = len(entries) >= asked_for
        self._read.put(Read(deque(entries), now_seconds, more))
        del entries
        await self._read.until_taken()
        return more

    async def _decode_stage(self) -> None:
        while True:
            async with self._read.take() as read:
                await self._add(read)
                # While the next stage is busy, what is read meanwhile joins the batch.
                while not read.more and self._batch is not None and not self._read.is_filled:
                    if self._decoded.is_free or self._turn.is_ours:
                        await self._hand_on()
                    else:
                        await first_of(self._decoded.until_done(), self._read.until_filled())
            if self._turn.is_ours and not self._read.is_filled:
                await first_of(self._read.until_filled(), self._clock.sleep(STALL_SECONDS))
                if not self._read.is_filled:
                    await self._hand_on()

    async def _settle_stage(self) -> None:
        while True:
            async with self._decoded.take() as handed_on:
                await self._settler.settle(*handed_on.pop())
                self._turn.settled()
                await self._applier.until_waiting(most=MOST_UNAPPLIED)

    async def _add(self, read: Read) -> None:
        """Add blocks to the batch, and hand it on whenever it is large or old enough."""
        while read.entries:
            if self._turn.shared:
                await self._take_turn(read)
            await self._renew(read)
            while read.entries:
                batch = self._batch
                if batch is None:
                    batch = self._batch = Batch(read.since_seconds)
                    self._sums = self._decoder.begin(self._applier.known, self._settler.numbering.known)
                    self._began_seconds, self._decode_seconds = self._clock.monotonic(), 0.0
                entry = read.entries.popleft()
                batch.blocks.append(entry.pending)
                await self._decode(self._sums.add, entry)
                del entry
                if self._is_full(batch):
                    await self._hand_on()
                    break
        if self._batch is None:
            self._turn.end()  # others had claimed all of it

    async def _decode(self, work: Callable[..., Item], *arguments: Any) -> Item:
        """Do a step of decoding in a thread, and note how long it took."""
        began = self._clock.monotonic()
        done = await in_thread(work, *arguments)
        self._decode_seconds += self._clock.monotonic() - began
        return done

    def _is_full(self, batch: Batch) -> bool:
        now_seconds = self._clock.monotonic()
        return (
            len(batch.blocks) >= BATCH_BLOCKS
            or self._sums.bytes >= BATCH_BYTES
            or self._sums.names >= self._turn.batch_names
            # While the next stage is busy it would only wait there, and larger ones are cheaper.
            or (
                (self._decoded.is_free or self._turn.is_wanted)
                and now_seconds - self._began_seconds >= self._turn.batch_seconds
            )
            or self._pace.is_due(batch.since_seconds, now_seconds=now_seconds)
        )

    async def _hand_on(self) -> None:
        """Hand the batch on as soon as the next stage is free."""
        batch, self._batch = self._batch, None
        if batch is not None:
            names, counts = self._sums.names, await self._decode(self._sums.counts)
            DECODE_DURATION.observe(self._decode_seconds)
            self._sums = self._decoder.begin()
            await self._turn.hand_on(names)
            await self._decoded.until_done()
            self._decoded.put([(batch, counts)])

    async def _take_turn(self, read: Read) -> None:
        """Wait until it is our turn to add these blocks to the batch, unless all of it is only a few lines."""
        size = self._sums.bytes + sum(len(entry.lines or b"") for entry in read.entries)
        if self._turn.is_ours or (size <= FEW_BYTES and not read.more):
            return
        if self._turn.is_wanted:
            await self._decoded.until_done()  # or the others would wait for our server, too
        await self._turn.take()

    async def _renew(self, read: Read) -> None:
        """Show that we work on blocks that have waited long, and leave out what was claimed meanwhile."""
        now_seconds = self._clock.monotonic()
        if not self._pace.is_due(read.since_seconds, now_seconds=now_seconds):
            return
        ours = await self._store.renew_pending(consumer=self._consumer, ids=[entry.id for entry in read.entries])
        read.since_seconds = now_seconds
        if len(ours) < len(read.entries):
            self._log.info(CLAIMED_BY_OTHERS, blocks=len(read.entries) - len(ours))
            read.entries = deque(entry for entry in read.entries if entry.id in ours)
