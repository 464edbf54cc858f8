"""A connection of an HTTP server: uvicorn's, with a bound on all that a client may make it hold, or wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tally.log_throttle import LogThrottle
from tally.telemetry import shared_context
from tally.web import log_events
from tally.web.last_answer import last_answer
from tally.web.limits import Limits
from tally.web.problem_types import HEAD_TOO_LARGE, MALFORMED_REQUEST, TOO_MANY_PIPELINED, ProblemType
from tally.web.request_ids import made_id
from tally.web.room import Occupant, one_to_leave

#: Bytes of a request's line and headers, or of its trailers; uvicorn has no limit of its own here.
MAX_HEAD_BYTES = 65_536

#: Requests that may wait behind one that is being answered. Each takes 2 KB, however short it is.
MAX_PIPELINED = 64

#: How long a client may take nothing of what was written to it.
TAKE_SECONDS = 30.0


class TooManyPipelined(Exception):
    """There are too many requests behind one that is being answered."""


class HeadTooLarge(Exception):
    """There are too many bytes in a request's line and headers, or in its trailers."""


class Connection(HttpToolsProtocol):
    """One connection.

    Offers to upgrade are ignored, as RFC 9110 (7.8) wants it of a server that does not take them. The parser knows no
    such server: it leaves a message that offers one behind its head, body and all. So the head is parsed again without
    the offer, by a parser of its own, which then reads the body and what follows on the connection.

    What is malformed is answered in its turn, behind the requests before it, which may be under way.

    A client that does not take its answers waits, too: it may have to make room for others, and is cut off in the end.
    """

    limits: Limits
    refused: LogThrottle
    _deadline: asyncio.TimerHandle | None = None  # for what the client has to send
    _waits_since: float | None = None  # for its next request to be there whole, in the loop's seconds
    _taking: tuple[asyncio.TimerHandle, float | None] | None = None  # deadline for the client; _waits_since before it
    _in_head = False
    _heads = 0  # headers of the request; what comes to them later are its trailers
    _steps = 0  # parts of a body, and ends of heads and of requests, that came
    _bytes_since_step = 0  # in whole reads
    _came_bytes = 0  # the same at the most: with what is being parsed, and the whole read in which the last step came
    _malformed: bytes | None = None  # what it is answered with; nothing more is read

    @staticmethod
    def limited(limits: Limits) -> type[Connection]:
        """Return the class of connections with these limits: uvicorn makes them, and passes on nothing of ours."""
        return type("LimitedConnection", (Connection,), {"limits": limits, "refused": LogThrottle()})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.limits.meter.open += 1
        # So that pause_writing tells of every byte that is not taken. A high of 0 is not asked for: TLS then hangs.
        transport.set_write_buffer_limits(high=1, low=0)
        self._waits_since = self.loop.time()
        self._expect_something()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._expect_taken()
        self.limits.meter.open -= 1
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_taken()
        self._taking = self.loop.call_later(TAKE_SECONDS, self._give_up_sending), self._waits_since
        self._waits_since = self.loop.time()

    def resume_writing(self) -> None:
        if self._taking is not None:
            self._waits_since = self._taking[1]
        self._expect_taken()
        super().resume_writing()

    def _expect_taken(self) -> None:
        if self._taking is not None:
            self._taking[0].cancel()
            self._taking = None

    def _give_up_sending(self) -> None:
        self.limits.meter.refused("answer_not_taken")
        self.refused.warning(log_events.NOT_TAKEN, seconds=TAKE_SECONDS, peer=self._peer)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._malformed is not None or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        steps = self._steps
        self._came_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, HeadTooLarge):
                self._refuse_head()
            elif isinstance(error.__context__, TooManyPipelined):
                detail = f"at most {MAX_PIPELINED} behind one that is being answered; wait for answers"
                self._refuse(TOO_MANY_PIPELINED, detail)
            else:
                self._refuse(MALFORMED_REQUEST, "it is no HTTP/1.1")
            return
        if self._steps == steps:
            self._bytes_since_step += len(data)
        else:
            self._bytes_since_step, self._came_bytes = 0, len(data)
        if self._bytes_since_step > MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._is_answered or self._in_head:  # also what is nothing, as line ends in front of a request
            self._expect_something()

    # What the parser finds.

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
        """Return the head of the request that is being parsed, without `Upgrade`, so that nothing is offered."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":  # no offer: what follows would be for another server
                raise ValueError("CONNECT is for proxies")
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            raise TooManyPipelined
        self._check_size(len(self.url), 0)
        self._heads = len(self.headers)
        self._in_head = False
        self._steps += 1
        self._expect_nothing()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # of its head alone
        self._check_size(0, self._heads)
        self._steps += 1
        self._waits_since = None
        if self.cycle.response_complete:  # which did not wait for the rest of the body
            self.cycle.more_body = False
            self._waits_since = self.loop.time()
            self._expect_nothing()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._malformed is not None and len(self.pipeline) == self._is_in_body:
            self._send_refusal()
            return
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()  # which has just been resumed, although enough is there
        if self._is_answered and not self.transport.is_closing():
            if self.cycle.more_body:
                self._expect_something()
            else:
                self._waits_since = self.loop.time()

    def _check_size(self, bytes_: int, first: int) -> None:
        """Raises HeadTooLarge if the headers from this one on are too large together with so many bytes more."""
        if self._came_bytes > MAX_HEAD_BYTES:  # or it need not be added up
            bytes_ += sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers[first:])
            if bytes_ > MAX_HEAD_BYTES:
                raise HeadTooLarge

    @property
    def _is_answered(self) -> bool:
        """Return whether all that was asked is answered, if only before the last body had come."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _is_in_body(self) -> bool:
        return not self._in_head and self.cycle is not None and self.cycle.more_body

    # What is refused.

    def _refuse_head(self) -> None:
        self._refuse(HEAD_TOO_LARGE, f"at most {MAX_HEAD_BYTES} bytes of headers, or of trailers")

    def _refuse(self, type_: ProblemType, detail: str) -> None:
        """Answer with this, behind the requests before it, and end the connection.

        Nothing is known of the request, so the page of the type is where it is without a proxy's path.
        """
        self.limits.meter.refused(type_.reason)
        request_id = made_id()
        self._warn(log_events.REQUEST_REFUSED, status=type_.status, title=type_.title, request_id=request_id)
        self._expect_nothing()
        self._malformed = last_answer(type_, detail, request_id=request_id, headers=self.server_state.default_headers)
        if (not self.pipeline) if self._is_in_body else self._is_answered:
            self._send_refusal()

    def _send_refusal(self) -> None:
        if self._malformed is not None and not (self._is_in_body and self.cycle.response_started):
            self.transport.write(self._malformed)
        self.transport.close()

    def _warn(self, event: str, **fields: Any) -> None:
        """Log it of a request that is not known yet, and not of the one before, in whose task we may be."""
        shared_context().run(self.refused.warning, event, peer=self._peer, **fields)

    # What is waited for.

    def _expect_something(self) -> None:
        """Give a deadline to the rest of a head or of a body that was answered already, or to a first byte."""
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.head_seconds, self._give_up)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._in_head:
            self.limits.meter.refused("head_too_late")
            self._warn(log_events.HEAD_TOO_LATE, seconds=self.limits.head_seconds)
        self.transport.close()

    # Who may stay.

    @property
    def _peer(self) -> str | None:
        return self.client[0] if self.client else None

    def _make_room(self) -> None:
        """Close one connection if there are too many."""
        if (most := self.limits.max_connections) is None or len(self.connections) <= most:
            return
        everyone: list[Connection] = [each for each in self.connections if not each.transport.is_closing()]  # type: ignore[misc]
        if len(everyone) <= most:
            return
        occupants = {each: Occupant(self.limits.peers.of(each._peer), each._waits_since) for each in everyone}
        leaving, of_this_client = one_to_leave(self, occupants, most=most)
        self.limits.meter.refused("too_many_connections")
        self.refused.warning(
            log_events.TOO_MANY_CONNECTIONS if leaving is self else log_events.CONNECTION_GIVES_WAY,
            max_connections=most,
            setting="TALLY_MAX_CONNECTIONS",
            peer=leaving._peer,
            of_this_client=of_this_client,
        )
        leaving.transport.abort()


def _parser(protocol: Connection) -> httptools.HttpRequestParser:
    """Return a parser as uvicorn makes them: requests that follow one with `Connection: close` are no error."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
