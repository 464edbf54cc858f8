"""Append one source to the stream: find where it stands, send what is read of it, see to it that it stays there.

    OPENING ---> SENDING ---> CONFIRMING ---> FINISHED
       ^            |             |
       +------------+-------------+

    OPENING     the source says what it is known as, and reading begins where Redis has it.
    SENDING     blocks go from the reader through the lane into the stream, until the source ends or we are to stop.
    CONFIRMING  the server has on its disk what was appended, or it has lost some of it.
    FINISHED    nothing is done any more.

The way back is taken when the source is another than it was known as, and, if it can be read again, when Redis has it
elsewhere than we do. While Redis is unavailable, a state is tried again and again: for as long as it takes, or after a
stop for some seconds, if what is in flight cannot be read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from functools import partial

from ingestor import log_events
from ingestor.ending import Ending, Incomplete
from ingestor.lane import Compared, Lane, Sent
from ingestor.metrics import SourceMetrics, of_source
from ingestor.renewal import keep_known
from ingestor.retrying import Tries
from ingestor.source_reader import Mistaken, NewReader, Reading, SourceReader
from ingestor.sources.base import Another, Source
from ingestor.striped_lanes import lanes_over
from tally.backoff import Backoff
from tally.clock import SYSTEM, Clock
from tally.runtime import cancel_and_wait
from tally.settings import Settings
from tally.store import StoreUnavailable
from tally.store.protocols import AppenderStore
from tally.telemetry import get_logger

#: For how long after a stop it is tried to append what was read of a source that cannot be read again.
FLUSH_SECONDS = 8.0


class State(Enum):
    """What is being done; see the head of this module."""

    OPENING = auto()
    SENDING = auto()
    CONFIRMING = auto()
    FINISHED = auto()


class SourceAppender:
    """Read one source until it ends or `stop` is set, and append what was read.

    While Redis answers, what comes in piles up and the blocks grow by themselves; while it is idle a line leaves at
    once. When the stream is full, or Redis unavailable, the source is soon not read any further.
    """

    def __init__(
        self,
        source: Source,
        *,
        store: AppenderStore,
        settings: Settings,
        stop: asyncio.Event,
        confirms: bool = True,
        on_setback: Callable[[], Awaitable[None]] | None = None,
        clock: Clock = SYSTEM,
        backoff: Backoff | None = None,
        flush_seconds: float = FLUSH_SECONDS,
        new_reader: NewReader | None = None,
        metrics: SourceMetrics | None = None,
    ) -> None:
        """With `confirms`, `run` ends only when the server has what was appended on its disk.

        `on_setback` is waited for when Redis has forgotten some of what it had of a source that can be read again,
        before anything of that is appended again. `new_reader` makes the reader, if it is not to have one of its own.
        `metrics` are those of the source as it was configured, if this is only one file of it.
        """
        self._source = source
        self._store = store
        self._stop = stop
        self._after_sending = State.CONFIRMING if confirms else State.FINISHED
        self._on_setback = on_setback
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._metrics = metrics or of_source(source.label)
        self._log = get_logger().bind(source=source.label)
        self._tries = Tries(self._log, stop=stop, clock=clock, backoff=backoff, seconds_after_stop=flush_seconds)
        self._changed = asyncio.Event()  # there may be a block to take, or reading has ended, or we are to stop
        if new_reader is None:
            new_reader = partial(SourceReader, source, settings=settings, log=self._log)
        self._reader = new_reader(on_change=self._changed.set)
        shared = {"settings": settings, "stop": stop, "log": self._log, "clock": clock, "metrics": self._metrics}
        self._lane = lanes_over(store.shards, replayable=source.replayable, is_bulk=lambda: source.is_bulk, **shared)
        self._never: set[str] = set()  # names under which the source was found to be another
        self._was_set_back = False  # and `on_setback` has not done yet what it does
        self._told_of_setback = False
        self._is_at_end = False  # the source has ended, and all of it was appended
        self._is_kept = not confirms  # what was appended is on the server's disk, or that was not asked for
        self._lost_bytes = 0
        self.state = State.OPENING

    @property
    def name(self) -> str:
        """The source's name in the store; empty until it was opened."""
        return self._lane.name

    @property
    def position(self) -> int:
        """The position behind what was appended; of one that is spread over shards, behind what all of them have."""
        return self._lane.resumes_at

    @property
    def positions(self) -> tuple[int, ...]:
        """The position in each shard."""
        return self._lane.positions

    @property
    def appended_bytes(self) -> int:
        """How much of the source was appended, line ends included."""
        return self._lane.appended_bytes

    @property
    def appended_lines(self) -> int:
        """How many lines were appended."""
        return self._lane.appended_lines

    def set_back(self) -> None:
        """Note that Redis has forgotten some of what it had of this source: it is read from where it stands there.

        Otherwise that is seen with the next block, and a source that gives nothing has none.
        """
        self._told_of_setback = True
        self._changed.set()

    async def run(self) -> None:
        """Append until the end, or until we are to stop.

        Raises Failure when the source cannot be read, and Incomplete when a finite one is not in the stream whole, or
        what was read of another one had to be thrown away.
        """
        began = self._clock.monotonic()
        stopping = asyncio.create_task(self._wake_on_stop())
        renewing = asyncio.create_task(keep_known(self._store, lambda: self.name, clock=self._clock))
        try:
            with self._metrics.buffers(lambda: self._reader.held_bytes + self._lane.in_flight_bytes):
                while self.state is not State.FINISHED and await self._step():
                    pass
        finally:
            stopping.cancel()
            await cancel_and_wait(renewing)
            await asyncio.gather(renewing, return_exceptions=True)  # what it may raise an append would, too
            await self._reader.stop()
        self._report(seconds=self._clock.monotonic() - began)

    async def _step(self) -> bool:
        """Do what the present state is about, and go to the next one; False when it is not to be tried again."""
        steps = {State.OPENING: self._open, State.SENDING: self._send, State.CONFIRMING: self._confirm}
        try:
            self.state = await steps[self.state]()
        except Another as error:
            if isinstance(error, Mistaken):
                self._never.add(self.name)
                self._log.warning(log_events.OTHER_BYTES, name=self.name)
            self.state = State.OPENING
        except StoreUnavailable as error:
            return await self._tries.wait(error, also_after_stop=bool(self.name) and not self._source.replayable)
        return True

    async def _wake_on_stop(self) -> None:
        await self._stop.wait()
        self._changed.set()

    async def _open(self) -> State:
        if self._was_set_back and self._on_setback is not None:
            await self._on_setback()
        self._was_set_back = False
        known = await self._source.known_as(self._store.known, never=self._never)
        self._log.info(log_events.SOURCE_OPENED, name=known.name, position=known.position)
        if known.before:
            self._log.info(log_events.PASSED_OVER, name=known.name, position=known.position, up_to=known.reached)
        if known.reached:
            with suppress(StoreUnavailable):  # a full Redis, say, is no reason not to find that all was read
                await self._store.renew_sources([known.name])
        self._is_at_end = False
        self._lane.start(known)
        self._reader.start(known)
        return State.SENDING

    async def _send(self) -> State:
        """Append until the source has ended, or we are to stop. Raises StoreUnavailable; call it again then."""
        while True:
            if self._lane.is_empty and (next_state := await self._fill()) is not None:
                return next_state
            appended_before = self.appended_bytes
            sent = await self._lane.send()
            self._tries.note_answer(is_progress=self.appended_bytes != appended_before)
            if sent is Sent.FULL:
                seconds_after_stop = 0.0 if self._source.replayable else self._flush_seconds
                if not await self._lane.wait_for_room(seconds_after_stop=seconds_after_stop):
                    return self._after_sending
            elif sent is Sent.ELSEWHERE:
                if self._source.replayable:
                    return await self._read_again(self._lane.found_elsewhere)
                await self._go_on_elsewhere()

    async def _fill(self) -> State | None:
        """Put blocks into the lane as soon as there are any; the next state if there will be none."""
        while True:
            self._changed.clear()
            if self._told_of_setback and self._source.replayable:
                self._told_of_setback = False
                for stand in await self._lane.stands():
                    if stand.stored < stand.ours:
                        return await self._read_again(stand)
            if self._stop.is_set():
                if self._source.replayable:
                    return self._after_sending
                await self._reader.stop()
            while self._lane.has_room and (block := self._reader.take()) is not None:
                self._lane.put(block)
            if not self._lane.is_empty:
                return None
            if self._reader.reading is not Reading.GOES_ON:
                self._reader.raise_what_failed()
                self._is_at_end = self._reader.reading is Reading.ENDED
                return self._after_sending
            self._reader.wait()
            await self._changed.wait()

    async def _go_on_elsewhere(self) -> None:
        """Go on under a new name: Redis has lost some of what it had of this one, and it cannot be sent again."""
        assert isinstance(self._lane, Lane)
        name = (await self._source.known_as(self._store.known)).name
        lost_bytes = self._lane.go_on_as(name)
        self._lose(f"{log_events.LINES_LOST}; going on under a new name", lost_bytes, name=name)

    async def _read_again(self, stand: Compared) -> State:
        """See to it that the source is known anew: where it stands now, and whether what is there is still the same."""
        self._log.warning(log_events.READING_AGAIN, ours=stand.ours, stored=stand.stored)
        self._metrics.read_again.inc()
        await self._reader.stop()
        self._never.clear()
        self._was_set_back = self._was_set_back or stand.stored < stand.ours
        return State.OPENING

    async def _confirm(self) -> State:
        """Make sure that what was appended stays.

        Otherwise what a server loses of its last second just after we are gone would never be sent again.
        """
        if self._stop.is_set() and self._source.replayable:
            return State.FINISHED
        if self._source.replayable and not any(self.positions):
            await self._store.register_sources([self.name])  # with its time, unlike what waiting writes
        kept = await self._lane.wait_until_kept()
        stands = await self._lane.stands()
        self._is_kept = kept and all(stand.stored >= stand.ours for stand in stands)
        elsewhere = next((stand for stand in stands if stand.stored != stand.ours), None)
        if self._source.replayable:
            # Further than we are: by another ingestor, which may have appended another file under this name.
            return State.FINISHED if elsewhere is None else await self._read_again(elsewhere)
        if elsewhere is not None and elsewhere.stored < elsewhere.ours:
            self._lose(log_events.LINES_LOST, elsewhere.ours - elsewhere.stored)
        await self._store.forget_sources([self.name])
        return State.FINISHED

    def _report(self, *, seconds: float) -> None:
        """Say how it ended. Raises what ended reading, and Incomplete."""
        thrown_away = not self._lane.is_empty and not self._source.replayable
        if thrown_away:
            self._lose(log_events.LINES_NOT_TAKEN, self._lane.in_flight_bytes + self._reader.held_bytes)
        self._log.info(
            log_events.SOURCE_ENDED if self._is_at_end else log_events.SOURCE_STOPPED,
            name=self.name,
            position=self.position,
            appended_bytes=self.appended_bytes,
            seconds=round(seconds, 3),
        )
        with suppress(Another):
            self._reader.raise_what_failed()
        ending = Ending(
            name=self.name,
            position=self.position,
            is_at_end=self._is_at_end,
            is_kept=self._is_kept,
            lost_bytes=self._lost_bytes,
            replayable=self._source.replayable,
        )
        if ending.shortfall and (thrown_away or self._source.finite):
            raise Incomplete(ending.shortfall)

    def _lose(self, sentence: str, lost_bytes: int, **details: str) -> None:
        self._lost_bytes += lost_bytes
        self._metrics.lost_bytes.inc(max(0, lost_bytes))
        self._log.error(sentence, lost_bytes=lost_bytes, **details)
