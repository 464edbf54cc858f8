"""Windows of a shard: which there are, and how those behind the floor of their length are folded or dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from redis.asyncio import Redis

from tally.keys import KINDS, OTHER, Keys, Kind, window_key
from tally.settings import Settings
from tally.store.client import StoreUnavailable
from tally.store.layouts import checks
from tally.store.lua import ReadingScript, WritingScript
from tally.windows import WindowLength

_overdue, _fold, _drop_windows = ReadingScript("overdue"), WritingScript("fold"), WritingScript("drop_windows")

#: How many names one call moves, about.
FOLD_NAMES = 500

#: How many windows one call of `drop` may be given. Redis takes their names apart in a thread of its own.
DROP_WINDOWS = 100

#: How many windows of each length `overdue` tells of.
OVERDUE_WINDOWS = 1000

#: What became of a window of which a slice was to be folded. `more`: some of it is left. `folded`: all of it is in a
#: longer window now, or in none if it is too old for all. `kept`: it is not behind its floor. `gone`: there is none.
FoldWord = Literal["more", "folded", "kept", "gone"]

#: The cursor with which folding a window begins.
FOLD_FROM_START = ""


@dataclass(frozen=True, slots=True)
class Overdue:
    """Windows that are behind the floor of their length, the oldest first, by level: 1 is the shortest length.

    Those in `folds` are to be folded into longer ones, as (level, start); those in `drops`, level -> starts, to be
    dropped. There may be more. `floors` are those of each length, the shortest first; None where all is kept.
    """

    floors: tuple[int | None, ...]
    folds: tuple[tuple[int, int], ...]
    drops: Mapping[int, tuple[int, ...]]


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

    async def overdue(self) -> Overdue:
        """Return what is to be folded and dropped now, OVERDUE_WINDOWS of each length at the most.

        Raises StoreUnavailable.
        """
        lengths = self._lengths
        keys = [self._keys.floors, *map(self._starts_key, lengths)]
        floors, *found = await _overdue.run(self._redis, keys, {"levels": levels_of(lengths), "most": OVERDUE_WINDOWS})
        behind = [tuple(map(int, starts)) for starts in found]
        # What is in the shortest windows is in longer ones, too; what is in the longest has nowhere to go.
        dropped = {1, len(lengths)}
        return Overdue(
            floors_of(floors),
            folds=tuple(
                (level, start) for level, starts in enumerate(behind, 1) if level not in dropped for start in starts
            ),
            drops={level: behind[level - 1] for level in sorted(dropped) if behind[level - 1]},
        )

    async def fold(self, *, level: int, start: int, cursor: str) -> tuple[FoldWord, str, int]:
        """Move some names of a window that is behind its floor to the longer one that still gets its counts.

        Returns what became of the window, the next cursor, and how many names were moved. Levels count from 1. The
        cursor is FOLD_FROM_START at first, then what the last call returned; a lost one costs time, nothing else.
        Raises StoreUnavailable.
        """
        lengths, settings = self._lengths, self._settings
        keys = [self._keys.floors, self._keys.folds, *map(self._starts_key, lengths)]
        for kind in KINDS:
            keys += (
                window_key(self._keys, kind, length.seconds, length.start_of(start)) for length in lengths[level - 1 :]
            )
        most: dict[Kind, int] = {"types": settings.max_types, "words": settings.max_window_words}
        arguments = {
            "level": level,
            "start": start,
            "cursor": cursor,
            "names": FOLD_NAMES,
            "levels": levels_of(lengths),
            "kinds": [most[kind] for kind in KINDS],
            "other": OTHER,
        }
        word, *rest = await _fold.run(self._redis, keys, arguments, layout=self._layout)
        raise_wrong_type(word, rest)
        cursor_after, moved = rest
        return cast("FoldWord", word.decode()), cursor_after.decode(), moved

    def _starts_key(self, length: WindowLength) -> str:
        at = self._keys
        return at.folding(length.seconds) if length.seconds == self._folding else at.windows(length.seconds)

    async def drop(self, *, level: int, starts: Sequence[int]) -> int:
        """Forget those of these windows that are behind the floor of their length; return how many.

        Of the shortest length, whose counts are in longer windows, and of the longest. Levels count from 1;
        DROP_WINDOWS at the most. Raises StoreUnavailable.
        """
        if not starts:
            return 0
        assert len(starts) <= DROP_WINDOWS
        seconds = self._lengths[level - 1].seconds
        keys = [self._keys.floors, self._keys.folds, *map(self._starts_key, self._lengths)]
        keys += (window_key(self._keys, kind, seconds, start) for start in starts for kind in KINDS)
        arguments = {"level": level, "starts": starts, "levels": levels_of(self._lengths)}
        return int(await _drop_windows.run(self._redis, keys, arguments, layout=self._layout))


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
