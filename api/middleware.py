"""Around every request: the token, and answers that are given again while they are fresh."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from dataclasses import dataclass

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.snapshot import CHECK_SECONDS, MAX_AGE_SECONDS
from tally import problems

#: For how long an answer is held at the most. Its snapshot may be as old: together that is a quarter second.
MAX_HELD_SECONDS = MAX_AGE_SECONDS

#: An answer that is asked for more often than this is held longer than the moment for which no snapshot is checked.
GIVEN_A_SECOND = 1000

#: When an answer was made, as it stands in JSON. In a name that is a value the quotation marks would be escaped.
_AS_OF = re.compile(rb'"as_of":[0-9.e+]+')

#: What tells one answer from another: path, query, Accept.
_Question = tuple[str, bytes, bytes]

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


class TakesNoEvents:
    """Says where events are to be sent to whoever sends one here: this answers questions, all of them by GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        response = problems.problem(
            405,
            "The api takes no events",
            detail="send them to an http source of the ingestor: run `tally ingest http://127.0.0.1:9000`, or "
            "`tally up --source http://127.0.0.1:9000`, and POST to http://127.0.0.1:9000/events",
            headers={"Allow": "GET, HEAD"},
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


@dataclass(slots=True)
class _Answer:
    made_at: float  # monotonic seconds
    etag: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    given: int = 0

    def is_fresh(self) -> bool:
        """Whether it may be given once more."""
        age_seconds = time.monotonic() - self.made_at
        return age_seconds <= CHECK_SECONDS or age_seconds <= min(MAX_HELD_SECONDS, self.given / GIVEN_A_SECOND)


class FreshAnswers:
    """Gives the same answer to the same question while it is fresh, and 304 to whoever has it already.

    An answer is fresh for as long as a snapshot is not even checked, and longer the more often it is asked for: each
    time it is given lets it grow a millisecond older, up to MAX_HELD_SECONDS. So a viewer sees at once what is new,
    and ten thousand questions a second cost eight runs of a route. Of many who ask for an answer that is not fresh one
    runs the route, and the others wait for it. What is not fresh is thrown away with the next answer that is made.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._answers: dict[_Question, _Answer] = {}
        self._making: dict[_Question, asyncio.Event] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = get_route_path(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else ""
        if not path.startswith(("/v1/", "/events/")) or path == "/v1/live":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "method": "GET"}  # the server leaves out the body of an answer to HEAD
        accept, if_none_match = b"", b""
        for name, value in scope["headers"]:
            if name == b"accept":
                accept += b"," + value  # it may be sent in several headers, and the route reads all
            elif name == b"if-none-match":
                if_none_match = value
        question = (path, scope["query_string"], accept)
        answer = self._fresh(question)
        if answer is None and question in self._making:
            await self._making[question].wait()
            answer = self._fresh(question)
        if answer is None:
            answer = await self._make(question, scope, receive, send)
            if answer is None:
                return  # an error, already sent
        answer.given += 1
        if if_none_match and _matches(if_none_match.decode("latin-1"), answer.etag):
            kept = [header for header in answer.headers if header[0] not in (b"content-length", b"content-type")]
            await send({"type": "http.response.start", "status": 304, "headers": kept})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _fresh(self, question: _Question) -> _Answer | None:
        answer = self._answers.get(question)
        return answer if answer is not None and answer.is_fresh() else None

    async def _make(self, question: _Question, scope: Scope, receive: Receive, send: Send) -> _Answer | None:
        """Run the route; keep a good answer, pass on any other."""
        made = self._making.setdefault(question, asyncio.Event())
        try:
            answer = await self._run(scope, receive, send)
            if answer is not None:
                for each in [each for each, held in self._answers.items() if not held.is_fresh()]:
                    del self._answers[each]
                self._answers[question] = answer
            return answer
        finally:
            made.set()
            self._making.pop(question, None)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> _Answer | None:
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
        etag = _etag(body, named=get_route_path(scope).startswith("/events/"))
        headers = [*start["headers"], (b"etag", etag.encode()), (b"cache-control", b"no-cache")]
        return _Answer(time.monotonic(), etag, headers, body)


def _etag(body: bytes, *, named: bool) -> str:
    """A weak one, because when an answer was made is left out: it is the same as long as its counts are.

    `named` is whether names from events are the answer's keys: there `as_of` is such a name, and its number a count.
    """
    digest = hashlib.blake2b(body if named else _AS_OF.sub(b"", body, count=1), digest_size=12)
    return f'W/"{digest.hexdigest()}"'


def _matches(if_none_match: str, etag: str) -> bool:
    """By the weak comparison of RFC 9110, 8.8.3.2: proxies make weak ones of ours when they compress."""
    given = (each.strip().removeprefix("W/") for each in if_none_match.split(","))
    return if_none_match.strip() == "*" or etag.removeprefix("W/") in given
