"""What Prometheus asks for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from api.param_reading import given
from api.params import NoParams
from api.scraping import Scraping
from tally.web import problems

#: The forms in which they are given, as Accept asks for them: that of Prometheus, and OpenMetrics.
MEDIA_TYPES = ("text/plain", "application/openmetrics-text")

_EXAMPLE = "# HELP tally_words_total Words counted.\n# TYPE tally_words_total counter\ntally_words_total 180.0\n"


def router(scraping: Scraping) -> APIRouter:
    """Return the route of metrics."""
    routes = APIRouter(tags=["health"])
    forms = {each: {"schema": {"type": "string"}, "example": _EXAMPLE} for each in MEDIA_TYPES}

    @routes.get(
        "/metrics",
        operation_id="getMetrics",
        responses={200: {"content": forms}, **problems.PARAMETERS},
        response_class=Response,
    )
    async def get_metrics(request: Request, _: Annotated[NoParams, given(NoParams)]) -> Response:
        """Metrics for Prometheus: of this process, and of what is counted, as docs/reference/metrics.md lists them.

        Without an answer of Redis what it holds is left out, and `tally_redis_up` is 0.
        """
        body, media_type = await scraping.answer(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type, "Cache-Control": "no-store"})

    return routes
