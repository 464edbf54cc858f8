"""All counts of all time, as plain objects."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response

from api.cached_counts import CachedCounts
from api.memory import Memory
from api.param_reading import given
from api.params import LimitParams
from api.ranking import Ranking
from api.routes.documented import ERRORS
from tally.keys import TOP_WORDS, Kind

_COUNTS = {
    "description": "How often each was counted, over all time, the most frequent first",
    "content": {
        "application/json": {
            "schema": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
            "example": {"foo": 3, "bar": 1},
        }
    },
}


class _Encoded:
    """A ranking as a JSON object."""

    def __init__(self, ranking: Ranking, body: bytes) -> None:
        self.ranking = ranking
        self.body = body


def router(counts: CachedCounts, memory: Memory) -> APIRouter:
    """Return the routes under /events."""
    routes = APIRouter(prefix="/events", tags=["all counts"])
    whole: dict[Kind, _Encoded] = {}
    memory.when_full(lambda: bool(whole) and whole.popitem() is not None)

    async def answer(kind: Kind, limit: int | None) -> Response:
        ranking = await counts.all_time(kind, top=limit if limit is not None and limit <= TOP_WORDS else None)
        if limit is not None and (limit <= len(ranking) or not ranking.complete):
            body = await counts.work.answer(limit, ranking.as_object, limit=limit, step=counts.work.step)
        elif kind in whole and whole[kind].ranking is ranking:
            body = whole[kind].body
        else:
            body = await counts.work.answer(len(ranking), ranking.as_object, step=counts.work.step)
            whole[kind] = _Encoded(ranking, body)
            memory.hold(whole[kind], len(body))
        return Response(body, media_type="application/json")

    documented: dict[int | str, dict[str, Any]] = {200: _COUNTS, **ERRORS}

    @routes.get("/countByEventType", include_in_schema=False)
    @routes.get("/CountByEventType", operation_id="countByEventType", responses=documented, response_class=Response)
    async def count_by_event_type(params: Annotated[LimitParams, given(LimitParams)]) -> Response:
        """How many events of each type."""
        return await answer("types", params.limit)

    @routes.get("/countWords", include_in_schema=False)
    @routes.get("/CountWords", operation_id="countWords", responses=documented, response_class=Response)
    async def count_words(params: Annotated[LimitParams, given(LimitParams)]) -> Response:
        """How often each word stands in the events' data."""
        return await answer("words", params.limit)

    return routes
