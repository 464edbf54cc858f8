"""Another layout in the place of the stored one, in all shards."""

from __future__ import annotations

from collections import Counter

from tally.layout import Difference
from tally.settings import Settings
from tally.store.acceptance import Acceptance
from tally.store.import_progress import check_no_import
from tally.store.layouts import Change
from tally.store.shards import Shards


class Acceptances:
    """The stored layout of all, its copy in each shard, and its history. Every method raises StoreUnavailable.

    That of all goes first: from then on a service that starts with the one before is refused. All may be called again
    after a failure, and go on then.
    """

    def __init__(self, shards: Shards, *, settings: Settings) -> None:
        self._shards = shards
        self._each = [Acceptance(each.redis, keys=each.keys, settings=settings) for each in shards.with_home]

    async def history(self) -> list[Change]:
        """Return what was accepted, the newest first."""
        return await self._each[0].history()

    async def accept(self) -> list[Difference]:
        """Put the layout of our settings in the place of the stored ones; return how they differed. See Acceptance.

        Raises Failure if an import has begun and not ended, and what Acceptance does.
        """
        await check_no_import(self._shards)  # it would be refused, and could not go on
        found: dict[Difference, None] = {}
        for each in self._each:
            found |= dict.fromkeys(await each.accept())
        return list(found)

    async def leftovers(self) -> dict[int, int]:
        """Return how many windows there are of each length that are of no more use."""
        found: Counter[int] = Counter()
        for each in self._each:
            found.update(await each.leftovers())
        return dict(sorted(found.items()))

    async def drop_leftovers(self) -> dict[int, int]:
        """Forget these windows: length -> how many."""
        dropped: Counter[int] = Counter()
        for each in self._each:
            dropped.update(await each.drop_leftovers())
        return dict(sorted(dropped.items()))
