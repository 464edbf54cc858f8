"""`tcp://HOST:PORT`, `tls://HOST:PORT` and `unix:PATH`: lines from many connections at once.

What came once cannot be read again, and TCP tells a sender nothing of what became of it: lines that were appended
are counted exactly once; those on their way when this process is killed are lost. A sender that must know uses HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from ingestor.metrics import of_source
from ingestor.sources.addresses import TcpAddress, UnixAddress, parse_address, parse_unix, tls_context
from ingestor.sources.base import Context, NotReplayable
from ingestor.sources.connections import Connections
from ingestor.spread_appender import new_appender
from tally.clock import Clock
from tally.log_events import LISTENING
from tally.telemetry import get_logger
from tally.web.listening import allow_connections, warn_if_open

#: A stopped source takes what arrives until nothing came for so long, at most so long.
QUIET_SECONDS, DRAIN_SECONDS = 0.1, 1.0

#: How long appending all of it may then take before the appender is told to hurry, which has a deadline of its own.
APPEND_SECONDS = 2.0

#: A client must have done its part of the TLS handshake by then.
HANDSHAKE_SECONDS = 10.0


def parse_socket(text: str) -> Sockets:
    """Make the source of its text form. Raises ValueError with what is wrong and what would be right."""
    if text.startswith("unix:"):
        return Sockets(text, parse_unix(text), tls=False)
    return Sockets(text, parse_address(text), tls=text.startswith("tls:"))


class Sockets:
    """A runner that listens, and appends the lines of all connections as one source."""

    is_early = False

    def __init__(self, label: str, address: TcpAddress | UnixAddress, *, tls: bool) -> None:
        self.label = label
        self._address = address
        self._tls = tls

    async def run(self, context: Context) -> None:
        """Listen until `context.stop` is set; lines that were taken by then are appended first.

        Raises Failure when the address cannot be had, or the certificate not be used.
        """
        loop = asyncio.get_running_loop()
        encryption = tls_context(context.settings, source=self.label) if self._tls else None
        listener = self._address.listen()
        allow_connections(context.settings.max_connections, owner=self.label)
        connections = Connections(context.settings, label=self.label, clock=context.clock)
        create_server = loop.create_unix_server if isinstance(self._address, UnixAddress) else loop.create_server
        server = await create_server(
            connections.accept,
            sock=listener,
            ssl=encryption,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if encryption else None,
        )
        get_logger().info(LISTENING, source=self.label, address=listener.getsockname())
        if isinstance(self._address, TcpAddress):
            warn_if_open(
                listener.getsockname()[0],
                danger="anybody who reaches it may add events",
                remedy="use an http source, which can ask for one",
                source=self.label,
            )
        hurry = asyncio.Event()
        appender = new_appender(
            _Lines(self.label, connections),
            store=context.store,
            settings=context.settings,
            stop=hurry,
            clock=context.clock,
        )
        appending = asyncio.create_task(appender.run(), name=f"append {self.label}")
        metrics = of_source(self.label)
        try:
            with metrics.connected(lambda: connections.open), metrics.buffers(lambda: connections.held_bytes):
                await self._until_stop(context, connections, appending)
                server.close()
                await _until_quiet(connections, clock=context.clock)
                connections.close()
                await asyncio.wait((appending,), timeout=APPEND_SECONDS)
                hurry.set()
                await appending
        finally:
            appending.cancel()
            server.close()
            connections.close()
            if isinstance(self._address, UnixAddress):
                self._address.remove()

    async def _until_stop(self, context: Context, connections: Connections, appending: asyncio.Task[None]) -> None:
        """Return when we are to stop, or appending has failed."""
        idle_seconds = context.settings.connection_idle_seconds
        stopping = asyncio.create_task(context.stop.wait())
        try:
            while not context.stop.is_set() and not appending.done():
                await asyncio.wait(
                    (stopping, appending), timeout=min(10.0, idle_seconds / 4), return_when=asyncio.FIRST_COMPLETED
                )
                connections.close_idle(idle_seconds=idle_seconds)
        finally:
            stopping.cancel()
            with suppress(asyncio.CancelledError):
                await stopping


class _Lines(NotReplayable):
    """The connections as the source that an appender reads."""

    def __init__(self, label: str, connections: Connections) -> None:
        self.label = label
        self._connections = connections

    def chunks(self, position: int) -> AsyncIterator[bytes]:  # noqa: ARG002
        return self._connections.chunks()


async def _until_quiet(connections: Connections, *, clock: Clock) -> None:
    """Wait a moment for what had arrived at this machine when we stopped."""
    began = clock.monotonic()
    while clock.monotonic() - began < DRAIN_SECONDS:
        await clock.sleep(QUIET_SECONDS)
        if clock.monotonic() - max(began - QUIET_SECONDS, connections.last_arrival_seconds) >= QUIET_SECONDS:
            return
