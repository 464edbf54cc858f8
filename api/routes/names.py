"""Types and words: ranked, one by one, over time, trending. The same endpoints for both kinds of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Path, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from api import filter_params as params_of
from api import name_answers as answers
from api.cursors import Cursors
from api.formats import JSON_ONLY
from api.models import NameAnswer, RankingAnswer, SeriesAnswer, TrendingAnswer
from api.param_reading import given
from api.parts import Parts
from api.routes.documented import documented, paged
from tally.keys import Kind
from tally.web import problems
from tally.web.problem_types import NEVER_COUNTED, WORDS_NOT_BY_TYPE

_ITEM = {"name": "foo", "count": 3, "share": 0.75}
_CELL = {"starts_at": 1632663960, "name": "foo", "count": 2}
_RISE = {"name": "foo", "count": 30, "baseline": 12, "expected": 3.0, "ratio": 10.0, "score": 51.667}


@dataclass(frozen=True, slots=True)
class _Words:
    """What a kind is called in the OpenAPI document."""

    one: str
    many: str
    counted: str

    @property
    def in_path(self) -> str:
        return self.one.capitalize()

    @property
    def all_in_path(self) -> str:
        return self.many.capitalize()


_CALLED: dict[Kind, _Words] = {
    "types": _Words("type", "types", "how many events have it"),
    "words": _Words("word", "words", "how often it stands in the events' data"),
}


class _Anything(Convertor[str]):
    """The rest of a path, unless that is empty. Starlette's own `path` ends at a line's end, which a name may have."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _Anything())


def router(kind: Kind, parts: Parts, cursors: Cursors) -> APIRouter:
    """Return the routes of a kind of names."""
    called = _CALLED[kind]
    # What depends on the kind cannot stand in an annotation.
    lookup_params, name_params = given(params_of.LOOKUP[kind]), given(params_of.NAME[kind])
    ranking_params, series_params, trending_params = (
        given(each[kind]) for each in (params_of.RANKING, params_of.SERIES, params_of.TRENDING)
    )
    in_path = Path(max_length=4096, description=f"The {called.one}, percent-encoded", examples=[_EXAMPLES[kind]])
    routes = APIRouter(prefix="/v1", tags=[kind])
    not_there = described_not_there(kind)
    name_answer = documented(NameAnswer) | not_there

    @routes.get(
        f"/{kind}",
        operation_id=f"list{called.all_in_path}",
        summary=f"List {kind}",
        description=f"{called.all_in_path} by {called.counted}, over all time or a time range.",
        responses=paged(documented(RankingAnswer, row=_ITEM)) | not_there,
        response_class=Response,
    )
    async def list_names(request: Request, params: Any = ranking_params) -> Response:
        return await parts.answer(
            lambda counts: answers.list_names(counts, kind, request, params, cursors), partial=params.partial
        )

    @routes.get(
        f"/{kind}:lookup",
        operation_id=f"lookup{called.in_path}",
        summary=f"Look up one {called.one}",
        description=f"The same as `/v1/{kind}/NAME`, for names that cannot stand in a path: of it clients take away "
        "`.` and `..`, and the empty name would be none.",
        dependencies=[JSON_ONLY],
        responses=name_answer,
        response_class=Response,
    )
    async def lookup(params: Any = lookup_params) -> Response:
        return await parts.answer(
            lambda counts: answers.one_name(counts, kind, params.name, params), partial=params.partial
        )

    @routes.get(
        f"/{kind}:series",
        operation_id=f"get{called.in_path}Series",
        summary=f"Get {kind} over time",
        description="Counts on a regular grid, zeros filled in. As CSV or NDJSON a row is one name in one cell.",
        responses=documented(SeriesAnswer, row=_CELL) | not_there,
        response_class=Response,
    )
    async def get_series(request: Request, params: Any = series_params) -> Response:
        return await parts.answer(
            lambda counts: answers.get_series(counts, kind, request, params), partial=params.partial
        )

    @routes.get(
        f"/{kind}:trending",
        operation_id=f"listTrending{called.all_in_path}",
        summary=f"List {kind} that are trending",
        description=f"{called.all_in_path} that rise most against their own past, the four windows before; none "
        "without a past. Ranked by the log-likelihood ratio G² of their shares (Dunning 1993), which holds for rare "
        "names too.",
        responses=documented(TrendingAnswer, row=_RISE) | not_there,
        response_class=Response,
    )
    async def list_trending(request: Request, params: Any = trending_params) -> Response:
        return await parts.answer(
            lambda counts: answers.list_trending(counts, kind, request, params), partial=params.partial
        )

    @routes.get(
        f"/{kind}/{{name:any}}",
        operation_id=f"get{called.in_path}",
        summary=f"Get one {called.one}",
        description=f"One {called.one}: its count and place, when it was first and last counted, its series.",
        dependencies=[JSON_ONLY],
        responses=name_answer,
        response_class=Response,
    )
    async def get_name(params: Any = name_params, name: str = in_path) -> Response:
        return await parts.answer(lambda counts: answers.one_name(counts, kind, name, params), partial=params.partial)

    return routes


def described_not_there(kind: Kind) -> dict[int | str, dict[str, Any]]:
    """Return an element of `responses`: what is asked for was never counted."""
    return problems.described(
        "What is asked for, by its name or by a filter, was never counted, or not by type",
        *(NEVER_COUNTED, WORDS_NOT_BY_TYPE),
        detail=f"'foo' is not among the {kind}",
    )


_EXAMPLES: dict[Kind, str] = {"types": "foo", "words": "lorem"}
