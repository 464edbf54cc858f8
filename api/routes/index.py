"""What there is to ask: the way in for who has only the address."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from api.formats import JSON_ONLY, UNCHANGED, as_json
from api.models import example
from api.param_reading import given
from api.params import NoParams
from api.routes.documented import not_acceptable
from tally import __version__
from tally.web import problems

#: What the answer's header Link leads to, too (RFC 8631).
_RELATED = {"service-desc": "/openapi.json", "service-doc": "/docs", "status": "/readyz"}


class Endpoint(BaseModel):
    href: str = Field(description="Its address on this host; what stands in braces is to be put in (RFC 6570)")
    methods: list[str] = Field(description="How it is asked")
    summary: str = Field(description="What it does")


class IndexAnswer(BaseModel):
    model_config = example(
        {
            "name": "Tally",
            "version": "0.1.0",
            "endpoints": [{"href": "/v1/types", "methods": ["GET"], "summary": "List types"}],
            "openapi": "/openapi.json",
            "documentation": "/docs",
        }
    )

    name: str
    version: str
    endpoints: list[Endpoint] = Field(description="All there are")
    openapi: str = Field(description="Where all of it is described for programs")
    documentation: str = Field(description="Where all of it is described for people")


def router() -> APIRouter:
    """Return the route of the index."""
    routes = APIRouter(prefix="/v1", tags=["index"])
    responses: dict[int | str, dict[str, Any]] = {
        200: {
            "model": IndexAnswer,
            "headers": {
                "Link": {
                    "description": "The same of the description, the documentation and the health (RFC 8631)",
                    "schema": {"type": "string"},
                    "example": '</openapi.json>; rel="service-desc"',
                }
            },
        },
        **UNCHANGED,
        **problems.PARAMETERS,
        **not_acceptable("application/json"),
    }

    @routes.get("", operation_id="getIndex", dependencies=[JSON_ONLY], responses=responses, response_class=Response)
    async def get_index(request: Request, _: Annotated[NoParams, given(NoParams)]) -> Response:
        """What there is to ask, each with its address."""
        root_path = request.scope.get("root_path", "").rstrip("/")
        paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
        answer = {
            "name": "Tally",
            "version": __version__,
            "endpoints": [
                {
                    "href": root_path + path,
                    "methods": [method.upper() for method in operations],
                    "summary": next(iter(operations.values()))["summary"],
                }
                for path, operations in paths.items()
            ],
            "openapi": root_path + _RELATED["service-desc"],
            "documentation": root_path + _RELATED["service-doc"],
        }
        links = ", ".join(f'<{root_path}{path}>; rel="{relation}"' for relation, path in _RELATED.items())
        return as_json(answer, headers={"Link": links})

    return routes
