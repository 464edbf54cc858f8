"""The pages: the live page, the API docs page, and the files that they are made of. None needs another host."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"

#: Asked anew each time, so that no page is put together from the files of two versions. It is mostly answered by 304.
_FRESH = {"Cache-Control": "no-cache"}


def install(app: FastAPI) -> None:
    """Serve `/`, `/docs` and `/static/`."""
    app.mount("/static", _Files(directory=STATIC), name="static")
    app.router.routes += [_route("/", "index.html"), _route("/docs", "docs.html")]


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_FRESH)
        return response


def _route(path: str, name: str) -> Route:
    """Serve a file of STATIC at another path: its addresses, which begin with ./, become what they must be there."""
    text = (STATIC / name).read_text(encoding="utf-8")

    async def page(request: Request) -> HTMLResponse:
        # Under a known path absolute, because the page may be reached with and without a slash at the end.
        root = html.escape(request.scope.get("root_path", "").rstrip("/"))
        files = f"{root}/static/" if root else "static/"
        return HTMLResponse(text.replace('="./', f'="{files}'), headers=_FRESH)

    route = Route(path, page, methods=["GET"], include_in_schema=False)
    if path == "/":
        route.path_regex = re.compile("^/?$")  # a proxy may pass on its path without the slash
    return route
