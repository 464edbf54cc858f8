"""A name for each request: in all that is logged about it, and in the headers of its answer, for people to compare.

A proxy, or a client, may have given it one already (`X-Request-ID`), which it then keeps if that is short and plain:
so one name finds it in the logs of all that it went through.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from ipaddress import ip_address

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tally.telemetry import bind_request, get_logger
from tally.web.log_events import REQUEST_FAILED
from tally.web.paths import logged_path

#: The header, of requests and of answers.
REQUEST_ID = "X-Request-ID"

_NAME = REQUEST_ID.lower().encode()

#: What a name may be that somebody else has given: it comes into our log, and into headers.
_PLAIN = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")


def made_id() -> str:
    """Return a name that no other request has."""
    return uuid.uuid4().hex


class RequestIds:
    """Names each request, and logs what an application could not answer: once, with that name."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given(scope["headers"]) or made_id()
        # Until its task ends, and so also of what uvicorn logs about it.
        bind_request(request_id=request_id, peer=_peer(scope))

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in message.get("headers", ()) if header[0].lower() != _NAME]
                message = {**message, "headers": [*headers, (_NAME, request_id.encode())]}
            await send(message)

        try:
            await self._app(scope, receive, named)
        except Exception as error:
            get_logger().error(REQUEST_FAILED, method=scope["method"], path=logged_path(scope), exc_info=error)
            raise  # so that the server ends an answer that has begun; what it says of that is left out, see server


def _given(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the name that the request came with, if it is one, and plain."""
    given = [value for name, value in headers if name == _NAME]
    return given[0].decode() if len(given) == 1 and _PLAIN.fullmatch(given[0]) else None


def _peer(scope: Scope) -> str | None:
    """Return the client's address. A proxy on this machine says it, or anybody there who says any text instead."""
    client = scope.get("client")
    try:
        return str(ip_address(client[0].partition("%")[0])) if client else None
    except ValueError:
        return None
