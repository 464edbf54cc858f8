"""The pages of the problem types: what each means, and what to do. They hold nothing secret and need no token."""

from __future__ import annotations

import html

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tally.web.problem_types import ALL, PATH, ProblemType

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title} – Tally</title>
<h1>{title}</h1>
<p>Status {status}, problem type <code>{name}</code></p>
<h2>What it means</h2>
<p>{meaning}</p>
<h2>What to do</h2>
<p>{remedy}</p>
</html>
"""


def problem_pages() -> list[Route]:
    """Return the routes that serve the pages."""
    return [Route(f"{PATH}{{name}}", _page, methods=["GET"], include_in_schema=False)]


async def _page(request: Request) -> HTMLResponse:
    type_ = ALL.get(request.path_params["name"])
    if type_ is None:
        raise HTTPException(404)
    return HTMLResponse(_text(type_), headers={"Cache-Control": "no-cache"})


def _text(type_: ProblemType) -> str:
    return _PAGE.format(
        name=type_.name,
        status=type_.status,
        title=html.escape(type_.title, quote=False),
        meaning=html.escape(type_.meaning, quote=False),
        remedy=html.escape(type_.remedy, quote=False),
    )
