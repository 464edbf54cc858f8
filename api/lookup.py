"""Several names at once: how often each was counted, of all time or in a time range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, Field

from api.cached_counts import CachedCounts
from api.file_names import file_name
from api.filter_params import OfTypes, OfWords
from api.filters import Narrowed, narrowed
from api.formats import respond
from api.listing import share, time_range
from api.models import AsOf, MissingShards, example
from api.params import AnswerInPart, AnyFormat, TimeRangeParams
from api.ranking import Ranking
from tally.keys import KINDS, OTHER, Kind
from tally.selections import TypesOf

#: What a row has.
COLUMNS = ("name", "count", "share")

#: The paths that take POST.
PATHS = frozenset(f"/v1/{kind}:lookup" for kind in KINDS)


class LookupParams(TimeRangeParams):
    """What stands in the address of a POST; the names are in its body."""

    format: AnyFormat = None
    partial: AnswerInPart = False


class TypesLookupParams(OfWords, LookupParams):
    """What POST /v1/types:lookup takes."""


class WordsLookupParams(OfTypes, LookupParams):
    """What POST /v1/words:lookup takes."""


PARAMS: dict[Kind, type[TypesLookupParams | WordsLookupParams]] = {
    "types": TypesLookupParams,
    "words": WordsLookupParams,
}


class LookupItem(BaseModel):
    name: str = Field(description="As it is counted")
    count: int = Field(description="0 if it never was")
    share: float = Field(description="Of `total`")
    at_most: int | None = Field(None, description="With several shards, as in the list of all")


class LookupAnswer(BaseModel):
    model_config = example(
        {
            "items": [{"name": "foo", "count": 3, "share": 0.75}, {"name": "never", "count": 0, "share": 0.0}],
            "from": 1632663120,
            "to": 1632664080,
            "total": 4,
            "as_of": 1632664031.25,
        }
    )

    items: list[LookupItem] = Field(description="One for each name, in the order in which they were asked for")
    start: int | None = Field(None, alias="from", description="Null for all time")
    end: int | None = Field(None, alias="to")
    total: int = Field(description="All counts of the time range")
    since: int | None = Field(None, description="With `type`: since when the words of these types are counted apart")
    elsewhere: int | None = Field(
        None, description="With `word`: how often these words stand in events of types without words of their own"
    )
    as_of: AsOf
    missing_shards: MissingShards = None


async def look_up(
    counts: CachedCounts, kind: Kind, request: Request, params: LookupParams, asked: Sequence[str]
) -> Response:
    as_of = counts.clock.time()
    counting = await counts.counting()
    names = [counting.name(kind, name) for name in asked]
    narrow = await narrowed(counts, kind, params)
    bounds = params.bounds(unit_seconds=counting.unit_seconds, now=counts.clock.time())
    if bounds is None:
        counted = await counts.reader.count_each(narrow.asked, names) if names else []
        found = await counts.first(narrow.asked)  # for the total alone
    else:
        found = await counts.time_range(narrow.asked, *bounds)
        # As over all time: types that are too many stand there as one, and words of these are `elsewhere`.
        other = 0 if isinstance(narrow.asked, TypesOf) else found.other
        counted = [other if name == OTHER else found.count_of(name) for name in names]
    items: list[dict[str, Any]] = [
        {"name": name, "count": count, "share": share(count, found.total)}
        for name, count in zip(names, counted, strict=True)
    ]
    columns: Sequence[str] = COLUMNS
    if counts.reader.several or not narrow.is_all:
        columns = (*COLUMNS, "at_most")
        at_most = await _at_most(counts, narrow, found, list(zip(names, counted, strict=True)))
        for item, most in zip(items, at_most, strict=True):
            item["at_most"] = most
    answer = {"items": items, **time_range(found), **narrow.members(found), "as_of": min(as_of, found.as_of)}
    return respond(
        request,
        params.format,
        answer,
        columns=columns,
        rows=items,
        name=file_name(f"{kind}-lookup", start=found.start, end=found.end, as_of=found.as_of, of=narrow.names),
        missing_shards=counts.missing,
    )


async def _at_most(
    counts: CachedCounts, narrow: Narrowed, found: Ranking, items: Sequence[tuple[str, int]]
) -> list[int | None]:
    """Return how often each was counted at the most; None where nobody knows.

    A type without words of its own may have all those that stand elsewhere.
    """
    at_most = await narrow.at_most(counts, found, items)
    if not isinstance(narrow.asked, TypesOf) or counts.missing or not items:
        return at_most
    none_apart = [
        each.count > 0 and each.since is None for each in await counts.reader.apart([name for name, _ in items])
    ]
    return [
        found.other if nothing and most is not None else most for most, nothing in zip(at_most, none_apart, strict=True)
    ]
