"""A list of names as it was asked for: filtered, ordered, compared. Pure: no I/O, no clock.

A plain page of it is read at once (`page`); what is read on and on is ordered once, as a whole (`whole`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import Any

from api.comparison import Comparison
from api.params import RankingParams
from api.ranking import ByCountOrName, Ranking, no_step
from tally.keys import OTHER

#: What an item has, and what else if time ranges are compared.
ITEM_COLUMNS, CHANGE_COLUMNS = ("name", "count", "share"), ("present", "previous", "change")

#: What a list takes that is ordered as a whole, and each of its names.
WHOLE_BYTES, NUMBER_BYTES = 2000, 4


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list is made of: `changes` are the names by change, if that is the order.

    `params` are as they were asked for, but words in the form of the layout; `compared` may be None if there is nothing
    to compare with. `excluded` is how many of the names that are left out were counted, if not all names were read.
    """

    found: Ranking
    compared: Comparison | None
    changes: Ranking | None
    params: RankingParams
    excluded: int = 0

    @property
    def columns(self) -> Sequence[str]:
        """Return what each item has."""
        return (*ITEM_COLUMNS, *CHANGE_COLUMNS) if self.params.compare else ITEM_COLUMNS

    @property
    def listed(self) -> Ranking:
        """Return that whose names are listed."""
        return self.found if self.changes is None else self.changes

    @property
    def made_of(self) -> Sequence[float | int | None]:
        """Return what tells this list from others that were asked for alike, at other moments."""
        rankings = (self.found, *(self.compared.ranges if self.compared is not None else ()))
        return [told for each in rankings for told in (each.as_of, each.start, each.end, each.total)]

    @property
    def goes_over_all(self) -> bool:
        """Return whether all names must be looked at, and not only those of a page."""
        return self._order == "count" or (self.changes is None and self.params.filters)

    def effort(self, items: int) -> int:
        """Return how many names it is as good as going over, to make so many items; see NameFilter."""
        if not self.goes_over_all:
            return min(items, len(self.listed))
        return self.params.name_filter.effort(len(self.listed)) if self.changes is None else len(self.changes)

    def page(self, *, step: Callable[[], None] = no_step) -> dict[str, Any]:
        """Return the answer: the page that was asked for."""
        matching = self._matching(step)
        part = {"offset": self.params.offset, "limit": self.params.most_items}
        named = self.listed.page(matching, order=self._order, step=step, **part)
        return {
            "items": self.items(named),
            **self.about(len(matching) if self.listed.complete else self.found.distinct - self.excluded),
        }

    def whole(self, *, step: Callable[[], None] = no_step) -> Whole:
        """Return all of it, in order."""
        matching = self._matching(step)
        return Whole(self, self.listed.ordered(matching, order=self._order, step=step))

    def items(self, named: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
        """Return items with these names; the counts beside them are those of `listed`."""
        if self.changes is not None:
            named = ((name, self.found.count_of(name)) for name, _ in named)
        items: list[dict[str, Any]] = [
            {"name": name, "count": count, "share": share(count, self.found.total)} for name, count in named
        ]
        if self.params.compare:
            for item in items:
                item |= _changed(self.compared, methodcaller("count_of", item["name"]))
        return items

    @property
    def rest(self) -> dict[str, Any] | None:
        """Return the item of what has no name of its own, with which the counts of all items add up to the total.

        There is none where that is nothing, and where names are left out.
        """
        if not self.found.other or self.params.filters:
            return None
        item = {"name": OTHER, "count": self.found.other, "share": share(self.found.other, self.found.total)}
        if self.params.compare:
            item |= _changed(self.compared, attrgetter("other"))
        return item

    def about(self, matched: int) -> dict[str, Any]:
        """Return what an answer says besides its items."""
        answer: dict[str, Any] = {
            **time_range(self.found),
            "distinct": self.found.distinct,
            "matched": matched,
            "other": self.found.other,
            "as_of": self.found.as_of,
        }
        if not self.params.compare:
            return answer
        if self.compared is None:
            return answer | {"comparison": None}
        present, previous = map(time_range, self.compared.ranges)
        return answer | {"comparison": {"present": present, "previous": previous}}

    @property
    def _order(self) -> ByCountOrName:
        if self.params.order == "change" or self.params.order == "-change":
            return "count" if self.changes is not None and self.params.order == "change" else "-count"
        return self.params.order

    def _matching(self, step: Callable[[], None]) -> Sequence[int]:
        if self.changes is not None:
            return range(len(self.changes))
        return self.found.matching(self.params.name_filter, step=step)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Whole:
    """All of a list in its order: `numbers` are those of the names."""

    listing: Listing
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def own_bytes(self) -> int:
        """Return how much memory it takes besides what the list is made of."""
        takes_none = isinstance(self.numbers, range) or self.listing.listed.owns(self.numbers)
        return WHOLE_BYTES + (0 if takes_none else NUMBER_BYTES * len(self.numbers))

    def items(self, first: int, limit: int, *, most_bytes: int | None = None) -> list[dict[str, Any]]:
        """Return so many items from this place on, fewer if their names are so many bytes."""
        part = self.numbers[first : first + limit]
        return self.listing.items(self.listing.listed.items(part, most_bytes=most_bytes))


def time_range(ranking: Ranking) -> dict[str, int | None]:
    """Return the bounds of a ranking and what was counted in it, as answers have it."""
    return {"from": ranking.start, "to": ranking.end, "total": ranking.total}


def share(count: int, total: int) -> float:
    """Return which part of all that is."""
    return round(count / total, 6) if total else 0.0


def _changed(compared: Comparison | None, count: Callable[[Ranking], int]) -> dict[str, int | None]:
    if compared is None:
        return dict.fromkeys(CHANGE_COLUMNS)
    present, previous = map(count, compared.ranges)
    return {"present": present, "previous": previous, "change": present - previous}
