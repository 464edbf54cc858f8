"""Rare names are moved to `__other__`, so that there is room for new ones. All services may run meanwhile.

A name is rare if it was counted fewer than so many times, of all time and in all shards together. It goes from the
counts of all time first. Then, from windows and words by type, goes what all time has no place for and was rare there,
too: what came when all time was full, and is frequent in a window, stays in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tally.clock import SYSTEM, Clock
from tally.keys import OTHER, Kind, all_time_key
from tally.runtime import Failure
from tally.settings import Settings
from tally.sizing import names_bytes
from tally.store.client import errors_translated, execute
from tally.store.names import NameStore, Rare
from tally.store.shards import Shard, Shards
from tally.store.sums import NAMES_AT_ONCE, sizes
from tally.store.sums import together as read_together
from tally.store.together import together
from tally.windows import WindowLength

#: How many names one call of the script moves at the most, and how many calls are sent together.
NAMES_A_CALL, CALLS_TOGETHER = 500, 4

#: How many names of windows are held before it is waited until all that had been settled by then is applied.
HELD_NAMES = 50_000

#: How long that is waited for, and how often it is looked.
APPLIED_SECONDS, POLL_SECONDS = 60.0, 0.1

_OTHER = OTHER.encode()


@dataclass
class Compacted:
    """What was moved, or would be: names of all time, of all shards together; those in windows; and their memory."""

    names: int = 0
    looked_at: int = 0
    in_windows: int = 0
    freed_bytes: int = 0

    def free(self, names: Sequence[bytes], *, of: int) -> None:
        """Note the memory of names that are moved out of a hash that had so many."""
        if names:
            mean = sum(map(len, names)) / len(names)
            self.freed_bytes += max(0, names_bytes(of, mean) - names_bytes(max(0, of - len(names)), mean))


class Compaction:
    """Moves rare names of one kind. Every method raises StoreUnavailable, and Failure where somebody has the lease.

    May be called again after a failure. `found` has what was done since it was made.
    """

    def __init__(
        self,
        shards: Shards,
        *,
        settings: Settings,
        lengths: Sequence[WindowLength],
        kind: Kind,
        under: int,
        tell: Callable[[Compacted], None] = lambda _: None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._shards = shards
        self._redis: list[Any] = [shard.redis for shard in shards]
        self._stores = [NameStore(shard.redis, keys=shard.keys, settings=settings, lengths=lengths) for shard in shards]
        self._kind = kind
        self._under = under
        self._tell = tell
        self._clock = clock
        self.found = Compacted()

    async def look(self) -> Compacted:
        """Return what names of all time would be moved, and move nothing."""
        for shard in self._shards:
            size = await self._size(shard)
            async for rare in self._rare(shard):
                # In whichever other shard a name is, it is told of once.
                self.found.names += sum(not any(counts[: shard.index]) for counts in rare.values())
                self.found.free(list(rare), of=size)
                size -= len(rare)
                self._tell(self.found)
        return self.found

    async def run(self) -> Compacted:
        """Move them, and have the top words made whole again."""
        for shard in self._shards:
            sizes_before = [await self._size(each) for each in self._shards]
            async for rare in self._rare(shard):
                for at, store in enumerate(self._stores):
                    there = [(name, count) for name, counts in rare.items() if (count := counts[at])]
                    moved = await self._move(store, all_time_key(self._shards[at].keys, self._kind), there)
                    self.found.names += moved if at == shard.index else 0
                    self.found.free([name for name, _ in there], of=sizes_before[at])
                    sizes_before[at] -= moved
                self._tell(self.found)
        for shard, store in zip(self._shards, self._stores, strict=True):
            if self._kind == "words":
                await store.rebuild_top()
            await self._compact_windows(shard, store)
            await store.delete_retired()
        return self.found

    async def _size(self, shard: Shard) -> int:
        key = all_time_key(shard.keys, self._kind)
        return (await sizes(shard.redis, [key])).get(key, 0)

    async def _rare(self, shard: Shard) -> AsyncIterator[dict[bytes, list[int]]]:
        """Yield the rare names of all time of a shard, some at a time, with their counts in each shard."""
        key, cursor = all_time_key(shard.keys, self._kind), 0
        others = [each for each in self._shards if each is not shard]
        while True:
            with errors_translated():
                cursor, some = await self._redis[shard.index].hscan(key, cursor, count=NAMES_AT_ONCE)
            self.found.looked_at += len(some)
            few = {name: int(count) for name, count in some.items() if int(count) < self._under and name != _OTHER}
            found = {name: [count if each is shard else 0 for each in self._shards] for name, count in few.items()}
            if few:
                counts_of_others = await together([self._counts(each, list(few)) for each in others])
                for other, texts in zip(others, counts_of_others, strict=True):
                    for name, text in zip(few, texts, strict=True):
                        found[name][other.index] = int(text or 0)
            yield {name: counts for name, counts in found.items() if sum(counts) < self._under}
            if not cursor:
                return

    async def _counts(self, shard: Shard, names: Sequence[bytes]) -> list[bytes | None]:
        """Return the counts of all time of these names in a shard."""
        key = all_time_key(shard.keys, self._kind)
        found: list[bytes | None] = []
        with errors_translated():
            for first in range(0, len(names), NAMES_AT_ONCE):
                found += await self._redis[shard.index].hmget(key, list(names[first : first + NAMES_AT_ONCE]))
        return found

    async def _move(self, store: NameStore, key: str, names: Sequence[tuple[bytes, int]]) -> int:
        """Move these names of all time, with their counts, unless they were counted since; return how many."""
        rare = []
        for first in range(0, len(names), NAMES_A_CALL):
            some = names[first : first + NAMES_A_CALL]
            rare.append(Rare(key, [name for name, _ in some], [count for _, count in some]))
        return await self._send(store, rare)

    async def _send(self, store: NameStore, rare: Sequence[Rare]) -> int:
        moved = 0
        for first in range(0, len(rare), CALLS_TOGETHER):
            some = rare[first : first + CALLS_TOGETHER]
            moved += await store.compact(some, kind=self._kind, under=self._under)
        return moved

    # Windows, and words by type.

    async def _compact_windows(self, shard: Shard, store: NameStore) -> None:
        held: list[tuple[str, list[bytes], int]] = []  # a hash, names that all time lacks, and how many it has
        async for keys in store.hashes(self._kind):
            found = await sizes(shard.redis, keys)
            for group in read_together(found):
                for key, names in (await self._lacking(shard, group)).items():
                    if names:
                        held.append((key, names, found[key]))
                if sum(len(names) for _, names, _ in held) >= HELD_NAMES:
                    await self._move_held(shard, store, held)
        await self._move_held(shard, store, held)

    async def _move_held(self, shard: Shard, store: NameStore, held: list[tuple[str, list[bytes], int]]) -> None:
        """Move these names, but for those that have come into all time by now; `held` is empty then.

        A new name is in its window a moment before it is in all time: what is not after all that was settled is
        applied, is no such name.
        """
        if not held:
            return
        await self._wait_until_applied(shard)
        rare: list[Rare] = []
        for key, names, size in held:
            self.found.free(names, of=size)
            rare += (
                Rare(key, names[first : first + NAMES_A_CALL], None) for first in range(0, len(names), NAMES_A_CALL)
            )
        self.found.in_windows += await self._send(store, rare)
        held.clear()
        self._tell(self.found)

    async def _lacking(self, shard: Shard, keys: Sequence[str]) -> Mapping[str, list[bytes]]:
        """Return of each of these hashes the names that are rare in it, and have no place in all time."""
        rare: dict[str, set[bytes]] = {key: set() for key in keys}
        cursors = dict.fromkeys(keys, 0)
        while cursors:
            with errors_translated():
                pipeline = shard.redis.pipeline(transaction=False)
                for key, cursor in cursors.items():
                    pipeline.hscan(key, cursor, count=NAMES_AT_ONCE)
                replies = await execute(pipeline)
            for key, (cursor, fields) in zip(list(cursors), replies, strict=True):
                rare[key].update(name for name, count in fields.items() if int(count) < self._under and name != _OTHER)
                cursors[key] = cursor
                if not cursor:
                    del cursors[key]
        names = list(set().union(*rare.values()))
        counts = await self._counts(shard, names)
        lacking = {name for name, count in zip(names, counts, strict=True) if count is None}
        return {key: list(some & lacking) for key, some in rare.items()}

    async def _wait_until_applied(self, shard: Shard) -> None:
        """Wait until all that is settled now is applied. Raises Failure if that takes too long."""
        settled, until = None, self._clock.monotonic() + APPLIED_SECONDS
        while True:
            with errors_translated():
                now_settled, applied = await shard.redis.hmget(shard.keys.backlog, ["settled", "applied"])
            settled = int(now_settled or 0) if settled is None else settled
            if int(applied or 0) >= settled:
                return
            if self._clock.monotonic() > until:
                raise Failure(
                    "names of all time were moved, those of windows not yet: what aggregators have settled is not "
                    "applied. Does one run? Run this again then"
                )
            await self._clock.sleep(POLL_SECONDS)
