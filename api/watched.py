"""What watchers of the live feed narrow the figures of now to: how often it was counted, and how often a second."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from api.cached_counts import CachedCounts
from tally.keys import Kind
from tally.rates import Rates
from tally.selections import WordsOf

#: So many different selections are read each second, those that are watched first. Others get no figures, but the feed.
MOST_SELECTIONS = 64

#: For how long one is read on behind its last watcher, in seconds: for a page that comes back, and for its rates.
LINGER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Some types: their events. Some words: how often they stand in events. Both: in events of these types."""

    types: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Return what is counted."""
        return "words" if self.words else "events"

    def __bool__(self) -> bool:
        return bool(self.types or self.words)


#: What a watcher has who narrows nothing.
ALL = Selection()


@dataclass(slots=True)
class _Watched:
    rates: Rates
    watchers: int = 0
    until: float = math.inf  # monotonic seconds; while there are watchers, for ever


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read at once, of each selection, as JSON; `null` where nothing is known of one."""

    texts: dict[Selection, str] = field(default_factory=dict)

    def of(self, selection: Selection) -> str:
        """Return the figures of this one."""
        return self.texts.get(selection, "null")


class Watched:
    """Reads the selections that somebody watches. What is remembered is bounded by the watchers, and some more."""

    def __init__(self, counts: CachedCounts, *, every_seconds: float) -> None:
        self._counts = counts
        self._every_seconds = every_seconds
        self._watched: dict[Selection, _Watched] = {}

    @contextmanager
    def watch(self, selection: Selection, *, now: Callable[[], float]) -> Iterator[None]:
        """Have it read meanwhile, and for a while longer."""
        if not selection:
            yield
            return
        each = self._watched.setdefault(selection, _Watched(Rates(every_seconds=self._every_seconds)))
        each.watchers += 1
        each.until = math.inf
        try:
            yield
        finally:
            each.watchers -= 1
            if not each.watchers:
                each.until = now() + LINGER_SECONDS
                if len(self._watched) > MOST_SELECTIONS:
                    self._watched.pop(selection, None)

    def clear(self) -> None:
        """Forget all rates: for a while nothing could be read, or nobody watched."""
        for each in self._watched.values():
            each.rates.clear()

    async def read(self, now: float) -> Reading:
        """Return the figures of all, at this moment of a clock that only goes on. Raises StoreUnavailable."""
        for selection, each in list(self._watched.items()):
            if each.until <= now:
                del self._watched[selection]
        first = sorted(self._watched, key=lambda each: not self._watched[each].watchers)[:MOST_SELECTIONS]
        if not first:
            return Reading()
        counts = await self._sums(first)
        texts = {}
        for selection, count in counts.items():
            rates = self._watched[selection].rates if selection in self._watched else None
            if count is None or rates is None:
                continue
            rates.add(now, count)
            figures = {"unit": selection.unit, "count": count, "per_second": rates.rates()}
            texts[selection] = msgspec.json.encode(figures).decode()
        return Reading(texts)

    async def _sums(self, selections: Sequence[Selection]) -> dict[Selection, int | None]:
        """Return how often each was counted over all time; None where nobody knows."""
        counting = await self._counts.counting()
        words = {each: tuple({counting.name("words", name): None for name in each.words}) for each in selections}
        events = await self._count_each("types", [each.types for each in selections if not each.words])
        anywhere = await self._count_each("words", [words[each] for each in selections if not each.types])
        found: dict[Selection, int | None] = {}
        for each in selections:
            if not each.words:
                found[each] = sum(events[name] for name in each.types)
            elif not each.types:
                found[each] = sum(anywhere[name] for name in words[each])
            else:
                found[each] = await self._words_of(each.types, words[each])
        return found

    async def _count_each(self, kind: Kind, groups: Sequence[Sequence[str]]) -> dict[str, int]:
        """Return how often each of these names was counted, all of them asked for at once."""
        names = list(dict.fromkeys(name for group in groups for name in group))
        counts = await self._counts.reader.count_each(kind, names) if names else []
        return dict(zip(names, counts, strict=True))

    async def _words_of(self, types: Sequence[str], words: Sequence[str]) -> int | None:
        """Return how often these words stand in events of these types; None where that is not counted by type."""
        which = (await self._counts.counting()).words_by_type
        apart = await self._counts.reader.apart(types)
        if (which is not None and not which.most) or not all(each.whole for each in apart):
            return None
        return sum(await self._counts.reader.count_each(WordsOf(tuple(types)), words))
