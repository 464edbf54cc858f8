"""The pages: the live page, the API docs page, and the files that they are made of. None needs another host."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"

#: Asked anew each time, so that no page is put together from the files of two versions. It is mostly answered by 304.
_FRESH = {"Cache-Control": "no-cache"}


def install(app: FastAPI, *, instance_name: str) -> None:
    """Serve `/`, `/docs`, `/static/`, and the icon where a browser looks for it that was told of none."""
    app.mount("/static", _Files(directory=STATIC), name="static")
    app.router.routes += [_page("/", "index.html", instance_name), _page("/docs", "docs.html", instance_name), _icon()]


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_FRESH)
        return response


def _icon() -> Route:
    async def icon(_: Request) -> FileResponse:
        return FileResponse(STATIC / "favicon.ico", media_type="image/x-icon", headers=_FRESH)

    return Route("/favicon.ico", icon, methods=["GET"], include_in_schema=False)


def _page(path: str, name: str, instance_name: str) -> Route:
    """Serve a file of STATIC at another path: its addresses, which begin with ./, become what they must be there.

    The instance's name stands in the page as it is sent: it must not jump, and a page that is saved has it.
    """
    text = (STATIC / name).read_text(encoding="utf-8")
    if instance_name:
        called = html.escape(instance_name)
        text = text.replace("<title>", f"<title>{called} – ", 1).replace('instance"></', f'instance">{called}</', 1)

    async def page(request: Request) -> HTMLResponse:
        # Under a known path absolute, because the page may be reached with and without a slash at the end.
        root = html.escape(request.scope.get("root_path", "").rstrip("/"))
        files = f"{root}/static/" if root else "static/"
        return HTMLResponse(text.replace('="./', f'="{files}'), headers=_FRESH)

    route = Route(path, page, methods=["GET"], include_in_schema=False)
    if path == "/":
        route.path_regex = re.compile("^/?$")  # a proxy may pass on its path without the slash
    return route
