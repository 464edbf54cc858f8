"""Health: whether the process answers, and whether Redis does. Accept is not looked at: no check is to fail by it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tally.store.protocols import Readiness
from tally.web import problems
from tally.web.problem_types import REDIS_REFUSES, REDIS_UNAVAILABLE


def router(pipeline: Readiness) -> APIRouter:
    """Return the routes about health."""
    routes = APIRouter(tags=["health"])

    def answers(example: dict[str, str]) -> dict[int | str, dict[str, Any]]:
        return {200: {"content": {"application/json": {"example": example}}}}

    @routes.get("/healthz", operation_id="getHealth", responses=answers({"status": "ok"}))
    async def get_health() -> dict[str, str]:
        """Whether this process answers. Says nothing about Redis."""
        return {"status": "ok"}

    unready = problems.described("Redis does not answer, or cannot be written to", REDIS_UNAVAILABLE, REDIS_REFUSES)

    @routes.get("/readyz", operation_id="getReadiness", responses=answers({"status": "ready"}) | unready)
    async def get_readiness() -> JSONResponse:
        """Whether Redis answers and can be written to."""
        await pipeline.check_format()
        await pipeline.check_writable()
        return JSONResponse({"status": "ready"})

    return routes
