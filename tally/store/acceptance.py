"""Another layout in the place of the stored one, because an operator has asked for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from tally.keys import Keys
from tally.layout import Difference, Layout
from tally.settings import Settings
from tally.store.client import errors_translated, execute
from tally.store.layouts import LayoutStore
from tally.store.lua import LayoutScript
from tally.store.shard import ShardStore
from tally.store.windows import WindowStore
from tally.windows import WindowLength, parse_window_lengths

_accept_layout = LayoutScript("accept_layout")

#: How many changes are remembered.
MOST_CHANGES = 100

#: Windows that are rolled up in one round trip; Redis answers no one else meanwhile.
_ROLL_AT_ONCE = 4

#: Windows that are forgotten in one round trip.
_DROP_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Change:
    """When another layout was accepted, in Unix seconds, and the fields that changed: name -> (before, after)."""

    at: int
    changes: dict[str, tuple[str, str]]


class Acceptance(ShardStore):
    """The stored layout of one shard and its history."""

    def __init__(self, redis: Redis, *, keys: Keys, settings: Settings) -> None:
        super().__init__(redis, keys=keys, settings=settings)
        self._layouts = LayoutStore(redis, keys=keys, settings=settings)

    async def history(self) -> list[Change]:
        """Return what was accepted, the newest first. Raises StoreUnavailable."""
        with errors_translated():
            found = await self._redis.lrange(self._keys.layout_history, 0, -1)
        return [
            Change(each["at"], {name: tuple(pair) for name, pair in each["changes"].items()})
            for each in map(json.loads, found)
        ]

    async def accept(self) -> list[Difference]:
        """Put the layout of our settings in the place of the stored one; return how they differed.

        Windows of a length that goes are added to the next longer one, so that the longer ones lack nothing; they stay
        where they are. May be called again after a failure, and goes on then. Raises StoreUnavailable.
        """
        here = Layout.of(self._settings)
        while True:
            stored = await self._layouts.read()
            differences = stored.differences(here)
            if not differences:
                await self._layouts.ensure()
                break
            if await self._replace(stored, here):
                break
        for change in reversed(await self.history()):
            if "windows" in change.changes:
                await self._roll_up(parse_window_lengths(change.changes["windows"][0]))
        return differences

    async def leftovers(self) -> dict[int, int]:
        """Return how many windows there are of each length that is no longer counted. Raises StoreUnavailable."""
        counted = (await self._layouts.read()).window_lengths or self._settings.window_lengths
        left = dict.fromkeys(
            length.seconds
            for change in await self.history()
            if "windows" in change.changes
            for length in parse_window_lengths(change.changes["windows"][0])
        )
        for length in counted:
            left.pop(length.seconds, None)
        found = {}
        with errors_translated():
            for seconds in sorted(left):
                found[seconds] = int(await self._redis.zcard(self._keys.windows(seconds)))
        return {seconds: windows for seconds, windows in found.items() if windows}

    async def drop_leftovers(self) -> dict[int, int]:
        """Forget windows of lengths that are no longer counted: length -> how many. Raises StoreUnavailable."""
        dropped = await self.leftovers()
        for seconds in dropped:
            at = self._keys.windows(seconds)
            with errors_translated():
                while starts := [int(start) for start in await self._redis.zrange(at, 0, _DROP_AT_ONCE - 1)]:
                    pipeline = self._redis.pipeline(transaction=False)
                    for start in starts:
                        pipeline.unlink(
                            self._keys.window_types(seconds, start), self._keys.window_words(seconds, start)
                        )
                    pipeline.zrem(self._keys.rolled(seconds), *starts)
                    pipeline.zrem(at, *starts)
                    await execute(pipeline)
        return dropped

    async def _replace(self, stored: Layout, here: Layout) -> bool:
        """Put `here` in the place of `stored`; return False if that is no longer what is stored."""
        before = stored.window_lengths or ()
        known = {length.seconds for length in before}
        new = [length.seconds for length in self._settings.window_lengths if length.seconds not in known]
        changes = {
            name: [stored.fields.get(name, ""), here.fields.get(name, "")]
            for name in dict.fromkeys((*here.settings, *stored.settings))
            if stored.fields.get(name) != here.fields.get(name)
        }
        keys = [self._keys.layout, self._keys.layout_history, self._keys.dropped]
        keys += [self._keys.windows(length.seconds) for length in before]
        arguments = {
            "digest": stored.digest,
            "changes": json.dumps(changes),
            "most": MOST_CHANGES,
            "new": new,
            "stored": [length.seconds for length in before],
            "layout": here.fields,
        }
        word: bytes = await _accept_layout.run(self._redis, keys, arguments)
        return word == b"accepted"

    async def _roll_up(self, before: Sequence[WindowLength]) -> None:
        """Add what is in windows of lengths that are no longer counted to longer ones."""
        counted = {length.seconds for length in self._settings.window_lengths}
        store = WindowStore(self._redis, keys=self._keys, settings=self._settings, lengths=before)
        for level, length in enumerate(before[:-1]):
            if length.seconds in counted:
                continue
            found = (await store.windows())[level]
            starts = [start for start in found.starts if start not in found.rolled]
            for first in range(0, len(starts), _ROLL_AT_ONCE):
                await store.roll(level=level, starts=starts[first : first + _ROLL_AT_ONCE])
