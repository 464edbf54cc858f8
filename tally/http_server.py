"""uvicorn as a part of a service: it leaves the signals to us, and bounds what a client may make it hold."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httptools
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
            ws="none",
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
    """One connection. It ends when it sends a head without end, or none for too long, or is one too many.

    Offers to upgrade are ignored, as RFC 9110 (7.8) wants it of a server that does not take them. The parser knows no
    such server: it leaves a message that offers one behind its head, body and all. So the head is parsed again without
    the offer, by a parser of its own, which then reads the body and what follows on the connection.
    """

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
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            if not self.transport.is_closing():
                self.send_400_response("Invalid HTTP request received.")
            return
        self._bytes_since_step = 0 if self._steps != steps else self._bytes_since_step + len(data)
        if self._bytes_since_step > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"Request head is over {MAX_HEAD_BYTES} bytes.")

    def _parse(self, data: bytes) -> None:
        """Raises httptools.HttpParserError."""
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                head = self._head_without_offer()
                self.parser = _parser(self)
                self.parser.feed_data(head)

    def _head_without_offer(self) -> bytes:
        """The head of the request that is being parsed, but for its `Upgrade`, without which nothing is offered."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":  # no offer: what follows would be for another server
                raise ValueError("CONNECT is for proxies")
            return
        self._expect_no_head()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # of its head alone
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


def _parser(protocol: _Guarded) -> httptools.HttpRequestParser:
    """A parser as uvicorn makes them: requests that follow one with `Connection: close` are no error."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """The class of connections with these limits: uvicorn makes them, and gives them nothing of ours."""
    return type("Guarded", (_Guarded,), {"limits": limits, "refused": Seldom()})
