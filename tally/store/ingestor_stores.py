"""What an ingestor does where there are several shards: what is known of a source is known in all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tally.settings import Settings
from tally.shards import shard_of
from tally.store.ingestor import IngestorStore
from tally.store.known import Known, is_file, merged_of_shards
from tally.store.shards import Shards


class IngestorStores:
    """The stores of all shards. Its methods do what those of IngestorStore do, and raise what they raise.

    One may have done its part in some shards then, and not in others. It may be called again.
    """

    def __init__(self, shards: Sequence[IngestorStore], *, settings: Settings) -> None:
        self._shards = tuple(shards)
        self._settings = settings

    @property
    def shards(self) -> tuple[IngestorStore, ...]:
        """The store of each shard, in their order."""
        return self._shards

    async def known(self, *, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> dict[str, Known]:
        """Return what is stored of these sources, of each shard and merged; see IngestorStore.known."""
        found = await asyncio.gather(*(shard.known(names=names, beginnings=beginnings) for shard in self._shards))
        return {
            name: merged_of_shards(name, [each.get(name) for each in found], stripe_bytes=self._settings.stripe_bytes)
            for name in dict.fromkeys(name for each in found for name in each)
        }

    async def register_sources(self, names: Sequence[str]) -> int:
        """Note these sources at position 0 where their first lines go, if nothing is stored of them there."""
        by_shard: dict[int, list[str]] = {}
        for name in names:
            by_shard.setdefault(shard_of(name, len(self._shards)), []).append(name)
        counts = await asyncio.gather(*(self._shards[at].register_sources(some) for at, some in by_shard.items()))
        return sum(counts)

    async def renew_sources(self, names: Sequence[str]) -> None:
        """Show that these sources are still open, in each shard that has them."""
        await asyncio.gather(*(shard.renew_sources(names) for shard in self._shards))

    async def forget_sources(self, names: Sequence[str], *, unseen_since_ms: int | None = None) -> bool:
        """Forget sources in all shards; with `unseen_since_ms` only those that none has seen since then.

        Where one lane alone was forgotten, its lines would be appended again. Returns False if that is so of any,
        because somebody has the lease of its shard.
        """
        if unseen_since_ms is not None:
            names = await self._unseen(names, since_ms=unseen_since_ms)
        # One that is opened in this moment is renewed in all of them before anything of it is appended.
        done = await asyncio.gather(
            *(each.forget_sources(names, unseen_since_ms=unseen_since_ms) for each in self._shards)
        )
        return all(done)

    async def forget_left_behind(self, *, unseen_since_ms: int) -> None:
        """Forget what killed ingestors have left of sources that are not replayable. They are of one shard each."""
        await asyncio.gather(*(shard.forget_left_behind(unseen_since_ms=unseen_since_ms) for shard in self._shards))

    async def forget_files(self, *, unseen_since_ms: int) -> int:
        """Forget files that were neither appended to nor opened since then in any shard; return how many."""
        forgotten = 0
        for shard in self._shards:
            passed = 0
            while names := await shard.unseen_sources(unseen_since_ms=unseen_since_ms, passed=passed):
                files = await self._unseen([name for name in names if is_file(name)], since_ms=unseen_since_ms)
                if not await self.forget_sources(files, unseen_since_ms=unseen_since_ms):
                    return forgotten
                forgotten += len(files)
                passed += len(names) - len(files)
        return forgotten

    async def forget_source_counts(self, *, unseen_since_ms: int) -> None:
        """Forget what was counted of files of which nothing was appended since then in any shard."""
        newest: dict[str, int] = {}
        for of_shard in await asyncio.gather(*(shard.newest_of_files() for shard in self._shards)):
            for name, newest_ms in of_shard.items():
                newest[name] = max(newest.get(name, 0), newest_ms)
        names = [name for name, newest_ms in newest.items() if newest_ms < unseen_since_ms]
        for shard in self._shards:
            await shard.forget_source_counts(unseen_since_ms=unseen_since_ms, names=names)

    async def _unseen(self, names: Sequence[str], *, since_ms: int) -> list[str]:
        """Return those that no shard has seen since then."""
        known = await self.known(names=names)
        seen = {name: [lane.seen_ms for lane in each.lanes] for name, each in known.items()}
        return [name for name in names if all(each is None or each < since_ms for each in seen.get(name, ()))]

    async def server_seconds(self) -> float:
        """Return the time by the clock of the server that is furthest behind, in Unix seconds."""
        return min(await asyncio.gather(*(shard.server_seconds() for shard in self._shards)))


def ingestor_store(shards: Shards, *, settings: Settings) -> IngestorStore | IngestorStores:
    """Return the store of the only shard, or of all of them."""
    stores = [IngestorStore(shard.redis, keys=shard.keys, settings=settings) for shard in shards]
    return stores[0] if len(stores) == 1 else IngestorStores(stores, settings=settings)
