"""The application: its routes, its errors, its page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from redis.asyncio import Redis

from api import problems
from api.snapshot import Snapshot
from tally import __version__
from tally.embedded import redis_url
from tally.keys import Keys
from tally.settings import Settings
from tally.store import BlockStore, StoreUnavailable, connect
from tally.store.reads import CountReader

STATIC = Path(__file__).parent / "static"

#: An answer over HTTP should not wait as long as a batch of counts may.
READ_TIMEOUT_SECONDS = 5.0

_AWAY = problems.described(503, "Redis is away; Retry-After says when to ask again")
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
    """The ASGI application. It makes a client of its own unless one is given, and closes that."""
    client = redis or connect(
        redis_url(settings), timeout_seconds=min(READ_TIMEOUT_SECONDS, settings.redis_timeout_seconds)
    )
    keys = Keys()
    blocks = BlockStore(client, keys=keys, settings=settings)
    reader = CountReader(client, keys=keys, blocks=blocks)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if redis is None:
            await client.aclose()

    app = FastAPI(
        title="Tally",
        version=__version__,
        summary="Counts of an endless stream of JSON events, exact and while it runs.",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    problems.install(app)
    app.include_router(_events(reader))
    app.include_router(_health(blocks))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    return app


def _events(reader: CountReader) -> APIRouter:
    """All counts, as plain objects."""
    router = APIRouter(prefix="/events", tags=["events"])

    def encoded(load: Callable[[], Awaitable[dict[str, int]]]) -> Snapshot[bytes]:
        async def encode() -> bytes:
            return msgspec.json.encode(await load())

        return Snapshot(version=reader.totals, load=encode)

    types, words = encoded(reader.types), encoded(reader.words)

    @router.get("/countByEventType", include_in_schema=False)
    @router.get("/CountByEventType", responses={200: _COUNTS, **_AWAY}, response_class=Response)
    async def count_by_event_type() -> Response:
        """How many events of each type."""
        return Response(await types.get(), media_type="application/json")

    @router.get("/countWords", include_in_schema=False)
    @router.get("/CountWords", responses={200: _COUNTS, **_AWAY}, response_class=Response)
    async def count_words() -> Response:
        """How often each word stands in the events' data."""
        return Response(await words.get(), media_type="application/json")

    return router


def _health(blocks: BlockStore) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether this process answers. Says nothing about Redis."""
        return {"status": "ok"}

    @router.get("/readyz", responses=problems.described(503, "Redis does not answer, or cannot be written to"))
    async def readyz() -> JSONResponse:
        """Whether Redis answers and can be written to."""
        try:
            await blocks.check_writable()
        except StoreUnavailable as error:
            return problems.away(error)
        return JSONResponse({"status": "ready"})

    return router
