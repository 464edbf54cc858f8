"""Windows of a shard: which there are, and how those behind the floor of their length are folded or dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from redis.asyncio import Redis

from tally.keys import OTHER, TYPES, WORDS, Keys, all_time_key, window_key, words_of
from tally.settings import Settings
from tally.store.all_windows import all_windows
from tally.store.client import StoreUnavailable, errors_translated
from tally.store.layouts import checks
from tally.store.lua import ReadingScript, WritingScript
from tally.store.tables import HASHES_AT_ONCE, Tables, known_tables
from tally.windows import WindowLength

_overdue, _fold, _drop_windows = ReadingScript("overdue"), WritingScript("fold"), WritingScript("drop_windows")

#: How many names one call moves, about.
FOLD_NAMES = 500

#: How many tables of a window one call of the script looks through.
FOLD_TABLES = 50

#: How many windows of each length `overdue` tells of.
OVERDUE_WINDOWS = 1000

#: What became of a window of which a slice was to be folded. `more`: some of it is left. `folded`: all of it is in a
#: longer window now, or in none if it is too old for all. `kept`: it is not behind its floor. `gone`: there is none.
#: `held`: somebody has the lease of the shard, see tally/store/lease.py; it is to be tried again later.
FoldWord = Literal["more", "folded", "kept", "gone", "held"]

#: The cursor with which folding a window begins.
FOLD_FROM_START = ""


@dataclass(frozen=True, slots=True)
class Overdue:
    """Windows that are behind the floor of their length, the oldest first, by level: 1 is the shortest length.

    Those in `folds` are to be folded into longer ones, as (level, start); those in `drops`, level -> starts, to be
    dropped. There may be more. `floors` are those of each length, the shortest first; None where all is kept. `retired`
    is a number of a type that has none any more, of which some hash may be left.
    """

    floors: tuple[int | None, ...]
    folds: tuple[tuple[int, int], ...]
    drops: Mapping[int, tuple[int, ...]]
    retired: int | None = None


class WindowStore:
    """The windows of one shard, of the lengths that are set, or of those that are given.

    Of the length `folding`, if that is given, those that are to be folded because another layout was accepted.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        keys: Keys,
        settings: Settings,
        lengths: Sequence[WindowLength] | None = None,
        folding: int | None = None,
    ) -> None:
        self._redis: Any = redis  # its annotations leave open whether replies are text; ours are bytes
        self._keys = keys
        self._settings = settings
        self._lengths = tuple(lengths or settings.window_lengths)
        self._layout = checks(keys, settings).whole
        self._folding = folding
        self._tables = Tables()

    async def overdue(self) -> Overdue:
        """Return what is to be folded and dropped now, OVERDUE_WINDOWS of each length at the most.

        Raises StoreUnavailable.
        """
        lengths = self._lengths
        keys = [self._keys.floors, self._keys.types_retired, *map(self._starts_key, lengths)]
        floors, *found, retired = await _overdue.run(
            self._redis, keys, {"levels": levels_of(lengths), "most": OVERDUE_WINDOWS}
        )
        behind = [tuple(map(int, starts)) for starts in found]
        # What is in the shortest windows is in longer ones, too; what is in the longest has nowhere to go.
        dropped = {1, len(lengths)}
        return Overdue(
            floors_of(floors),
            folds=tuple(
                (level, start) for level, starts in enumerate(behind, 1) if level not in dropped for start in starts
            ),
            drops={level: behind[level - 1] for level in sorted(dropped) if behind[level - 1]},
            retired=int(retired[0]) if retired else None,
        )

    async def fold(self, *, level: int, start: int, cursor: str) -> tuple[FoldWord, str, int]:
        """Move some names of a window that is behind its floor to the longer one that still gets its counts.

        Returns what became of the window, the next cursor, and how many names were moved. Levels count from 1. The
        cursor is FOLD_FROM_START at first, then what the last call returned; a lost one costs time, nothing else.
        Raises StoreUnavailable.
        """
        within, _, text = cursor.partition("|")
        first = int(text) if text.isdecimal() and int(text) < len(self._tables.counted) else 0
        while True:
            word, within, moved = await self._fold(level, start, first=first, cursor=within)
            if word != "numbered":
                break
            self._tables = await known_tables(self._redis, self._keys)
        if word == "more":
            return "more", f"{within}|{first}", moved
        if word == "next":
            following = first + FOLD_TABLES
            return "more", f"|{following}" if following < len(self._tables.counted) else FOLD_FROM_START, moved
        return cast("FoldWord", word), FOLD_FROM_START, moved

    async def _fold(self, level: int, start: int, *, first: int, cursor: str) -> tuple[str, str, int]:
        """Fold some tables of a window, from the first-th on; return the script's word, its cursor, how many names."""
        lengths, settings, tables = self._lengths, self._settings, self._tables
        some = tables.counted[first : first + FOLD_TABLES]
        last = first + FOLD_TABLES >= len(tables.counted)
        keys = [*self._common_keys, *map(self._starts_key, lengths)]
        for table in some:
            keys += (
                window_key(self._keys, table, length.seconds, length.start_of(start)) for length in lengths[level - 1 :]
            )
        if last:
            others = (*tables.counted[:first], *tables.unused)
            keys += (window_key(self._keys, table, lengths[level - 1].seconds, start) for table in others)
        most = {TYPES: settings.max_types, WORDS: settings.max_window_words}
        arguments = {
            "level": level,
            "start": start,
            "cursor": cursor,
            "names": FOLD_NAMES,
            "levels": levels_of(lengths),
            "tables": [most.get(table, settings.max_type_words) for table in some],
            "last": last,
            "unused": len(tables.unused) if last else 0,
            "numbered": tables.numbered,
            "other": OTHER,
        }
        word, *rest = await _fold.run(self._redis, keys, arguments, layout=self._layout)
        raise_wrong_type(word, rest)
        cursor_after, moved = rest
        return word.decode(), cursor_after.decode(), moved

    @property
    def _common_keys(self) -> tuple[str, ...]:
        at = self._keys
        return at.floors, at.folds, at.types_numbered, at.backlog

    def _starts_key(self, length: WindowLength) -> str:
        at = self._keys
        return at.folding(length.seconds) if length.seconds == self._folding else at.windows(length.seconds)

    @property
    def windows_at_once(self) -> int:
        """How many windows one call of `drop` should be given: the more tables there are, the fewer."""
        return max(1, HASHES_AT_ONCE // len(self._tables.all))

    async def drop(self, *, level: int, starts: Sequence[int]) -> int | None:
        """Forget those of these windows that are behind the floor of their length; return how many.

        None, if somebody has the lease of the shard: it is to be tried again later. Some may be gone then.

        Of the shortest length, whose counts are in longer windows, and of the longest. Levels count from 1. Raises
        StoreUnavailable.
        """
        dropped, left = 0, list(starts)
        while left:
            # There may be more tables than whoever has cut the windows into slices knew of.
            some = left[: self.windows_at_once]
            word, *found = await self._drop(level, some)
            if word == b"held":
                return None
            if word == b"numbered":
                self._tables = await known_tables(self._redis, self._keys)
                continue
            dropped += found[0]
            left = left[len(some) :]
        return dropped

    async def _drop(self, level: int, starts: Sequence[int]) -> list[Any]:
        """Forget these windows in all tables that are known; return what drop_windows.lua says."""
        seconds = self._lengths[level - 1].seconds
        keys = [*self._common_keys, *map(self._starts_key, self._lengths)]
        keys += (window_key(self._keys, table, seconds, start) for start in starts for table in self._tables.all)
        arguments = {
            "level": level,
            "starts": starts,
            "levels": levels_of(self._lengths),
            "numbered": self._tables.numbered,
        }
        reply: list[Any] = await _drop_windows.run(self._redis, keys, arguments, layout=self._layout)
        return reply

    async def delete_retired(self, number: int) -> None:
        """Delete all hashes of the words of the type that had this number, which no type has any more.

        In slices; may be called again after a failure, and by several at once. Raises StoreUnavailable.
        """
        at, table = self._keys, words_of(number)
        with errors_translated():
            await self._redis.unlink(all_time_key(at, table))
            async for seconds, starts in all_windows(self._redis, keys=at, lengths=self._lengths):
                await self._redis.unlink(*(window_key(at, table, seconds, start) for start in starts))
            await self._redis.zrem(at.types_retired, number)
        self._tables = Tables()  # whoever needs it looks again


def levels_of(lengths: Sequence[WindowLength]) -> list[dict[str, int]]:
    """Return the lengths as scripts take them."""
    return [{"seconds": length.seconds, "kept": length.kept} for length in lengths]


def floors_of(texts: Sequence[bytes]) -> tuple[int | None, ...]:
    """Return the floors that a script has returned."""
    return tuple(int(text) if text else None for text in texts)


def raise_wrong_type(word: bytes, rest: Sequence[Any]) -> None:
    """Raise StoreUnavailable if a script has found a key of a wrong type, before it wrote anything."""
    if word == b"wrong-type":
        key, found, expected = (each.decode("utf-8", "replace") for each in rest)
        raise StoreUnavailable(
            f"{key} is a {found} and should be a {expected}: another client has written it; rename or remove it"
        )
