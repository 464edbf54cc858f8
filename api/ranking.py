"""Names and their counts, in order. Pure: no I/O, no clock.

A million names take seconds, in which other threads must run: so they are worked on in steps of a few milliseconds. A
single call that sorts them all would keep the interpreter to itself, in whichever thread it is made. After each step
`step` is called, which may raise to end it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, compress, islice
from typing import Literal

import msgspec

from api.matching import NameFilter, matching
from api.sorting import STEP_NAMES, ordered, sorted_parts
from tally.keys import OTHER

#: What a name takes while a ranking is made, besides twice its own bytes: in the sums that are read (a place in a table
#: that doubles, two objects) and in the ranking.
MAKING_BYTES_PER_NAME = 200

#: How names may be ordered; of equal counts the names are always in their order.
ByCountOrName = Literal["-count", "count", "name", "-name"]


def no_step() -> None:
    """Do nothing: no other thread is to run meanwhile."""


class Ranking:
    """Counts of a time range (`start` None: of all time), by name and by count.

    `total` is all counts, also those of names that are not here; `other` those under `__other__`. `distinct` is how
    many names there are; fewer are here when only the top ones were read. Then, of several shards, there may be more
    names, `distinct_at_most` so many.

    Names stand in their order in one string (UTF-8 sorts as code points do), counts and places in arrays beside
    them: a million words take 25 MB rather than 150, and nothing of that the garbage collector must look at.
    """

    __slots__ = (
        "__weakref__",
        "_by_count",
        "_counts",
        "_ends",
        "_hidden",
        "_names",
        "_starts",
        "as_of",
        "distinct",
        "distinct_at_most",
        "end",
        "other",
        "start",
        "total",
    )

    def __init__(self, *, as_of: float, start: int | None, end: int | None) -> None:
        self.as_of, self.start, self.end = as_of, start, end
        self.total = self.distinct = self.distinct_at_most = self.other = 0
        self._hidden: Mapping[bytes, int] = {}  # how much more often a name may have been counted, where that is known
        self._names = b""
        self._starts = array("Q", [0])  # where each name begins, and at last where the last one ends
        self._counts = array("q")
        self._by_count = array("I")  # the names' numbers, the most frequent first
        self._ends = array("I")  # where in it each group of equal counts ends

    @classmethod
    def of(
        cls,
        counts: dict[bytes, int],
        *,
        as_of: float,
        start: int | None = None,
        end: int | None = None,
        hidden: Mapping[bytes, int] | None = None,
        step: Callable[[], None] = no_step,
    ) -> Ranking:
        """Rank a sum. `counts` is empty then: to free it at once would take as long as to rank it.

        `hidden` is how much more often names may have been counted, for those of which that is known.
        """
        ranking = cls(as_of=as_of, start=start, end=end)
        ranking._hidden = hidden or {}
        ranking.other = counts.pop(OTHER.encode(), 0)
        names: list[bytes] = []
        for part in sorted_parts(counts, step):
            names.append(b"".join(part))
            ranking._starts.extend(accumulate(map(len, part), initial=ranking._starts.pop()))
            ranking._counts.extend(map(counts.pop, part))
            part.clear()
            step()
        ranking._names = b"".join(names)
        ranking.distinct = ranking.distinct_at_most = len(ranking)
        ranking.total = sum(ranking._counts) + ranking.other
        ranking._by_count, ranking._ends = ordered(ranking._counts, step)
        return ranking

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def size_bytes(self) -> int:
        """Return how much memory it takes."""
        arrays = (self._starts, self._counts, self._by_count, self._ends)
        return 1000 + len(self._names) + sum(len(each) * each.itemsize for each in arrays)

    @property
    def complete(self) -> bool:
        """Return whether every name is here."""
        return len(self) == self.distinct_at_most

    def count_of(self, name: str) -> int:
        """Return how often a name was counted; 0 if it is not here."""
        found = self._find(name)
        return 0 if found is None else self._counts[found]

    def hidden_of(self, name: str) -> int:
        """Return how much more often a name may have been counted, as it was told of it; 0 of others."""
        return self._hidden.get(name.encode("utf-8", "replace"), 0)

    def rank(self, name: str) -> int | None:
        """Return the place of a name, from 1; None if it is not here."""
        found = self._find(name)
        if found is None:
            return None
        place = (-self._counts[found], found)
        return 1 + bisect_left(self._by_count, place, key=lambda each: (-self._counts[each], each))

    def top(self, limit: int) -> dict[str, int]:
        """Return the most frequent names with their counts."""
        return dict(map(self._item, self._by_count[:limit]))

    def item(self, number: int) -> tuple[bytes, int]:
        """Return the name with this number, in UTF-8, and its count."""
        return self._name(number), self._counts[number]

    def names(self) -> Iterator[tuple[bytes, int]]:
        """Yield every name, in UTF-8, with its count, in the order of the names."""
        return map(self.item, range(len(self)))

    def matching(self, wanted: NameFilter, *, step: Callable[[], None] = no_step) -> Sequence[int]:
        """Return the numbers of the names that pass, in their order. Raises WrongParameters, see matching.py."""
        return matching(self._names, self._starts, wanted, step=step)

    def page(
        self,
        matching: Sequence[int] | None = None,
        *,
        order: ByCountOrName,
        offset: int,
        limit: int,
        step: Callable[[], None] = no_step,
    ) -> list[tuple[str, int]]:
        """Return `limit` names with their counts, of those with these numbers (None: of all), in this order."""
        found = self._in_order(matching, order, step)
        wanted = slice(offset, offset + limit)
        places = found[wanted] if isinstance(found, Sequence) else islice(found, wanted.start, wanted.stop)
        return [self._item(at) for at in places]

    def ordered(
        self, matching: Sequence[int] | None, *, order: ByCountOrName, step: Callable[[], None] = no_step
    ) -> Sequence[int]:
        """Return the numbers of all those names in this order: any part of it is then found at once."""
        found = self._in_order(matching, order, step)
        if isinstance(found, range):
            return found
        return self._by_count if self.owns(found) else array("I", found)

    def owns(self, numbers: object) -> bool:
        """Return whether these numbers are its own, and take no memory besides."""
        return numbers is self._by_count

    def items(self, numbers: Iterable[int], *, most_bytes: int | None = None) -> list[tuple[str, int]]:
        """Return the names with these numbers, with their counts; the first of them, if these are so many bytes."""
        if most_bytes is None:
            return list(map(self._item, numbers))
        found = []
        for at in numbers:
            found.append(self._item(at))
            most_bytes -= self._starts[at + 1] - self._starts[at]
            if most_bytes <= 0:
                break
        return found

    def _in_order(
        self, matching: Sequence[int] | None, order: ByCountOrName, step: Callable[[], None]
    ) -> Sequence[int] | Iterator[int]:
        chosen = range(len(self)) if matching is None else matching
        if order == "name":
            return chosen
        if order == "-name":
            return chosen[::-1]
        if order == "-count" and len(chosen) == len(self):
            return self._by_count
        if len(chosen) <= STEP_NAMES:
            return sorted(chosen, key=self._counts.__getitem__, reverse=order == "-count")
        return self._in_order_of_count(chosen, order == "-count", step)

    def as_object(self, *, limit: int | None = None, step: Callable[[], None] = no_step) -> bytes:
        """Return a JSON object of names and counts, the most frequent first, `__other__` among them."""
        wanted = len(self) + bool(self.other)
        if limit is not None:
            wanted = min(wanted, limit)
        if self.other:
            place = (-self.other, OTHER.encode())
            other_at = bisect_left(self._by_count, place, key=lambda at: (-self._counts[at], self._name(at)))
            if other_at < wanted:
                before = self._members(0, other_at, step)
                behind = self._members(other_at, wanted - 1, step)
                return b"{" + b",".join((*before, _members({OTHER: self.other}), *behind)) + b"}"
        return b"{" + b",".join(self._members(0, wanted, step)) + b"}"

    def _members(self, first: int, last: int, step: Callable[[], None]) -> Iterator[bytes]:
        """Yield the members of a JSON object, from a place in the order of the counts to before another, in parts."""
        for begin in range(first, last, STEP_NAMES):
            yield _members(dict(map(self._item, self._by_count[begin : min(begin + STEP_NAMES, last)])))
            step()

    def _name(self, at: int) -> bytes:
        return self._names[self._starts[at] : self._starts[at + 1]]

    def _item(self, at: int) -> tuple[str, int]:
        # What in another client's name is not UTF-8 is replaced.
        return self._names[self._starts[at] : self._starts[at + 1]].decode("utf-8", "replace"), self._counts[at]

    def _find(self, name: str) -> int | None:
        encoded = name.encode("utf-8", "replace")
        at = bisect_left(range(len(self)), encoded, key=self._name)
        return at if at < len(self) and self._name(at) == encoded else None

    def _in_order_of_count(
        self, chosen: Sequence[int], most_frequent_first: bool, step: Callable[[], None]
    ) -> Iterator[int]:
        flags = bytearray(len(self))
        for at in chosen:
            flags[at] = 1
        for part in self._parts(most_frequent_first):
            yield from compress(part, map(flags.__getitem__, part))
            step()

    def _parts(self, most_frequent_first: bool) -> Iterator[array[int]]:
        """Yield all numbers in the order of the counts, in parts."""
        if most_frequent_first:
            for first in range(0, len(self), STEP_NAMES):
                yield self._by_count[first : first + STEP_NAMES]
            return
        for group in range(len(self._ends) - 1, -1, -1):
            first = self._ends[group - 1] if group else 0
            for begin in range(first, self._ends[group], STEP_NAMES):
                yield self._by_count[begin : min(begin + STEP_NAMES, self._ends[group])]


def _members(counts: dict[str, int]) -> bytes:
    return msgspec.json.encode(counts)[1:-1]
