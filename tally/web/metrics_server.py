"""The port on which an ingestor or an aggregator tells how it is.

It is served until the service has ended its work: what it does after a stop is to be seen, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tally.clock import SYSTEM
from tally.log_events import LISTENING
from tally.metrics import watch_event_loop
from tally.origins import is_loopback
from tally.runtime import cancel_and_wait
from tally.settings import Settings
from tally.telemetry import get_logger
from tally.web.listening import listen
from tally.web.readiness import Readiness

#: Few ask: Prometheus, an orchestrator, somebody who looks.
MAX_CONNECTIONS = 64


@asynccontextmanager
async def metrics_served(settings: Settings, *, readiness: Readiness) -> AsyncIterator[None]:
    """Serve until the block has ended, if TALLY_METRICS_PORT is set. Raises Failure when the port cannot be had."""
    if settings.metrics_port is None:
        yield
        return
    # Only now: others need not wait for it.
    from tally.web.limits import Limits
    from tally.web.metrics_app import create_app
    from tally.web.server import serve

    listener = listen(settings.metrics_host, settings.metrics_port, hint="set TALLY_METRICS_HOST or TALLY_METRICS_PORT")
    host, port = listener.getsockname()[:2]
    get_logger().info(LISTENING, host=host, port=port, serves="metrics")
    ended = asyncio.Event()
    app = create_app(readiness, loopback_only=is_loopback(host))
    serving = asyncio.create_task(serve(app, listener, ended, limits=Limits(max_connections=MAX_CONNECTIONS)))
    watching = asyncio.create_task(watch_event_loop(SYSTEM))
    try:
        yield
    finally:
        await cancel_and_wait(watching)
        ended.set()
        await serving
