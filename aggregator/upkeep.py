"""What an aggregator does every few seconds besides counting."""

from __future__ import annotations

import asyncio

from aggregator.counting import BatchCounter
from aggregator.log_events import BLOCKS_LOST
from aggregator.pending import PendingBlocks
from aggregator.rollup import RollUp
from tally.clock import Clock
from tally.settings import Settings
from tally.store.protocols import UpkeepStore
from tally.telemetry import Log

#: How often idle consumers are looked for at the least.
CLAIM_SECONDS = 5.0

#: How often windows that are over are looked for.
ROLL_UP_SECONDS = 5.0


class Upkeep:
    """Claims what idle consumers hold, checks the layout, looks for lost blocks, and rolls windows up."""

    def __init__(
        self,
        *,
        store: UpkeepStore,
        settings: Settings,
        roll_up: RollUp,
        pending: PendingBlocks,
        counter: BatchCounter,
        clock: Clock,
        stop: asyncio.Event,
        log: Log,
    ) -> None:
        self._store = store
        self._claim_seconds = min(CLAIM_SECONDS, settings.claim_idle_seconds / 4)
        self._roll_up = roll_up
        self._pending = pending
        self._counter = counter
        self._clock = clock
        self._stop = stop
        self._log = log
        self._claim_due = self._roll_up_due = 0.0  # in seconds of the monotonic clock

    def is_due(self) -> bool:
        """Return whether there is something to do."""
        return self._counter.too_many_windows or self._clock.monotonic() >= min(self._claim_due, self._roll_up_due)

    async def run(self) -> None:
        """Do what is due. Nothing may be under way, for what is pending to us is taken for what we have claimed."""
        now = self._clock.monotonic()
        if now >= self._claim_due:
            self._claim_due = now + self._claim_seconds
            await self._store.ensure_layout()  # nothing else tells while there is nothing to count
            await self._pending.claim()
            if lost := await self._store.reconcile_backlog():
                self._log.error(BLOCKS_LOST, lost=lost)
        if self._counter.too_many_windows or now >= self._roll_up_due:
            self._counter.too_many_windows = False
            self._roll_up_due = now + ROLL_UP_SECONDS
            await self._roll_up.run(self._stop)
