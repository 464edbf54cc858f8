"""`http://HOST:PORT` and `https://HOST:PORT`: events that are posted, answered when they are in the stream."""

from __future__ import annotations

import asyncio

from ingestor.http_app import create_app
from ingestor.http_metrics import MeasureRequests, SourceMeter
from ingestor.metrics import of_source
from ingestor.renewal import keep_known, make_known
from ingestor.sources.addresses import TcpAddress, parse_address, tls_context
from ingestor.sources.base import Context
from tally.log_events import LISTENING
from tally.origins import parse_hosts, parse_origins, taken_hosts
from tally.peers import Peers
from tally.runtime import cancel_and_wait
from tally.telemetry import get_logger
from tally.web.cross_site import Allowed, CrossSite
from tally.web.limits import HEAD_SECONDS, Limits
from tally.web.listening import allow_connections, warn_if_open
from tally.web.refusals import LogRefusals
from tally.web.server import Certificate, serve


def parse_http(text: str) -> Http:
    """Make the source of its text form. Raises ValueError with what is wrong and what would be right."""
    return Http(text, parse_address(text), tls=text.startswith("https:"))


class Http:
    """Serves `POST /events`. Its name in the store is what it is called: it has no position to go on from."""

    is_early = True  # it answers with 503 until Redis does

    def __init__(self, label: str, address: TcpAddress, *, tls: bool) -> None:
        self.label = label
        self._address = address
        self._tls = tls

    async def run(self, context: Context) -> None:
        """Until `context.stop` is set; requests then have a few seconds to be answered.

        Raises Failure when the address cannot be had, or the certificate not be used.
        """
        settings = context.settings
        certificate = None
        if self._tls:
            tls_context(settings, source=self.label)  # says what is wrong with it, which uvicorn would not
            assert settings.tls_certificate_path is not None
            certificate = Certificate(settings.tls_certificate_path, settings.tls_key_path)
        listener = self._address.listen()
        allow_connections(settings.max_connections, owner=self.label)
        address = listener.getsockname()
        get_logger().info(LISTENING, source=self.label, address=address)
        if settings.ingest_token is None:
            warn_if_open(
                address[0],
                danger="anybody who reaches it may add events",
                remedy="set TALLY_INGEST_TOKEN",
                source=self.label,
            )
        guarded = CrossSite(
            create_app(
                settings, stores=context.store.shards, label=self.label, ready=context.ready, clock=context.clock
            ),
            allowed=Allowed(
                origins=parse_origins(settings.ingest_cors_origins),
                hosts=taken_hosts(parse_hosts(settings.ingest_allowed_hosts), address=address[0]),
                origins_setting="TALLY_INGEST_CORS_ORIGINS",
                hosts_setting="TALLY_INGEST_ALLOWED_HOSTS",
            ),
        )
        metrics = of_source(self.label)
        meter = SourceMeter(metrics)
        renewing = asyncio.create_task(self._be_known(context))
        try:
            with metrics.connected(lambda: meter.open):
                await serve(
                    MeasureRequests(LogRefusals(guarded, source=self.label), metrics=metrics, clock=context.clock),
                    listener,
                    context.stop,
                    limits=Limits(
                        max_connections=settings.max_connections,
                        head_seconds=min(HEAD_SECONDS, settings.connection_idle_seconds),
                        keep_alive_seconds=max(1, int(settings.connection_idle_seconds)),
                        peers=Peers(settings.trusted_networks),
                        meter=meter,
                    ),
                    certificate=certificate,
                )
        finally:
            await cancel_and_wait(renewing)
            await asyncio.gather(renewing, return_exceptions=True)  # what it may raise an append would, too

    async def _be_known(self, context: Context) -> None:
        await make_known(context.store, self.label, clock=context.clock)
        await keep_known(context.store, lambda: self.label, clock=context.clock)
