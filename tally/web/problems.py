"""Errors as `application/problem+json` (RFC 9457): what is wrong, where, and what would be right."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tally.log_throttle import LogThrottle
from tally.refused import Refused
from tally.store import StoreUnavailable
from tally.store.client import NO_ANSWER
from tally.telemetry import get_logger

MEDIA_TYPE = "application/problem+json"

#: When a client may ask again while Redis is away, in seconds.
RETRY_AFTER_SECONDS = 1


class BadParameter(Exception):
    """A parameter that is found to be wrong only while the answer is made; the text says what would be right."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class Problem(BaseModel):
    """RFC 9457 problem details."""

    title: str = Field(examples=["Redis is away"])
    status: int = Field(examples=[503])
    detail: str | None = Field(None, examples=[NO_ANSWER])
    parameter: str | None = Field(None, description="The query or path parameter that is wrong")


def problem(status: int, title: str, *, headers: dict[str, str] | None = None, **members: str | None) -> JSONResponse:
    """A response with problem details; members that are None are left out."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    body |= {name: value for name, value in members.items() if value is not None}
    return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def away(error: StoreUnavailable) -> JSONResponse:
    """Redis does not answer, or cannot be written to: 503, and when to ask again. Does not say where Redis is."""
    return problem(503, "Redis is away", detail=error.public, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def described(status: int, text: str, **example: str) -> dict[int | str, dict[str, Any]]:
    """An element of FastAPI's `responses`: problem details with this status; of the example its members."""
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if example:
        content["example"] = {"type": "about:blank", "status": status, **example}
    return {status: {"description": text, "content": {MEDIA_TYPE: content}}}


#: What any route may answer that has parameters, that reads from Redis, that a browser asks, that needs the token.
PARAMETER = described(
    422,
    "A parameter is wrong; `parameter` names it",
    title="window: a duration is a number and one of s, m, h, d, w, as in 15m",
    detail="given: '15'",
    parameter="window",
)
AWAY = described(
    503,
    "Redis is away; Retry-After says when to ask again",
    title="Redis is away",
    detail=NO_ANSWER,
)
CROSS_SITE = described(
    403,
    "A page of another site asked, of an origin that is not allowed",
    title="Refused to a page of another site",
) | described(
    421,
    "A browser asked by a name that is not allowed",
    title="Asked by a name that is not allowed",
)
TOKEN = described(401, "The header Authorization has no token, or another one", title="A token is needed")


def install(app: FastAPI, *, elsewhere: str | None = None) -> None:
    """Answer every error of this app with problem details, and say so in its OpenAPI document.

    `elsewhere` says what is right, where a path or a method is not.
    """
    plain = app.openapi
    seldom = LogThrottle()

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = plain().setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema()
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]

    @app.exception_handler(StoreUnavailable)
    async def _away(_: Request, error: StoreUnavailable) -> JSONResponse:
        return away(error)

    @app.exception_handler(Refused)
    async def _refused(_: Request, error: Refused) -> JSONResponse:
        seldom.warning("redis refuses", problem=str(error))
        return problem(503, "Redis refuses", detail=error.public)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        detail = elsewhere if error.status_code in (404, 405) else None
        return problem(error.status_code, error.detail, detail=detail, headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        where = [str(part) for part in first["loc"][1:] if isinstance(part, str)]
        if first["type"] == "extra_forbidden":
            message = "there is no such parameter here; see the API docs"
        # What concerns several parameters names the one to change in front of its message.
        name, message = (where[-1], message) if where else message.split(": ", 1)
        detail = f"given: {first['input']!r}" if where else None
        return problem(422, f"{name}: {message}", parameter=name, detail=detail)

    @app.exception_handler(BadParameter)
    async def _bad(_: Request, error: BadParameter) -> JSONResponse:
        return problem(422, f"{error.parameter}: {error}", parameter=error.parameter)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        get_logger().error("request failed", path=request.url.path, exc_info=error)
        return problem(500, "Internal error", detail="see the service's log")
