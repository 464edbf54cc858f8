"""What an ingestor or an aggregator answers on its port for metrics: these, and health as the api has it."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tally.log_events import REDIS_REFUSES, REDIS_UNAVAILABLE
from tally.log_throttle import LogThrottle
from tally.metrics import exposition
from tally.origins import is_taken_name
from tally.refused import Refused
from tally.store import StoreUnavailable
from tally.telemetry import get_logger
from tally.web import problem_types as types
from tally.web.problem_answers import problem, unavailable
from tally.web.problem_pages import problem_pages
from tally.web.problem_types import ProblemError
from tally.web.readiness import Readiness

#: How long a readiness check may take: an orchestrator gives up, too, and takes that for a no.
READY_SECONDS = 5.0


def create_app(readiness: Readiness, *, loopback_only: bool) -> Starlette:
    """Return the ASGI application.

    With `loopback_only` metrics are told to nobody who asks by another name than loopback's: a page of another site
    could have a name lead here.
    """
    throttle = LogThrottle()
    asked = asyncio.Lock()

    async def metrics(request: Request) -> Response:
        if loopback_only and not is_taken_name(request.headers.get("host", ""), frozenset()):
            raise ProblemError(
                types.HOST_NOT_ALLOWED,
                "it listens on loopback alone: ask it by 127.0.0.1 or localhost, or set TALLY_METRICS_HOST",
            )
        body, media_type = exposition(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type, "Cache-Control": "no-store"})

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        try:
            async with asyncio.timeout(READY_SECONDS), asked:  # so that many checks are one at a time for Redis
                await readiness()
        except TimeoutError:
            raise StoreUnavailable("no answer in time", public="Redis does not answer in time") from None
        return JSONResponse({"status": "ready"})

    async def store_unavailable(_: Request, error: Exception) -> Response:
        assert isinstance(error, StoreUnavailable)
        throttle.warning(REDIS_UNAVAILABLE, error=str(error))
        return unavailable(error)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        throttle.warning(REDIS_REFUSES, problem=str(error))
        return problem(types.REDIS_REFUSES, error.public)

    async def problem_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return problem(error.type, error.detail, headers=error.headers, **error.members)

    async def not_served(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == types.METHOD_NOT_ALLOWED.status:
            return problem(types.METHOD_NOT_ALLOWED, headers=error.headers)
        return problem(types.NO_SUCH_PATH, paths=[route.path for route in routes])

    async def unexpected(request: Request, error: Exception) -> Response:
        get_logger().error("request failed", path=request.url.path, exc_info=error)
        return problem(types.INTERNAL_ERROR, "see the service's log")

    routes = [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
    app = Starlette(
        routes=[*routes, *problem_pages()],
        exception_handlers={
            StoreUnavailable: store_unavailable,
            Refused: refused,
            ProblemError: problem_error,
            HTTPException: not_served,
            Exception: unexpected,
        },
    )
    app.router.redirect_slashes = False
    return app
