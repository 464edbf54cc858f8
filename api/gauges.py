"""What a sum of many names takes of the api: memory, and if it is large a slot, so that few are made at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from api.memory import Claim
from api.ranking import MAKING_BYTES_PER_NAME
from api.work import Work

#: A sum of more names than these is made with a slot: a few at once.
FEW_SUMMED = 20_000

#: The bytes of a name as long as most are, to tell before any is read what they will take.
NAME_BYTES = 8


class SumGauge:
    """Claims memory for a sum, and takes a slot for one that is large. Both are given back with `held`."""

    def __init__(self, claim: Claim, work: Work, held: AsyncExitStack) -> None:
        self._claim = claim
        self._work = work
        self._held = held
        self.has_slot = False
        self._expecting = asyncio.Lock()  # several shards may tell at the same time, and take one slot

    async def expect(self, *, at_least: int, at_most: int) -> None:
        """Wait for a slot, and claim what the names will take at least. Raises Busy, NoRoom."""
        async with self._expecting:
            if at_most > FEW_SUMMED and not self.has_slot:
                await self._held.enter_async_context(self._work.making.take())
                self.has_slot = True
        self.hold(at_least, NAME_BYTES * at_least)

    def hold(self, names: int, name_bytes: int) -> None:
        """Claim what is held. Raises NoRoom, and Stopping when the service stops."""
        self._work.step()
        self._claim.grow_to(MAKING_BYTES_PER_NAME * names + 2 * name_bytes)
