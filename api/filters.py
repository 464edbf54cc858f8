"""Words narrowed to those of some types, and types to those by some words: what is read for that, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.cached_counts import CachedCounts
from api.filter_params import OfTypes, OfWords
from api.param_reading import Strict
from api.ranking import Ranking
from tally.keys import OTHER, Kind
from tally.selections import Asked, TypesOf, WordsOf
from tally.web.problem_types import NEVER_COUNTED, WORDS_NOT_BY_TYPE, ProblemError


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What is asked of a kind of names, as readers take it: all of it, or what a filter leaves.

    Since when words of these types are counted apart, in Unix seconds; `whole` is whether all shards do that.
    """

    kind: Kind
    asked: Asked
    since: int | None = None
    whole: bool = True

    @property
    def is_all(self) -> bool:
        """Return whether nothing is filtered."""
        return isinstance(self.asked, str)

    @property
    def names(self) -> Sequence[str]:
        """Return the names that narrow it."""
        match self.asked:
            case WordsOf(names) | TypesOf(names):
                return names
        return ()

    @property
    def called(self) -> str:
        """Return what is asked, in a sentence."""
        match self.asked:
            case WordsOf(types):
                return f"words of {_listed(types)}"
            case TypesOf(words):
                return f"types that have {_listed(words)} in their words"
            case kind:
                return kind

    def members(self, found: Ranking | None = None) -> dict[str, Any]:
        """Return what an answer has besides where something is filtered."""
        if self.is_all:
            return {}
        elsewhere = {"elsewhere": found.other} if isinstance(self.asked, TypesOf) and found is not None else {}
        return {"since": self.since, **elsewhere}

    async def at_most(self, counts: CachedCounts, found: Ranking, items: Sequence[tuple[str, int]]) -> list[int | None]:
        """Return how often each of these names was counted at the most; None where nobody knows.

        A name may have no place of its own in some hashes, and be counted under `__other__` there. Of a time range it
        is not looked in which.
        """
        if counts.missing or not self.whole:
            return [None] * len(items)
        names = [name for name, _ in items]
        if isinstance(self.asked, TypesOf):
            hidden = [found.hidden_of(name) for name in names]
        elif found.other and found.start is None:
            hidden = await counts.reader.hidden(self.asked, names)
        else:
            hidden = [found.other if name != OTHER else 0 for name in names]
        return [count + more for (_, count), more in zip(items, hidden, strict=True)]


async def narrowed(counts: CachedCounts, kind: Kind, params: Strict, names: Sequence[str] = ()) -> Narrowed:
    """Return what is to be read. `names` are those that are asked for one by one.

    Raises ProblemError for what was never counted, and for what is not counted by type.
    """
    if isinstance(params, OfTypes) and params.type:
        return await _words_of(counts, kind, params.type)
    if isinstance(params, OfWords) and params.word:
        return await _types_of(counts, kind, params.word, names)
    return Narrowed(kind, kind)


async def _words_of(counts: CachedCounts, kind: Kind, types: Sequence[str]) -> Narrowed:
    await _raise_where_off(counts)
    found = dict(zip(types, await counts.reader.apart(types), strict=True))
    if not counts.missing:  # one of those may have it
        for type_, each in found.items():
            if not each.count and each.since is None:
                raise ProblemError(NEVER_COUNTED, f"{type_!r} is not among the types")
        await _raise_unless_apart(counts, [type_ for type_, each in found.items() if each.since is None])
    return Narrowed(
        kind,
        WordsOf(tuple(sorted(types))),
        since=max((each.since for each in found.values() if each.since is not None), default=None),
        whole=all(each.whole for each in found.values()),
    )


async def _types_of(counts: CachedCounts, kind: Kind, words: Sequence[str], names: Sequence[str]) -> Narrowed:
    await _raise_where_off(counts)
    counting = await counts.counting()
    words = sorted({counting.name("words", word) for word in words})
    *found, other = await counts.reader.count_each("words", [*words, OTHER])
    if not counts.missing and not other:  # there it may be
        for word, count in zip(words, found, strict=True):
            if not count:
                raise ProblemError(NEVER_COUNTED, f"{word!r} is not among the words")
    if names and not counts.missing:
        each = zip(names, await counts.reader.apart(names), strict=True)
        await _raise_unless_apart(counts, [name for name, type_ in each if type_.count and type_.since is None])
    return Narrowed(kind, TypesOf(tuple(words)))


async def _raise_where_off(counts: CachedCounts) -> None:
    which = (await counts.counting()).words_by_type
    if which is not None and not which.most:
        raise ProblemError(
            WORDS_NOT_BY_TYPE,
            "words are not counted by type here: set TALLY_WORDS_BY_TYPE, to 20 for example, and run `tally layout "
            "--accept` with it",
        )


async def _raise_unless_apart(counts: CachedCounts, types: Sequence[str]) -> None:
    """Raise ProblemError if there is any of these types, which have no words of their own."""
    if not types:
        return
    which = (await counts.counting()).words_by_type
    if which is not None and (which.names is None or set(types) <= which.names) and await _has_room(counts):
        why = "its words are counted by type from its next event on; those before are only among all words"
    elif which is not None and which.names is None:
        why = f"TALLY_WORDS_BY_TYPE is {which.most}: so many other types came first. Set more, or name the types"
    else:
        why = "TALLY_WORDS_BY_TYPE names other types. Add it to them"
    raise ProblemError(WORDS_NOT_BY_TYPE, f"{types[0]!r} has no words of its own: {why}")


async def _has_room(counts: CachedCounts) -> bool:
    """Return whether further types may have words of their own, as far as all shards tell."""
    if counts.missing:
        return False
    state = (await counts.status())[0].words_by_type
    return state is not None and state.most is not None and state.types < state.most


def _listed(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names))
