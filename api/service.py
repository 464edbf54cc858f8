"""The api's process: uvicorn around the application."""

from __future__ import annotations

import asyncio
import sys

from api.app import create_app
from api.live import Live
from api.work import Work
from tally.clock import SYSTEM, Clock
from tally.log_events import LISTENING
from tally.metrics import watch_event_loop
from tally.origins import parse_hosts, parse_origins, taken_hosts
from tally.peers import Peers
from tally.settings import Settings
from tally.telemetry import get_logger
from tally.web.cross_site import Allowed, CrossSite
from tally.web.limits import Limits
from tally.web.listening import allow_connections, listen, warn_if_open
from tally.web.refusals import LogRefusals
from tally.web.server import GRACE_SECONDS, serve

#: How long a stop may take in any case: less than the ten seconds that docker-compose.yml and Docker give.
STOP_SECONDS = 8.0

#: How long the interpreter lets one thread go on while another waits: a question that is quickly answered waits so long
#: now and then while a long answer is made.
SWITCH_SECONDS = 0.001

#: How long a long answer may go on after a stop; the server's own grace is longer.
LONG_ANSWERS_GRACE_SECONDS = GRACE_SECONDS - 1


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises Failure when the port cannot be had."""
    sys.setswitchinterval(SWITCH_SECONDS)
    listener = listen(settings.http_host, settings.http_port, hint="set TALLY_HTTP_HOST or TALLY_HTTP_PORT")
    allow_connections(settings.max_connections)
    app = create_app(settings)
    host, port = listener.getsockname()[:2]
    get_logger().info(LISTENING, host=host, port=port, namespace=settings.namespace)
    if settings.api_token is None:
        warn_if_open(host, danger="anybody who reaches it may read all counts", remedy="set TALLY_API_TOKEN")
    guarded = CrossSite(
        app,
        allowed=Allowed(
            origins=parse_origins(settings.cors_origins),
            hosts=taken_hosts(parse_hosts(settings.allowed_hosts), address=host),
            origins_setting="TALLY_CORS_ORIGINS",
            hosts_setting="TALLY_ALLOWED_HOSTS",
        ),
        root_path=settings.root_path,
    )
    ending = asyncio.create_task(_end(app.state.live, app.state.work, stop))
    watching = asyncio.create_task(watch_event_loop(SYSTEM))
    try:
        await serve(
            LogRefusals(guarded),
            listener,
            stop,
            limits=Limits(max_connections=settings.max_connections, peers=Peers(settings.trusted_networks)),
        )
    finally:
        ending.cancel()
        watching.cancel()


async def _end(live: Live, work: Work, stop: asyncio.Event, *, clock: Clock = SYSTEM) -> None:
    """End the live feeds at a stop, and soon after long answers: the server would wait for them, and cut them off."""
    await stop.wait()
    live.end_watching()
    await clock.sleep(LONG_ANSWERS_GRACE_SECONDS)
    work.close()
