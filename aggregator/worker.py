"""The aggregator's loop: claim blocks or read new ones, add them up, apply the counts.

While Redis hands out one batch and applies another, a third is decoded: there is one batch in each place at the most.
Whatever fails, what was taken and not applied is still pending to us, and is tried again before new blocks.

Only blocks that are pending to us can be counted by us, so a batch is to be counted well before others may claim it;
how large it may be for that, see pacing.py. What is decoded too slowly is counted in parts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from aggregator.decoding import Decoder
from aggregator.pacing import Batch, Pace
from aggregator.rollup import RollUp
from tally.backoff import Backoff
from tally.counts import Counts
from tally.log_throttle import Outage
from tally.runtime import wait_or_stop
from tally.settings import Settings
from tally.store import BlockStore, Entry, GroupMissing, LayoutChanged, StoreUnavailable
from tally.store.blocks import CLAIM_FROM_START, Missing
from tally.telemetry import get_logger

#: How long a read waits for a new block. Also how long a stop may take, because a read is not called off:
#: what the server gave to a reader that is gone would lie there until somebody claims it.
BLOCK_MS = 1000

#: How long a batch waits at the most for the next one to be read, when there seems to be one.
READ_AHEAD_SECONDS = 0.05

#: Blocks that are claimed from other consumers at once.
CLAIM_BLOCKS = 100

#: A consumer without blocks that was idle for so long is removed from the group.
RETIRE_AFTER_SECONDS = 60.0

#: How often windows that are over are looked for.
ROLL_UP_SECONDS = 5.0

#: How often a drain looks whether other aggregators have counted what they hold.
DRAIN_POLL_SECONDS = 0.05


@dataclass(slots=True)
class Progress:
    """What one worker did, for its log and its tests."""

    batches: int = 0
    events: int = 0
    rejected: int = 0
    claimed: int = 0
    buried: int = 0


class Worker:
    """One consumer of the group `aggregators`."""

    def __init__(
        self,
        *,
        store: BlockStore,
        roll_up: RollUp,
        settings: Settings,
        consumer: str,
        stop: asyncio.Event,
        drain: bool = False,
        clock: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
    ) -> None:
        self._store = store
        self._roll_up = roll_up
        self._settings = settings
        self._consumer = consumer
        self._stop = stop
        self._drain = drain
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._decoder = Decoder(settings)
        self._log = get_logger().bind(consumer=consumer)
        self._outage = Outage(self._log)
        self._tried: set[str] = set()  # taken by this process and not yet applied: not to be held against the block
        self._pace = Pace(claim_idle_seconds=settings.claim_idle_seconds)
        self._claim_due = 0.0  # monotonic seconds
        self._roll_up_due = 0.0
        self._drain_to: tuple[int, int] | None = None
        self.progress = Progress()

    async def run(self) -> None:
        """Count until `stop` is set, or with `drain` until what was there at the start is counted.

        Raises LayoutRefused as soon as Redis holds what was counted with another layout. What is pending to us then is
        left to aggregators that have that one.
        """
        while not self._stop.is_set():
            try:
                await self._store.keep_layout()
                if await self._store.create_group():
                    self._log.info("consumer group created")
                await self._main_loop()
                break
            except GroupMissing as error:
                # A flush, or a server that came back without its data. The ingestors send again what they can.
                self._log.error("redis lost the stream; starting it again", error=str(error))
                self._tried.clear()
            except LayoutChanged:
                # The next look at it says how, or finds ours: Redis may have been flushed.
                await wait_or_stop(self._stop, Backoff().next_seconds())
            except StoreUnavailable as error:
                delay_seconds = self._backoff.next_seconds()
                self._outage.lasts(error, retry_in_seconds=delay_seconds)
                await wait_or_stop(self._stop, delay_seconds)
        await self._leave()

    async def _main_loop(self) -> None:
        reading: asyncio.Task[Batch] | None = None
        rest: Batch | None = None  # of a batch that is counted in parts
        applying: asyncio.Task[None] | None = None
        try:
            await self._count_pending()
            if self._drain and self._drain_to is None:
                self._drain_to = _as_numbers(await self._store.last_entry_id())
            while True:
                if reading is None and rest is None:
                    if applying is not None:
                        await applying
                        applying = None
                    # Nothing is in flight here, so what is pending to us is what we claim.
                    await self._upkeep()
                    if self._stop.is_set() or await self._drained():
                        return
                    reading = self._start_reading()
                if rest is not None:
                    batch = rest
                elif reading is not None:
                    batch = await reading
                    reading = None
                    self._outage.is_over()
                    self._tried.update(entry.id for entry in batch.entries)
                    if batch.entries:
                        self._pace.read(batch.entries)
                if batch.entries and reading is None and not self._stop.is_set() and not self._upkeep_due():
                    reading = self._start_reading()
                batch = await self._still_ours(batch)
                counts, batch, rest = await self._decode(batch)
                if applying is not None:
                    await applying
                    applying = None
                if batch.entries:
                    if reading is not None and len(batch.entries) >= self._pace.blocks:
                        # The server is busy with a large batch for a while, and would hold back what we are to decode.
                        await asyncio.wait((reading,), timeout=READ_AHEAD_SECONDS)
                    applying = asyncio.create_task(self._apply(batch, counts), name="apply")
        finally:
            # After a failure these may still take effect; what is pending then tells.
            in_flight = [task for task in (reading, applying) if task is not None]
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)

    async def _still_ours(self, batch: Batch) -> Batch:
        """Show that we work on a batch that has waited long, and leave out what was claimed meanwhile."""
        if not batch.entries or not self._pace.is_due(batch, now_seconds=self._clock()):
            return batch
        now_seconds = self._clock()
        ours = await self._store.keep(consumer=self._consumer, ids=[entry.id for entry in batch.entries])
        if len(ours) < len(batch.entries):
            self._log.info("others have claimed blocks that we held", blocks=len(batch.entries) - len(ours))
        return Batch([entry for entry in batch.entries if entry.id in ours], now_seconds)

    async def _decode(self, batch: Batch) -> tuple[Counts, Batch, Batch | None]:
        """Decode what can be decoded in time: its counts, which part of the batch it is, and the rest of it if any.

        What is under way goes on meanwhile: one batch is sent to Redis, and the next comes, in many parts.
        """
        decoded: list[Entry] = []

        def in_time() -> Iterator[Entry]:
            for entry in batch.entries:
                if decoded and self._pace.is_due(batch, now_seconds=self._clock()):
                    return
                decoded.append(entry)
                yield entry

        counts = await self._in_steps(in_time())
        left = batch.entries[len(decoded) :]
        return counts, Batch(decoded, batch.since_seconds), Batch(left, batch.since_seconds) if left else None

    async def _in_steps(self, entries: Iterator[Entry]) -> Counts:
        steps = self._decoder.count_in_steps(entries)
        while True:
            await asyncio.sleep(0)
            try:
                next(steps)
            except StopIteration as done:
                counts: Counts = done.value
                return counts

    def _start_reading(self) -> asyncio.Task[Batch]:
        # An answer that comes as late as the connection waits for one would look like a server that is away.
        block_ms = None if self._drain else min(BLOCK_MS, int(self._settings.redis_timeout_seconds * 500))
        return asyncio.create_task(self._read(block_ms), name="read")

    async def _read(self, block_ms: int | None) -> Batch:
        entries = await self._store.read(consumer=self._consumer, count=self._pace.blocks, block_ms=block_ms)
        return Batch(entries, self._clock())

    async def _apply(self, batch: Batch, counts: Counts) -> None:
        """Count these blocks, or those of them that nobody else has claimed meanwhile."""
        left = list(batch.entries)
        while left:
            outcome = await self._store.count(consumer=self._consumer, entries=left, counts=counts)
            if isinstance(outcome, Missing):
                left = [entry for entry in left if entry.id not in outcome.ids]
                self._log.info("others have claimed blocks that we held", blocks=len(outcome.ids))
                counts = self._decoder.count(left)
                continue
            self.progress.batches += 1
            self._backoff.reset()
            self.progress.events += counts.events
            self.progress.rejected += counts.rejected
            if outcome.windows > self._settings.window_lengths[0].kept:
                self._roll_up_due = 0.0
            break
        self._pace.counted(batch, now_seconds=self._clock())
        self._tried.difference_update(entry.id for entry in batch.entries)

    async def _count_pending(self) -> None:
        """Count what is pending to us: left over from a failure, or just claimed. One block at a time.

        Alone, so that a block that kills its reader takes no other with it: its delivery count rises, theirs do not.
        """
        while found := await self._store.pending(consumer=self._consumer, count=CLAIM_BLOCKS):
            for entry_id, deliveries in found:
                tried = entry_id in self._tried
                if (
                    not tried
                    and deliveries >= self._settings.max_deliveries
                    and await self._store.bury(consumer=self._consumer, entry_id=entry_id) == "buried"
                ):
                    self.progress.buried += 1
                    self._log.error("block moved to the dead stream", id=entry_id, deliveries=deliveries)
                    continue
                # Only a try by another process counts: a lost connection is not the block's fault, nor if it takes the
                # answer to this very call with it.
                self._tried.add(entry_id)
                entry = await self._store.retry(
                    consumer=self._consumer,
                    entry_id=entry_id,
                    deliveries=deliveries if tried else deliveries + 1,
                )
                if entry is not None:
                    await self._apply(Batch([entry], self._clock()), self._decoder.count([entry]))
        self._tried.clear()

    def _upkeep_due(self) -> bool:
        return time.monotonic() >= min(self._claim_due, self._roll_up_due)

    async def _upkeep(self) -> None:
        now = time.monotonic()
        if now >= self._claim_due:
            self._claim_due = now + min(5.0, self._settings.claim_idle_seconds / 4)
            await self._claim()
            await self._audit()
        if now >= self._roll_up_due:
            self._roll_up_due = now + ROLL_UP_SECONDS
            await self._roll_up.run(self._stop)

    async def _claim(self) -> None:
        """Claim what idle consumers hold, and remove those that hold nothing."""
        await self._store.keep_layout()  # nothing else tells while there is nothing to count
        cursor = CLAIM_FROM_START
        while not self._stop.is_set():
            cursor, claimed = await self._store.claim(consumer=self._consumer, cursor=cursor, count=CLAIM_BLOCKS)
            if claimed:
                self.progress.claimed += claimed
                self._log.warning("claimed blocks of an idle aggregator", blocks=claimed)
                await self._count_pending()
            if cursor == CLAIM_FROM_START:
                break
        idle_ms = int(1000 * max(RETIRE_AFTER_SECONDS, 4 * self._settings.claim_idle_seconds))
        for consumer in await self._store.consumers():
            if consumer.name != self._consumer and not consumer.pending and consumer.idle_ms >= idle_ms:
                await self._store.retire(consumer=consumer.name, idle_ms=idle_ms)

    async def _audit(self) -> None:
        lost = await self._store.audit()
        if lost:
            self._log.error("somebody deleted blocks from the stream before they were counted", lost=lost)

    async def _drained(self) -> bool:
        """Whether all is counted that was there when a drain began. What others hold is waited for."""
        if self._drain_to is None:
            return False
        oldest = await self._store.oldest()
        if oldest is None or _as_numbers(oldest.id) > self._drain_to:
            return True
        consumers = await self._store.consumers()
        if all(consumer.pending == 0 for consumer in consumers):
            return False  # there are new ones to read
        await wait_or_stop(self._stop, DRAIN_POLL_SECONDS)
        return False

    async def _leave(self) -> None:
        """Leave nothing behind in the group."""
        try:
            if await self._store.retire(consumer=self._consumer) == "pending":
                await self._count_pending()
                await self._store.retire(consumer=self._consumer)
        except (StoreUnavailable, GroupMissing, LayoutChanged) as error:
            self._log.warning("left without a word; what is pending will be claimed", error=str(error))
        self._log.info("aggregator stopped", **asdict(self.progress))


def _as_numbers(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
