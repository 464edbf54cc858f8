"""Around every request: the proxy's path, headers for browsers, the token."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import REFUSED_TOKENS
from tally.web import problem_types as types
from tally.web.methods import allow_header
from tally.web.paths import path_below_root
from tally.web.problem_answers import problem
from tally.web.problem_types import PATH as PROBLEMS_PATH

#: Where no token is asked for: health, and the pages, which hold no counts and ask for the token themselves. Nor
#: for their files, and for the pages of problems, which somebody without a token has to read.
_OPEN = frozenset({"", "/", "/docs", "/favicon.ico", "/healthz", "/readyz"})

_OPEN_PREFIXES = ("/static/", PROBLEMS_PATH)

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class ProxyPath:
    """Makes a path that the proxy has taken its part off whole again, as ASGI wants it: mounts look for that part."""

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            whole = f"{scope['path']}/".startswith(f"{self._root_path}/")
            path = scope["path"] if whole else self._root_path + scope["path"]
            scope = {**scope, "path": path, "root_path": self._root_path}
        await self._app(scope, receive, send)


class TakesNoEvents:
    """Answers POST and the like with where events are to be sent: here are only answers, nearly all of them by GET."""

    def __init__(self, app: ASGIApp, *, asked_by_post: Collection[str]) -> None:
        """`asked_by_post` are the paths of questions that come in a body."""
        self._app = app
        self._asked_by_post = asked_by_post

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sends = scope["type"] == "http" and scope["method"] in ("POST", "PUT", "PATCH")
        if not sends or path_below_root(scope) in self._asked_by_post:
            await self._app(scope, receive, send)
            return
        response = problem(
            types.TAKES_NO_EVENTS,
            "send them to an http source of the ingestor: run `tally ingest http://127.0.0.1:9000`, or "
            "`tally up --source http://127.0.0.1:9000`, and POST to http://127.0.0.1:9000/events",
            headers={"Allow": allow_header("GET")},
        )
        await response(scope, receive, send)


class SecurityHeaders:
    """Says to browsers what a page of ours may do: nothing that does not come from here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class BearerToken:
    """Asks for a bearer token. Compares in constant time, by digests, so that not even its length shows."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._digest = hashlib.sha256(token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_open(path_below_root(scope)) or self._is_known(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        REFUSED_TOKENS.inc()
        response = problem(
            types.TOKEN_NEEDED,
            "send the header Authorization: Bearer, with the value of TALLY_API_TOKEN",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await response(scope, receive, send)

    @staticmethod
    def _is_open(path: str) -> bool:
        return path in _OPEN or path.startswith(_OPEN_PREFIXES)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode()).digest()
        return scheme.lower() == "bearer" and hmac.compare_digest(digest, self._digest)
