"""The query API: answers about any time range."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException

from api.data import BadStep, Data, Series
from api.formats import UNAVAILABLE, UNCHANGED, as_json, described_tables, respond
from api.live import Live
from api.models import NameAnswer, RankingAnswer, RejectedAnswer, SeriesAnswer, StatsAnswer, TrendingAnswer
from api.params import (
    Kind,
    NameParams,
    NoParams,
    RankingParams,
    RejectedParams,
    SeriesParams,
    SeriesSpan,
    TrendingParams,
    given_once,
    last_windows,
)
from api.ranking import ByCountOrName, Comparison, Ranking
from tally.keys import TOP_WORDS
from tally.store.reads import is_alive
from tally.web import problems

#: What a series covers when it is not said.
DEFAULT_SERIES_SECONDS = 3600

#: What a row of each list has, as CSV and NDJSON.
ITEM_COLUMNS, CHANGE_COLUMNS = ("name", "count", "share"), ("compared", "previous", "change")
SERIES_COLUMNS = ("time", "name", "count")
RISE_COLUMNS = ("name", "count", "previous", "expected", "ratio", "score")
SAMPLE_COLUMNS = ("id", "at", "line", "reason", "source")

_Name = Annotated[
    str, Path(alias="name", max_length=4096, description="The type or word, percent-encoded", examples=["foo"])
]


class _Anything(Convertor[str]):
    """The rest of a path, whatever it is: Starlette's own `path` ends at a line's end, which a name may have."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _Anything())

_NEVER = problems.described(404, "That was never counted", title="'foo' was never counted among the types")

_ITEM = {"name": "foo", "count": 3, "share": 0.75}
_CELL = {"time": 1632663960, "name": "foo", "count": 2}
_RISE = {"kind": "types", "name": "foo", "count": 30, "previous": 12, "expected": 3.0, "ratio": 10.0, "score": 51.667}
_SAMPLE = {"id": "1632664031200-0", "at": 1632664031.2, "line": "{", "reason": "not JSON", "source": "events.ndjson"}


def _documented(model: Any, *, row: Mapping[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` of a route: its answer and errors. A list comes as CSV and NDJSON too, in such rows."""
    tables = {} if row is None else described_tables(list(row), [row])
    return {200: {"model": model, "content": tables}, **UNCHANGED, **problems.PARAMETER, **UNAVAILABLE}


def _live_feed() -> dict[int | str, dict[str, Any]]:
    example = 'event: tick\ndata: {"as_of":1632664031.25,"types":{"foo":3},"words":{}}\nid: 5c1f0a77-42\n\n'
    return {200: {"content": {"text/event-stream": {"example": example}}}, **problems.PARAMETER}


def router(data: Data, live: Live) -> APIRouter:
    """All routes under /v1."""
    routes = APIRouter(prefix="/v1", tags=["v1"], dependencies=[Depends(given_once)])

    async def ranking(request: Request, kind: Kind, params: RankingParams) -> Response:
        counting = await data.counting()
        bounds = params.bounds(unit_seconds=counting.unit_seconds)
        prefix, q = (part and counting.name(kind, part) for part in (params.prefix, params.q))
        asked = params.model_copy(update={"prefix": prefix, "q": q})
        if bounds is None:
            filtered = prefix or q or params.order != "-count"
            enough = params.offset + params.limit if not filtered else None
            found = await data.all_time(kind, top=enough if enough and enough <= TOP_WORDS else None)
        else:
            found = await data.time_range(kind, *bounds)
        compared = await data.comparison(kind, params) if params.compare else None
        changes = None
        if compared is not None and "change" in params.order:
            # What fell to nothing changed most, and is no longer in the time range.
            changes = await data.changes(compared, found, prefix=prefix, contains=q)

        def make() -> Response:
            answer, columns = _ranking(found, compared, changes, asked, step=data.work.step)
            return respond(request, params.format, answer, columns=columns, rows=answer["items"])

        goes_over_all = changes is None and (prefix or q or params.order == "count")
        return await data.work.answer(len(found) if goes_over_all else min(params.limit, len(found)), make)

    @routes.get("/types", responses=_documented(RankingAnswer, row=_ITEM), response_class=Response)
    async def types(request: Request, params: Annotated[RankingParams, Query()]) -> Response:
        """Event types by how many events they have, over all time or a time range."""
        return await ranking(request, "types", params)

    @routes.get("/words", responses=_documented(RankingAnswer, row=_ITEM), response_class=Response)
    async def words(request: Request, params: Annotated[RankingParams, Query()]) -> Response:
        """Words by how often they stand in the events' data, over all time or a time range."""
        return await ranking(request, "words", params)

    async def one(kind: Kind, name: str, params: SeriesSpan) -> Response:
        name = (await data.counting()).name(kind, name)
        count = await data.reader.count_of(kind, name)
        if not count:
            raise HTTPException(404, f"{name!r} was never counted among the {kind}")
        everything = await data.all_time(kind, top=TOP_WORDS)
        rank = everything.rank(name)
        if rank is None:
            rank = (await data.all_time(kind)).rank(name)
        first, last = await data.seen(kind, name)
        series = await _series(data, kind, [name], params)
        answer = {
            "name": name,
            "count": count,
            "share": _share(count, everything.total),
            "rank": rank,
            "first": first and {"start": first.start, "seconds": first.seconds},
            "last": last and {"start": last.start, "seconds": last.seconds},
            "series": {**_grid(series), "counts": series.counts[0]},
            "as_of": series.as_of,
        }
        return as_json(answer)

    @routes.get("/types/{name:any}", responses=_documented(NameAnswer) | _NEVER, response_class=Response)
    async def type_(in_path: _Name, params: Annotated[NameParams, Query()]) -> Response:
        """One event type: its count and place, when it was first and last seen, its series."""
        return await one("types", params.named(in_path), params)

    @routes.get("/words/{name:any}", responses=_documented(NameAnswer) | _NEVER, response_class=Response)
    async def word(in_path: _Name, params: Annotated[NameParams, Query()]) -> Response:
        """One word: its count and place, when it was first and last seen, its series."""
        return await one("words", params.named(in_path), params)

    @routes.get("/series", responses=_documented(SeriesAnswer, row=_CELL), response_class=Response)
    async def series(request: Request, params: Annotated[SeriesParams, Query()]) -> Response:
        """Counts on a regular grid, zeros filled in. As CSV or NDJSON a row is one name in one cell."""
        counting = await data.counting()
        asked = [counting.name(params.by, name) for name in params.name]
        if len(set(asked)) < len(asked):
            raise problems.BadParameter("name", "two are spellings of the same word; give each once")
        found = await _series(data, params.by, asked, params)
        names: list[str | None] = [*asked] or [None]
        counted = [{"name": name, "counts": counts} for name, counts in zip(names, found.counts, strict=True)]
        answer = {"by": params.by, **_grid(found), "series": counted, "as_of": found.as_of}
        rows = (
            {"time": at, "name": name, "count": counts[cell]}
            for cell, at in enumerate(found.times)
            for name, counts in zip(names, found.counts, strict=True)
        )
        return respond(request, params.format, answer, columns=SERIES_COLUMNS, rows=rows)

    @routes.get("/trending", responses=_documented(TrendingAnswer, row=_RISE), response_class=Response)
    async def trending(request: Request, params: Annotated[TrendingParams, Query()]) -> Response:
        """Types and words that rise most against their own past, the four windows before; nothing without a past.

        Ranked by the log-likelihood ratio G² of their shares (Dunning 1993), which holds for rare names too.
        """
        found = await data.against_baseline(params.window)
        rises: dict[str, Any] = {
            kind: [_rise(rise) for rise in await data.rises(each, limit=params.limit)] for kind, each in found.items()
        }
        now, baseline = found["types"].ranges
        answer = {
            **rises,
            "from": now.start,
            "to": now.end,
            "baseline_from": baseline.start,
            "baseline_to": baseline.end,
            "totals": {kind: each.present.total for kind, each in found.items()},
            "baseline_totals": {kind: each.previous.total for kind, each in found.items()},
            "as_of": min(ranking.as_of for each in found.values() for ranking in each.ranges),
        }
        rows = ({"kind": kind, **rise} for kind, found in rises.items() for rise in found)
        return respond(request, params.format, answer, columns=("kind", *RISE_COLUMNS), rows=rows)

    @routes.get("/stats", responses=_documented(StatsAnswer), response_class=Response)
    async def stats(_: Annotated[NoParams, Query()]) -> Response:
        """Totals, rates, backlog, aggregators, sources."""
        status = await data.status()
        answer = {
            **status.totals,
            "rate": live.rates(),
            "backlog": asdict(status.backlog),
            "idempotency_keys": {
                "known": status.idempotency_keys.known,
                "since": status.idempotency_keys.since_seconds,
            },
            "dead": status.dead_letters,
            "distinct_types": status.distinct_types,
            "distinct_words": status.distinct_words,
            "consumers": [
                {
                    "name": each.name,
                    "pending": each.pending,
                    "idle_seconds": each.idle_seconds,
                    "alive": is_alive(each),
                }
                for each in status.aggregators
            ],
            "sources": [
                {"name": each.name, "position": each.position, "seen": each.seen_seconds} for each in status.sources
            ],
            "sources_total": status.sources_total,
            "as_of": time.time(),
        }
        return as_json(answer)

    @routes.get("/rejected", responses=_documented(RejectedAnswer, row=_SAMPLE), response_class=Response)
    async def rejected(request: Request, params: Annotated[RejectedParams, Query()]) -> Response:
        """The newest rejected lines that were kept, with their reasons."""
        samples = await data.reader.rejected(params.limit)
        items = [{name: getattr(each, name) for name in SAMPLE_COLUMNS} for each in samples]
        total = (await data.reader.totals())["rejected"]
        return respond(request, params.format, {"items": items, "total": total}, columns=SAMPLE_COLUMNS, rows=items)

    @routes.get("/live", responses=_live_feed(), response_class=EventSourceResponse)
    async def live_feed(
        _: Annotated[NoParams, Query()],
        last_event_id: Annotated[
            str | None, Header(description="Resume behind this event", examples=["5c1f0a77-41"])
        ] = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """What changes, once a second: first a `snapshot`, then a `tick` with what changed; `away` without Redis."""
        async for event in live.watch(last_event_id):
            yield event

    return routes


async def _series(data: Data, kind: Kind, names: list[str], span: SeriesSpan) -> Series:
    unit_seconds = (await data.counting()).unit_seconds
    bounds = span.bounds(unit_seconds=unit_seconds)
    if bounds is None:
        bounds = last_windows(DEFAULT_SERIES_SECONDS, unit_seconds=unit_seconds)
    try:
        return await data.series(kind, names, *bounds, span.step)
    except BadStep as error:
        raise problems.BadParameter("step", str(error)) from error


def _grid(series: Series) -> dict[str, Any]:
    return {"step": series.step, "from": series.start, "to": series.end, "times": series.times}


def _ranking(
    found: Ranking,
    compared: Comparison | None,
    changes: Ranking | None,
    params: RankingParams,
    *,
    step: Callable[[], None],
) -> tuple[dict[str, Any], Sequence[str]]:
    """The answer about a ranking, and the columns of its items."""
    part: dict[str, Any] = {"offset": params.offset, "limit": params.limit, "step": step}
    if changes is not None:
        page = changes.page(order="count" if params.order == "change" else "-count", **part)
        page = [(name, found.count_of(name)) for name, _ in page]
        matched = len(changes)
    else:
        matching = found.matching(prefix=params.prefix, contains=params.q, step=step)
        order: ByCountOrName = "-count" if params.order == "change" or params.order == "-change" else params.order
        page = found.page(matching, order=order, **part)
        matched = len(matching) if found.complete else found.distinct
    items = [_item(name, count, found.total) for name, count in page]
    answer = {
        "items": items,
        "total": found.total,
        "distinct": found.distinct,
        "matched": matched,
        "other": found.other,
        "from": found.start,
        "to": found.end,
        "as_of": found.as_of,
    }
    if not params.compare:
        return answer, ITEM_COLUMNS
    items = [item | _change(item["name"], compared) for item in items]
    return answer | {"items": items, "comparison": compared and _comparison(compared)}, (*ITEM_COLUMNS, *CHANGE_COLUMNS)


def _item(name: str, count: int, total: int) -> dict[str, Any]:
    return {"name": name, "count": count, "share": _share(count, total)}


def _change(name: str, compared: Comparison | None) -> dict[str, int | None]:
    if compared is None:
        return dict.fromkeys(CHANGE_COLUMNS)
    present, previous = (each.count_of(name) for each in compared.ranges)
    return dict(zip(CHANGE_COLUMNS, (present, previous, present - previous), strict=True))


def _comparison(compared: Comparison) -> dict[str, Any]:
    bounds = [{"from": each.start, "to": each.end, "total": each.total} for each in compared.ranges]
    return dict(zip(("present", "previous"), bounds, strict=True))


def _share(count: int, total: int) -> float:
    return round(count / total, 6) if total else 0.0


def _rise(rise: Any) -> dict[str, Any]:
    return {name: getattr(rise, name) for name in RISE_COLUMNS}
