"""What the workers of one process share, each of which counts a shard: the time to decode, and the memory.

They take turns: one of them decodes a batch, hands it on to be settled, and then it is the next one's turn, in the
order in which they came. So there is one batch that grows, as where there is one worker, and no fewer blocks go into
it; and a shard with a long backlog holds up none of the others for longer than a turn. What is decoded and not yet
settled is bounded by its names. Where a server hangs its shards fill that room: others go over it then, by small
batches. A batch of a few lines waits for nobody's turn: what it takes is not worth a wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aggregator.pacing import BATCH_NAMES, BATCH_SECONDS

#: Names of batches that are decoded and not yet settled, of all workers together: two of the largest.
MOST_NAMES = 2 * BATCH_NAMES

#: Bytes of lines that are counted outside of the turns, by each worker.
FEW_BYTES = 64 << 10

#: How long all turns take together, about, and how long one takes at the least: large batches are cheaper.
ROUND_SECONDS, LEAST_SECONDS = 2.0, 0.1

#: How long the turn is kept for an answer, or for room, that should come and does not: that of a server that hangs
#: comes in a minute.
STALL_SECONDS = 0.5


class Turn:
    """The turns of a worker that is alone: it is always its turn."""

    #: Whether there are others.
    shared = False

    @property
    def batch_seconds(self) -> float:
        """Return how long a batch may grow although it could be settled."""
        return BATCH_SECONDS

    @property
    def batch_names(self) -> int:
        """Return how many names a batch may have before it is handed on."""
        return BATCH_NAMES

    def part(self, whole: int) -> int:
        """Return our part of something that all do."""
        return whole

    @property
    def is_ours(self) -> bool:
        """Return whether it is our turn, and ends when we hand on a batch."""
        return False

    @property
    def is_wanted(self) -> bool:
        """Return whether others wait for their turn."""
        return False

    async def take(self) -> None:
        """Wait until it is our turn."""

    async def hand_on(self, names: int) -> None:
        """End our turn, as soon as there is room for a batch of so many names, or there should have been."""

    def end(self) -> None:
        """End our turn, if it is ours, with nothing to hand on."""

    def settled(self) -> None:
        """Note that the batch that was handed on first is settled."""

    def give_back(self) -> None:
        """End our turn, and forget what we have handed on."""

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[None]:
        """Have the turn for something that is not handed on."""
        yield


class Turns:
    """The turns of several workers."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.lock = asyncio.Lock()  # which is given in the order in which it is asked for
        self.waiting = 0
        self.names = 0
        self.freed = asyncio.Event()

    def of_each(self) -> list[Turn]:
        """Return that of each worker."""
        return [SharedTurn(self) for _ in range(self.workers)] if self.workers > 1 else [Turn()]


class SharedTurn(Turn):
    """The turns of one of several workers."""

    shared = True

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._is_ours = False
        self._handed_on: deque[int] = deque()  # the names of each batch of ours that is not yet settled

    @property
    def batch_seconds(self) -> float:
        """Return how long a batch may grow although it could be settled: the shorter, the more others wait."""
        return max(LEAST_SECONDS, min(BATCH_SECONDS, ROUND_SECONDS / (1 + self._turns.waiting)))

    @property
    def batch_names(self) -> int:
        """Return how many names a batch may have before it is handed on: our part, while there is more than fits."""
        return BATCH_NAMES if self._turns.names <= MOST_NAMES else self.part(MOST_NAMES)

    def part(self, whole: int) -> int:
        """Return our part of something that all do."""
        return max(1, whole // self._turns.workers)

    @property
    def is_ours(self) -> bool:
        """Return whether it is our turn."""
        return self._is_ours

    @property
    def is_wanted(self) -> bool:
        """Return whether others wait for their turn."""
        return bool(self._turns.waiting) or (self._turns.lock.locked() and not self._is_ours)

    async def take(self) -> None:
        """Wait until it is our turn."""
        if self._is_ours:
            return
        self._turns.waiting += 1
        try:
            await self._turns.lock.acquire()
        finally:
            self._turns.waiting -= 1
        self._is_ours = True

    async def hand_on(self, names: int) -> None:
        """End our turn, as soon as there is room for a batch of so many names. A large one may be alone.

        If nothing is settled for a while it ends all the same: what has the room may be on a server that hangs, and it
        may be ours. Each worker has two batches at the most that are not settled.
        """
        if not self._is_ours:
            self._handed_on.append(0)
            return
        turns = self._turns
        while turns.names and turns.names + names > MOST_NAMES:
            turns.freed.clear()
            try:
                await asyncio.wait_for(turns.freed.wait(), STALL_SECONDS)
            except TimeoutError:
                break
        turns.names += names
        self._handed_on.append(names)
        self.end()

    def end(self) -> None:
        """End our turn, if it is ours, with nothing to hand on."""
        if self._is_ours:
            self._is_ours = False
            self._turns.lock.release()

    def settled(self) -> None:
        """Note that the batch that was handed on first is settled."""
        self._turns.names -= self._handed_on.popleft()
        self._turns.freed.set()

    def give_back(self) -> None:
        """End our turn, and forget what we have handed on."""
        while self._handed_on:
            self.settled()
        self.end()

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[None]:
        """Have the turn for something that is not handed on; but not for as long as a server hangs meanwhile."""
        await self.take()
        stalled = asyncio.get_running_loop().call_later(STALL_SECONDS, self.end)
        try:
            yield
        finally:
            stalled.cancel()
            self.end()
