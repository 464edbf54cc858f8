"""The api's process: uvicorn around the application."""

from __future__ import annotations

import asyncio

from api.app import create_app
from api.live import Live
from tally.http_server import serve
from tally.listening import listen
from tally.settings import Settings
from tally.telemetry import get_logger


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises Failure when the port cannot be had."""
    listener = listen(settings.http_host, settings.http_port, hint="set TALLY_HTTP_HOST or TALLY_HTTP_PORT")
    app = create_app(settings)
    host, port = listener.getsockname()[:2]
    get_logger().info("listening", host=host, port=port)
    ending = asyncio.create_task(_end_feeds(app.state.live, stop))
    try:
        await serve(app, listener, stop)
    finally:
        ending.cancel()


async def _end_feeds(live: Live, stop: asyncio.Event) -> None:
    """End the live feeds at a stop: the server would wait for pages that are open."""
    await stop.wait()
    live.end_watching()
