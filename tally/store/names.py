"""Names of one shard whose counts are moved to `__other__`, and the top words that are made anew afterwards."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from tally.forgetting import Forgotten
from tally.keys import OTHER, TOP_WORDS, TYPES, Keys, Kind, all_time_key, window_key
from tally.runtime import Failure
from tally.settings import Settings
from tally.store.all_windows import all_windows
from tally.store.client import errors_translated
from tally.store.held import held
from tally.store.lua import WritingScript
from tally.store.shard import ShardStore
from tally.store.sums import NAMES_AT_ONCE
from tally.store.tables import known_tables
from tally.store.windows import WindowStore, raise_wrong_type
from tally.windows import WindowLength

_forget, _compact, _rebuild = (WritingScript(name) for name in ("forget_names", "compact_names", "rebuild_top"))

#: So many fields one call looks at, of all its hashes, and of so many of these at the most: a millisecond or two.
FIELDS_AT_ONCE, HASHES_A_CALL = 2000, 500

#: How often the top words are looked for, if others are moved meanwhile.
MOST_REBUILDS = 20


@dataclass(frozen=True, slots=True)
class Rare:
    """Rare names of a hash: of that of all time each with its count as it was read, else None."""

    key: str
    names: Sequence[bytes]
    counts: Sequence[int] | None


class NameStore(ShardStore):
    """Moves names of one shard. Every method raises StoreUnavailable, and Failure where somebody else has the lease."""

    def __init__(
        self,
        redis: Redis,
        *,
        keys: Keys,
        settings: Settings,
        lengths: Sequence[WindowLength],
        lease: str | None = None,
    ) -> None:
        """Make it with the lengths of windows that are counted, and the token of our lease, if we have one."""
        super().__init__(redis, keys=keys, settings=settings)
        self._lengths = lengths
        at = keys
        self._lease = {} if lease is None else {"lease": lease}
        self._common = (at.backlog, at.top, at.types_numbers, at.types_numbered, at.types_retired)

    async def hashes(self, kind: Kind) -> AsyncIterator[list[str]]:
        """Yield the keys of all hashes with names of this kind but that of all time, some at a time.

        Windows first, and the shortest first of all: what is folded meanwhile is in a longer one.
        """
        tables = [TYPES]
        if kind == "words":
            tables = [table for table in (await known_tables(self._redis, self._keys)).all if table != TYPES]
        async for seconds, starts in all_windows(self._redis, keys=self._keys, lengths=self._lengths):
            for table in tables:
                yield [window_key(self._keys, table, seconds, start) for start in starts]
        yield [all_time_key(self._keys, table) for table in tables if table != kind]

    async def forget(self, forgotten: Forgotten) -> AsyncIterator[int]:
        """Move these names to `__other__` wherever they stand, of all time last; yield how many fields each call moved.

        Types lose their words by type as well.
        """
        names = [name.encode() for name in forgotten.names if name != OTHER]
        at_once = max(1, min(HASHES_A_CALL, FIELDS_AT_ONCE // max(1, len(names))))
        async for keys in self.hashes(forgotten.kind):
            for first in range(0, len(keys), at_once):
                yield await self._forget_in(keys[first : first + at_once], names, kind="")
        yield await self._forget_in([all_time_key(self._keys, forgotten.kind)], names, kind=forgotten.kind)
        await self.delete_retired()

    async def _forget_in(self, hashes: Sequence[str], names: Sequence[bytes], *, kind: str) -> int:
        moved = 0
        for first in range(0, len(names), FIELDS_AT_ONCE):
            reply = await _forget.run(
                self._redis,
                (*self._common, *hashes),
                {"kind": kind, "max_top": TOP_WORDS, "other": OTHER, **self._lease},
                names[first : first + FIELDS_AT_ONCE],
                layout=self._layout.format,
            )
            moved += int((await self._answer(reply))[0])
        return moved

    async def compact(self, rare: Sequence[Rare], *, kind: Kind, under: int) -> int:
        """Move these names to `__other__`, those that still are rare; return how many were moved.

        Of all time those that were not counted since their counts were read; else those that all time does not have,
        and that were counted there fewer times than `under`.
        """
        calls: list[Any] = []
        for each in rare:
            arguments = {"kind": "" if each.counts is None else kind, "under": under}
            arguments |= {"max_top": TOP_WORDS, "other": OTHER, **self._lease}
            keys = [*self._common, each.key] + ([all_time_key(self._keys, kind)] if each.counts is None else [])
            values: Sequence[Any] = each.names
            if each.counts is not None:
                values = [part for pair in zip(each.names, each.counts, strict=True) for part in pair]
            calls.append((keys, arguments, values))
        replies = await _compact.run_each(self._redis, calls, layout=self._layout.format)
        return sum([int((await self._answer(reply))[0]) for reply in replies])

    async def rebuild_top(self) -> bool:
        """Make the top words whole again, if any were moved from among them; return whether that was so.

        Words are counted all the while.
        """
        at = self._keys
        for _ in range(MOST_REBUILDS):
            with errors_translated():
                moved, floor = await self._redis.hmget(at.backlog, ["moved", "top_floor"])
            if floor is None:
                return False
            reply = await _rebuild.run(
                self._redis,
                (at.backlog, at.words, at.top),
                {"moved": (moved or b"").decode(), "max_top": TOP_WORDS, **self._lease},
                await self._most_frequent(),
                layout=self._layout.format,
            )
            word = reply[0]
            await self._answer(reply)
            if word == b"rebuilt":
                return True
        raise Failure("another command moves words to `__other__` all the while; run this again when it has ended")

    async def _most_frequent(self) -> list[bytes]:
        """Return the most frequent words of all time, TOP_WORDS at the most."""
        best: dict[bytes, int] = {}
        cursor, least = 0, 0
        while True:
            with errors_translated():
                cursor, some = await self._redis.hscan(self._keys.words, cursor, count=NAMES_AT_ONCE)
            best.update((name, count) for name, text in some.items() if (count := int(text)) > least)
            best.pop(OTHER.encode(), None)
            if len(best) > 2 * TOP_WORDS or not cursor:
                best = dict(heapq.nlargest(TOP_WORDS, best.items(), key=lambda each: each[1]))
                least = min(best.values()) if len(best) == TOP_WORDS else 0
            if not cursor:
                return list(best)
            await asyncio.sleep(0)

    async def delete_retired(self) -> None:
        """Delete the words of types that have no number any more."""
        with errors_translated():
            retired = await self._redis.zrange(self._keys.types_retired, 0, -1)
        windows = WindowStore(self._redis, keys=self._keys, settings=self._settings)
        for number in retired:
            await windows.delete_retired(int(number))

    async def _answer(self, reply: Sequence[Any]) -> Sequence[Any]:
        """Return what a script has answered behind its word. Raises what else it may say."""
        word, *rest = reply
        raise_wrong_type(word, rest)
        if word == b"held":
            who = await held(self._redis, keys=self._keys)
            raise Failure(f"{who or 'the lease was lost, or another command has just ended'}; run this again")
        return rest
