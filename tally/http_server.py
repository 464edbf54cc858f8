"""uvicorn as a part of a service: it leaves the signals to us, and bounds what a client may make it hold."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tally.seldom import Seldom

#: How long open requests may go on after a stop.
GRACE_SECONDS = 3

#: Bytes of a request's line, headers or trailers; uvicorn has no limit of its own here.
MAX_HEAD_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take. A connection over the number is closed at once."""

    max_connections: int | None = None
    head_seconds: float = 60.0  # from a connection's start, or the answer before, to the end of a request's head
    keep_alive_seconds: int = 5  # how long an idle connection is kept


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the PEM files are that make it HTTPS."""

    chain: Path
    key: Path | None


async def serve(
    app: Any,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    limits: Limits | None = None,
    certificate: Certificate | None = None,
) -> None:
    """Serve the ASGI application `app` on `listener` until `stop` is set; requests then have a few seconds to end."""
    server = _Server(
        uvicorn.Config(
            app,
            http=_protocol(limits or Limits()),
            log_config=None,
            access_log=False,
            timeout_keep_alive=(limits or Limits()).keep_alive_seconds,
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
            ssl_certfile=certificate.chain if certificate else None,
            ssl_keyfile=certificate.key if certificate else None,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        stopping.cancel()
    await serving


class _Server(uvicorn.Server):
    """Leaves the signals to our own entry point."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Guarded(HttpToolsProtocol):
    """One connection. It ends when it sends a head without end, or none for too long, or is one too many."""

    limits: Limits
    refused: Seldom

    _deadline: asyncio.TimerHandle | None = None
    _steps = 0  # parts of a body and whole requests that came
    _bytes_since_step = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        most = self.limits.max_connections
        if most is not None and len(self.connections) > most:
            self.refused.warning("too many connections, refused; raise TALLY_MAX_CONNECTIONS", max_connections=most)
            transport.abort()
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_no_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        steps = self._steps
        super().data_received(data)
        self._bytes_since_step = 0 if self._steps != steps else self._bytes_since_step + len(data)
        if self._bytes_since_step > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"Request head is over {MAX_HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        self._expect_no_head()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._steps += 1
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # else the next request is here already
            self._expect_head()

    def _expect_head(self) -> None:
        self._expect_no_head()
        self._deadline = self.loop.call_later(self.limits.head_seconds, self._give_up)

    def _expect_no_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def _protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """The class of connections with these limits: uvicorn makes them, and gives them nothing of ours."""
    return type("Guarded", (_Guarded,), {"limits": limits, "refused": Seldom()})
