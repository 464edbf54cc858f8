"""One source on its way into the stream: read, cut, appended in order, and read again where Redis says so."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint
from ingestor.framing import Framer
from ingestor.renewal import Sleep, keep_known
from ingestor.sources.base import CHUNK_BYTES, Another, Source
from tally.backoff import Backoff
from tally.log_throttle import LASTING_SECONDS, Outage
from tally.runtime import Failure, cancel_and_wait, wait_or_stop
from tally.settings import Settings
from tally.store import Append, Block, BlockStore, Known, StoreUnavailable
from tally.telemetry import get_logger

#: How long a stopped feed goes on trying to append what it holds of a source that cannot be read again.
FLUSH_SECONDS = 8.0

#: How often a full stream is asked whether there is room again, and looked through for blocks that somebody deleted:
#: an aggregator does that, too, but there may be none.
FULL_POLL_SECONDS, FULL_AUDIT_SECONDS = 0.05, 5.0

#: How long the server may take to write everything to its disk after the source's end.
DURABLE_SECONDS = 5.0

#: How long is waited instead where the server cannot tell: an append-only file is written out once a second.
NOT_DURABLE_SECONDS = 2.0


class Incomplete(Failure):
    """We were stopped before all of a source was in the stream, or some of it was lost."""


class _Mistaken(Another):
    """The bytes before the stored position are others, or there are not so many."""


class Feed:
    """Reads one source until it ends or `stop` is set, and appends what it reads.

    While Redis answers, what comes in piles up and the blocks grow by themselves; while it is idle a line leaves at
    once. When the stream is full, or Redis away, the pile reaches its limit and the source is not read any further.
    """

    def __init__(
        self,
        source: Source,
        *,
        store: BlockStore,
        settings: Settings,
        stop: asyncio.Event,
        settles: bool = True,
        on_setback: Callable[[], Awaitable[None]] | None = None,
        sleep: Sleep = asyncio.sleep,
        backoff: Backoff | None = None,
    ) -> None:
        """With `settles`, `run` ends only when the server has what was appended on its disk.

        `on_setback` is waited for when Redis has forgotten some of what it had of a source that can be read again,
        before anything of that is appended again. `sleep` is what waits until the source is renewed.
        """
        self._source = source
        self._on_setback = on_setback
        self._sleep = sleep
        self._backoff = backoff or Backoff()
        self._settles = settles
        self._store = store
        self._stop = stop
        self._log = get_logger().bind(source=source.label)
        self._outage = Outage(self._log)
        self._full_next = 0.0  # when it may be said again, in monotonic seconds
        self._blocks_at_once = settings.max_blocks_in_flight
        self._max_pile_bytes = (
            settings.max_blocks_in_flight * settings.max_block_bytes
            + max(settings.max_line_bytes, settings.max_block_bytes)
            + CHUNK_BYTES
        )
        self._framer = Framer(
            max_line_bytes=settings.max_line_bytes,
            max_block_bytes=settings.max_block_bytes,
            fingerprints=source.rereadable,
        )
        self._is_open = False
        self._was_set_back = False  # and `on_setback` has not done yet what it does
        self._told_of_setback = False
        self._never: set[str] = set()  # names under which it was found to be another
        self._name = ""
        self._base = 0  # position at which the source began under its present name
        self._position = 0  # behind what is in the stream under that name
        self._ended = False  # the source, and all of it was appended
        self._kept = False  # what was appended is on the server's disk
        self._lost_bytes = 0
        self._unsettled: deque[Block] = deque()  # taken off the pile, not known to be in the stream
        self._reader: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()  # the pile grew, or the source ended, or we are to stop
        self._room = asyncio.Event()
        self.appended_bytes = 0
        self.appended_lines = 0

    @property
    def name(self) -> str:
        """The source's name in the store; empty until it was opened."""
        return self._name

    @property
    def position(self) -> int:
        """The position behind what was appended."""
        return self._position

    def set_back(self) -> None:
        """Redis has forgotten some of what it had of this source: see where it stands, and read it from there.

        Otherwise that is seen with the next block, and a source that gives nothing has none.
        """
        self._told_of_setback = True
        self._changed.set()

    async def run(self) -> None:
        """Feed until the end, or until we are to stop.

        Raises Failure when the source cannot be read, and Incomplete when a finite one is not in the stream whole, or
        what was read of another one had to be thrown away.
        """
        began = time.monotonic()
        stopping = asyncio.create_task(self._wake_on_stop())
        renewing = asyncio.create_task(keep_known(self._store, lambda: self._name, sleep=self._sleep))
        deadline: float | None = None
        try:
            while True:
                try:
                    if not self._is_open:
                        await self._open()
                    if await self._append_all() and (not self._settles or await self._settled_for_good()):
                        break
                except Another as error:
                    if isinstance(error, _Mistaken):
                        self._never.add(self._name)
                        self._log.warning("what was read under this name is not what stands here", name=self._name)
                    self._is_open = False
                except StoreUnavailable as error:
                    delay_seconds = self._backoff.next_seconds()
                    self._outage.lasts(error, retry_in_seconds=delay_seconds)
                    if self._stop.is_set():
                        deadline = deadline or time.monotonic() + FLUSH_SECONDS
                        if time.monotonic() > deadline or self._source.rereadable or not self._name:
                            break
                        await asyncio.sleep(delay_seconds)
                    else:
                        await wait_or_stop(self._stop, delay_seconds)
        finally:
            stopping.cancel()
            await cancel_and_wait(renewing)
            await asyncio.gather(renewing, return_exceptions=True)  # what it may raise an append would, too
            await self._stop_reading()
        thrown_away = bool(self._unsettled) and not self._source.rereadable
        if thrown_away:
            self._lose(
                "stopped before Redis had taken everything: lines that cannot be read again may be lost",
                sum(block.end - block.start for block in self._unsettled) + self._framer.piled_bytes,
            )
        self._log.info(
            "source ended" if self._ended else "source stopped",
            name=self._name,
            position=self._position,
            appended_bytes=self.appended_bytes,
            seconds=round(time.monotonic() - began, 3),
        )
        with suppress(Another):
            self._raise_what_ended_reading()
        shortfall = self._shortfall()
        if shortfall and (thrown_away or self._source.finite):
            raise Incomplete(shortfall)

    def _shortfall(self) -> str:
        """Why not all of the source is in the stream and stays there; empty if it is."""
        if self._lost_bytes:
            return f"{self._lost_bytes:,} bytes of it are lost, or not known to be in the stream; see the log"
        if not self._name:
            return "stopped before Redis had answered"
        if not self._ended:
            again = "; run it again, and it goes on there" if self._source.rereadable else ""
            return f"stopped at position {self._position}, before its end{again}"
        if self._settles and not self._kept:
            return "stopped before it was certain that Redis keeps all of it"
        return ""

    def _lose(self, sentence: str, lost_bytes: int, **details: str) -> None:
        self._lost_bytes += lost_bytes
        self._log.error(sentence, lost_bytes=lost_bytes, **details)

    async def _open(self) -> None:
        if self._was_set_back and self._on_setback is not None:
            await self._on_setback()
        self._was_set_back = False
        known = await self._source.known_as(self._store.known, never=self._never)
        self._log.info("source opened", name=known.name, position=known.position)
        if known.position:
            with suppress(StoreUnavailable):  # a full Redis, say, keeps nobody from finding that all was read
                await self._store.renew_sources([known.name])
        self._name = known.name
        self._is_open = True
        self._start_reading(known)

    def _start_reading(self, known: Known) -> None:
        position = known.position
        self._framer.restart(position)
        self._position = position
        self._ended = False
        self._unsettled.clear()
        self._room.set()
        self._changed.set()
        self._reader = asyncio.create_task(self._read(known), name=f"read {self._source.label}")
        self._reader.add_done_callback(lambda _: self._changed.set())

    async def _stop_reading(self) -> None:
        """End the reader, if it has not ended. Raises nothing: what it gave before an error is to be taken first."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait((self._reader,))

    def _raise_what_ended_reading(self) -> None:
        if self._reader is not None and not self._reader.cancelled():
            self._reader.result()

    async def _read(self, known: Known) -> None:
        before = b""
        missing_bytes = min(known.position, FINGERPRINT_BYTES) if self._source.rereadable else 0
        async for given in self._source.chunks(known.position):
            chunk = given
            if missing_bytes:
                before += chunk[:missing_bytes]
                chunk = chunk[missing_bytes:]
                missing_bytes = min(known.position, FINGERPRINT_BYTES) - len(before)
                if missing_bytes:
                    continue
                self._compare(before, known)
                self._framer.restart(known.position, before=before)
            if not chunk:
                continue
            if before and not before.endswith(b"\n"):
                # It is counted already: as a whole line it would be counted twice.
                self._log.warning(
                    "the last line was taken without its end, and has gone on since: what came is another line",
                    position=known.position,
                )
            before = b""
            self._framer.feed(chunk)
            self._changed.set()
            if self._framer.piled_bytes >= self._max_pile_bytes - CHUNK_BYTES:
                self._room.clear()
                await self._room.wait()
        if missing_bytes:
            raise _Mistaken

    @staticmethod
    def _compare(before: bytes, known: Known) -> None:
        """Raises _Mistaken if other bytes stood before this position when it was stored."""
        last = Fingerprint.parse(known.last)
        if last is not None and not last.fits_last(before):
            raise _Mistaken

    async def _wake_on_stop(self) -> None:
        await self._stop.wait()
        self._changed.set()

    async def _append_all(self) -> bool:
        """Append until the source has ended, or we are to stop; False when it must be read again.

        Raises StoreUnavailable; what was not settled then is tried again by the next call.
        """
        while self._is_open and (self._unsettled or await self._take()):
            outcomes = await self._store.append(source=self._name, blocks=self._sendable())
            self._outage.is_over()
            for outcome in outcomes:
                if outcome.outcome in ("appended", "duplicate"):
                    self._backoff.reset()
                    block = self._unsettled.popleft()
                    self._position = block.end - self._base
                    self.appended_bytes += block.end - block.start
                    self.appended_lines += block.lines.count(b"\n") + 1
                elif outcome.outcome == "full":
                    if not await self._wait_for_room():
                        return True
                    break
                else:
                    await self._go_on_elsewhere(outcome)
                    break
        return self._is_open

    def _sendable(self) -> list[Block]:
        base = self._base
        if not base:
            return list(self._unsettled)
        return [replace(block, start=block.start - base, end=block.end - base) for block in self._unsettled]

    async def _take(self) -> bool:
        """Take blocks off the pile, as soon as there are any; False at the end."""
        assert self._reader is not None
        while True:
            self._changed.clear()
            if self._told_of_setback and self._source.rereadable:
                self._told_of_setback = False
                stored = await self._store.position(self._name)
                if stored < self._position:
                    await self._read_again(ours=self._position, stored=stored)
                    return False
            if self._stop.is_set():
                if self._source.rereadable:
                    return False
                await self._stop_reading()
            # In this order: what was fed before the end is taken before the end is believed.
            ended = self._reader.done()
            finished = ended and not self._reader.cancelled() and not self._broke_off()
            while len(self._unsettled) < self._blocks_at_once:
                block = self._framer.take(finished=finished)
                if block is None:
                    break
                self._unsettled.append(block)
            if self._framer.piled_bytes < self._max_pile_bytes - CHUNK_BYTES:
                self._room.set()
            if self._unsettled:
                return True
            if ended:
                self._raise_what_ended_reading()
                self._ended = not self._reader.cancelled()
                return False
            await self._changed.wait()

    def _broke_off(self) -> bool:
        """Whether an error ended a source that can be read again: the rest of its last line may still come."""
        assert self._reader is not None
        if not self._source.rereadable or self._reader.cancelled():
            return False
        return not isinstance(self._reader.exception(), Another | None)

    async def _wait_for_room(self) -> bool:
        """Wait until the stream has room again; False when we are to stop and need not go on."""
        began = time.monotonic()
        audit_next = began + FULL_AUDIT_SECONDS
        said = False
        deadline = None
        while True:
            # While aggregators are slower than the source it has room, and is full again, many times a second.
            if not said and time.monotonic() >= self._full_next:
                said, self._full_next = True, time.monotonic() + LASTING_SECONDS
                self._log.warning("stream is full, source is not read for now")
            if await self._store.has_room():
                break
            if time.monotonic() >= audit_next:
                audit_next = time.monotonic() + FULL_AUDIT_SECONDS
                await self._store.audit()
            if self._stop.is_set():
                deadline = deadline or time.monotonic() + FLUSH_SECONDS
                if self._source.rereadable:
                    return False
                if time.monotonic() > deadline:
                    return False
                await asyncio.sleep(FULL_POLL_SECONDS)
            else:
                await wait_or_stop(self._stop, FULL_POLL_SECONDS)
        if said:
            self._log.info("stream has room again", waited_seconds=round(time.monotonic() - began, 3))
        return True

    async def _go_on_elsewhere(self, outcome: Append) -> None:
        """The source stands elsewhere than we thought: Redis lost data, or another ingestor reads it too."""
        ours = self._unsettled[0].start
        if self._source.rereadable:
            await self._read_again(ours=ours, stored=outcome.position)
            return
        lost_bytes = ours - self._base - outcome.position
        self._name = (await self._source.known_as(self._store.known)).name
        self._base, self._position = ours, 0
        self._lose("redis lost lines that cannot be sent again; going on under a new name", lost_bytes, name=self._name)

    async def _read_again(self, *, ours: int, stored: int) -> None:
        """See to it that the source is known anew: where it stands now, and whether what is there is still the same."""
        self._log.warning("reading again from the stored position", ours=ours, stored=stored)
        await self._stop_reading()
        self._is_open = False
        self._never.clear()
        self._was_set_back = self._was_set_back or stored < ours

    async def _settled_for_good(self) -> bool:
        """Make sure, after the end, that what was appended stays: False when the source must be read again.

        Without this a server that loses its last second just after we are gone would have nobody to send it again.
        """
        if self._stop.is_set() and self._source.rereadable:
            return True
        end = self._position
        if self._source.rereadable and not end:
            await self._store.register_sources([self._name])  # with its time, unlike what waiting writes
        durable = await self._store.wait_until_durable(self._name, timeout_seconds=DURABLE_SECONDS)
        kept = durable or not await wait_or_stop(self._stop, NOT_DURABLE_SECONDS)
        position = await self._store.position(self._name)
        self._kept = kept and position >= end
        if self._source.rereadable:
            # Further than we are: by another ingestor, which may have appended another file under this name.
            if position != end:
                await self._read_again(ours=end, stored=position)
                return False
            return True
        if position < end:
            self._lose("redis lost lines that cannot be sent again", end - position)
        await self._store.forget_sources([self._name])
        return True
