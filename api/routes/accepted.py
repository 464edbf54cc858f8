"""The newest lines that were accepted, where some are kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Request, Response

from api.cached_counts import CachedCounts
from api.file_names import file_name
from api.formats import respond
from api.param_reading import given
from api.rejected import SAMPLE_BYTES
from api.routes.documented import documented
from api.source_params import AcceptedParams
from api.status_models import ACCEPTED_ROW, AcceptedAnswer


def router(counts: CachedCounts) -> APIRouter:
    """Return the routes about accepted lines."""
    routes = APIRouter(prefix="/v1", tags=["pipeline"])

    @routes.get(
        "/accepted",
        operation_id="listAccepted",
        responses=documented(AcceptedAnswer, row=ACCEPTED_ROW),
        response_class=Response,
    )
    async def list_accepted(request: Request, params: Annotated[AcceptedParams, given(AcceptedParams)]) -> Response:
        """The newest lines that were counted, of those that were kept (TALLY_ACCEPTED_SAMPLES): none by default.

        They are as they came, with all that is in them.
        """
        as_of = counts.clock.time()
        with counts.memory.claim() as claim:
            claim.grow_to(params.limit * SAMPLE_BYTES)
            items = [asdict(each) for each in await counts.reader.accepted(params.limit)]
            totals = await counts.reader.totals()
            return respond(
                request,
                params.format,
                {"items": items, "total": totals["events"], "as_of": as_of},
                columns=tuple(ACCEPTED_ROW),
                rows=items,
                name=file_name("accepted", as_of=as_of),
            )

    return routes
