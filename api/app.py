"""The application: its routes, its errors, its page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Query, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from redis.asyncio import Redis
from starlette.middleware.cors import CORSMiddleware

from api import pages, routes_v1
from api.data import Data
from api.formats import UNCHANGED
from api.live import Live
from api.middleware import BearerToken, FreshAnswers, ProxyPath, SecurityHeaders, TakesNoEvents
from api.params import LimitParams, given_once
from api.snapshot import Snapshot
from tally import __version__, problems
from tally.embedded import redis_url
from tally.keys import Keys
from tally.settings import Settings
from tally.store import BlockStore, StoreUnavailable, connect
from tally.store.reads import CountReader

_ERRORS = UNCHANGED | problems.PARAMETER | problems.AWAY
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

    `app.state.live` is the live feed; whoever stops the server ends it first.
    """
    client = redis or connect(redis_url(settings), timeout_seconds=settings.read_timeout_seconds)
    keys = Keys()
    reader = CountReader(client, keys=keys, settings=settings)
    live = Live(reader)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        live.open()
        yield
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
    app.state.live = live
    problems.install(app)
    guarded = _guarded() if settings.api_token is not None else {}
    app.include_router(_events(reader), **guarded)
    app.include_router(routes_v1.router(Data(reader), live), **guarded)
    app.include_router(_health(BlockStore(client, keys=keys, settings=settings)))
    pages.install(app)

    # The last one added is the first one asked.
    app.add_middleware(SecurityHeaders)
    app.add_middleware(FreshAnswers)
    if settings.api_token is not None:
        app.add_middleware(BearerToken, token=settings.api_token.get_secret_value())
    app.add_middleware(TakesNoEvents)  # before the token: one for events would be told to be wrong
    if settings.cors_origins:
        origins = [origin.strip() for origin in settings.cors_origins.split(",")]
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET"], allow_headers=["*"])
    if settings.root_path:
        app.add_middleware(ProxyPath, root_path=settings.root_path)
    return app


def _guarded() -> dict[str, Any]:
    """Arguments of `include_router` that document the token. It is asked for in middleware.BearerToken, not here."""
    scheme = HTTPBearer(scheme_name="token", description="The value of TALLY_API_TOKEN", auto_error=False)
    return {"dependencies": [Security(scheme)], "responses": problems.TOKEN}


def _events(reader: CountReader) -> APIRouter:
    """All counts, as plain objects."""
    router = APIRouter(prefix="/events", tags=["events"], dependencies=[Depends(given_once)])

    def snapshot(load: Callable[[], Awaitable[dict[str, int]]]) -> Snapshot[tuple[dict[str, int], bytes]]:
        async def encode() -> tuple[dict[str, int], bytes]:
            counts = await load()
            return counts, msgspec.json.encode(counts)

        return Snapshot(version=reader.totals, load=encode)

    async def answer(counts: Snapshot[tuple[dict[str, int], bytes]], limit: int | None) -> Response:
        all_counts, encoded = await counts.get()
        if limit is not None:
            encoded = msgspec.json.encode(dict(islice(all_counts.items(), limit)))
        return Response(encoded, media_type="application/json")

    types, words = snapshot(reader.types), snapshot(reader.words)
    documented: dict[int | str, dict[str, Any]] = {200: _COUNTS, **_ERRORS}

    @router.get("/countByEventType", include_in_schema=False)
    @router.get("/CountByEventType", responses=documented, response_class=Response)
    async def count_by_event_type(params: Annotated[LimitParams, Query()]) -> Response:
        """How many events of each type."""
        return await answer(types, params.limit)

    @router.get("/countWords", include_in_schema=False)
    @router.get("/CountWords", responses=documented, response_class=Response)
    async def count_words(params: Annotated[LimitParams, Query()]) -> Response:
        """How often each word stands in the events' data."""
        return await answer(words, params.limit)

    return router


def _health(blocks: BlockStore) -> APIRouter:
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
            await blocks.check_format()
            await blocks.check_writable()
        except StoreUnavailable as error:
            return problems.away(error)
        return JSONResponse({"status": "ready"})

    return router
