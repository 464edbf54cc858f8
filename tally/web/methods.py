"""HEAD and OPTIONS, which every path answers: the one as GET without its body, the other with what it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The methods that routes are made for.
_ROUTED = ("GET", "POST")


def allow_header(methods: str) -> str:
    """Return the header Allow for routes that take these methods, as it stands in another one."""
    found = {each.strip() for each in methods.split(",") if each.strip()} | {"OPTIONS"}
    if "GET" in found:
        found.add("HEAD")
    return ", ".join(sorted(found))


def taken_methods(routes: Sequence[BaseRoute], scope: Scope) -> str:
    """Return the methods for which there is a route at this path."""
    return ", ".join(
        method for method in _ROUTED if any(_takes(route, {**scope, "method": method}) for route in routes)
    )


def _takes(route: BaseRoute, scope: Scope) -> bool:
    # What is mounted matches whatever the method: it is files.
    is_of_files = isinstance(route, Mount) and scope["method"] != "GET"
    return not is_of_files and route.matches(scope)[0] is Match.FULL


class Methods:
    """Answers HEAD and OPTIONS for `routes`."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._head(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "OPTIONS" and (taken := taken_methods(self._routes, scope)):
            await Response(status_code=204, headers={"Allow": allow_header(taken)})(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as to GET, without a body. An answer that goes on, as the live feed does, ends with its headers."""
        ended = False

        async def without_body(message: Message) -> None:
            nonlocal ended
            if message["type"] != "http.response.body":
                await send(message)
            elif not ended:
                ended = True
                await send({"type": "http.response.body", "body": b""})
                if message.get("more_body"):
                    answering.cancel()

        answering = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, without_body))
        try:
            await answering
        except asyncio.CancelledError:
            if not ended:
                raise
