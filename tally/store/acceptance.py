"""Another layout in the place of the stored one, because an operator has asked for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, cast

from redis.asyncio import Redis

from tally.keys import Keys, window_key
from tally.layout import FORMAT, FORMAT_BEFORE, Difference, Layout
from tally.runtime import Failure
from tally.settings import Settings
from tally.store.aggregator import AggregatorStore
from tally.store.client import errors_translated, execute
from tally.store.held import held
from tally.store.layouts import Change, Checks, LayoutStore, changes_of, lengths_before
from tally.store.lua import LayoutCheck, LayoutScript
from tally.store.shard import ShardStore
from tally.store.tables import HASHES_AT_ONCE, known_tables
from tally.store.windows import FOLD_FROM_START, WindowStore
from tally.windows import WindowLength

_accept_layout = LayoutScript("accept_layout")

#: How many changes are remembered.
MOST_CHANGES = 100


@dataclass(frozen=True, slots=True)
class Refit:
    """What becomes of windows when their lengths change.

    Of two lengths or more the shortest is a copy, and a count is in exactly one window of the others, the base. So the
    windows of a length that is a copy no longer, or is one now, or is no longer counted, cannot stay as they are.
    """

    #: Lengths in seconds whose windows are to be folded into longer ones.
    folds: list[int] = field(default_factory=list)
    #: Lengths whose windows are of no more use.
    unused: list[int] = field(default_factory=list)
    #: Lengths that lack what was counted before -> a shorter one that has it; 0 if none does.
    lacking: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, before: Sequence[WindowLength], after: Sequence[WindowLength]) -> Refit:
        """Return what is to be done for other lengths."""
        refit = cls()
        old, new = _base(before), _base(after)
        for seconds in _seconds(before):
            if seconds in old and seconds not in new:
                (refit.folds if _longer(seconds, new) else refit.unused).append(seconds)
                refit.lacking[seconds] = 0
            elif seconds not in old and (seconds in new or seconds not in _seconds(after)):
                refit.unused.append(seconds)
        for seconds in _seconds(after):
            if seconds in new and seconds not in old:
                # It has what a shorter length goes on to hold, or the shortest one holds that is folded into it.
                going_on = [each for each in old if each in new and each < seconds]
                folded = old[0] in refit.folds and seconds in _longer(old[0], new) if old else False
                refit.lacking[seconds] = max(going_on, default=old[0] if folded else 0)
            elif seconds not in _seconds(before):
                refit.lacking[seconds] = 0
        return refit

    @classmethod
    def anew(cls, before: Sequence[WindowLength], after: Sequence[WindowLength]) -> Refit:
        """Return what is to be done where no window can be used any more."""
        return cls(unused=_seconds(before), lacking=dict.fromkeys(_seconds(after), 0))


def _seconds(lengths: Sequence[WindowLength]) -> list[int]:
    return [length.seconds for length in lengths]


def _base(lengths: Sequence[WindowLength]) -> list[int]:
    """Return the lengths, in seconds, of which each count is in exactly one window, the shortest first."""
    return _seconds(lengths[1:] or lengths)


def _longer(seconds: int, base: Sequence[int]) -> list[int]:
    """Return those of these lengths whose windows hold whole ones of this one."""
    return [each for each in base if each > seconds and each % seconds == 0]


class Acceptance(ShardStore):
    """The stored layout of one shard and its history."""

    def __init__(self, redis: Redis, *, keys: Keys, settings: Settings) -> None:
        super().__init__(redis, keys=keys, settings=settings)
        self._layouts = LayoutStore(redis, keys=keys, settings=settings)

    async def history(self) -> list[Change]:
        """Return what was accepted, the newest first. Raises StoreUnavailable."""
        return await changes_of(self._redis, self._keys)

    async def accept(self) -> list[Difference]:
        """Put the layout of our settings in the place of the stored one; return how they differed.

        Windows of a length that goes are folded into longer ones, so that those lack nothing. All windows of data of
        the format before are not used any more. May be called again after a failure, and goes on then. Raises
        StoreUnavailable, LayoutRefused for a format that this program does not know, and for other shards, and Failure
        while somebody has the lease.
        """
        here = Layout.of(self._settings)
        while True:
            stored = await self._stored()
            stored.check_spread(here)
            differences = stored.differences(here)
            if stored.fields.get("format") == FORMAT_BEFORE:
                differences.append(Difference("the format of the data", FORMAT_BEFORE, FORMAT))
            if not differences:
                await self._layouts.ensure()
                break
            word = await self._replace(stored, here)
            if word == "settled":
                await self._apply_settled(stored)
            if word == "held":
                await self._raise_held()
            if word == "accepted":
                break
        for seconds in await self._lengths_before():
            await self._fold(seconds)
        with errors_translated():
            of_format_before = map(self._keys.rolled, await self._all_lengths())
            await self._redis.unlink(*of_format_before, self._keys.dropped)
        return differences

    async def leftovers(self) -> dict[int, int]:
        """Return how many windows there are of each length that are of no more use. Raises StoreUnavailable."""
        found = {}
        with errors_translated():
            for seconds in await self._all_lengths():
                found[seconds] = int(await self._redis.zcard(self._keys.leftovers(seconds)))
        return {seconds: windows for seconds, windows in found.items() if windows}

    async def drop_leftovers(self) -> dict[int, int]:
        """Forget these windows: length -> how many. Raises StoreUnavailable."""
        dropped = await self.leftovers()
        tables = (await known_tables(self._redis, self._keys)).all
        at_once = max(1, HASHES_AT_ONCE // len(tables))
        for seconds in dropped:
            at = self._keys.leftovers(seconds)
            with errors_translated():
                while starts := [int(start) for start in await self._redis.zrange(at, 0, at_once - 1)]:
                    pipeline = self._redis.pipeline(transaction=False)
                    pipeline.unlink(
                        *(window_key(self._keys, table, seconds, start) for table in tables for start in starts)
                    )
                    pipeline.zrem(at, *starts)
                    await execute(pipeline)
        return dropped

    async def _lengths_before(self) -> list[int]:
        """Return every length, in seconds, that was counted until another layout was accepted."""
        return await lengths_before(self._redis, self._keys)

    async def _all_lengths(self) -> list[int]:
        return sorted({*await self._lengths_before(), *_seconds(self._settings.window_lengths)})

    async def _stored(self) -> Layout:
        """Return the stored layout, which may be of the format before. Raises LayoutRefused for others."""
        with errors_translated():
            fields = await self._redis.hgetall(self._keys.layout)
        if fields.get(b"format") == FORMAT_BEFORE.encode():
            return Layout({name.decode(): text.decode("utf-8", "replace") for name, text in fields.items()})
        return Layout.stored(fields)

    async def _replace(self, stored: Layout, here: Layout) -> Literal["accepted", "moved", "settled", "held"]:
        """Put `here` in the place of `stored`, if it is still that and nothing waits that only it can apply."""
        before, after = stored.window_lengths or (), self._settings.window_lengths
        refit = Refit.of(before, after) if stored.fields["format"] == FORMAT else Refit.anew(before, after)
        keys = [self._keys.layout, self._keys.layout_history, self._keys.deltas, self._keys.floors]
        keys += [self._keys.types_numbers, self._keys.types_numbered, self._keys.types_retired, self._keys.backlog]
        keys += [self._keys.windows(length.seconds) for length in before]
        for seconds in refit.unused:
            keys += (self._keys.windows(seconds), self._keys.leftovers(seconds))
        for seconds in refit.folds:
            keys += (self._keys.windows(seconds), self._keys.folding(seconds))
        changes = {
            name: [stored.fields.get(name, ""), here.fields.get(name, "")]
            for name in dict.fromkeys(("format", *here.settings, *stored.settings))
            if stored.fields.get(name) != here.fields.get(name)
        }
        arguments: dict[str, Any] = {
            "stored": {"format": stored.fields["format"], "digest": stored.digest},
            "changes": json.dumps(changes),
            "most": MOST_CHANGES,
            "lengths": [length.seconds for length in before],
            "lacking": list(refit.lacking.items()),
            "layout": here.fields,
            "most_types": self._settings.types_with_words.most,
        }
        if (names := self._settings.types_with_words.names) is not None:
            arguments["types"] = sorted(names)
        reply: bytes = await _accept_layout.run(self._redis, keys, arguments)
        return cast("Literal['accepted', 'moved', 'settled', 'held']", reply.decode())

    async def _apply_settled(self, stored: Layout) -> None:
        """Apply what aggregators with the stored layout have settled."""
        # Both, for what is made of the one is remembered.
        windows = {"windows": stored.fields["windows"], "window_lengths": stored.window_lengths}
        check = LayoutCheck(self._keys, {**stored.of_format, "digest": stored.digest})
        store = AggregatorStore(
            self._redis,
            keys=self._keys,
            settings=self._settings.model_copy(update=windows),
            layout=Checks(check, check),
        )
        chunk = await store.next_chunk()
        while chunk is not None:
            chunk = (await store.apply(chunk)).next

    async def _fold(self, seconds: int) -> None:
        """Fold windows of a length that is counted no longer, or is only a copy now, into longer ones."""
        base = _base(self._settings.window_lengths)
        longer = [each for each in self._settings.window_lengths if each.seconds in _longer(seconds, base)]
        folding = WindowStore(
            self._redis,
            keys=self._keys,
            settings=self._settings,
            lengths=(WindowLength(seconds, 2), *longer),
            folding=seconds,
        )
        with errors_translated():
            found = await self._redis.zrange(self._keys.folding(seconds), 0, -1)
        for start in map(int, found):
            word, cursor = "more", FOLD_FROM_START
            while word == "more":
                word, cursor, _ = await folding.fold(level=1, start=start, cursor=cursor)
                if word == "held":
                    await self._raise_held()

    async def _raise_held(self) -> NoReturn:
        holder = await held(self._redis, keys=self._keys)
        raise Failure(f"{holder or 'another command held appends'}; run it again when that is over")
