"""Answers with lists of names: a page as it was asked for, or all of it as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response

from api.answer_cache import SLICE_BYTES
from api.cached_counts import CachedCounts
from api.file_names import file_name
from api.filters import Narrowed
from api.formats import chosen_format, respond, table_headers
from api.listing import Listing, Whole
from api.params import MOST_ITEMS, RankingParams
from api.tables import Table
from api.work import FEW_NAMES


def is_whole(request: Request, params: RankingParams) -> bool:
    """Return whether all of a list is asked for, and not a page. Raises ProblemError where no form is acceptable."""
    return params.limit is None and chosen_format(request, params.format) != "json"


async def answer_list(counts: CachedCounts, narrow: Narrowed, request: Request, listing: Listing) -> Response:
    """Return as much of a list as was asked for."""
    params = listing.params
    if is_whole(request, params):
        return await _table(ListRows(counts, narrow, await counts.whole(listing), offset=params.offset), request)
    effort = listing.effort(params.most_items)
    answer = await counts.work.answer(effort, listing.page, step=counts.work.step)
    await _add_bounds(counts, narrow, listing, answer["items"])
    if counts.reader.several:
        answer["distinct_at_most"] = None if counts.missing else listing.found.distinct_at_most
    answer |= narrow.members(listing.found)
    return await _respond(counts, narrow, request, listing, answer, answer["items"])


class ListRows:
    """The rows of a list, but for the first `offset` items: last comes what has no name of its own."""

    def __init__(self, counts: CachedCounts, narrow: Narrowed, whole: Whole, *, offset: int) -> None:
        self.counts, self.narrow, self.whole = counts, narrow, whole
        self.columns = _columns(counts, narrow, whole.listing)
        self._offset = offset
        self._items = max(0, len(whole) - offset)

    def __len__(self) -> int:
        return self._items + (self.whole.listing.rest is not None)

    async def slice(self, first: int, limit: int, *, most_bytes: int) -> list[dict[str, Any]]:
        """Return so many rows from this place on, fewer if their names are so many bytes; none if there are no more."""
        if first >= self._items:
            return self._rest() if first == self._items else []
        at = self._offset + first
        items = await self.counts.work.slice(self.whole.items, at, limit, most_bytes=most_bytes)
        await _add_bounds(self.counts, self.narrow, self.whole.listing, items)
        return items

    def _rest(self) -> list[dict[str, Any]]:
        item = self.whole.listing.rest
        if item is not None and "at_most" in self.columns:
            item["at_most"] = None if self.counts.missing or not self.narrow.whole else item["count"]
        return [] if item is None else [item]


async def _table(rows: ListRows, request: Request) -> Response:
    """Return all rows: made at once if they are as few as a page may have, else while they are sent."""
    counts, listing = rows.counts, rows.whole.listing
    if len(rows) <= MOST_ITEMS:
        items: list[dict[str, Any]] = []
        while part := await rows.slice(len(items), FEW_NAMES, most_bytes=SLICE_BYTES):
            items += part
        return await _respond(counts, rows.narrow, request, listing, {}, items)
    format_ = chosen_format(request, listing.params.format)
    return Table(
        rows,
        format_,
        request=request,
        made_of=(request.url.path, request.url.query, counts.missing, listing.made_of),
        headers=table_headers(format_, name=_name(rows.narrow, listing), missing_shards=counts.missing),
        work=counts.work,
        memory=counts.memory,
    )


async def _respond(
    counts: CachedCounts,
    narrow: Narrowed,
    request: Request,
    listing: Listing,
    answer: dict[str, Any],
    items: list[dict[str, Any]],
) -> Response:
    def make() -> Response:
        return respond(
            request,
            listing.params.format,
            answer,
            columns=_columns(counts, narrow, listing),
            rows=items,
            name=_name(narrow, listing),
            missing_shards=counts.missing,
        )

    return await counts.work.answer(len(items), make)


async def _add_bounds(
    counts: CachedCounts, narrow: Narrowed, listing: Listing, items: Sequence[dict[str, Any]]
) -> None:
    """Add what only several shards have, and what is filtered: how often each name was counted at the most."""
    if _has_bounds(counts, narrow):
        at_most = await narrow.at_most(counts, listing.found, [(item["name"], item["count"]) for item in items])
        for item, most in zip(items, at_most, strict=True):
            item["at_most"] = most


def _has_bounds(counts: CachedCounts, narrow: Narrowed) -> bool:
    return counts.reader.several or not narrow.is_all


def _columns(counts: CachedCounts, narrow: Narrowed, listing: Listing) -> Sequence[str]:
    return (*listing.columns, "at_most") if _has_bounds(counts, narrow) else listing.columns


def _name(narrow: Narrowed, listing: Listing) -> str:
    found = listing.found
    return file_name(narrow.kind, start=found.start, end=found.end, as_of=found.as_of, of=narrow.names)
