"""Bodies that are being sent: how fast they must come, and which gives way when they hold too much together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from ingestor.bodies import BodyRefused
from ingestor.log_events import TOO_MANY_BODIES
from tally.log_throttle import LogThrottle
from tally.peers import Peers
from tally.web.problem_types import BODY_TOO_SLOW, TOO_MUCH_SENT

#: How fast a body must come. It is given this many seconds of waiting for what has to come in them, again and again.
LEAST_BYTES_PER_SECOND, PACE_SECONDS = 500, 10.0

#: A body of which nothing came for so long gives way to others.
STALLED_SECONDS = 1.0

#: When a client may send again what found no room, in seconds.
RETRY_AFTER_SECONDS = 1


class Body:
    """One of them: who sends it, what it holds, and how it comes."""

    def __init__(self, peer: str | None, *, pace_seconds: float, deadline: float) -> None:
        self.peer = peer
        self.buffered_bytes = 0
        self.gave_way = False
        self.came_at = asyncio.get_running_loop().time()
        self._pace_seconds = pace_seconds
        self._deadline = deadline
        self._waiting: asyncio.Timeout | None = None

    @property
    def waits(self) -> bool:
        """Return whether it waits for its sender."""
        return self._waiting is not None

    def give_way(self) -> None:
        """End its waiting: `chunks` raises BodyRefused."""
        self.gave_way = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def chunks(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield what comes, to the body's end. Raises BodyRefused when it comes too slowly, or has to give way."""
        loop = asyncio.get_running_loop()
        waited_seconds, came_bytes = 0.0, 0
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout_at(
                    min(self._deadline, began + self._pace_seconds - waited_seconds)
                ) as waiting:
                    self._waiting = waiting
                    try:
                        chunk = await anext(stream)
                    finally:
                        self._waiting = None
            except StopAsyncIteration:
                return
            except TimeoutError:
                if self.gave_way:
                    raise no_room() from None
                if loop.time() >= self._deadline:
                    raise BodyRefused(
                        BODY_TOO_SLOW,
                        "it took too long; send fewer events at once, or raise TALLY_MAX_BODY_SECONDS",
                    ) from None
                raise BodyRefused(
                    BODY_TOO_SLOW,
                    "it stopped coming; send it without long pauses, "
                    f"{LEAST_BYTES_PER_SECOND} bytes a second at the least",
                ) from None
            if self.gave_way:  # just when it came
                raise no_room()
            self.came_at = loop.time()
            waited_seconds += self.came_at - began
            came_bytes += len(chunk)
            if came_bytes >= LEAST_BYTES_PER_SECOND * self._pace_seconds:
                waited_seconds, came_bytes = 0.0, 0
            yield chunk


class BodyBuffers:
    """All of them. What they hold together is bounded, and no client can use it up for the others."""

    def __init__(
        self, *, max_buffered_bytes: int, max_body_seconds: float, pace_seconds: float, peers: Peers, label: str
    ) -> None:
        self._max_buffered_bytes = max_buffered_bytes
        self._max_body_seconds = max_body_seconds
        self._pace_seconds = pace_seconds
        self._peers = peers
        self._bodies: set[Body] = set()
        self._buffered_bytes = 0
        self._log = LogThrottle(source=label)

    @contextmanager
    def body(self, address: str | None) -> Iterator[Body]:
        """Hold a body that comes from there, until it is in the stream or refused."""
        deadline = asyncio.get_running_loop().time() + self._max_body_seconds
        body = Body(self._peers.of(address), pace_seconds=self._pace_seconds, deadline=deadline)
        self._bodies.add(body)
        try:
            yield body
        finally:
            self._forget(body)

    @property
    def buffered_bytes(self) -> int:
        """How much all of them hold."""
        return self._buffered_bytes

    def grow(self, body: Body, buffered_bytes: int) -> None:
        """Note how much the body holds now. Raises BodyRefused if there is no room, and no other gives way to it."""
        self._buffered_bytes += buffered_bytes - body.buffered_bytes
        body.buffered_bytes = buffered_bytes
        while self._buffered_bytes > self._max_buffered_bytes:
            other = self._one_to_give_way(body)
            self._log.warning(TOO_MANY_BODIES, peer=(other or body).peer)
            if other is None:
                raise no_room()
            self._forget(other)
            other.give_way()

    def _forget(self, body: Body) -> None:
        if body in self._bodies:
            self._bodies.discard(body)
            self._buffered_bytes -= body.buffered_bytes

    def _one_to_give_way(self, body: Body) -> Body | None:
        """Return the one that has stalled for the longest; else one of the client that holds the most, if not ours."""
        waiting = [each for each in self._bodies if each is not body and each.waits and each.buffered_bytes]
        stalled_at = asyncio.get_running_loop().time() - STALLED_SECONDS
        if stalled := [each for each in waiting if each.came_at < stalled_at]:
            return min(stalled, key=lambda each: each.came_at)
        held: Counter[str] = Counter()
        for each in self._bodies:
            if each.peer is not None:
                held[each.peer] += each.buffered_bytes
        ours = body.buffered_bytes if body.peer is None else held[body.peer]
        others = [each for each in waiting if each.peer is not None and held[each.peer] > ours]
        return max(others, key=lambda each: (held[each.peer or ""], -each.came_at), default=None)


def no_room() -> BodyRefused:
    """Return the refusal of a body for which there is no room, or no more."""
    return BodyRefused(
        TOO_MUCH_SENT,
        "nothing of the body was taken; send it again later",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
