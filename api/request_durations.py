"""How long requests take, by the route that they are for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import REQUEST_SECONDS
from tally.clock import Clock
from tally.metrics import OTHER
from tally.web.paths import path_below_root

#: Any other is OTHER: clients send what they like.
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})

_child = cache(REQUEST_SECONDS.labels)


class _Names:
    """Tells the route of a path, as it is written where the route is made; OTHER if there is none."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._fixed: dict[str, str] = {"": "/"}
        self._open: list[tuple[re.Pattern[str], str]] = []  # those with parts that differ
        for route in routes:
            if isinstance(route, Mount):
                self._open.append((route.path_regex, f"{route.path}/{{path}}"))
            elif isinstance(route, Route) and route.param_convertors:
                self._open.append((route.path_regex, route.path_format))
            elif isinstance(route, Route):
                self._fixed[route.path] = route.path

    def of(self, path: str) -> str:
        name = self._fixed.get(path)
        if name is None:
            name = next((name for pattern, name in self._open if pattern.match(path)), OTHER)
        return name


class RequestDurations:
    """Observes how long each request waits until its answer begins: how fast a client takes it, is its own affair."""

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute], clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._names = _Names(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, has_begun = self._clock.monotonic(), False

        def observe(status: int) -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                method = scope["method"] if scope["method"] in _METHODS else OTHER
                child = _child(self._names.of(path_below_root(scope)), method, f"{status // 100}xx")
                child.observe(self._clock.monotonic() - began)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                observe(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            observe(500)  # which is sent by what is around us
            raise
