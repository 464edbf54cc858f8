"""The api's process: uvicorn around the application."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.app import create_app
from tally.runtime import Failure
from tally.settings import Settings
from tally.telemetry import get_logger

#: How long open requests may go on after a stop.
GRACE_SECONDS = 3


class _Server(uvicorn.Server):
    """Leaves the signals to our own entry point."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises Failure when the port cannot be had."""
    listener = _listen(settings)
    server = _Server(
        uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
        )
    )
    host, port = listener.getsockname()[:2]
    get_logger().info("listening", host=host, port=port)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving


def _listen(settings: Settings) -> socket.socket:
    host = settings.http_host
    try:
        return socket.create_server(
            (host, settings.http_port),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=2048,
        )
    except OSError as error:
        raise Failure(
            f"cannot listen on {host} port {settings.http_port}: {error.strerror}; "
            "set TALLY_HTTP_HOST or TALLY_HTTP_PORT"
        ) from error
