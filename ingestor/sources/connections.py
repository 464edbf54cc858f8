"""Connections that send lines, and the pile on which they put those that are whole, to be read from there.

Back-pressure: while the pile is full, a connection that has something to say is paused, after a few bytes more; the
kernel's buffer, and then the sender, waits. Paused ones go on in the order in which they were paused, as many as
there is room for, so that a fast sender does not shut out a slow one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from ingestor.line_buffer import LineBuffer
from ingestor.log_events import HTTP_TO_LINES, LONGEST_LINES_CUT, UNFINISHED_DROPPED
from ingestor.metrics import of_source
from ingestor.sources.base import CHUNK_BYTES
from tally.clock import SYSTEM, Clock
from tally.log_throttle import LogThrottle
from tally.settings import Settings
from tally.web.log_events import TOO_MANY_CONNECTIONS

#: How much is read of a connection at once.
READ_BYTES = 65_536

#: How much while the pile is full: a read cannot ask for nothing, and ten thousand of these are 2.5 MB.
TRICKLE_BYTES = 256

#: How requests of browsers begin, and no event. Any page can have them sent to any port of this machine, with lines of
#: its choice as the body.
_HTTP_REQUESTS = (b"GET /", b"HEAD /", b"POST /", b"PUT /", b"PATCH /", b"DELETE /", b"OPTIONS /", b"OPTIONS *")

_NO_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"This port takes lines, not HTTP: name it http://HOST:PORT in TALLY_SOURCE, and POST to /events.\n"
)


class Connections:
    """All connections of one source. What they hold together is bounded, whatever they send."""

    def __init__(self, settings: Settings, *, label: str, clock: Clock = SYSTEM) -> None:
        self.clock = clock
        self._max_connections = settings.max_connections
        self._max_line_bytes = settings.max_line_bytes
        self._max_buffered_bytes = settings.max_buffered_bytes
        self._log = LogThrottle(source=label, clock=clock)
        self._metrics = of_source(label)
        self._pile: deque[bytes] = deque()
        self._piled_bytes = 0
        self._held_bytes = 0  # unfinished lines
        self._connections: set[_Connection] = set()
        self._paused: dict[_Connection, None] = {}  # in the order in which they were paused
        self._arrived = asyncio.Event()
        self._buffer = memoryview(bytearray(READ_BYTES))  # shared: what is read is copied out of it at once
        self._closing = False
        self.last_arrival_seconds = 0.0

    def accept(self) -> asyncio.BufferedProtocol:
        """Return the protocol of a new connection."""
        return _Connection(self, LineBuffer(max_line_bytes=self._max_line_bytes))

    @property
    def open(self) -> int:
        """How many are open."""
        return len(self._connections)

    @property
    def held_bytes(self) -> int:
        """How much is held, on the pile and of unfinished lines."""
        return self._piled_bytes + self._held_bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give whole lines as they come, up to a chunk at once, until `close`."""
        while True:
            self._arrived.clear()
            if self._pile:
                yield self._take()
                continue
            self._resume(len(self._paused))
            if self._closing:
                return
            await self._arrived.wait()

    def close_idle(self, *, idle_seconds: float) -> None:
        """Close the connections that have been idle for so long, though they were free to send."""
        oldest = self.clock.monotonic() - idle_seconds
        idle = [each for each in self._connections if each.heard_seconds < oldest and each not in self._paused]
        for each in idle:
            each.close()
        if idle:
            self._log.warning("idle connections closed; see TALLY_CONNECTION_IDLE_SECONDS", connections=len(idle))

    def close(self) -> None:
        """Close all connections. What was taken of them stays on the pile, but for unfinished lines."""
        self._closing = True
        if self._held_bytes:
            self._log.warning(UNFINISHED_DROPPED, bytes=self._held_bytes)
            self._metrics.lost_bytes.inc(self._held_bytes)
        for each in list(self._connections):
            each.close()
        self._arrived.set()

    # What a connection tells.

    def opened(self, connection: _Connection) -> bool:
        """Take in a connection; return whether it may stay."""
        if self._closing:
            return False
        if len(self._connections) >= self._max_connections:
            self._metrics.refused("too_many_connections")
            self._log.warning(TOO_MANY_CONNECTIONS, max_connections=self._max_connections, peer=connection.peer)
            return False
        self._connections.add(connection)
        return True

    def buffer(self) -> memoryview:
        """Return where to read to: a little of it when the pile is full."""
        return self._buffer[:TRICKLE_BYTES] if self._full else self._buffer

    def received(self, connection: _Connection, count: int) -> None:
        """Take so many bytes from the buffer."""
        connection.heard_seconds = self.last_arrival_seconds = self.clock.monotonic()
        if not connection.begun:
            connection.begun = True
            if bytes(self._buffer[: min(count, 16)]).startswith(_HTTP_REQUESTS):
                self._metrics.refused("http_request")
                self._log.warning(HTTP_TO_LINES, peer=connection.peer)
                connection.close(saying=_NO_HTTP)
                return
        held_before = len(connection.partial)
        lines = connection.partial.feed(bytes(self._buffer[:count]))
        self._held_bytes += len(connection.partial) - held_before
        self._put(lines)
        if self._held_bytes > self._max_buffered_bytes:
            self._cut_longest()
        if self._full:
            self._paused[connection] = None
            connection.pause()

    def lost(self, connection: _Connection) -> None:
        """Drop a connection that is closed, by either end."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._paused.pop(connection, None)
        self._held_bytes -= len(connection.partial)
        if not self._closing:  # a line that we cut off ourselves is no line
            self._put(connection.partial.finish())

    @property
    def _full(self) -> bool:
        return self._piled_bytes >= CHUNK_BYTES

    def _put(self, lines: bytes) -> None:
        if lines:
            self._pile.append(lines)
            self._piled_bytes += len(lines)
            self._arrived.set()

    def _take(self) -> bytes:
        taken, taken_bytes = [], 0
        while self._pile and taken_bytes < CHUNK_BYTES:
            taken.append(self._pile.popleft())
            taken_bytes += len(taken[-1])
        self._piled_bytes -= taken_bytes
        self._resume((CHUNK_BYTES - self._piled_bytes) // READ_BYTES)
        return b"".join(taken)

    def _resume(self, count: int) -> None:
        for connection in list(self._paused)[: max(0, count)]:
            del self._paused[connection]
            connection.resume()

    def _cut_longest(self) -> None:
        """Make room: a tenth of it at once, or thousands of connections would be looked through for every line."""
        longest_first = sorted(self._connections, key=lambda connection: -len(connection.partial))
        cut = 0
        for connection in longest_first:
            if self._held_bytes <= self._max_buffered_bytes * 0.9:
                break
            cut += 1
            self._held_bytes -= len(connection.partial)
            self._put(connection.partial.cut())
        self._metrics.refused("no_room_for_line", cut)
        self._log.warning(
            LONGEST_LINES_CUT,
            lines=cut,
            connections=len(self._connections),
            peer=longest_first[0].peer,
        )


class _Connection(asyncio.BufferedProtocol):
    """One connection: its transport, and its line that is not finished yet."""

    __slots__ = ("_connections", "_transport", "begun", "heard_seconds", "partial")

    def __init__(self, connections: Connections, partial: LineBuffer) -> None:
        self._connections = connections
        self._transport: Any = None
        self.partial = partial
        self.heard_seconds = 0.0
        self.begun = False  # something was read of it

    @property
    def peer(self) -> str:
        """The address at the other end; empty for a unix socket."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.heard_seconds = self._connections.clock.monotonic()
        if not self._connections.opened(self):
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._connections.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._connections.received(self, nbytes)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._connections.lost(self)

    def pause(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._transport.is_closing():
            self.heard_seconds = self._connections.clock.monotonic()
            self._transport.resume_reading()

    def close(self, *, saying: bytes = b"") -> None:
        if saying:
            self._transport.write(saying)
        self._transport.close()
