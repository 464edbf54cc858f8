"""What an aggregator does every few seconds besides counting."""

from __future__ import annotations

from aggregator.log_events import BLOCKS_LOST
from aggregator.pending import PendingBlocks
from aggregator.settling import Settler
from tally.clock import Clock
from tally.settings import Settings
from tally.store.protocols import UpkeepStore
from tally.telemetry import Log

#: How often idle consumers are looked for at the least.
CLAIM_SECONDS = 5.0


class Upkeep:
    """Claims what idle consumers hold, checks the layout, looks for lost blocks, and counts what is left over."""

    def __init__(
        self,
        *,
        store: UpkeepStore,
        settings: Settings,
        pending: PendingBlocks,
        settler: Settler,
        clock: Clock,
        log: Log,
    ) -> None:
        self._store = store
        self._claim_seconds = min(CLAIM_SECONDS, settings.claim_idle_seconds / 4)
        self._pending = pending
        self._settler = settler
        self._clock = clock
        self._log = log
        self._claim_due = 0.0  # in seconds of the monotonic clock

    def is_due(self) -> bool:
        """Return whether there is something to do."""
        return self._settler.has_left_over or self._clock.monotonic() >= self._claim_due

    async def run(self) -> None:
        """Do what is due. Nothing may be under way, for what is pending to us is taken for what we have claimed."""
        if self._settler.has_left_over:
            self._settler.has_left_over = False
            await self._pending.count()
        now = self._clock.monotonic()
        if now >= self._claim_due:
            self._claim_due = now + self._claim_seconds
            await self._store.ensure_layout()  # nothing else tells while there is nothing to count
            await self._pending.claim()
            if lost := await self._store.reconcile_backlog():
                self._log.error(BLOCKS_LOST, lost=lost)
