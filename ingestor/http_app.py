"""The application behind `http://HOST:PORT`: it answers a POST when its lines are in the stream, and not before."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from ingestor.bodies import JSON_TYPES, LINE_TYPES, BodyReader, Lines, too_large
from ingestor.body_batcher import APPEND_SECONDS
from ingestor.body_buffers import PACE_SECONDS, RETRY_AFTER_SECONDS, BodyBuffers
from ingestor.body_shards import BodyShards
from ingestor.metrics import of_source
from tally import __version__
from tally.clock import SYSTEM, Clock
from tally.log_throttle import LogThrottle
from tally.origins import parse_origins
from tally.peers import Peers
from tally.settings import Settings
from tally.store import StoreUnavailable
from tally.store.protocols import BodyStore
from tally.web import problem_types as types
from tally.web import problems
from tally.web.methods import Methods
from tally.web.problem_types import ProblemError
from tally.web.request_ids import REQUEST_ID

#: Characters in an Idempotency-Key.
MAX_KEY_CHARACTERS = 255

_EXAMPLE = '{"event_type": "login", "data": "hello world", "timestamp": 1700000000}'


class Accepted(BaseModel):
    """What was appended."""

    lines: int = Field(
        description="Lines of the body that are not blank: so many will be counted or rejected. 0: nothing was appended"
    )


def create_app(
    settings: Settings, *, stores: Sequence[BodyStore], label: str, ready: asyncio.Event, clock: Clock = SYSTEM
) -> FastAPI:
    """Return the ASGI application. Until `ready` is set it takes no events, and says so after a while.

    The stores, one a shard, are the caller's to close, after it has stopped to serve.
    """
    intake = _Intake(settings, stores=stores, label=label, ready=ready, clock=clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with of_source(label).buffers(lambda: intake.buffered_bytes):
            yield

    app = FastAPI(
        title="Tally's ingestor",
        version=__version__,
        summary="Takes events in.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # they would load scripts of other hosts; docs/network-sources.md has it all
        redoc_url=None,
        openapi_url=None if settings.ingest_token is not None else "/openapi.json",
        # No max_body_size: its answer is no problem+json, and it knows nothing of what a body is decompressed.
    )
    problems.install(app, elsewhere="events are sent by POST /events; counts are read from the api")
    app.include_router(_health())
    app.include_router(_events(intake))
    app.add_middleware(Methods, routes=app.router.routes)
    if origins := parse_origins(settings.ingest_cors_origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["POST"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID],
        )
    return app


def _health() -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", operation_id="getHealth")
    async def healthz() -> dict[str, str]:
        """Return 200 as long as this process answers. Says nothing about Redis."""
        return {"status": "ok"}

    return router


def _events(intake: _Intake) -> APIRouter:
    router = APIRouter(tags=["events"])
    responses: dict[int | str, dict[str, Any]] = {202: {"model": Accepted}}
    for text, *described in (
        (
            "The body is empty or malformed, or a header is",
            types.EMPTY_BODY,
            types.NOT_EVENTS,
            types.UNREADABLE_BODY,
            types.BAD_IDEMPOTENCY_KEY,
        ),
        ("The bearer token is missing or wrong", types.TOKEN_NEEDED),
        ("The body came too slowly", types.BODY_TOO_SLOW),
        ("The body is too large, or has too many lines", types.BODY_TOO_LARGE),
        ("The media type or content encoding is not supported", types.UNSUPPORTED_BODY),
        ("The Idempotency-Key was used for another body", types.IDEMPOTENCY_KEY_REUSED),
        (
            "The stream is full, appends are held, or too much is sent at once; Retry-After says when to send again",
            types.STREAM_FULL,
            types.APPENDS_HELD,
            types.TOO_MUCH_SENT,
        ),
        (
            "Redis is unavailable, or refuses; Retry-After says when to send again",
            types.REDIS_UNAVAILABLE,
            types.REDIS_REFUSES,
        ),
    ):
        responses |= problems.described(text, *described)
    responses |= problems.CROSS_SITE

    @router.post(
        "/events",
        operation_id="sendEvents",
        status_code=202,
        response_model=Accepted,
        responses=responses,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    **{kind: {"schema": {"type": "string"}, "example": f"{_EXAMPLE}\n"} for kind in LINE_TYPES},
                    **{kind: {"schema": {"type": ["object", "array"]}} for kind in JSON_TYPES},
                },
            }
        },
    )
    async def events(
        request: Request,
        idempotency_key: Annotated[
            str | None, Header(description="A retry with the same key counts once; kept for a day")
        ] = None,
    ) -> Response:
        """Append events: lines, one object, or an array of objects, plain or as gzip, zstd or deflate.

        JSON is taken whatever its media type says, unless that is one of lines. All or nothing, and answered when it
        is in the stream.
        """
        return await intake.take(request, idempotency_key)

    return router


class _Intake:
    """From request to answer."""

    def __init__(
        self, settings: Settings, *, stores: Sequence[BodyStore], label: str, ready: asyncio.Event, clock: Clock
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._bodies = BodyShards(
            stores,
            source=label,
            max_block_bytes=settings.max_block_bytes,
            stripe_bytes=settings.stripe_bytes,
            clock=clock,
        )
        self._buffers = BodyBuffers(
            # A body of the allowed size always has a chance.
            max_buffered_bytes=max(settings.max_buffered_bytes, settings.max_body_bytes),
            max_body_seconds=settings.max_body_seconds,
            pace_seconds=min(PACE_SECONDS, settings.connection_idle_seconds),
            peers=Peers(settings.trusted_networks),
            label=label,
        )
        self._log = LogThrottle(source=label, clock=clock)

    @property
    def buffered_bytes(self) -> int:
        """How much is held of bodies, until they are in the stream."""
        return self._buffers.buffered_bytes

    async def take(self, request: Request, key: str | None) -> Response:
        self._authorize(request)
        if not await self._is_ready():
            raise StoreUnavailable("Redis has not answered yet", public="it has not answered yet")
        if key is not None and not 0 < len(key) <= MAX_KEY_CHARACTERS:
            raise ProblemError(types.BAD_IDEMPOTENCY_KEY, f"it has 1 to {MAX_KEY_CHARACTERS} characters")
        try:
            reader = self._reader(request)
            with self._buffers.body(request.client.host if request.client else None) as body:
                async for chunk in body.chunks(request.stream()):
                    for _ in reader.feed(chunk):
                        self._buffers.grow(body, reader.buffered_bytes)
                        await asyncio.sleep(0)  # others are answered meanwhile
                    self._buffers.grow(body, reader.buffered_bytes)
                return await self._append(reader.finish(), key)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    async def _is_ready(self) -> bool:
        """Return whether Redis has answered; waits for that as long as for an append."""
        try:
            async with asyncio.timeout(APPEND_SECONDS):
                return await self._ready.wait()
        except TimeoutError:
            return False

    def _authorize(self, request: Request) -> None:
        token = self._settings.ingest_token
        if token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), token.get_secret_value().encode())
        if scheme.lower() != "bearer" or not right:
            raise ProblemError(
                types.TOKEN_NEEDED,
                "send the header Authorization: Bearer, with the value of TALLY_INGEST_TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _reader(self, request: Request) -> BodyReader:
        settings = self._settings
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > settings.max_body_bytes:
            raise too_large(settings.max_body_bytes)
        return BodyReader(
            content_type=request.headers.get("content-type"),
            content_encoding=request.headers.get("content-encoding"),
            max_body_bytes=settings.max_body_bytes,
            max_body_lines=settings.max_body_lines,
            max_line_bytes=settings.max_line_bytes,
            max_block_bytes=settings.max_block_bytes,
        )

    async def _append(self, lines: Lines, key: str | None) -> Response:
        if not lines.count:
            return _accepted(lines)
        word = await self._bodies.append(lines, key=key)
        if word == "full":
            self._log.warning("stream is full, bodies are answered with 429")
            raise ProblemError(
                types.STREAM_FULL,
                "the aggregators are behind; nothing of the body was taken",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        if word == "held":
            raise ProblemError(
                types.APPENDS_HELD,
                "a command holds them for now; nothing of the body was taken",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        if word == "conflict":
            raise ProblemError(
                types.IDEMPOTENCY_KEY_REUSED, "nothing was taken; a key belongs to one body and its retries"
            )
        return _accepted(lines, repeated=word == "duplicate" and key is not None)


def _accepted(lines: Lines, *, repeated: bool = False) -> Response:
    headers = {"Idempotent-Replayed": "true"} if repeated else None
    return JSONResponse({"lines": lines.count}, status_code=202, headers=headers)
