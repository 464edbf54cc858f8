"""Append a source that cannot be read again over several shards: a block at a time, to whichever lane has room.

It is read by one reader. Each shard has an appender, for which what it takes of that is a source of its own: a block
whose outcome is unknown stays with it, and while its shard is unavailable the others take what comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from ingestor.ending import Incomplete
from ingestor.lane import STUCK_SECONDS
from ingestor.log_events import LINES_NOT_TAKEN
from ingestor.metrics import of_source
from ingestor.source_appender import SourceAppender
from ingestor.source_reader import Reading, SourceReader
from ingestor.sources.base import Source
from tally.clock import SYSTEM, Clock
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import Block, Known
from tally.store.protocols import ContextStore
from tally.telemetry import Log, get_logger


def new_appender(
    source: Source, *, store: ContextStore, settings: Settings, stop: asyncio.Event, clock: Clock = SYSTEM
) -> SourceAppender | SpreadAppender:
    """Return what appends a source, over however many shards there are."""
    if source.replayable or len(store.shards) == 1:
        return SourceAppender(source, store=store, settings=settings, stop=stop, clock=clock)
    return SpreadAppender(source, store=store, settings=settings, stop=stop, clock=clock)


class SpreadAppender:
    """To who runs it what a SourceAppender is."""

    def __init__(
        self, source: Source, *, store: ContextStore, settings: Settings, stop: asyncio.Event, clock: Clock = SYSTEM
    ) -> None:
        self._metrics = of_source(source.label)
        self._log = get_logger().bind(source=source.label)
        self._shared = _SharedReader(source, settings=settings, log=self._log)
        # As many blocks in flight as one lane would have, but at least one in each.
        of_one = settings.model_copy(
            update={"max_blocks_in_flight": max(1, settings.max_blocks_in_flight // len(store.shards))}
        )
        self._appenders = [
            SourceAppender(source, store=shard, settings=of_one, stop=stop, clock=clock, new_reader=self._shared.part)
            for shard in store.shards
        ]

    @property
    def appended_bytes(self) -> int:
        """How much of the source was appended, line ends included."""
        return sum(each.appended_bytes for each in self._appenders)

    @property
    def appended_lines(self) -> int:
        """How many lines were appended."""
        return sum(each.appended_lines for each in self._appenders)

    async def run(self) -> None:
        """Append until the end, or until we are to stop. Raises what SourceAppender.run raises, once."""
        running = [asyncio.create_task(each.run()) for each in self._appenders]
        try:
            with self._metrics.buffers(lambda: self._shared.held_bytes):  # each of them tells the rest
                await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
                await self._shared.stop()  # if one cannot go on, the others append what was read, and end
                outcomes = await asyncio.gather(*running, return_exceptions=True)
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self._shared.stop()
        errors = [each for each in outcomes if isinstance(each, BaseException)]
        if errors and self._shared.held_bytes:  # each says what was in flight in its lane
            self._metrics.lost_bytes.inc(self._shared.held_bytes)
            self._log.error(LINES_NOT_TAKEN, lost_bytes=self._shared.held_bytes)
        if errors:
            raise max(errors, key=_weight)


def _weight(error: BaseException) -> int:
    """Return how much an error says, next to others: what is wrong with the source is why others are incomplete."""
    return 2 - isinstance(error, Failure) - isinstance(error, Incomplete)


class _SharedReader:
    """A reader whose blocks are taken by several, in turn: each some of them, as many bytes as a stripe of a file has.

    While one waits for an answer lines pile up, and blocks grow by themselves, as with a single lane. Others are told
    to take what is there when that is a block at least, or the answer does not come.
    """

    def __init__(self, source: Source, *, settings: Settings, log: Log) -> None:
        self._reader = SourceReader(source, settings=settings, log=log, on_change=self._on_change)
        self._stripe_bytes = settings.stripe_bytes
        self._block_bytes = settings.max_block_bytes
        self._parts: list[_Part] = []
        self._waiting: dict[_Part, None] = {}  # in the order in which they began to
        self._taker: _Part | None = None  # whose turn it is
        self._bytes_of_turn = 0
        self._nudge: asyncio.TimerHandle | None = None
        self._is_started = False

    def part(self, *, on_change: Callable[[], None]) -> _Part:
        """Return what is a reader to one of the appenders."""
        part = _Part(self, on_change)
        self._parts.append(part)
        return part

    @property
    def held_bytes(self) -> int:
        return self._reader.held_bytes

    @property
    def reading(self) -> Reading:
        return self._reader.reading

    def start(self) -> None:
        """Read, if that has not begun."""
        if not self._is_started:
            self._is_started = True
            self._reader.start(Known(""))

    async def stop(self) -> None:
        await self._reader.stop()
        self._cancel_nudge()

    def take(self, part: _Part) -> Block | None:
        block = self._reader.take()
        if block is None:
            return None
        if part is not self._taker:
            self._taker, self._bytes_of_turn = part, 0
        self._bytes_of_turn += block.end - block.start
        if self._bytes_of_turn >= self._stripe_bytes:
            self._taker = None
        if self._reader.held_bytes:
            self._tell_one()
        return block

    def wait(self, part: _Part) -> None:
        """Note that somebody waits for a block."""
        self._waiting[part] = None

    def raise_what_failed(self) -> None:
        self._reader.raise_what_failed()

    def _on_change(self) -> None:
        if self.reading is Reading.GOES_ON:
            self._tell_one()
            return
        self._cancel_nudge()
        for part in self._parts:
            part.on_change()

    def _tell_one(self) -> None:
        """Tell one of those that wait that there may be a block."""
        if self._taker is None or self._taker in self._waiting or self._reader.held_bytes >= self._block_bytes:
            self._tell_anyone()
        elif self._nudge is None:
            self._nudge = asyncio.get_running_loop().call_later(STUCK_SECONDS, self._tell_anyone)

    def _tell_anyone(self) -> None:
        self._cancel_nudge()
        if self._waiting:
            part = self._taker if self._taker in self._waiting else next(iter(self._waiting))
            del self._waiting[part]
            part.on_change()

    def _cancel_nudge(self) -> None:
        if self._nudge is not None:
            self._nudge.cancel()
            self._nudge = None


class _Part:
    """What one of the appenders reads, as a source of its own: positions begin at 0, and follow one another."""

    held_bytes = 0  # what nobody has taken is nobody's

    def __init__(self, shared: _SharedReader, on_change: Callable[[], None]) -> None:
        self._shared = shared
        self._position = 0
        self.on_change = on_change

    @property
    def reading(self) -> Reading:
        return self._shared.reading

    def start(self, known: Known) -> None:
        self._position = known.position
        self._shared.start()

    async def stop(self) -> None:
        await self._shared.stop()

    def take(self) -> Block | None:
        block = self._shared.take(self)
        if block is None:
            return None
        start = self._position
        self._position += block.end - block.start
        return replace(block, start=start, end=self._position)

    def wait(self) -> None:
        self._shared.wait(self)

    def raise_what_failed(self) -> None:
        self._shared.raise_what_failed()
