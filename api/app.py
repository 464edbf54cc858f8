"""The application: its routes, its errors, its page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from redis.asyncio import Redis
from starlette.middleware.cors import CORSMiddleware

from api import pages, routes_v1
from api.answers import FreshAnswers
from api.compression import CompressedPages
from api.data import Data
from api.formats import UNAVAILABLE, UNCHANGED
from api.live import Live
from api.memory import Memory, NoRoom
from api.middleware import BearerToken, ProxyPath, SecurityHeaders, TakesNoEvents
from api.params import Kind, LimitParams, given_once
from api.ranking import Ranking
from api.work import Busy, Work
from tally import __version__
from tally.keys import TOP_WORDS, Keys
from tally.origins import parse_origins
from tally.redis_location import redis_url
from tally.settings import Settings
from tally.store import PipelineStore, StoreUnavailable, connect
from tally.store.protocols import Readiness
from tally.store.reads import CountReader
from tally.web import problems

#: How much of TALLY_MAX_SNAPSHOT_BYTES is for rankings, and for making them; the rest is for answers that are sent.
RANKINGS = 0.75

_ERRORS = UNCHANGED | problems.PARAMETER | UNAVAILABLE
_COUNTS = {
    "description": "How often each was counted, over all time, the most frequent first",
    "content": {
        "application/json": {
            "schema": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
            "example": {"foo": 3, "bar": 1},
        }
    },
}


def create_app(settings: Settings, *, redis: Redis | None = None) -> FastAPI:
    """The ASGI application. It makes a client of its own unless one is given, and closes that.

    Who stops the server first ends `app.state.live`, the live feed, and then `app.state.work`, long answers.
    """
    client = redis or connect(
        redis_url(settings), timeout_seconds=settings.read_timeout_seconds, tls=settings.redis_tls
    )
    keys = Keys()
    work = Work()
    rankings, bodies = (Memory(round(settings.max_snapshot_bytes * share)) for share in (RANKINGS, 1 - RANKINGS))
    data = Data(CountReader(client, keys=keys, settings=settings), memory=rankings, work=work)
    live = Live(data)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        live.open()
        yield
        work.close()
        await live.close()
        if redis is None:
            await client.aclose()

    app = FastAPI(
        title="Tally",
        version=__version__,
        summary="Counts of an endless stream of JSON events, exact and while it runs.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # see pages
        redoc_url=None,
    )
    app.state.live, app.state.work = live, work
    problems.install(app)
    app.add_exception_handler(NoRoom, _too_much)
    app.add_exception_handler(Busy, _too_much)
    guarded = _guarded() if settings.api_token is not None else {"responses": problems.CROSS_SITE}
    app.include_router(_events(data, bodies), **guarded)
    app.include_router(routes_v1.router(data, live), **guarded)
    app.include_router(_health(PipelineStore(client, keys=keys, settings=settings)))
    pages.install(app)

    # The last one added is the first one asked.
    app.add_middleware(SecurityHeaders)
    app.add_middleware(FreshAnswers, memory=bodies)
    app.add_middleware(CompressedPages)
    if settings.api_token is not None:
        app.add_middleware(BearerToken, token=settings.api_token.get_secret_value())
    app.add_middleware(TakesNoEvents)  # before the token: one for events would be told to be wrong
    if settings.cors_origins:
        origins = parse_origins(settings.cors_origins)
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET"], allow_headers=["*"])
    if settings.root_path:
        app.add_middleware(ProxyPath, root_path=settings.root_path)
    return app


def _guarded() -> dict[str, Any]:
    """Arguments of `include_router` that document the token. It is asked for in middleware.BearerToken, not here."""
    scheme = HTTPBearer(scheme_name="token", description="The value of TALLY_API_TOKEN", auto_error=False)
    return {"dependencies": [Security(scheme)], "responses": problems.CROSS_SITE | problems.TOKEN}


async def _too_much(_: Request, error: Exception) -> JSONResponse:
    """More is asked for at once than there is memory or time for: 503, and when to ask again."""
    assert isinstance(error, NoRoom | Busy)
    headers = {"Retry-After": str(error.retry_after_seconds)}
    return problems.problem(503, "Too much is asked for at once", detail=str(error), headers=headers)


class _Encoded:
    """A ranking as a JSON object."""

    def __init__(self, ranking: Ranking, body: bytes) -> None:
        self.ranking = ranking
        self.body = body


def _events(data: Data, memory: Memory) -> APIRouter:
    """All counts, as plain objects."""
    router = APIRouter(prefix="/events", tags=["events"], dependencies=[Depends(given_once)])
    whole: dict[Kind, _Encoded] = {}
    memory.when_full(lambda: bool(whole) and whole.popitem() is not None)

    async def answer(kind: Kind, limit: int | None) -> Response:
        ranking = await data.all_time(kind, top=limit if limit is not None and limit <= TOP_WORDS else None)
        if limit is not None and (limit <= len(ranking) or not ranking.complete):
            body = await data.work.answer(limit, ranking.as_object, limit=limit, step=data.work.step)
        elif kind in whole and whole[kind].ranking is ranking:
            body = whole[kind].body
        else:
            body = await data.work.answer(len(ranking), ranking.as_object, step=data.work.step)
            whole[kind] = _Encoded(ranking, body)
            memory.hold(whole[kind], len(body))
        return Response(body, media_type="application/json")

    documented: dict[int | str, dict[str, Any]] = {200: _COUNTS, **_ERRORS}

    @router.get("/countByEventType", include_in_schema=False)
    @router.get("/CountByEventType", responses=documented, response_class=Response)
    async def count_by_event_type(params: Annotated[LimitParams, Query()]) -> Response:
        """How many events of each type."""
        return await answer("types", params.limit)

    @router.get("/countWords", include_in_schema=False)
    @router.get("/CountWords", responses=documented, response_class=Response)
    async def count_words(params: Annotated[LimitParams, Query()]) -> Response:
        """How often each word stands in the events' data."""
        return await answer("words", params.limit)

    return router


def _health(pipeline: Readiness) -> APIRouter:
    router = APIRouter(tags=["health"])

    def answers(example: dict[str, str]) -> dict[int | str, dict[str, Any]]:
        return {200: {"content": {"application/json": {"example": example}}}}

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", responses=answers({"status": "ok"}))
    async def healthz() -> dict[str, str]:
        """Whether this process answers. Says nothing about Redis."""
        return {"status": "ok"}

    unready = problems.described(503, "Redis does not answer, or cannot be written to", title="Redis is away")

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", responses=answers({"status": "ready"}) | unready)
    async def readyz() -> JSONResponse:
        """Whether Redis answers and can be written to."""
        try:
            await pipeline.check_format()
            await pipeline.check_writable()
        except StoreUnavailable as error:
            return problems.away(error)
        return JSONResponse({"status": "ready"})

    return router
