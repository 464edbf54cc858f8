"""Answers that are made of the shards that can be asked, where some cannot and that is allowed (`partial=true`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Response

from api.cached_counts import CachedCounts
from tally.settings import Settings
from tally.store import StoreUnavailable
from tally.store.available import AvailableShards
from tally.store.merged_reads import MergedReader
from tally.store.shards import Shards


class Parts:
    """Gives the counts of all shards, or those of a part of them, which are as if there were no others.

    What was read of a part is kept apart from what was read of all, and forgotten when other shards can be asked.
    """

    def __init__(self, whole: CachedCounts, shards: Shards, *, settings: Settings) -> None:
        self._whole = whole
        self._shards = shards
        self._settings = settings
        self._available = AvailableShards(shards, settings=settings, clock=whole.clock)
        self._part: tuple[Shards, CachedCounts] | None = None

    async def answer(self, make: Callable[[CachedCounts], Awaitable[Response]], *, partial: bool) -> Response:
        """Return what `make` makes; where it is allowed of a part, if need be. Raises StoreUnavailable."""
        if not partial or not self._whole.reader.several:
            return await make(self._whole)
        try:
            return await make(self._of(await self._available.find()))
        except StoreUnavailable:  # a shard that was there a moment ago
            return await make(self._of(await self._available.find()))

    def _of(self, shards: Shards) -> CachedCounts:
        if self._part is not None:
            before, part = self._part
            if (shards, shards.home) == (before, before.home):
                return part
            self._part = None
            part.close()
        if shards is self._shards:
            return self._whole
        missing = tuple(shard.index for shard in self._shards if shard not in shards)
        part = self._whole.of_part(MergedReader(shards, settings=self._settings), missing=missing)
        self._part = shards, part
        return part
