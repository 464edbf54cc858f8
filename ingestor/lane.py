"""A lane into the stream: the blocks of one source on their way, in order, each appended exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Literal

from ingestor.durability import wait_until_kept
from ingestor.log_events import APPENDS_GO_ON, APPENDS_HELD, STREAM_FULL, STREAM_HAS_ROOM
from ingestor.metrics import APPEND_DURATION, SourceMetrics
from tally.clock import Clock
from tally.log_throttle import Telling
from tally.settings import Settings
from tally.store import Block, Known
from tally.store.protocols import LaneStore
from tally.telemetry import Log

#: How often a full stream is asked whether there is room again, and searched for blocks that another client deleted:
#: an aggregator does that, too, but there may be none.
FULL_POLL_SECONDS, FULL_RECONCILE_SECONDS = 0.02, 5.0

#: After so long without an answer a shard is left with what it has got: what comes meanwhile may go to another one.
STUCK_SECONDS = 0.25


#: Why a source is not read for now.
Why = Literal["full", "held"]


class Sent(Enum):
    """What became of the blocks in flight."""

    APPENDED = auto()  # all of them are in the stream
    FULL = auto()  # the stream has no room for those that are still in flight
    ELSEWHERE = auto()  # the source does not stand where they begin: Redis lost data, or another ingestor reads it


@dataclass(frozen=True, slots=True)
class Compared:
    """How far a source is in a shard by what Redis says, and by what we have appended."""

    stored: int
    ours: int


class Lane:
    """The blocks of a source that were taken and are not known to be in the stream, and how far the stream has it.

    A block stays in flight until Redis has answered for it, however often that takes: a retry cannot append it twice,
    because it is appended only where the source stands at the block's start.

    Blocks have their positions from the source's start on. Under its present name in the store the source may have
    begun later (`go_on_as`), and what is stored are positions from there on.
    """

    def __init__(
        self,
        *,
        store: LaneStore,
        settings: Settings,
        stop: asyncio.Event,
        log: Log,
        clock: Clock,
        is_bulk: Callable[[], bool],
        metrics: SourceMetrics,
    ) -> None:
        """`is_bulk` says each time whether the source is read in bulk, and finds the stream full earlier."""
        self._store = store
        self._is_bulk = is_bulk
        self._stop = stop
        self._log = log
        self._clock = clock
        self._metrics = metrics
        self._most_blocks = settings.max_blocks_in_flight
        self._in_flight: deque[Block] = deque()
        self._begins_at = 0  # where in the source its present name begins
        self._telling = Telling(clock=clock)
        self.name = ""  # the source's in the store
        self.position = 0  # behind what is in the stream under that name
        self.stored_position = 0  # where Redis said last that the source stands
        self.appended_bytes = 0
        self.appended_lines = 0

    def start(self, known: Known) -> None:
        """Go on under this name from this position; what was in flight is not sent any more."""
        self.name, self.position = known.name, known.position
        self._begins_at = 0
        self._in_flight.clear()

    @property
    def resumes_at(self) -> int:
        """Where reading would begin, by what is in the stream."""
        return self.position

    @property
    def positions(self) -> tuple[int, ...]:
        """The position in each shard: in the only one."""
        return (self.position,)

    @property
    def found_elsewhere(self) -> Compared:
        """What there is to say when it was `ELSEWHERE`."""
        return Compared(self.stored_position, self.position)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in flight."""
        return not self._in_flight

    @property
    def has_room(self) -> bool:
        """Whether another block may be put into it."""
        return len(self._in_flight) < self._most_blocks

    @property
    def blocks_in_flight(self) -> int:
        """How many blocks are in flight."""
        return len(self._in_flight)

    @property
    def in_flight_bytes(self) -> int:
        """How much of the source is in flight, in bytes."""
        return sum(block.end - block.start for block in self._in_flight)

    def put(self, block: Block) -> None:
        """Take the next block, which begins where the one before it ends."""
        self._in_flight.append(block)

    async def send(self) -> Sent:
        """Append what is in flight; what was not appended stays in flight. Raises StoreUnavailable; send again then."""
        began = self._clock.monotonic()
        outcomes = await self._store.append(source=self.name, blocks=self._as_stored(), bulk=self._is_bulk())
        APPEND_DURATION.observe(self._clock.monotonic() - began)
        lines_before, bytes_before = self.appended_lines, self.appended_bytes
        blocks = Counter[str]()
        sent = Sent.APPENDED
        for outcome in outcomes:
            self.stored_position = outcome.position
            blocks[outcome.outcome] += 1
            if outcome.outcome in ("appended", "duplicate"):
                self._land(self._in_flight.popleft())
                continue
            sent = Sent.FULL if outcome.outcome == "full" else Sent.ELSEWHERE
            break
        self._metrics.appended(
            blocks, lines=self.appended_lines - lines_before, bytes_=self.appended_bytes - bytes_before
        )
        return sent

    async def stands(self) -> list[Compared]:
        """Ask Redis how far the source is in each shard: in the only one. Raises StoreUnavailable."""
        return [Compared(await self._store.position(self.name), self.position)]

    async def wait_until_kept(self) -> bool:
        """Wait until what was appended outlives a crash; False if that is not certain. Raises StoreUnavailable."""
        return await wait_until_kept(self._store, self.name, stop=self._stop, clock=self._clock)

    def _as_stored(self) -> list[Block]:
        base = self._begins_at
        if not base:
            return list(self._in_flight)
        return [replace(block, start=block.start - base, end=block.end - base) for block in self._in_flight]

    def _land(self, block: Block) -> None:
        self.position = block.end - self._begins_at
        self.appended_bytes += block.end - block.start
        self.appended_lines += block.lines.count(b"\n") + 1

    def go_on_as(self, name: str) -> int:
        """Go on under another name, which begins with what is in flight; return how many bytes the store has lost."""
        lost_bytes = self._in_flight[0].start - self._begins_at - self.stored_position
        self.name, self.position = name, 0
        self._begins_at = self._in_flight[0].start
        return lost_bytes

    async def wait_for_room(self, *, seconds_after_stop: float) -> bool:
        """Wait until the stream has room again, and nobody holds appends.

        False if we are to stop, and that was not so for so long after that.

        Raises StoreUnavailable.
        """
        began = waited_until = self._clock.monotonic()
        reconcile_next = began + FULL_RECONCILE_SECONDS
        deadline = None
        said: Why | None = None
        while True:
            said = said or await self._say_full()
            has_room = await self._store.has_room(bulk=self._is_bulk())
            now = self._clock.monotonic()
            self._metrics.backpressure.inc(now - waited_until)  # while it lasts: it may last for hours
            waited_until = now
            if has_room:
                break
            if self._clock.monotonic() >= reconcile_next:
                reconcile_next = self._clock.monotonic() + FULL_RECONCILE_SECONDS
                await self._store.reconcile_backlog()
                said = await self._say_held() or said
            if not self._stop.is_set():
                await self._clock.wait(self._stop, FULL_POLL_SECONDS)
                continue
            if deadline is None:
                deadline = self._clock.monotonic() + seconds_after_stop
            if self._clock.monotonic() >= deadline:
                return False
            await self._clock.wait(asyncio.Event(), FULL_POLL_SECONDS)
        if said:
            waited_seconds = round(self._clock.monotonic() - began, 3)
            self._log.info(APPENDS_GO_ON if said == "held" else STREAM_HAS_ROOM, waited_seconds=waited_seconds)
        return True

    async def _say_full(self) -> Why | None:
        """Say that the stream is full, or held, unless that was said a while ago, by any source; return what was.

        While aggregators are slower than the source it has room, and is full again, many times a second. Raises
        StoreUnavailable.
        """
        is_bulk = self._is_bulk()
        if not self._telling.is_due((STREAM_FULL, id(self._store), is_bulk)):
            return None
        if said := await self._say_held():
            return said
        # For one that is read in bulk, it is no trouble: so it is whenever aggregators are slower than the source.
        (self._log.info if is_bulk else self._log.warning)(STREAM_FULL)
        return "full"

    async def _say_held(self) -> Why | None:
        """Say who holds appends, if anybody does and that was not said; return whether it was."""
        held = await self._store.held()
        if held is None or not self._telling.is_due((APPENDS_HELD, id(self._store), held.since)):
            return None
        self._log.info(APPENDS_HELD, by=f"tally {held.by}", host=held.host)  # somebody wants it so
        return "held"
