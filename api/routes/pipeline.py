"""How the pipeline is, what it rejected, and what changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.cached_counts import CachedCounts
from api.formats import JSON_ONLY, accepts, as_json
from api.live import Live
from api.param_reading import Optional, given
from api.params import LiveParams, NoParams
from api.rejected import RejectedAnswer, RejectedParams, list_samples
from api.routes.documented import documented, not_acceptable
from api.status_models import StatusAnswer
from api.watched import Selection
from tally.web import problems

_SAMPLE = {
    "id": "1632664031200-0",
    "rejected_at": 1632664031.2,
    "line": "{",
    "reason": "not JSON",
    "class": "not_json",
    "source": "events.ndjson",
}


def _live_feed() -> dict[int | str, dict[str, Any]]:
    example = 'event: tick\ndata: {"as_of":1632664031.25,"types":{"foo":3},"words":{}}\nid: 5c1f0a77-42\n\n'
    media_type = EventSourceResponse.media_type
    return {
        200: {"content": {media_type: {"example": example}}},
        **problems.PARAMETERS,
        **not_acceptable(media_type),
    }


def router(counts: CachedCounts, live: Live) -> APIRouter:
    """Return the routes about the pipeline."""
    routes = APIRouter(prefix="/v1", tags=["pipeline"])

    @routes.get(
        "/stats",
        operation_id="getStats",
        dependencies=[JSON_ONLY],
        responses=documented(StatusAnswer),
        response_class=Response,
    )
    async def get_stats(_: Annotated[NoParams, given(NoParams)]) -> Response:
        """Totals, rates, backlog, aggregators, sources, and in which namespace they are."""
        status, as_of = await counts.status()
        answer = {**status.as_dict(), "events_per_second": live.rates(), "as_of": as_of}
        return as_json(answer)

    @routes.get(
        "/rejected",
        operation_id="listRejected",
        responses=documented(RejectedAnswer, row=_SAMPLE),
        response_class=Response,
    )
    async def list_rejected(request: Request, params: Annotated[RejectedParams, given(RejectedParams)]) -> Response:
        """The newest rejected lines that were kept, with their reasons; how many there were of all time.

        `total` and `by_reason` are exact and of all time, whatever is asked for. Samples are few: the newest that
        TALLY_MAX_REJECTED_SAMPLES leaves, and of lines that were counted together twenty. A time range, `reason` and
        `kept` are about these alone, the newest ten thousand of them.
        """
        return await list_samples(counts, request, params)

    @routes.get(
        "/live",
        operation_id="watchLive",
        dependencies=[Depends(accepts(EventSourceResponse.media_type))],
        responses=_live_feed(),
        response_class=EventSourceResponse,
    )
    async def watch_live(
        params: Annotated[LiveParams, given(LiveParams)],
        last_event_id: Annotated[
            Optional[str], Header(description="Resume behind this event", examples=["5c1f0a77-41"])
        ] = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """What changes, once a second: first a `snapshot`, then `tick` with what changed; `unavailable` without Redis.

        An event has the fields of `/v1/stats` but for `namespace`, `aggregators`, `sources`, `idempotency_keys` and
        `rejected_by_reason`, and the most frequent `types` and `words` with their counts.

        With `type` or `word` it also has `selected`: the `count` of all time, and `per_second` over the last 1, 10 and
        60 seconds, of `unit` events, or of words where `word` is given. It is null until that was read, where words
        are not counted by type, and while too many other selections are watched. What stands under `__other__` is not
        in it.
        """
        selection = Selection(tuple(sorted(params.type)), tuple(sorted(params.word)))
        async for event in live.watch(last_event_id, selection):
            yield event

    return routes
