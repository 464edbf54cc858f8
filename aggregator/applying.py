"""The last stage: settled chunks are added to the hashes, a few a round trip, those of other aggregators too.

There is no owner of a chunk, so a killed aggregator leaves nothing behind that waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from aggregator.floors import UNKNOWN, Known
from aggregator.folding import Folding
from aggregator.log_events import BATCH_LOST, CHUNK_DEAD_LETTER
from aggregator.metrics import APPLY_DURATION
from aggregator.stages import first_of
from tally.clock import Clock
from tally.store.deltas import ApplyResult, NextChunk
from tally.store.protocols import ApplyingStore
from tally.telemetry import Log

#: How often it is looked whether others have settled something, or windows have become too old, while nothing happens.
IDLE_SECONDS = 1.0

#: How long is waited when another aggregator applies, before it is looked again how far that one is.
MOVED_SECONDS = 0.03

#: Chunks that are applied at the most to make room for a batch that found too many waiting.
ROOM_CHUNKS = 100


class Applier:
    """Applies chunks, and in between folds and drops windows."""

    def __init__(self, *, store: ApplyingStore, folding: Folding, clock: Clock, stop: asyncio.Event, log: Log) -> None:
        self._store = store
        self._folding = folding
        self._clock = clock
        self._stop = stop
        self._log = log
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._never = asyncio.Event()
        self._makes_room = 0  # how many calls of `apply` are for a batch that waits for room
        self._ours: deque[int] = deque()  # the last chunk of each batch of ours that is not yet applied
        #: The floors as the last chunk found them.
        self.known: Known = UNKNOWN

    def settled(self, number: int) -> None:
        """Note that we settled a batch, whose last chunk has this number."""
        self._ours.append(number)
        self._wake.set()

    async def until_waiting(self, *, most: int) -> None:
        """Wait until so many batches of ours are not yet applied at the most. To be used while `run` runs.

        Not when `stop` is set: then that applies none.
        """
        while len(self._ours) > most and not self._stop.is_set():
            self._progress.clear()
            await first_of(self._progress.wait(), self._stop.wait())

    async def run(self) -> None:
        """Apply and fold for ever. Raises what the store raises."""
        while True:
            self._wake.clear()
            await self.apply()
            while self._folding.overdue and not self._wake.is_set() and not self._stop.is_set():
                async with self._lock:
                    await self._folding.step()
            if not await self._clock.wait(self._wake, IDLE_SECONDS):
                self._folding.overdue = True

    async def apply(self, *, most: int | None = None) -> None:
        """Apply so many chunks, or a few more in one round trip, whether or not `stop` is set; or all until it is.

        A call for all makes way for others: while other aggregators settle there is always one more.
        Raises StoreUnavailable.
        """
        if most is None:
            await self._apply(None)
            return
        self._makes_room += 1
        try:
            await self._apply(most)
        finally:
            self._makes_room -= 1
            self._wake.set()

    async def _apply(self, most: int | None) -> None:
        async with self._lock:
            chunk = await self._next()
            while chunk is not None and most != 0 and not (most is None and (self._makes_room or self._stop.is_set())):
                began = self._clock.monotonic()
                results = await self._store.apply_together(chunk)
                APPLY_DURATION.observe(self._clock.monotonic() - began)
                most = None if most is None else max(0, most - len(results))
                for number, result in enumerate(results, chunk.number):
                    self._note_result(number, result)
                if results[-1].word == "moved":
                    await self._clock.wait(self._never, MOVED_SECONDS)
                    chunk = await self._next()
                    continue
                if self._folding.overdue:  # in turns, or a long backlog would let windows grow beyond all bounds
                    await self._folding.step()
                chunk = results[-1].next
                self._note(chunk)

    def _note_result(self, number: int, result: ApplyResult) -> None:
        if result.word == "moved":
            return
        if result.word == "poison":
            self._log.error(CHUNK_DEAD_LETTER, chunk=number)
        elif result.word == "lost":
            self._log.error(BATCH_LOST, chunk=number)
        self.known = result.floors
        if result.overdue:
            self._folding.overdue = True

    def forget(self) -> None:
        """Forget what was known of Redis: a server that lost its last writes has lower floors, and other chunks."""
        self.known = UNKNOWN
        self._ours.clear()
        self._progress.set()
        self._folding.forget()

    def doubt_floors(self) -> None:
        """Forget the floors until the next chunk tells them: after a flush others may have begun anew."""
        self.known = UNKNOWN

    async def _next(self) -> NextChunk | None:
        chunk = await self._store.next_chunk()
        self._note(chunk)
        return chunk

    def _note(self, chunk: NextChunk | None) -> None:
        """Note which chunk is next: those before it are applied."""
        while self._ours and (chunk is None or self._ours[0] < chunk.number):
            self._ours.popleft()
            self._progress.set()
