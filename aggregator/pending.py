"""What is pending to us and not being worked on: left over from a failure, or claimed from idle consumers."""

from __future__ import annotations

import asyncio

from aggregator.decoding import Decoder
from aggregator.log_events import CLAIMED, DEAD_LETTER
from aggregator.metrics import CLAIMED_BLOCKS, DECODE_DURATION
from aggregator.pacing import Batch
from aggregator.settling import Settler
from aggregator.turns import Turn
from tally.clock import Clock
from tally.settings import Settings
from tally.store.aggregator import CLAIM_FROM_START
from tally.store.protocols import PendingStore
from tally.telemetry import Log

#: Blocks that are claimed from other consumers at once.
CLAIM_BLOCKS = 100

#: A consumer without blocks that was idle for so long is removed from the group.
REMOVE_AFTER_SECONDS = 60.0


class PendingBlocks:
    """Claims and counts pending blocks of one consumer. To be used while no batch of its own is under way."""

    def __init__(
        self,
        *,
        store: PendingStore,
        settings: Settings,
        consumer: str,
        decoder: Decoder,
        settler: Settler,
        turn: Turn,
        clock: Clock,
        stop: asyncio.Event,
        log: Log,
    ) -> None:
        self._store = store
        self._claim_idle_seconds = settings.claim_idle_seconds
        self._max_deliveries = settings.max_deliveries
        self._consumer = consumer
        self._decoder = decoder
        self._settler = settler
        self._turn = turn
        self._clock = clock
        self._stop = stop
        self._log = log

    async def count(self) -> None:
        """Count what is pending to us, one block at a time.

        Alone, so that a block that kills its reader takes no other with it: its delivery count rises, theirs do not.
        """
        tried = self._settler.tried
        while found := await self._store.pending(consumer=self._consumer, count=CLAIM_BLOCKS):
            for entry_id, deliveries in found:
                again = entry_id in tried
                if (
                    not again
                    and deliveries >= self._max_deliveries
                    and await self._store.dead_letter(consumer=self._consumer, entry_id=entry_id) == "moved"
                ):
                    self._settler.done.dead_letters += 1
                    self._log.error(DEAD_LETTER, id=entry_id, deliveries=deliveries)
                    continue
                # Only a try by another process counts: a lost connection is not the block's fault, nor if it takes the
                # answer to this very call with it.
                tried.add(entry_id)
                async with self._turn.whole():
                    entry = await self._store.retry(
                        consumer=self._consumer,
                        entry_id=entry_id,
                        deliveries=deliveries if again else deliveries + 1,
                    )
                    if entry is not None:
                        batch = Batch(self._clock.monotonic(), [entry.pending])
                        sums = self._decoder.begin(numbered=self._settler.numbering.known)
                        sums.add(entry)
                        counts = sums.counts()
                        DECODE_DURATION.observe(self._clock.monotonic() - batch.since_seconds)
                        await self._settler.settle(batch, counts)
        tried.clear()
        self._settler.has_left_over = False  # what was claimed by others while it was counted is theirs

    async def claim(self) -> None:
        """Claim and count what idle consumers hold, and remove those that hold nothing."""
        cursor = CLAIM_FROM_START
        while not self._stop.is_set():
            cursor, claimed = await self._store.claim(consumer=self._consumer, cursor=cursor, count=CLAIM_BLOCKS)
            if claimed:
                self._settler.done.claimed += claimed
                CLAIMED_BLOCKS.inc(claimed)
                self._log.warning(CLAIMED, blocks=claimed)
                await self.count()
            if cursor == CLAIM_FROM_START:
                break
        idle_seconds = max(REMOVE_AFTER_SECONDS, 4 * self._claim_idle_seconds)
        for consumer in await self._store.consumers():
            if consumer.name != self._consumer and not consumer.pending and consumer.idle_seconds >= idle_seconds:
                await self._store.remove_consumer(consumer=consumer.name, idle_seconds=idle_seconds)

    async def leave(self) -> None:
        """Count what is pending to us and leave the consumer group."""
        if await self._store.remove_consumer(consumer=self._consumer) == "pending":
            await self.count()
            await self._store.remove_consumer(consumer=self._consumer)
