"""The path of a batch through an aggregator: read, decode, count, three stages that work at the same time.

While Redis hands out one batch and counts another, a third is decoded: there is one batch in each stage at the most.
Only blocks that are pending to us can be counted by us, so a batch is to be counted well before others may claim it;
how large it may be for that, see pacing.py. What is decoded too slowly is counted in parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from aggregator.counting import BatchCounter
from aggregator.decoding import Decoder
from aggregator.drain import Drain
from aggregator.log_events import CLAIMED_BY_OTHERS
from aggregator.pacing import Batch, Pace
from aggregator.stages import Slot, run_stages
from aggregator.upkeep import Upkeep
from tally.clock import Clock
from tally.counts import Counts
from tally.log_throttle import Outage
from tally.settings import Settings
from tally.store import Entry
from tally.store.protocols import BatchStore
from tally.telemetry import Log

#: How long a read waits for a new block. Also how long a stop may take, because a read is not called off:
#: what the server gave to a reader that is gone would lie there until somebody claims it.
BLOCK_MS = 1000

#: How long a batch waits at the most for the next one to be read, when there seems to be one.
READ_AHEAD_SECONDS = 0.05


class Pipeline:
    """One run of the three stages; after a failure the next run has one of its own."""

    def __init__(
        self,
        *,
        store: BatchStore,
        settings: Settings,
        consumer: str,
        decoder: Decoder,
        pace: Pace,
        counter: BatchCounter,
        upkeep: Upkeep,
        drain: Drain | None,
        outage: Outage,
        clock: Clock,
        stop: asyncio.Event,
        log: Log,
    ) -> None:
        self._store = store
        self._consumer = consumer
        self._decoder = decoder
        self._pace = pace
        self._counter = counter
        self._upkeep = upkeep
        self._drain = drain
        self._outage = outage
        self._clock = clock
        self._stop = stop
        self._log = log
        # An answer that comes as late as the connection waits for one would look like a server that is unavailable.
        self._block_ms = None if drain else min(BLOCK_MS, int(settings.redis_timeout_seconds * 500))
        self._read: Slot[Batch] = Slot()
        self._decoded: Slot[tuple[Batch, Counts]] = Slot()
        self._is_reading = False

    async def run(self) -> None:
        """Count until `stop` is set or the drain is over. Raises what the store raises; what was taken is pending then.

        After a failure what was sent last may still take effect.
        """
        await run_stages(self._read_stage(), self._decode_stage(), self._count_stage())

    async def _read_stage(self) -> None:
        while True:
            # With nothing under way, what is pending to us is what the upkeep claims.
            await self._read.until_done()
            await self._decoded.until_done()
            await self._upkeep.run()
            if self._stop.is_set() or (self._drain is not None and await self._drain.is_over()):
                return
            while await self._read_one() and not self._stop.is_set() and not self._upkeep.is_due():
                pass

    async def _read_one(self) -> bool:
        """Read a batch and hand it on; return whether there was anything to read."""
        self._is_reading = True
        entries = await self._store.read(consumer=self._consumer, count=self._pace.blocks, block_ms=self._block_ms)
        batch = Batch(entries, self._clock.monotonic())
        self._is_reading = False
        self._outage.is_over()
        if not entries:
            return False
        self._counter.tried.update(entry.id for entry in entries)
        self._pace.read(entries)
        self._read.put(batch)
        await self._read.until_taken()
        return True

    async def _decode_stage(self) -> None:
        while True:
            async with self._read.take() as batch:
                rest: Batch | None = batch
                while rest is not None:
                    counts, part, rest = await self._decode(await self._still_ours(rest))
                    await self._decoded.until_done()
                    if part.entries:
                        if self._is_reading and len(part.entries) >= self._pace.blocks:
                            # Redis is busy with a large batch for a while, and would hold back what we are to decode.
                            await self._read.until_filled(most_seconds=READ_AHEAD_SECONDS)
                        self._decoded.put((part, counts))

    async def _count_stage(self) -> None:
        while True:
            async with self._decoded.take() as (batch, counts):
                await self._counter.count(batch, counts)

    async def _still_ours(self, batch: Batch) -> Batch:
        """Show that we work on a batch that has waited long, and leave out what was claimed meanwhile."""
        now_seconds = self._clock.monotonic()
        if not self._pace.is_due(batch, now_seconds=now_seconds):
            return batch
        ours = await self._store.renew_pending(consumer=self._consumer, ids=[entry.id for entry in batch.entries])
        if len(ours) < len(batch.entries):
            self._log.info(CLAIMED_BY_OTHERS, blocks=len(batch.entries) - len(ours))
        return Batch([entry for entry in batch.entries if entry.id in ours], now_seconds)

    async def _decode(self, batch: Batch) -> tuple[Counts, Batch, Batch | None]:
        """Decode what can be decoded in time: its counts, which part of the batch it is, and the rest of it if any."""
        decoded: list[Entry] = []

        def in_time() -> Iterator[Entry]:
            for entry in batch.entries:
                if decoded and self._pace.is_due(batch, now_seconds=self._clock.monotonic()):
                    return
                decoded.append(entry)
                yield entry

        counts = await self._in_steps(in_time())
        left = batch.entries[len(decoded) :]
        return counts, Batch(decoded, batch.since_seconds), Batch(left, batch.since_seconds) if left else None

    async def _in_steps(self, entries: Iterator[Entry]) -> Counts:
        """Decode in many steps, so that the other stages go on meanwhile."""
        steps = self._decoder.count_in_steps(entries)
        while True:
            await asyncio.sleep(0)
            try:
                next(steps)
            except StopIteration as done:
                counts: Counts = done.value
                return counts
