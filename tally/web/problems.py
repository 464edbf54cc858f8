"""Errors as `application/problem+json` (RFC 9457): what is wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tally.log_events import REDIS_REFUSES, REDIS_UNAVAILABLE
from tally.log_throttle import LogThrottle
from tally.refused import Refused
from tally.store import StoreUnavailable
from tally.store.client import NO_ANSWER
from tally.web import problem_types as types
from tally.web.methods import allow_header, taken_methods
from tally.web.problem_answers import MEDIA_TYPE, ProblemResponse, problem, unavailable
from tally.web.problem_pages import problem_pages
from tally.web.problem_types import ProblemError, ProblemType, WrongParameters, problem_members


class ParameterError(BaseModel):
    """A parameter that is wrong."""

    parameter: str = Field(description="Its name")
    detail: str = Field(description="What would be right")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(
        description="The path of a page about this type of problem; about:blank: the status says it all",
        examples=[types.REDIS_UNAVAILABLE.path],
    )
    title: str = Field(description="The same for all of this type", examples=[types.REDIS_UNAVAILABLE.title])
    status: int = Field(examples=[types.REDIS_UNAVAILABLE.status])
    detail: str | None = Field(None, description="What is wrong with this request", examples=[NO_ANSWER])
    errors: list[ParameterError] | None = Field(None, description="All parameters that are wrong")
    paths: list[str] | None = Field(None, description="The paths that there are")
    media_types: list[str] | None = Field(None, description="The forms in which the answer can be given")


def described(
    text: str, type_: ProblemType, *more: ProblemType, detail: str | None = None, **members: Any
) -> dict[int | str, dict[str, Any]]:
    """Return an element of FastAPI's `responses`: problem details of these types, which share a status.

    The first type is the example.
    """
    pages = ", ".join(each.name for each in (type_, *more))
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": problem_members(type_, detail, **members)}
    return {type_.status: {"description": f"{text} ({pages})", "content": {MEDIA_TYPE: content}}}


#: What any route may answer that has parameters, that reads from Redis, that a browser asks, that needs the token.
PARAMETERS = described(
    "Parameters are wrong; `errors` names them all",
    types.INVALID_PARAMETERS,
    detail="window: a duration is a number and one of s, m, h, d, w, as in 15m; given: '15'",
    errors=[
        {
            "parameter": "window",
            "detail": "a duration is a number and one of s, m, h, d, w, as in 15m; given: '15'",
        }
    ],
)
CROSS_SITE = described(
    "A page of another site asked, of an origin that is not allowed",
    types.CROSS_SITE_REQUEST,
) | described(
    "A browser asked by a name that is not allowed",
    types.HOST_NOT_ALLOWED,
)
TOKEN = described("The header Authorization has no token, or another one", types.TOKEN_NEEDED)


def install(
    app: FastAPI,
    *,
    elsewhere: str | None = None,
    also_wrong: Callable[[Request, Collection[str]], dict[str, str]] = lambda _, __: {},
    known: Callable[[Request], Sequence[str]] = lambda _: (),
) -> None:
    """Answer every error of this app with problem details, say so in its OpenAPI document, and serve their pages.

    `elsewhere` says what is right, where a path or a method is not. `also_wrong` is given the parameters that cannot be
    read, and returns the others that are wrong, which are told together with them. `known` returns the parameters that
    the path of a request takes.
    """
    plain = app.openapi
    throttle = LogThrottle()

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = plain().setdefault("components", {}).setdefault("schemas", {})
            problem_schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem_schema.pop("$defs")
            schemas["Problem"] = problem_schema
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]
    app.router.routes += problem_pages()

    @app.exception_handler(StoreUnavailable)
    async def _unavailable(_: Request, error: StoreUnavailable) -> Response:
        throttle.warning(REDIS_UNAVAILABLE, error=str(error))
        return unavailable(error)

    @app.exception_handler(Refused)
    async def _refused(_: Request, error: Refused) -> Response:
        throttle.warning(REDIS_REFUSES, problem=str(error))
        return problem(types.REDIS_REFUSES, error.public)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == types.NO_SUCH_PATH.status:
            return problem(types.NO_SUCH_PATH, elsewhere, headers=headers, paths=sorted(app.openapi()["paths"]))
        if error.status_code == types.METHOD_NOT_ALLOWED.status:
            # The router tells those of one route alone.
            headers["Allow"] = allow_header(taken_methods(app.router.routes, request.scope))
            return problem(types.METHOD_NOT_ALLOWED, elsewhere, headers=headers)
        members = {
            "type": "about:blank",
            "title": HTTPStatus(error.status_code).phrase,
            "status": error.status_code,
            "detail": error.detail,
        }
        return ProblemResponse(members, headers=headers)

    @app.exception_handler(ProblemError)
    async def _problem(_: Request, error: ProblemError) -> Response:
        return problem(error.type, error.detail, headers=error.headers, **error.members)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        unreadable = _unreadable(error, known(request))
        wrong = WrongParameters(list((also_wrong(request, unreadable) | unreadable).items()))
        return problem(wrong.type, wrong.detail, **wrong.members)

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, __: Exception) -> Response:  # logged by RequestIds, as it goes on to there
        return problem(types.INTERNAL_ERROR, "see the service's log")


def _unreadable(error: RequestValidationError, known: Sequence[str]) -> dict[str, str]:
    """Return each parameter that cannot be read with what would be right, in the order in which they were found.

    `known` are those that the path takes.
    """
    wrong: dict[str, str] = {}
    for each in error.errors():
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            message = "there is no such parameter here" + (f"; there are {', '.join(known)}" if known else "")
        name = each["loc"][1]
        if each["type"] == "missing":
            wrong.setdefault(name, "it is needed")
        else:
            wrong.setdefault(name, f"{message}; given: {each['input']!r}")
    return wrong
