"""Answers that are given again while they are fresh, to each client in the encoding that it prefers."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.compression import LEAST_BYTES, Encoding, compressed, preferred
from api.formats import MISSING_SHARDS
from api.freshness import fresh_seconds
from api.memory import RETRY_AFTER_SECONDS, Memory
from tally.clock import SYSTEM, Clock
from tally.log_throttle import LogThrottle
from tally.telemetry import shared_context
from tally.web.paths import path_below_root
from tally.web.problem_answers import problem
from tally.web.problem_types import TOO_MUCH_ASKED

#: For how long an answer that is no longer fresh is remembered: one that comes out the same is not compressed again.
REMEMBERED_SECONDS = 60.0

#: What an answer takes besides its body and its question.
_OVERHEAD_BYTES = 2000

#: A larger body is sent in slices, each when the client has taken most of those before.
SLICE_BYTES = 262_144

#: How long a client may take for such a body: so many seconds, and as many as it takes at so many bytes a second.
SEND_SECONDS, LEAST_BYTES_A_SECOND = 30.0, 65_536

#: When an answer was made, as it stands in JSON. In a name that is a value the quotation marks would be escaped.
_AS_OF = re.compile(rb'"as_of":[0-9.e+]+')

#: Headers that say what a table alone does not: which shards are not in it, and where it goes on.
_SAY_MORE = (MISSING_SHARDS.lower().encode(), b"link")

#: What tells one answer from another: path, query, Accept.
_Question = tuple[str, bytes, bytes]

_Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True, weakref_slot=True)
class _Encoded:
    """An answer in one encoding."""

    headers: _Headers
    body: bytes


@dataclass(slots=True, weakref_slot=True)
class _Answer:
    made_at: float  # monotonic seconds
    etag: str
    plain: _Encoded
    encoded: dict[Encoding, asyncio.Task[_Encoded]] = field(default_factory=dict)
    given: int = 0

    def is_fresh(self, *, now: float) -> bool:
        """Return whether it may be given once more."""
        return now - self.made_at <= fresh_seconds(given=self.given)


class AnswerCache:
    """Gives the same answer to the same question while it is fresh, and 304 to a client that has it already.

    It is fresh for longer the more often it is asked for, see freshness.py: a viewer sees at once what is new, and ten
    thousand questions a second cost eight runs of a route. Of many who ask for an answer that is not fresh one
    runs the route, and the others wait for it. What is not fresh is remembered for a while with its compressed forms,
    as far as `memory` has room: while nothing is counted it comes out the same each time.
    """

    def __init__(self, app: ASGIApp, *, memory: Memory, clock: Clock = SYSTEM) -> None:
        self._app = app
        self._memory = memory
        self._clock = clock
        self._answers: OrderedDict[_Question, _Answer] = OrderedDict()  # the one made last stands last
        self._making: dict[_Question, asyncio.Event] = {}
        self._slow = LogThrottle(clock=clock)
        memory.when_full(self._drop)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_below_root(scope) if scope["type"] == "http" and scope["method"] == "GET" else ""
        if not (path == "/v1" or path.startswith(("/v1/", "/events/"))) or path == "/v1/live":
            await self._app(scope, receive, send)
            return
        accept, accept_encoding, if_none_match = b"", b"", b""
        for name, value in scope["headers"]:
            if name == b"accept":
                accept += b"," + value  # it may be sent in several headers, and the route reads all
            elif name == b"accept-encoding":
                accept_encoding += b"," + value
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
        if if_none_match and matches(if_none_match.decode("latin-1"), answer.etag):
            kept = [header for header in answer.plain.headers if header[0] not in (b"content-length", b"content-type")]
            await send({"type": "http.response.start", "status": 304, "headers": kept})
            await send({"type": "http.response.body", "body": b""})
            return
        given = answer.plain
        if accept_encoding and len(given.body) >= LEAST_BYTES:
            encoding = preferred(accept_encoding[1:].decode("latin-1"))
            if encoding is not None:
                given = await self._encoded(answer, encoding)
        await send({"type": "http.response.start", "status": 200, "headers": given.headers})
        if len(given.body) > SLICE_BYTES:
            await self._send_in_slices(given.body, send)
        else:
            await send({"type": "http.response.body", "body": given.body})

    def _fresh(self, question: _Question) -> _Answer | None:
        answer = self._answers.get(question)
        return answer if answer is not None and answer.is_fresh(now=self._clock.monotonic()) else None

    async def _make(self, question: _Question, scope: Scope, receive: Receive, send: Send) -> _Answer | None:
        """Run the route; keep a good answer, pass on any other."""
        made = self._making.setdefault(question, asyncio.Event())

        def let_others_go_on() -> None:
            made.set()
            if self._making.get(question) is made:
                del self._making[question]

        try:
            answer = await self._run(question, scope, receive, send, passes_on=let_others_go_on)
            if answer is not None:
                self._answers[question] = answer
                self._answers.move_to_end(question)
                self._forget()
            return answer
        finally:
            let_others_go_on()

    async def _run(
        self, question: _Question, scope: Scope, receive: Receive, send: Send, *, passes_on: Callable[[], None]
    ) -> _Answer | None:
        """Run the route. Calls `passes_on` when an answer begins that is not kept, but sent as it is made."""
        start: Message | None = None
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] == 200:
                start = message
            elif start is None:
                await send(message)
            elif message.get("more_body") and not parts:
                # A table that is made while it is sent: it would be too much to keep, or to wait for.
                passes_on()
                head, start = start, None
                await send(head)
                await send(message)
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, keep)
        if start is None:
            return None
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        before = self._answers.get(question)
        headers = _varied(start["headers"])
        if before is not None and before.plain.body == body and before.plain.headers[: len(headers)] == headers:
            before.made_at, before.given = self._clock.monotonic(), 0
            return before
        del before
        if len(body) > SLICE_BYTES and not self._memory.make_room(len(body)):
            # Those who are still taking theirs hold it all.
            refusal = problem(
                TOO_MUCH_ASKED,
                "other large answers are still being sent; ask again",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
            await refusal(scope, receive, send)
            return None
        etag = await _etag(body, headers, named=path_below_root(scope).startswith("/events/"))
        headers += [(b"etag", etag.encode()), (b"cache-control", b"no-cache")]
        answer = _Answer(self._clock.monotonic(), etag, _Encoded(headers, body))
        self._memory.hold(answer, _OVERHEAD_BYTES + sum(map(len, question)))
        self._memory.hold(answer.plain, len(body))
        return answer

    async def _encoded(self, answer: _Answer, encoding: Encoding) -> _Encoded:
        """Return the answer in this encoding; it is compressed once."""
        encoding_it = answer.encoded.get(encoding)
        if encoding_it is not None and encoding_it.done():
            return encoding_it.result()
        if encoding_it is None:
            encoding_it = answer.encoded[encoding] = asyncio.create_task(
                self._encode(answer.plain, encoding), context=shared_context()
            )
        return await asyncio.shield(encoding_it)

    async def _encode(self, plain: _Encoded, encoding: Encoding) -> _Encoded:
        body = await compressed(plain.body, encoding)
        headers = [header for header in plain.headers if header[0] != b"content-length"]
        headers += [(b"content-length", b"%d" % len(body)), (b"content-encoding", encoding.encode())]
        encoded = _Encoded(headers, body)
        self._memory.hold(encoded, len(body))
        return encoded

    def _forget(self) -> None:
        """Forget what was made long ago."""
        until = self._clock.monotonic() - REMEMBERED_SECONDS
        while self._answers and next(iter(self._answers.values())).made_at < until:
            self._answers.popitem(last=False)

    def _drop(self) -> bool:
        """Forget the answer that was made first."""
        if not self._answers:
            return False
        self._answers.popitem(last=False)
        return True

    async def _send_in_slices(self, body: bytes, send: Send) -> None:
        """Send a large body as fast as it is taken. One that is taken too slowly would be held for as long."""
        try:
            async with asyncio.timeout(SEND_SECONDS + len(body) / LEAST_BYTES_A_SECOND):
                for first in range(0, len(body), SLICE_BYTES):
                    part = body[first : first + SLICE_BYTES]
                    more = first + SLICE_BYTES < len(body)
                    await send({"type": "http.response.body", "body": part, "more_body": more})
        except TimeoutError:
            # The server closes the connection of an answer that ends early.
            self._slow.warning("a client takes its answer too slowly, given up", bytes=len(body))


def _varied(headers: _Headers) -> _Headers:
    """Return the same headers, which say that the answer depends on Accept-Encoding, too."""
    vary = b", ".join([*(value for name, value in headers if name == b"vary"), b"Accept-Encoding"])
    return [*(header for header in headers if header[0] != b"vary"), (b"vary", vary)]


async def _etag(body: bytes, headers: _Headers, *, named: bool) -> str:
    """Return a weak one, because when an answer was made is left out: it is the same as long as its counts are.

    It is the same in every encoding, too. `named` is whether names from events are the answer's keys: there `as_of` is
    such a name, and its number a count.
    """
    if not named:
        body = _AS_OF.sub(b"", body, count=1)
    digest = hashlib.blake2b(digest_size=12)
    for name, value in headers:
        if name in _SAY_MORE:
            digest.update(name + value)
    for first in range(0, len(body), SLICE_BYTES):
        if first:
            await asyncio.sleep(0)
        digest.update(memoryview(body)[first : first + SLICE_BYTES])
    return f'W/"{digest.hexdigest()}"'


def matches(if_none_match: str, etag: str) -> bool:
    """Return whether a client has the answer with this ETag; compared as RFC 9110, 8.8.3.2, says for weak ones."""
    given = (each.strip().removeprefix("W/") for each in if_none_match.split(","))
    return if_none_match.strip() == "*" or etag.removeprefix("W/") in given
