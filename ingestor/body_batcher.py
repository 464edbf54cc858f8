"""Bodies on their way into the stream: those that come while Redis is busy share the next round trip."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingestor.bodies import Lines
from ingestor.metrics import APPEND_DURATION, of_source
from tally.backoff import Backoff
from tally.clock import SYSTEM, Clock
from tally.store import StoreUnavailable
from tally.store.idempotent import Body, DiskNotWaitedFor, OnceWord
from tally.store.protocols import BodyStore
from tally.telemetry import shared_context

#: How long an Idempotency-Key is kept at the least; unless there are too many, see TALLY_MAX_IDEMPOTENCY_KEYS.
KEY_MS = 86_400_000

#: How long the key is kept that we make for a body without one: well over APPEND_SECONDS, after which nobody tries it
#: again; not much longer, for there is one for each round trip.
OWN_KEY_MS = 60_000

#: How long a body is tried to be appended, while Redis is unavailable, before its sender is told.
APPEND_SECONDS = 5.0

#: Round trips at the same time: one is on its way while the next is made up.
IN_FLIGHT = 2


@dataclass(slots=True)
class _Waiting:
    """Bodies that are appended as one, and their senders."""

    key: str | None  # the sender's
    digest: str
    blocks: list[bytes]
    lines: int
    deadline: float
    answers: list[asyncio.Future[OnceWord]] = field(default_factory=list)


class BodyBatcher:
    """Appends bodies, each once. All of it belongs to one event loop."""

    def __init__(self, store: BodyStore, *, source: str, max_block_bytes: int, clock: Clock = SYSTEM) -> None:
        self._store = store
        self._source = source
        self._metrics = of_source(source)
        self._max_block_bytes = max_block_bytes
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._trips: dict[asyncio.Task[None], float] = {}  # with when they began, in monotonic seconds

    @property
    def waited_seconds(self) -> float:
        """For how long an answer is waited for."""
        return self._clock.monotonic() - min(self._trips.values(), default=self._clock.monotonic())

    async def append(self, lines: Lines, *, key: str | None) -> OnceWord:
        """Append the lines of one body, all or nothing, once under its key if it has one.

        Tries again by itself while Redis is unavailable, for a while. Raises StoreUnavailable then: the body may be in
        the stream or not, and only a key makes it safe to send it again.
        """
        answer: asyncio.Future[OnceWord] = asyncio.get_running_loop().create_future()
        last = self._waiting[-1] if self._waiting else None
        if key is None and last is not None and last.key is None and self._fit(last, lines):
            last.blocks[0] += b"\n" + lines.blocks[0]
            last.lines += lines.count
            last.answers.append(answer)
        else:
            deadline = self._clock.monotonic() + APPEND_SECONDS
            waiting = _Waiting(key, lines.digest, list(lines.blocks), lines.count, deadline, [answer])
            self._waiting.append(waiting)
        self._depart()
        return await answer

    def _fit(self, last: _Waiting, lines: Lines) -> bool:
        """Return whether these lines may go into the same block as those that wait already."""
        blocks = (*last.blocks, *lines.blocks)
        return len(blocks) == 2 and sum(map(len, blocks)) < self._max_block_bytes

    def _depart(self) -> None:
        if self._waiting and len(self._trips) < IN_FLIGHT:
            trip = asyncio.create_task(self._trip(list(self._waiting)), name="append bodies", context=shared_context())
            self._waiting.clear()
            self._trips[trip] = self._clock.monotonic()
            trip.add_done_callback(self._arrive)

    def _arrive(self, trip: asyncio.Task[None]) -> None:
        del self._trips[trip]
        self._depart()

    async def _trip(self, waiting: list[_Waiting]) -> None:
        try:
            words = await self._append(waiting)
        except BaseException as error:  # whatever it is, the senders are not left waiting
            for answer in (answer for each in waiting for answer in each.answers if not answer.done()):
                if isinstance(error, Exception):
                    answer.set_exception(error)
                else:
                    answer.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for each, word in zip(waiting, words, strict=True):
            for answer in each.answers:
                if not answer.done():  # its sender is gone
                    answer.set_result(word)

    async def _append(self, waiting: list[_Waiting]) -> list[OnceWord]:
        bodies = [
            Body(uuid.uuid4().hex, each.digest, OWN_KEY_MS, each.blocks, own=True)
            if each.key is None
            else Body(each.key, each.digest, KEY_MS, each.blocks)
            for each in waiting
        ]
        deadline = min(each.deadline for each in waiting)
        backoff = Backoff(most_seconds=1.0)
        again = False
        while True:
            try:
                async with asyncio.timeout(max(deadline - self._clock.monotonic(), 1.0)):
                    began = self._clock.monotonic()
                    words = await self._store.append_once(source=self._source, bodies=bodies)
                    APPEND_DURATION.observe(self._clock.monotonic() - began)
                    self._note(waiting, words, again=again)
                    return words
            except TimeoutError:
                raise StoreUnavailable(f"no answer within {APPEND_SECONDS:g} s") from None
            except DiskNotWaitedFor:
                raise  # it stays so
            except StoreUnavailable:
                again = True
                delay_seconds = backoff.next_seconds()
                if self._clock.monotonic() + delay_seconds > deadline:
                    raise
                await self._clock.sleep(delay_seconds)

    def _note(self, waiting: Sequence[_Waiting], words: Sequence[OnceWord], *, again: bool) -> None:
        """Note what became of bodies; that an answer was lost before, if they were sent again."""
        blocks = Counter[str]()
        lines = bytes_ = 0
        for each, word in zip(waiting, words, strict=True):
            blocks[word] += len(each.blocks)
            if word == "appended" or (word == "duplicate" and (each.key is None or again)):
                lines += each.lines
                bytes_ += sum(map(len, each.blocks)) + len(each.blocks)
            elif word == "duplicate":
                self._metrics.replays.inc()
        self._metrics.appended(blocks, lines=lines, bytes_=bytes_)
