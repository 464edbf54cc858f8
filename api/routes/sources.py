"""Where the lines come from: what was counted of each source."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from api.file_names import file_name
from api.formats import chosen_format, respond
from api.param_reading import given
from api.routes.documented import documented
from api.source_params import SourcesParams
from api.sources import SOURCE_COLUMNS, Sources
from api.status_models import SOURCE_ROW, SourcesAnswer


def router(sources: Sources) -> APIRouter:
    """Return the routes about sources."""
    routes = APIRouter(prefix="/v1", tags=["pipeline"])

    @routes.get(
        "/sources",
        operation_id="listSources",
        responses=documented(SourcesAnswer, row=SOURCE_ROW),
        response_class=Response,
    )
    async def list_sources(request: Request, params: Annotated[SourcesParams, given(SourcesParams)]) -> Response:
        """Lines of each source, how many of them were rejected, how many come, and how far counting is behind.

        Files are called by their paths, connections by the address that they came to. All lines are in one of them; the
        last row of a table without a limit is what there was no room for by name (TALLY_MAX_SOURCES).
        """
        found = await sources.now()
        matching = found.matching(prefix=params.prefix or "", contains=params.q or "", order=params.order)
        limit = params.limit
        if limit is None and chosen_format(request, params.format) == "json":
            limit = 100
        items = matching[params.offset : None if limit is None else params.offset + limit]
        every = [*found.items, *([found.other] if found.other else [])]
        answer = {
            "items": items,
            "distinct": len(found.items),
            "matched": len(matching),
            "lines": sum(item["lines"] for item in every),
            "rejected": sum(item["rejected"] for item in every),
            "other": found.other,
            "as_of": found.as_of,
        }
        rows = [*items, found.other] if limit is None and found.other and not (params.prefix or params.q) else items
        name = file_name("sources", as_of=found.as_of)
        return respond(request, params.format, answer, columns=SOURCE_COLUMNS, rows=rows, name=name)

    return routes
