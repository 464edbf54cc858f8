"""Several types or words at once, by POST: their names may be too long for an address together."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from api.bodies import MOST_NAMES, REQUEST_BODY, names_of
from api.lookup import PARAMS, LookupAnswer, look_up
from api.memory import Memory
from api.param_reading import given
from api.parts import Parts
from api.routes.documented import documented
from api.routes.names import described_not_there
from tally.keys import Kind
from tally.web import problems
from tally.web.problem_types import BODY_TOO_LARGE, BODY_TOO_SLOW, MALFORMED_BODY, UNSUPPORTED_BODY

_ROW = {"name": "foo", "count": 3, "share": 0.75}

_WRONG_BODY = (
    problems.described("The body is not JSON", MALFORMED_BODY)
    | problems.described("The body is not there in time", BODY_TOO_SLOW)
    | problems.described("The body is too large", BODY_TOO_LARGE)
    | problems.described("The body is no application/json in UTF-8, or compressed", UNSUPPORTED_BODY)
)


def router(kind: Kind, parts: Parts, memory: Memory) -> APIRouter:
    """Return the route of a kind of names. Bodies are held in `memory`."""
    routes = APIRouter(prefix="/v1", tags=[kind])
    lookup_params = given(PARAMS[kind])
    # An answer to a POST has no ETag.
    responses = {status: each for status, each in documented(LookupAnswer, row=_ROW).items() if status != 304}

    @routes.post(
        f"/{kind}:lookup",
        operation_id=f"lookup{kind.capitalize()}",
        summary=f"Look up several {kind}",
        description=f"How often each of up to {MOST_NAMES} {kind} was counted, over all time or a time range, in the "
        'order of the names. The body is JSON, `{"names": [...]}`; one that was never counted has a count of 0.',
        responses=responses | described_not_there(kind) | _WRONG_BODY,
        response_class=Response,
        openapi_extra={"requestBody": REQUEST_BODY},
    )
    async def look_up_names(request: Request, params: Any = lookup_params) -> Response:
        async with names_of(request, memory=memory) as names:
            return await parts.answer(
                lambda counts: look_up(counts, kind, request, params, names), partial=params.partial
            )

    return routes
