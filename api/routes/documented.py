"""What the OpenAPI document says of several routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.formats import MISSING_SHARDS, UNAVAILABLE, UNCHANGED, described_tables
from tally.web import problems
from tally.web.problem_types import CURSOR_GONE, NOT_ACCEPTABLE

#: The groups of endpoints.
TAGS = [
    {"name": "index", "description": "What there is to ask"},
    {"name": "types", "description": "Event types: ranked, one by one, over time, trending"},
    {"name": "words", "description": "Words of the events' data: ranked, one by one, over time, trending"},
    {"name": "pipeline", "description": "How the pipeline is, what it rejected, and what changes"},
    {"name": "all counts", "description": "Every name with its count over all time, as one plain object"},
    {"name": "health", "description": "For load balancers, orchestrators and uptime checkers"},
]

#: What any route may answer that gives counts.
ERRORS = UNCHANGED | problems.PARAMETERS | UNAVAILABLE


_MISSING_SHARDS = {
    MISSING_SHARDS: {
        "description": "With partial=true, the shards that are unavailable and not in the answer; else there is none",
        "schema": {"type": "string"},
        "example": "0, 3",
    }
}

_ATTACHMENT = {
    "Content-Disposition": {
        "description": "Of CSV and NDJSON: the name for a file, which says of when it is",
        "schema": {"type": "string"},
        "example": 'attachment; filename="tally-words-20261123T140000Z-20261123T150000Z.csv"',
    }
}

_LINK = {
    "Link": {
        "description": 'With a cursor, the address of the next page (RFC 8288, rel="next"); none with the last page',
        "schema": {"type": "string"},
        "example": '</v1/words?cursor=lsRcZ2kF>; rel="next"',
    }
}


def documented(model: Any, *, row: Mapping[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` of a route: its answer and errors. A list comes as CSV and NDJSON too, in such rows.

    JSON stands first: clients that are generated take the first form of an answer.
    """
    forms = {"application/json": {}, **({} if row is None else described_tables(list(row), [row]))}
    headers = {
        **(_MISSING_SHARDS if "missing_shards" in model.model_fields else {}),
        **({} if row is None else _ATTACHMENT),
    }
    answer = {"model": model, "content": forms, **({"headers": headers} if headers else {})}
    return {200: answer, **ERRORS, **not_acceptable(*forms)}


def paged(responses: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """Return the same of a list that can be read page by page, with a cursor."""
    headers = responses[200].get("headers", {}) | _LINK
    return {
        **responses,
        200: {**responses[200], "headers": headers},
        **problems.described(
            "The list in which the cursor leads on is no longer held, or another api holds it",
            CURSOR_GONE,
            detail="it was not used for a while, or others needed its memory: begin again with cursor=*",
        ),
    }


def not_acceptable(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Return an element of `responses`: that the answer comes in none of the forms that Accept allows."""
    return problems.described(
        "The header Accept allows none of the forms of the answer",
        NOT_ACCEPTABLE,
        detail=f"the answer comes as {', '.join(media_types)}",
        media_types=list(media_types),
    )
