"""What is measured of the requests and connections of an http source."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingestor.metrics import SourceMetrics
from tally.clock import SYSTEM, Clock
from tally.web.limits import Meter
from tally.web.problem_answers import REASON


class SourceMeter(Meter):
    """Is told of the connections of a source."""

    def __init__(self, metrics: SourceMetrics) -> None:
        super().__init__()
        self._metrics = metrics

    def refused(self, reason: str) -> None:
        """Note that a connection was refused, or what came by it is no request."""
        self._metrics.refused(reason)


class MeasureRequests:
    """Measures how long each POST took and how much was sent, and counts what is refused, whatever refuses it."""

    def __init__(self, app: ASGIApp, *, metrics: SourceMetrics, clock: Clock = SYSTEM) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock.monotonic()
        body_bytes, status = 0, "none"  # nobody is there any more to be answered

        async def counted() -> Message:
            nonlocal body_bytes
            message = await receive()
            body_bytes += len(message.get("body", b""))
            return message

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = f"{message['status'] // 100}xx"
            await send(message)

        state = scope.setdefault("state", {})
        try:
            await self._app(scope, counted, watched)
        finally:
            if reason := state.get(REASON):
                self._metrics.refused(reason)
            if scope["method"] == "POST":
                self._metrics.request_duration(status).observe(self._clock.monotonic() - began)
                self._metrics.request_size.observe(body_bytes)
