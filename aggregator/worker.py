"""The aggregator's loop: take blocks over or read new ones, add them up, apply the counts.

While Redis hands out one batch and applies another, a third is decoded: there is one batch in each place at the most.
Whatever fails, what was taken and not applied is still pending to us, and is tried again before new blocks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from aggregator.decoding import Decoder
from aggregator.rollup import RollUp
from tally.counts import Counts
from tally.runtime import backoff_seconds, wait_or_stop
from tally.seldom import Outage
from tally.settings import Settings
from tally.store import BlockStore, Entry, GroupMissing, StoreUnavailable
from tally.store.blocks import Missing
from tally.telemetry import get_logger

#: How long a read waits for a new block. Also how long a stop may take, because a read is not called off:
#: what the server gave to a reader that is gone would lie there until somebody takes it over.
BLOCK_MS = 1000

#: Blocks in a batch, while they are large and while they are small. Larger batches are cheaper for Redis,
#: which spends its time on each distinct word of a batch; but all of it is in our memory, twice.
BATCH_LARGE_BLOCKS, BATCH_SMALL_BLOCKS = 32, 256
SMALL_BATCH_BYTES = 1 << 20

#: How long a batch waits at the most for the next one to be read, when there seems to be one.
READ_AHEAD_SECONDS = 0.05

#: Blocks that are taken over from another consumer at once.
CLAIM_BLOCKS = 100

#: A consumer without blocks that was silent for so long is removed from the group.
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
    ) -> None:
        self._store = store
        self._roll_up = roll_up
        self._settings = settings
        self._consumer = consumer
        self._stop = stop
        self._drain = drain
        self._decoder = Decoder(settings)
        self._log = get_logger().bind(consumer=consumer)
        self._outage = Outage(self._log)
        self._tried: set[str] = set()  # taken by this process and not yet applied: not to be held against the block
        self._batch_blocks = BATCH_LARGE_BLOCKS
        self._claim_due = 0.0  # monotonic seconds
        self._roll_up_due = 0.0
        self._drain_to: tuple[int, int] | None = None
        self.progress = Progress()

    async def run(self) -> None:
        """Count until `stop` is set, or with `drain` until what was there at the start is counted."""
        failures, batches_before = 0, 0
        while not self._stop.is_set():
            try:
                if await self._store.create_group():
                    self._log.info("consumer group created")
                await self._main_loop()
                break
            except GroupMissing as error:
                # A flush, or a server that came back without its data. The ingestors send again what they can.
                self._log.error("redis lost the stream; starting it again", error=str(error))
                self._tried.clear()
            except StoreUnavailable as error:
                failures = failures + 1 if self.progress.batches == batches_before else 1
                batches_before = self.progress.batches
                delay_seconds = backoff_seconds(failures)
                self._outage.lasts(error, retry_in_seconds=delay_seconds)
                await wait_or_stop(self._stop, delay_seconds)
        await self._leave()

    async def _main_loop(self) -> None:
        reading: asyncio.Task[list[Entry]] | None = None
        applying: asyncio.Task[None] | None = None
        try:
            await self._count_pending()
            if self._drain and self._drain_to is None:
                self._drain_to = _as_numbers(await self._store.last_entry_id())
            while True:
                if reading is None:
                    if applying is not None:
                        await applying
                        applying = None
                    # Nothing is in flight here, so what is pending to us is what we take over.
                    await self._upkeep()
                    if self._stop.is_set() or await self._drained():
                        return
                    reading = self._start_reading()
                entries = await reading
                reading = None
                self._outage.is_over()
                self._tried.update(entry.id for entry in entries)
                if entries and not self._stop.is_set() and not self._upkeep_due():
                    self._adapt_batch(entries)
                    reading = self._start_reading()
                counts = await self._decode(entries)
                if applying is not None:
                    await applying
                    applying = None
                if entries:
                    if reading is not None and len(entries) >= self._batch_blocks:
                        # The server is busy with a large batch for a while, and would hold back what we are to decode.
                        await asyncio.wait((reading,), timeout=READ_AHEAD_SECONDS)
                    applying = asyncio.create_task(self._apply(entries, counts), name="apply")
        finally:
            # After a failure these may still take effect; what is pending then tells.
            in_flight = [task for task in (reading, applying) if task is not None]
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)

    async def _decode(self, entries: Sequence[Entry]) -> Counts:
        """Decode, while what is under way goes on: one batch is sent to Redis, and the next comes, in many parts."""
        steps = self._decoder.count_in_steps(entries)
        while True:
            await asyncio.sleep(0)
            try:
                next(steps)
            except StopIteration as done:
                counts: Counts = done.value
                return counts

    def _start_reading(self) -> asyncio.Task[list[Entry]]:
        # An answer that comes as late as the connection waits for one would look like a server that is away.
        block_ms = None if self._drain else min(BLOCK_MS, int(self._settings.redis_timeout_seconds * 500))
        return asyncio.create_task(
            self._store.read(consumer=self._consumer, count=self._batch_blocks, block_ms=block_ms),
            name="read",
        )

    def _adapt_batch(self, entries: Sequence[Entry]) -> None:
        batch_bytes = sum(len(entry.lines or b"") for entry in entries)
        self._batch_blocks = BATCH_SMALL_BLOCKS if batch_bytes < SMALL_BATCH_BYTES else BATCH_LARGE_BLOCKS

    async def _apply(self, entries: Sequence[Entry], counts: Counts) -> None:
        """Count these blocks, or those of them that nobody else has counted meanwhile."""
        left = list(entries)
        while left:
            outcome = await self._store.count(ids=[entry.id for entry in left], counts=counts)
            if isinstance(outcome, Missing):
                left = [entry for entry in left if entry.id not in outcome.ids]
                self._log.info("another aggregator counted blocks of ours", blocks=len(outcome.ids))
                counts = self._decoder.count(left)
                continue
            self.progress.batches += 1
            self.progress.events += counts.events
            self.progress.rejected += counts.rejected
            if outcome.windows > self._settings.window_lengths[0].kept:
                self._roll_up_due = 0.0
            break
        self._tried.difference_update(entry.id for entry in entries)

    async def _count_pending(self) -> None:
        """Count what is pending to us: left over from a failure, or just taken over. One block at a time.

        Alone, so that a block that kills its reader takes no other with it: its delivery count rises, theirs do not.
        """
        while found := await self._store.pending(consumer=self._consumer, count=CLAIM_BLOCKS):
            for entry_id, deliveries in found:
                tried = entry_id in self._tried
                if (
                    not tried
                    and deliveries >= self._settings.max_deliveries
                    and await self._store.bury(entry_id=entry_id) == "buried"
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
                    await self._apply([entry], self._decoder.count([entry]))
        self._tried.clear()

    def _upkeep_due(self) -> bool:
        return time.monotonic() >= min(self._claim_due, self._roll_up_due)

    async def _upkeep(self) -> None:
        now = time.monotonic()
        if now >= self._claim_due:
            self._claim_due = now + min(5.0, self._settings.claim_idle_seconds / 4)
            await self._claim()
        if now >= self._roll_up_due:
            self._roll_up_due = now + ROLL_UP_SECONDS
            await self._roll_up.run(self._stop)

    async def _claim(self) -> None:
        """Take over what silent consumers hold, and remove those that hold nothing."""
        cursor = "0-0"
        while not self._stop.is_set():
            cursor, claimed = await self._store.claim(consumer=self._consumer, cursor=cursor, count=CLAIM_BLOCKS)
            if claimed:
                self.progress.claimed += claimed
                self._log.warning("took over blocks of a silent aggregator", blocks=claimed)
                await self._count_pending()
            if cursor == "0-0":
                break
        silent_ms = int(1000 * max(RETIRE_AFTER_SECONDS, 4 * self._settings.claim_idle_seconds))
        for consumer in await self._store.consumers():
            if consumer.name != self._consumer and not consumer.pending and consumer.idle_ms >= silent_ms:
                await self._store.retire(consumer=consumer.name, idle_ms=silent_ms)

    async def _drained(self) -> bool:
        """Whether all is counted that was there when a drain began. What others hold is waited for."""
        if self._drain_to is None:
            return False
        oldest = await self._store.oldest_entry_id()
        if oldest is None or _as_numbers(oldest) > self._drain_to:
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
        except (StoreUnavailable, GroupMissing) as error:
            self._log.warning("left without a word; what is pending will be taken over", error=str(error))
        self._log.info("aggregator stopped", **asdict(self.progress))


def _as_numbers(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
