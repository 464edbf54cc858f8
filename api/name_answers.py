"""Answers about types and words, made of rankings and series."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import Request, Response

from api.cached_counts import CachedCounts
from api.cursors import Cursors
from api.file_names import file_name
from api.filters import narrowed
from api.formats import as_json, respond
from api.listing import Listing, share, time_range
from api.lists import answer_list, go_on, wants_all
from api.params import BEGIN, RankingParams, SeriesRange, TrendingParams, TypeSeriesParams
from api.series import Series, WrongStep
from tally.keys import OTHER, TOP_WORDS, Kind
from tally.ranges import last_windows
from tally.selections import Asked
from tally.web.problem_types import NEVER_COUNTED, ProblemError, WrongParameters

#: What a series covers when it is not said.
DEFAULT_SERIES_SECONDS = 3600

#: What a row of each list has, as CSV and NDJSON.
CELL_COLUMNS = ("starts_at", "name", "count")
RISE_COLUMNS = ("name", "count", "baseline", "expected", "ratio", "score")


async def list_names(
    counts: CachedCounts, kind: Kind, request: Request, params: RankingParams, cursors: Cursors
) -> Response:
    if params.cursor not in (None, BEGIN):
        return await go_on(counts, kind, request, params, cursors)
    counting = await counts.counting()
    narrow = await narrowed(counts, kind, params)
    bounds = params.bounds(unit_seconds=counting.unit_seconds, now=counts.clock.time())
    asked = params.in_form(partial(counting.name, kind))
    if bounds is None:
        first = asked.offset + asked.most_items + len(asked.exclude)
        ranked = asked.only_excludes and asked.order == "-count" and not wants_all(request, asked)
        found = await counts.all_time(narrow.asked, top=first if ranked and first <= TOP_WORDS else None)
    else:
        found = await counts.time_range(narrow.asked, *bounds)
    compared = await counts.comparison(narrow.asked, params) if params.compare else None
    changes = None
    if compared is not None and "change" in params.order:
        # What fell to nothing changed most, and is no longer in the time range.
        changes = await counts.changes(compared, found, asked.name_filter)

    excluded = await _counted(counts, narrow.asked, asked.exclude) if not found.complete else 0
    return await answer_list(
        counts, narrow, request, Listing(found, compared, changes, asked, excluded=excluded), cursors
    )


async def _counted(counts: CachedCounts, kind: Asked, names: Sequence[str]) -> int:
    """Return how many of these were ever counted under names of their own."""
    asked = list(set(names) - {OTHER})
    return sum(map(bool, await counts.reader.count_each(kind, asked))) if asked else 0


async def one_name(counts: CachedCounts, kind: Kind, name: str, params: SeriesRange) -> Response:
    as_of = counts.clock.time()
    name = (await counts.counting()).name(kind, name)
    narrow = await narrowed(counts, kind, params, [name])
    count = await counts.reader.count_of(narrow.asked, name)
    if not count and not counts.missing:  # one of those may have it
        raise ProblemError(NEVER_COUNTED, f"{name!r} is not among the {narrow.called}")
    everything = await counts.first(narrow.asked)
    rank = everything.rank(name)
    if rank is None and count:
        everything = await counts.all_time(narrow.asked)
        rank = everything.rank(name)
    first, last = await counts.seen(narrow.asked, name)
    series = await _series(counts, narrow.asked, [name], params)
    at_most = {}
    if counts.reader.several or not narrow.is_all:
        (at_most["at_most"],) = await narrow.at_most(counts, everything, [(name, count)])
    answer = {
        "name": name,
        "count": count,
        **at_most,
        "share": share(count, everything.total),
        "rank": rank,
        "first": first and first.as_dict(),
        "last": last and last.as_dict(),
        "series": {**_grid(series), "counts": series.counts[0]},
        **narrow.members(everything),
        "as_of": min(as_of, everything.as_of),
    }
    return as_json(answer, missing_shards=counts.missing)


async def get_series(counts: CachedCounts, kind: Kind, request: Request, params: TypeSeriesParams) -> Response:
    counting = await counts.counting()
    asked = [counting.name(kind, name) for name in params.name]
    if len(set(asked)) < len(asked):
        raise WrongParameters([("name", "two are spellings of the same word; give each once")])
    narrow = await narrowed(counts, kind, params, asked)
    found = await _series(counts, narrow.asked, asked, params)
    names: list[str | None] = [*asked] or [None]
    counted = [{"name": name, "counts": counts} for name, counts in zip(names, found.counts, strict=True)]
    answer = {**_grid(found), "series": counted, **narrow.members(), "as_of": found.as_of}
    rows = (
        {"starts_at": at, "name": name, "count": counts[cell]}
        for cell, at in enumerate(found.starts_at)
        for name, counts in zip(names, found.counts, strict=True)
    )
    return respond(
        request,
        params.format,
        answer,
        columns=CELL_COLUMNS,
        rows=rows,
        name=file_name(
            f"{kind}-series", start=found.start, end=found.end, as_of=found.as_of, of=[*narrow.names, *asked]
        ),
        missing_shards=counts.missing,
    )


async def list_trending(counts: CachedCounts, kind: Kind, request: Request, params: TrendingParams) -> Response:
    counting = await counts.counting()
    narrow = await narrowed(counts, kind, params)
    found = await counts.against_baseline(narrow.asked, params.window)
    excluded = {counting.name(kind, name) for name in params.exclude}
    rises = await counts.rises(found, limit=params.limit, least_ratio=params.least_ratio, excluded=excluded)
    items = [{name: getattr(rise, name) for name in RISE_COLUMNS} for rise in rises]
    answer = {
        "items": items,
        "present": time_range(found.present),
        "baseline": time_range(found.previous),
        **narrow.members(),
        "as_of": min(each.as_of for each in found.ranges),
    }
    now = found.present
    return respond(
        request,
        params.format,
        answer,
        columns=RISE_COLUMNS,
        rows=items,
        name=file_name(f"{kind}-trending", start=now.start, end=now.end, as_of=now.as_of, of=narrow.names),
        missing_shards=counts.missing,
    )


async def _series(counts: CachedCounts, kind: Asked, names: list[str], asked: SeriesRange) -> Series:
    unit_seconds, now = (await counts.counting()).unit_seconds, counts.clock.time()
    bounds = asked.bounds(unit_seconds=unit_seconds, now=now)
    if bounds is None:
        bounds = last_windows(DEFAULT_SERIES_SECONDS, unit_seconds=unit_seconds, now=now)
    try:
        return await counts.series(kind, names, *bounds, asked.step)
    except WrongStep as error:
        raise WrongParameters([("step", str(error))]) from error


def _grid(series: Series) -> dict[str, Any]:
    return {
        "from": series.start,
        "to": series.end,
        "total": series.total,
        "step_seconds": series.step_seconds,
        "starts_at": series.starts_at,
    }
