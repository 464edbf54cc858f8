"""What a batch adds up to leaves for Redis: staged as chunks on a list of its own, then settled, in one moment.

From then on the blocks are counted, whatever becomes of us; before, they are still pending to us.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aggregator.applying import ROOM_CHUNKS, Applier
from aggregator.counts import Counts
from aggregator.log_events import CLAIMED_BY_OTHERS, NUMBERED_MEANWHILE
from aggregator.metrics import BATCH_BYTES, BATCH_NAMES, EVENT_LAG, LAST_BATCH, SETTLE_DURATION
from aggregator.numbering import Numbering
from aggregator.pacing import Batch, Pace
from aggregator.parts import NO_NUMBERS, parts_of
from aggregator.stages import in_thread
from tally.backoff import Backoff
from tally.clock import Clock
from tally.deltas import Chunk, chunks_of
from tally.settings import Settings
from tally.store.blocks import Missing, Settled
from tally.store.deltas import UsedNumbers
from tally.store.protocols import StagingStore
from tally.telemetry import Log


@dataclass(slots=True)
class Done:
    """What one worker has done, for its log and its tests."""

    batches: int = 0
    events: int = 0
    rejected: int = 0
    claimed: int = 0
    dead_letters: int = 0


class Settler:
    """Settles batches of one consumer."""

    def __init__(
        self,
        *,
        store: StagingStore,
        applier: Applier,
        settings: Settings,
        consumer: str,
        pace: Pace,
        backoff: Backoff,
        clock: Clock,
        log: Log,
    ) -> None:
        self._store = store
        self._applier = applier
        self._lengths = settings.window_lengths
        #: The numbers of types whose words are counted by type.
        self.numbering = Numbering(store, settings.types_with_words)
        self._consumer = consumer
        self._pace = pace
        self._backoff = backoff
        self._clock = clock
        self._log = log
        #: Blocks that this process has taken and not yet settled: another try is not to be held against them.
        self.tried: set[str] = set()
        #: Whether a batch was thrown away, of which some blocks may still be pending to us.
        self.has_left_over = False
        self.done = Done()

    async def settle(self, batch: Batch, counts: Counts) -> None:
        """Settle a batch; if it cannot be any more, throw it away.

        That is so if others have claimed some of its blocks meanwhile, or have given numbers to types whose words
        it has not apart.
        """
        began = self._clock.monotonic()
        settled = await self._settle(batch, counts)
        if settled is None:
            self.has_left_over = True
        else:
            self._backoff.reset()
            self.done.batches += 1
            self.done.events += counts.events
            self.done.rejected += counts.rejected
            self._measure(counts, seconds=self._clock.monotonic() - began)
            self._applier.settled(settled.number)
            self.tried.difference_update(block.id for block in batch.blocks)
        self._pace.settled(batch, now_seconds=self._clock.monotonic())

    def _measure(self, counts: Counts, *, seconds: float) -> None:
        SETTLE_DURATION.observe(seconds)
        BATCH_BYTES.observe(counts.bytes)
        BATCH_NAMES.observe(len(counts.whole.types) + len(counts.whole.words))
        now = self._clock.time()
        LAST_BATCH.set(now)
        if counts.newest_seconds is not None:
            EVENT_LAG.observe(max(0.0, now - counts.newest_seconds))

    async def _still_ours(self, batch: Batch) -> bool:
        """Show that we work on a batch that has waited long; return whether all of its blocks are still ours."""
        now_seconds = self._clock.monotonic()
        if not self._pace.is_due(batch.since_seconds, now_seconds=now_seconds):
            return True
        ids = [block.id for block in batch.blocks]
        ours = await self._store.renew_pending(consumer=self._consumer, ids=ids)
        batch.since_seconds = now_seconds
        if len(ours) < len(ids):
            self._log.info(CLAIMED_BY_OTHERS, blocks=len(ids) - len(ours))
        return len(ours) == len(ids)

    async def _settle(self, batch: Batch, counts: Counts) -> Settled | None:
        """Return None if it cannot be settled any more."""
        while True:
            numbers = await self.numbering.number(counts)
            if numbers is not None and self.numbering.lacks_words(counts):
                self._log.info(NUMBERED_MEANWHILE)
                return None
            chunks = await in_thread(self._chunks, batch, counts, numbers)
            settled = await self._stage_and_settle(batch, chunks, numbers)
            if settled != "renumbered":
                return settled
            await self.numbering.learn()

    def _chunks(self, batch: Batch, counts: Counts, numbers: UsedNumbers | None) -> list[Chunk]:
        parts = parts_of(counts, self._lengths, self._applier.known, numbers.by_type if numbers else NO_NUMBERS)
        return list(chunks_of(parts, totals=counts.totals(blocks=len(batch.blocks)), samples=counts.samples))

    async def _stage_and_settle(
        self, batch: Batch, chunks: Sequence[Chunk], numbers: UsedNumbers | None
    ) -> Settled | Literal["renumbered"] | None:
        """Return None if some of the blocks are not ours any more."""
        name = ""  # of what is staged, which waits with us while there is no room for it
        while await self._still_ours(batch):
            outcome: object = "staged"
            if not name:
                name = uuid.uuid4().hex  # of this try alone: what a late call stages cannot be mixed with anything
                outcome = await self._store.stage(name=name, first=0, chunks=chunks)
                if outcome != "staged":
                    name = ""
            if outcome == "staged":
                outcome = await self._store.settle(
                    consumer=self._consumer, blocks=batch.blocks, name=name, chunks=chunks, numbers=numbers
                )
            if isinstance(outcome, Settled):
                return outcome
            if outcome == "renumbered":
                return "renumbered"
            if isinstance(outcome, Missing):
                self._log.info(CLAIMED_BY_OTHERS, blocks=len(outcome.ids))
                self._applier.doubt_floors()
                return None
            if outcome == "full":
                await self._applier.apply(most=ROOM_CHUNKS)
            else:
                name = ""
        return None
