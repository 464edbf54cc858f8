"""The end of `--drain`: all that was in the stream when it began is in the counts, by whichever aggregator."""

from __future__ import annotations

import asyncio

from tally.clock import Clock
from tally.store.protocols import DrainStore

#: How often a drain looks whether other aggregators have counted what they hold.
POLL_SECONDS = 0.05


class Drain:
    """Knows up to which entry is to be counted."""

    def __init__(self, *, store: DrainStore, clock: Clock, stop: asyncio.Event) -> None:
        self._store = store
        self._clock = clock
        self._stop = stop
        self._last: tuple[int, int] | None = None
        self._chunks: int | None = None  # the number of the last one that was settled when the last block was

    async def begin(self) -> None:
        """Note what is in the stream now, the first time that this is called."""
        if self._last is None:
            self._last = _as_numbers(await self._store.last_entry_id())

    async def is_over(self) -> bool:
        """Return whether all of it is counted. What others have in hand is waited for, a moment each time."""
        oldest = await self._store.oldest()
        first = None if oldest is None or oldest.id is None else _as_numbers(oldest.id)
        if first is not None and self._last is not None and first <= self._last:
            consumers = await self._store.consumers()
            if all(consumer.pending == 0 for consumer in consumers):
                return False  # there are new ones to read
        else:
            progress = await self._store.progress()
            if self._chunks is None:
                self._chunks = progress.settled
            # A server that lost its last writes may have settled fewer than that.
            if progress.applied >= min(self._chunks, progress.settled):
                return True
        await self._clock.wait(self._stop, POLL_SECONDS)
        return False


def _as_numbers(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
