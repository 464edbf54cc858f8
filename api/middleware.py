"""Around every request: the token, and answers that are given again while they are fresh."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.snapshot import CHECK_SECONDS
from tally import problems

#: Where no token is asked for: health, and the pages, which hold no counts and ask for the token themselves.
_OPEN = frozenset({"", "/", "/docs", "/healthz", "/readyz"})

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
        if scope["type"] != "http" or self._is_open(get_route_path(scope)) or self._is_known(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        response = problems.problem(
            401,
            "A token is needed",
            detail="send the header Authorization: Bearer, with the value of TALLY_API_TOKEN",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await response(scope, receive, send)

    @staticmethod
    def _is_open(path: str) -> bool:
        return path in _OPEN or path.startswith("/static/")

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode()).digest()
        return scheme.lower() == "bearer" and hmac.compare_digest(digest, self._digest)


@dataclass(frozen=True, slots=True)
class _Answer:
    made_at: float
    etag: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class FreshAnswers:
    """Gives the same answer to the same question for a few milliseconds, and 304 to whoever has it already.

    That is as long as a snapshot is not even checked: nothing is older than it would be, and a thousand viewers
    cost one run of a route. What is not fresh is thrown away with the next answer that is made, so that only what was
    asked for in those few milliseconds is ever held.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._answers: dict[tuple[str, bytes, str], _Answer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = get_route_path(scope) if scope["type"] == "http" and scope["method"] == "GET" else ""
        if not path.startswith(("/v1/", "/events/")) or path == "/v1/live":
            await self._app(scope, receive, send)
            return
        accept = if_none_match = ""
        for name, value in scope["headers"]:
            if name == b"accept":
                accept = value.decode("latin-1")
            elif name == b"if-none-match":
                if_none_match = value.decode("latin-1")
        key = (path, scope["query_string"], accept)
        answer = self._answers.get(key)
        if answer is None or time.monotonic() - answer.made_at > CHECK_SECONDS:
            answer = await self._make(key, scope, receive, send)
            if answer is None:
                return  # an error, already sent
        etag = answer.etag.decode()
        if if_none_match and (if_none_match == "*" or etag in (each.strip() for each in if_none_match.split(","))):
            kept = [header for header in answer.headers if header[0] not in (b"content-length", b"content-type")]
            await send({"type": "http.response.start", "status": 304, "headers": kept})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _make(self, key: tuple[str, bytes, str], scope: Scope, receive: Receive, send: Send) -> _Answer | None:
        """Run the route; keep a good answer, pass on any other."""
        start: Message | None = None
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] == 200:
                start = message
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, keep)
        if start is None:
            return None
        body = b"".join(parts)
        etag = b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'
        headers = [*start["headers"], (b"etag", etag), (b"cache-control", b"no-cache")]
        answer = _Answer(time.monotonic(), etag, headers, body)
        stale = answer.made_at - CHECK_SECONDS
        for each in [each for each, held in self._answers.items() if held.made_at < stale]:
            del self._answers[each]
        self._answers[key] = answer
        return answer
