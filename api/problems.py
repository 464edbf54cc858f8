"""Errors as `application/problem+json` (RFC 9457): what is wrong, where, and what would be right."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tally.store import StoreUnavailable
from tally.telemetry import get_logger

MEDIA_TYPE = "application/problem+json"

#: When a client may ask again while Redis is away, in seconds.
RETRY_AFTER_SECONDS = 1


class Problem(BaseModel):
    """RFC 9457 problem details."""

    title: str = Field(examples=["Redis is away"])
    status: int = Field(examples=[503])
    detail: str | None = Field(None, examples=["ConnectionError: connection refused"])
    parameter: str | None = Field(None, description="The query or path parameter that is wrong")


def problem(status: int, title: str, *, headers: dict[str, str] | None = None, **members: str | None) -> JSONResponse:
    """A response with problem details; members that are None are left out."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    body |= {name: value for name, value in members.items() if value is not None}
    return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def away(error: Exception) -> JSONResponse:
    """Redis does not answer, or cannot be written to: 503, and when to ask again."""
    return problem(503, "Redis is away", detail=str(error), headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def described(status: int, text: str) -> dict[int | str, dict[str, Any]]:
    """An element of FastAPI's `responses`: problem details with this status."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {status: {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}}


def install(app: FastAPI) -> None:
    """Answer every error of this app with problem details."""

    @app.exception_handler(StoreUnavailable)
    async def _away(_: Request, error: StoreUnavailable) -> JSONResponse:
        return away(error)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, error.detail, headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return problem(422, f"{name}: {first['msg']}", parameter=name, detail=f"given: {first.get('input')!r}")

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        get_logger().error("request failed", path=request.url.path, exc_info=error)
        return problem(500, "Internal error", detail="see the api's log")
