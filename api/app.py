"""The application: its routes, its errors, its page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response, Security
from fastapi.security import HTTPBearer
from redis.asyncio import Redis
from starlette.middleware.cors import CORSMiddleware

from api import pages
from api.answer_cache import AnswerCache
from api.cached_counts import CachedCounts
from api.compression import CompressedPages
from api.cursors import Cursors
from api.formats import MISSING_SHARDS
from api.live import Live
from api.lookup import PATHS
from api.memory import Memory, NoRoom
from api.middleware import BearerToken, ProxyPath, SecurityHeaders, TakesNoEvents
from api.param_reading import also_wrong, known_parameters
from api.parts import Parts
from api.request_durations import RequestDurations
from api.routes import accepted, all_counts, health, index, lookup, metrics, names, pipeline
from api.routes import sources as source_routes
from api.routes.documented import TAGS
from api.scraping import Scraping
from api.sources import Sources
from api.work import Busy, Work
from tally import __version__
from tally.clock import SYSTEM, Clock
from tally.keys import DEFAULT_NAMESPACE
from tally.origins import parse_origins
from tally.settings import Settings
from tally.store.merged_reads import reader_of
from tally.store.merged_status import pipeline_of
from tally.store.shards import Shards, connect_shards
from tally.web import problems
from tally.web.methods import Methods
from tally.web.problem_answers import problem
from tally.web.problem_types import TOO_MUCH_ASKED
from tally.web.request_ids import REQUEST_ID

#: How much of TALLY_MAX_SNAPSHOT_BYTES is for rankings, and for making them; the rest is for answers that are sent.
RANKINGS = 0.75


def create_app(settings: Settings, *, redis: Redis | None = None, clock: Clock = SYSTEM) -> FastAPI:
    """Return the ASGI application. It makes a client of its own unless one is given, and closes that.

    Who stops the server first ends `app.state.live`, the live feed, and then `app.state.work`, long answers.
    """
    shards = Shards.over(redis, settings) if redis else connect_shards(settings)
    work = Work()
    rankings, bodies = (Memory(round(settings.max_snapshot_bytes * share)) for share in (RANKINGS, 1 - RANKINGS))
    counts = CachedCounts(reader_of(shards, settings=settings), memory=rankings, work=work, clock=clock)
    parts = Parts(counts, shards, settings=settings)
    cursors = Cursors(memory=rankings, clock=clock)
    live = Live(counts, clock=clock)
    sources = Sources(counts, clock=clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        live.open()
        yield
        work.close()
        await live.close()
        await sources.close()
        cursors.close()
        await scraping.close()
        if redis is None:
            await shards.aclose()

    app = FastAPI(
        title="Tally",
        version=__version__,
        summary="Counts of an endless stream of JSON events, exact and while it runs.",
        lifespan=lifespan,
        openapi_tags=TAGS,
        redirect_slashes=False,
        docs_url=None,  # see pages
        redoc_url=None,
    )
    app.state.live, app.state.work, app.state.clock = live, work, clock
    problems.install(
        app, elsewhere="the api's paths are described in /docs", also_wrong=also_wrong, known=known_parameters
    )
    app.add_exception_handler(NoRoom, _too_much)
    app.add_exception_handler(Busy, _too_much)
    guarded = _guarded() if settings.api_token is not None else {"responses": problems.CROSS_SITE}
    scraping = Scraping(counts, shards, live, [rankings, bodies], settings=settings)
    with_token = (
        index.router(),
        names.router("types", parts, cursors),
        names.router("words", parts, cursors),
        lookup.router("types", parts, bodies),
        lookup.router("words", parts, bodies),
        pipeline.router(counts, live),
        source_routes.router(sources),
        accepted.router(counts),
        all_counts.router(counts, bodies),
        metrics.router(scraping),
    )
    for each in with_token:
        app.include_router(each, **guarded)
    of_health = health.router(pipeline_of(shards, settings=settings))
    app.include_router(of_health)
    called = settings.namespace if settings.namespace != DEFAULT_NAMESPACE else ""
    pages.install(app, instance_name=settings.instance_name or called)
    routes = [*app.router.routes, *(route for each in (*with_token, of_health) for route in each.routes)]

    # The last one added is the first one asked.
    app.add_middleware(SecurityHeaders)
    app.add_middleware(AnswerCache, memory=bodies, clock=clock)
    app.add_middleware(CompressedPages)
    app.add_middleware(Methods, routes=app.router.routes)  # those before it know GET alone
    if settings.api_token is not None:
        app.add_middleware(BearerToken, token=settings.api_token.get_secret_value())
    app.add_middleware(TakesNoEvents, asked_by_post=PATHS)  # before the token: one for events would be told to be wrong
    if settings.cors_origins:
        origins = parse_origins(settings.cors_origins)
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Content-Disposition", "Link", MISSING_SHARDS, REQUEST_ID],
        )
    app.add_middleware(RequestDurations, routes=routes, clock=clock)
    if settings.root_path:
        app.add_middleware(ProxyPath, root_path=settings.root_path)
    return app


def _guarded() -> dict[str, Any]:
    """Arguments of `include_router` that document the token. It is asked for in middleware.BearerToken, not here."""
    scheme = HTTPBearer(scheme_name="token", description="The value of TALLY_API_TOKEN", auto_error=False)
    return {"dependencies": [Security(scheme)], "responses": problems.CROSS_SITE | problems.TOKEN}


async def _too_much(_: Request, error: Exception) -> Response:
    """More is asked for at once than there is memory or time for: 503, and when to ask again."""
    assert isinstance(error, NoRoom | Busy)
    headers = {"Retry-After": str(error.retry_after_seconds)}
    return problem(TOO_MUCH_ASKED, str(error), headers=headers)
