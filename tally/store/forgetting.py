"""Names are forgotten: moved to `__other__` wherever they are counted, and what holds them otherwise is deleted.

To be done under the lease, when nothing waits to be counted: what waits is counted first, and then forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from tally.forgetting import Forgotten
from tally.keys import Keys
from tally.runtime import Failure
from tally.settings import Settings
from tally.store.client import errors_translated
from tally.store.dead_letters import DeadLetter, DeadLetterStore
from tally.store.lua import WritingScript
from tally.store.names import NameStore
from tally.store.samples import SAMPLES_AT_ONCE
from tally.store.shard import ShardStore
from tally.store.windows import raise_wrong_type
from tally.windows import WindowLength

_purge = WritingScript("purge_stream")

#: Bytes and entries of a stream that one call writes anew, about.
PURGED_BYTES, PURGED_ENTRIES = 1 << 20, 1000

#: What of a dead letter may hold a name.
_CONTENT = (b"lines", b"body", b"targets")


class ForgettingStore(ShardStore):
    """What is forgotten of one shard, by who has the lease. Every method raises StoreUnavailable, and Failure if it is
    lost. All may be called again after a failure.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        keys: Keys,
        settings: Settings,
        lengths: Sequence[WindowLength],
        lease: str,
        shard: int = 0,
    ) -> None:
        super().__init__(redis, keys=keys, settings=settings)
        self._lease = lease
        self._letters = DeadLetterStore(redis, keys=keys, settings=settings, shard=shard)
        self.names = NameStore(redis, keys=keys, settings=settings, lengths=lengths, lease=lease)

    async def letters(self, forgotten: Forgotten) -> list[DeadLetter]:
        """Return the dead letters that may hold one of these names."""
        found = []
        async for letter in self._letters.all():
            fields = await self._letters.content(letter.id)
            if fields and any(forgotten.may_be_in(fields.get(name, b"")) for name in _CONTENT):
                found.append(letter)
        return found

    async def drop_letters(self, letters: Sequence[DeadLetter]) -> int:
        """Delete these dead letters; return how many. Blocks are counted as lost by that."""
        dropped = 0
        for letter in letters:
            dropped += await self._letters.drop(letter, lease=self._lease) == "dropped"
        return dropped

    async def purge(self, forgotten: Forgotten) -> int:
        """Delete the samples of lines in which one of these names may stand; return how many.

        With whatever is left of entries that were deleted before, of samples and of dead letters.
        """
        at, purged = self._keys, 0
        for key in (at.rejected, at.accepted):
            ids = await self._samples(key, forgotten)
            if ids or await self._has_remains(key):
                await self._purge_stream(key, ids)
            purged += len(ids)
        if await self._has_remains(at.dead_letters):
            await self._purge_stream(at.dead_letters, [])
        return purged

    async def _samples(self, key: str, forgotten: Forgotten) -> list[str]:
        """Return the IDs of the samples in which one of these names may stand."""
        ids: list[str] = []
        first = "-"
        while True:
            with errors_translated():
                found = await self._redis.xrange(key, min=first, count=SAMPLES_AT_ONCE)
            ids += [id_.decode() for id_, fields in found if forgotten.may_be_in(fields.get(b"line", b""))]
            if len(found) < SAMPLES_AT_ONCE:
                return ids
            first = f"({found[-1][0].decode()}"

    async def _has_remains(self, key: str) -> bool:
        """Return whether entries were deleted from a stream that still has some: what they held may be there."""
        with errors_translated():
            if not await self._redis.exists(key):
                return False
            found = await self._redis.xinfo_stream(key)
        return int(found["entries-added"]) != int(found["length"])

    async def _purge_stream(self, key: str, ids: Sequence[str]) -> None:
        after, left = "", list(ids)
        while True:
            arguments: dict[str, Any] = {"ids": left[:PURGED_ENTRIES], "after": after, "lease": self._lease}
            arguments |= {"bytes": PURGED_BYTES, "entries": PURGED_ENTRIES - 10}
            keys = (key, self._keys.purging, self._keys.backlog)
            word, *rest = await _purge.run(self._redis, keys, arguments, layout=self._layout.format)
            raise_wrong_type(word, rest)
            if word == b"held":
                raise Failure("the lease was lost; run this again")
            if word == b"purged":
                return
            after = rest[0].decode()
            left = [id_ for id_ in left if _place(id_) > _place(after)]


def _place(entry_id: str) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split("-")))


class Leftovers(ShardStore):
    """What may hold something that was forgotten when no count does, of one shard. Methods raise StoreUnavailable."""

    async def are_due(self) -> bool:
        """Return whether append-only files may hold something."""
        with errors_translated():
            return bool(await self._redis.hexists(self._keys.backlog, "forgotten"))

    async def staged(self) -> list[str]:
        """Return the keys of lists of chunks that were staged, and not settled yet: perhaps by a killed aggregator."""
        with errors_translated():
            found = [key.decode() async for key in self._redis.scan_iter(match=self._keys.delta("*"), count=1000)]
        return await self.still_staged(found)

    async def still_staged(self, keys: Sequence[str]) -> list[str]:
        """Return those of these lists that are still there, and not settled: they expire."""
        with errors_translated():
            return [key for key in keys if await self._redis.pttl(key) > 0]

    async def are_gone(self) -> None:
        """Note that append-only files were rewritten."""
        with errors_translated():
            await self._redis.hdel(self._keys.backlog, "forgotten")
