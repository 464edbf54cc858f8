"""uvicorn as a part of a service: it leaves the signals to us, and bounds what a client may make it hold."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from tally.web.connection import Connection
from tally.web.limits import HEAD_SECONDS, Limits
from tally.web.listening import ACCEPT_BACKLOG
from tally.web.request_ids import RequestIds

#: How long open requests may go on after a stop.
GRACE_SECONDS = 3


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
            RequestIds(app),
            http=Connection.limited(limits or Limits()),
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
    logging.getLogger("uvicorn.error").addFilter(_is_not_logged_yet)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        stopping.cancel()
    await serving


def _is_not_logged_yet(record: logging.LogRecord) -> bool:
    """Leave out what uvicorn says of an exception, which RequestIds has logged."""
    return not (record.exc_info and record.getMessage().startswith("Exception in ASGI application"))


class _Server(uvicorn.Server):
    """Leaves the signals to our own entry point, and gives a TLS handshake as long as a request's head."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        loop, config = asyncio.get_running_loop(), self.config

        def connection() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )
            return made

        seconds = HEAD_SECONDS if config.ssl else None
        self.servers = [
            await loop.create_server(
                connection,
                sock=each,
                ssl=config.ssl,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
                backlog=ACCEPT_BACKLOG,
            )
            for each in sockets or []
        ]
        self.started = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
