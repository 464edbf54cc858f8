"""Answers with lists of names: a page as it was asked for, all of it as a table, or page by page with a cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from api.answer_cache import SLICE_BYTES
from api.cached_counts import CachedCounts
from api.cursors import BadCursor, Cursors, Held, Place, Question
from api.file_names import file_name
from api.filters import Narrowed
from api.formats import chosen_format, respond, table_headers
from api.listing import Listing, Whole
from api.memory import NoRoom
from api.params import BEGIN, MOST_ITEMS, RankingParams
from api.tables import Table
from api.work import FEW_NAMES
from tally.keys import Kind
from tally.web.problem_types import CURSOR_GONE, ProblemError, WrongParameters

#: What may differ from page to page; all else is asked once, when a list is begun.
_OF_A_PAGE = ("cursor", "limit", "offset", "format")


def wants_all(request: Request, params: RankingParams) -> bool:
    """Return whether all of a list is asked for, and not a page. Raises ProblemError where no form is acceptable."""
    return params.cursor is not None or _is_table(request, params)


async def answer_list(
    counts: CachedCounts, narrow: Narrowed, request: Request, listing: Listing, cursors: Cursors
) -> Response:
    """Return as much of a list as was asked for."""
    params = listing.params
    answers = _Answers(counts, narrow, listing, counts.missing, request, params)
    if params.cursor == BEGIN:
        chosen_format(request, params.format)  # before anything is held for one who takes none
        held = cursors.hold(narrow, _question(request), await counts.whole(listing), missing=counts.missing)
        return await answers.page(cursors, held, 0, params.most_items)
    if _is_table(request, params):
        return await answers.table(ListRows(answers, await counts.whole(listing), offset=params.offset))
    answer = await counts.work.answer(listing.effort(params.most_items), listing.page, step=counts.work.step)
    if listing.listed.complete and "offset" not in request.query_params:
        answer["next"] = None
        if answer["matched"] > len(answer["items"]):
            with suppress(NoRoom):  # a page alone takes less
                whole = await counts.whole(listing)
                held = cursors.hold(narrow, _question(request), whole, missing=counts.missing, begun=False)
                return await answers.page(cursors, held, 0, params.most_items)
    return await answers.respond(answer, answer["items"])


async def go_on(
    counts: CachedCounts, kind: Kind, request: Request, params: RankingParams, cursors: Cursors
) -> Response:
    """Return the page to which a cursor leads. Raises ProblemError if there is none, or if it is of another list."""
    try:
        place = Place.of(params.cursor or "")
    except BadCursor:
        raise WrongParameters([("cursor", "it is none that was given here; send it whole, as it came")]) from None
    if place.kind != kind:
        raise WrongParameters([("cursor", f"it is one of /v1/{place.kind}")])
    held = cursors.find(place)
    if held is None:
        here = "it was not used for a while, or others needed its memory"
        elsewhere = "another api gave it, or this one was started again since"
        raise ProblemError(
            CURSOR_GONE, f"{here if place.life == cursors.life else elsewhere}: begin again with cursor=*"
        )
    wrong = [name for name, values in _question(request).items() if held.question.get(name) != values]
    if wrong:
        raise WrongParameters(
            [(name, "the cursor leads on in a list that was asked for otherwise; leave it out") for name in wrong]
        )
    answers = _Answers(counts, held.narrow, held.whole.listing, held.missing, request, params)
    return await answers.page(cursors, held, place.first, params.limit or place.limit)


class ListRows:
    """The rows of a list, but for the first `offset` items: last comes what has no name of its own."""

    def __init__(self, answers: _Answers, whole: Whole, *, offset: int) -> None:
        self._answers = answers
        self._whole = whole
        self._offset = offset
        self._items = max(0, len(whole) - offset)

    def __len__(self) -> int:
        return self._items + len(self._answers.rest())

    @property
    def columns(self) -> Sequence[str]:
        """Return what each row has."""
        return self._answers.columns

    async def slice(self, first: int, limit: int, *, most_bytes: int) -> list[dict[str, Any]]:
        """Return so many rows from this place on, fewer if their names are so many bytes; none if there are no more."""
        if first >= self._items:
            return self._answers.rest() if first == self._items else []
        work, at = self._answers.counts.work, self._offset + first
        items = await work.slice(self._whole.items, at, limit, most_bytes=most_bytes)
        await self._answers.add_bounds(items)
        return items


@dataclass(frozen=True, slots=True)
class _Answers:
    """Makes answers about a list, which is without the shards that are missing."""

    counts: CachedCounts
    narrow: Narrowed
    listing: Listing
    missing: tuple[int, ...]
    request: Request
    params: RankingParams

    async def table(self, rows: ListRows) -> Response:
        """Return all rows: made at once if they are as few as a page may have, else while they are sent."""
        if len(rows) <= MOST_ITEMS:
            items: list[dict[str, Any]] = []
            while part := await rows.slice(len(items), FEW_NAMES, most_bytes=SLICE_BYTES):
                items += part
            return await self._respond({}, items)
        format_ = chosen_format(self.request, self.params.format)
        return Table(
            rows,
            format_,
            request=self.request,
            made_of=(self.request.url.path, self.request.url.query, self.missing, self.listing.made_of),
            headers=table_headers(format_, name=self._name, missing_shards=self.missing),
            work=self.counts.work,
            memory=self.counts.memory,
        )

    async def page(self, cursors: Cursors, held: Held, first: int, limit: int) -> Response:
        """Return a page of a list that is held, and where the next one is."""
        whole = held.whole
        items = await self.counts.work.answer(min(limit, len(whole)), whole.items, first, limit)
        following, headers = None, {}
        if first + len(items) < len(whole):
            following = Place(cursors.life, held.number, self.narrow.kind, first + len(items), limit).cursor()
            headers = {"Link": f'<{self._address(following)}>; rel="next"'}
        answer = {"items": items, **self.listing.about(len(whole)), "next": following}
        return await self.respond(answer, items, headers=headers, ends=following is None)

    async def respond(
        self,
        answer: dict[str, Any],
        items: list[dict[str, Any]],
        *,
        headers: Mapping[str, str] | None = None,
        ends: bool = False,
    ) -> Response:
        """Return an answer with these items; as a table that `ends` with what has no name of its own."""
        await self.add_bounds(items)
        if self.counts.reader.several:
            answer["distinct_at_most"] = None if self.missing else self.listing.found.distinct_at_most
        answer |= self.narrow.members(self.listing.found)
        rows = [*items, *self.rest()] if ends else items
        return await self._respond(answer, rows, headers=headers)

    @property
    def columns(self) -> Sequence[str]:
        """Return what each item has."""
        return (*self.listing.columns, "at_most") if self._has_bounds else self.listing.columns

    def rest(self) -> list[dict[str, Any]]:
        """Return the item of what has no name of its own, if there is one."""
        item = self.listing.rest
        if item is not None and self._has_bounds:
            item["at_most"] = item["count"] if self._are_known else None
        return [] if item is None else [item]

    async def add_bounds(self, items: Sequence[dict[str, Any]]) -> None:
        """Add what only several shards have, and what is filtered: how often each name was counted at the most."""
        if not self._has_bounds:
            return
        named = [(item["name"], item["count"]) for item in items]
        at_most: Sequence[int | None] = [None] * len(named)
        if self._are_known:
            at_most = await self.narrow.at_most(self.counts, self.listing.found, named)
        for item, most in zip(items, at_most, strict=True):
            item["at_most"] = most

    async def _respond(
        self, answer: dict[str, Any], rows: list[dict[str, Any]], *, headers: Mapping[str, str] | None = None
    ) -> Response:
        def make() -> Response:
            return respond(
                self.request,
                self.params.format,
                answer,
                columns=self.columns,
                rows=rows,
                name=self._name,
                missing_shards=self.missing,
                headers=headers,
            )

        return await self.counts.work.answer(len(rows), make)

    @property
    def _has_bounds(self) -> bool:
        return self.counts.reader.several or not self.narrow.is_all

    @property
    def _are_known(self) -> bool:
        """Return whether bounds can be told: all shards that may have a name can be asked."""
        return not self.missing and not self.counts.missing and self.narrow.whole

    @property
    def _name(self) -> str:
        """Return the name of a file for it."""
        found = self.listing.found
        return file_name(self.narrow.kind, start=found.start, end=found.end, as_of=found.as_of, of=self.narrow.names)

    def _address(self, cursor: str) -> str:
        """Return the address of another page, as seen from where this one was asked: without a name of this host."""
        query = {"cursor": cursor}
        if self.params.format is not None:
            query["format"] = self.params.format
        if self.params.partial:
            query["partial"] = "true"
        root_path = self.request.scope.get("root_path", "").rstrip("/")
        return f"{root_path}/v1/{self.narrow.kind}?{urlencode(query)}"


def _is_table(request: Request, params: RankingParams) -> bool:
    return params.cursor is None and params.limit is None and chosen_format(request, params.format) != "json"


def _question(request: Request) -> Question:
    """Return what was asked for besides a place and a form."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in request.query_params.multi_items():
        if name not in _OF_A_PAGE:
            found[name] = (*found.get(name, ()), value)
    return found
