"""Requests that are refused are logged, now and then: neither is a wrong token never seen, nor does it fill the log."""

from __future__ import annotations

import json
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tally.clock import SYSTEM, Clock
from tally.log_throttle import LogThrottle
from tally.printing import printable
from tally.web.log_events import REQUEST_REFUSED
from tally.web.paths import logged_path

#: What is no refusal, or is logged where it is decided with more than is known here: 403 and 421 by CrossSite.
_NOT_LOGGED = frozenset({403, 404, 421, 429})


class LogRefusals:
    """Logs answers of 400 to 499 with what was asked, and by whom: of each status one in ten seconds."""

    def __init__(self, app: ASGIApp, *, clock: Clock = SYSTEM, **bound: Any) -> None:
        """`bound` is logged with each, as the source."""
        self._app = app
        self._throttle = LogThrottle(clock=clock, **bound)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif 400 <= status < 500 and status not in _NOT_LOGGED and not message.get("more_body", False):
                self._log(scope, status, message.get("body", b""))
            await send(message)

        await self._app(scope, receive, watched if scope["type"] == "http" else send)

    def _log(self, scope: Scope, status: int, body: bytes) -> None:
        client = scope.get("client")
        self._throttle.warning(
            f"{REQUEST_REFUSED} with {status}",
            title=_title(body),
            method=scope["method"],
            path=logged_path(scope),
            peer=client[0] if client else None,
        )


def _title(body: bytes) -> str | None:
    """Return what the problem details are titled, if it is these. They quote what was sent in their detail alone."""
    try:
        problem = json.loads(body)
    except ValueError:
        return None
    return printable(str(problem.get("title"))) if isinstance(problem, dict) else None
