"""The newest lines that were accepted, where some are kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Request, Response

from api.cached_counts import CachedCounts
from api.file_names import file_name
from api.formats import respond
from api.param_reading import given
from api.routes.documented import documented
from api.source_params import AcceptedParams
from api.status_models import AcceptedAnswer

_ROW = {
    "id": "1632664031200-0",
    "accepted_at": 1632664031.2,
    "line": '{"event_type": "login", "data": "hello world"}',
    "source": "tcp://0.0.0.0:9000#0123456789ab",
}


def router(counts: CachedCounts) -> APIRouter:
    """Return the routes about accepted lines."""
    routes = APIRouter(prefix="/v1", tags=["pipeline"])

    @routes.get(
        "/accepted",
        operation_id="listAccepted",
        responses=documented(AcceptedAnswer, row=_ROW),
        response_class=Response,
    )
    async def list_accepted(request: Request, params: Annotated[AcceptedParams, given(AcceptedParams)]) -> Response:
        """The newest lines that were counted, of those that were kept (TALLY_ACCEPTED_SAMPLES): none by default.

        They are as they came, with all that is in them.
        """
        as_of = counts.clock.time()
        items = [asdict(each) for each in await counts.reader.accepted(params.limit)]
        totals = await counts.reader.totals()
        return respond(
            request,
            params.format,
            {"items": items, "total": totals["events"], "as_of": as_of},
            columns=tuple(_ROW),
            rows=items,
            name=file_name("accepted", as_of=as_of),
        )

    return routes
