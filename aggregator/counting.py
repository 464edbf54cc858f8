"""The last stage: what a batch adds up to is written to Redis, and what this process has done is noted."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.decoding import Decoder
from aggregator.log_events import CLAIMED_BY_OTHERS
from aggregator.pacing import Batch, Pace
from tally.backoff import Backoff
from tally.clock import Clock
from tally.counts import Counts
from tally.settings import Settings
from tally.store.blocks import Missing
from tally.store.protocols import CountingStore
from tally.telemetry import Log


@dataclass(slots=True)
class Done:
    """What one worker has done, for its log and its tests."""

    batches: int = 0
    events: int = 0
    rejected: int = 0
    claimed: int = 0
    dead_letters: int = 0


class BatchCounter:
    """Counts batches of one consumer."""

    def __init__(
        self,
        *,
        store: CountingStore,
        settings: Settings,
        consumer: str,
        decoder: Decoder,
        pace: Pace,
        backoff: Backoff,
        clock: Clock,
        log: Log,
    ) -> None:
        self._store = store
        self._windows_kept = settings.window_lengths[0].kept
        self._consumer = consumer
        self._decoder = decoder
        self._pace = pace
        self._backoff = backoff
        self._clock = clock
        self._log = log
        #: Blocks that this process has taken and not yet counted: another try is not to be held against them.
        self.tried: set[str] = set()
        #: Whether there are more windows than are kept.
        self.too_many_windows = False
        self.done = Done()

    async def count(self, batch: Batch, counts: Counts) -> None:
        """Count these blocks, or those of them that nobody else has claimed meanwhile."""
        left = list(batch.entries)
        while left:
            outcome = await self._store.count(consumer=self._consumer, entries=left, counts=counts)
            if isinstance(outcome, Missing):
                left = [entry for entry in left if entry.id not in outcome.ids]
                self._log.info(CLAIMED_BY_OTHERS, blocks=len(outcome.ids))
                counts = self._decoder.count(left)
                continue
            self._backoff.reset()
            self.done.batches += 1
            self.done.events += counts.events
            self.done.rejected += counts.rejected
            if outcome.windows > self._windows_kept:
                self.too_many_windows = True
            break
        self._pace.counted(batch, now_seconds=self._clock.monotonic())
        self.tried.difference_update(entry.id for entry in batch.entries)
