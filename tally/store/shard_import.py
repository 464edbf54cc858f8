"""An import in one shard: what is its own of the export is written in steps, each with how far the import is then.

So a step is written once, whatever is killed and whichever answers are lost. Counts go the way of those of a batch: in
chunks, staged on a list of their own, settled and applied; see deltas.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import uuid4

from tally.backoff import Backoff
from tally.clock import Clock
from tally.deltas import HASH_UPDATES, Part, chunks_of
from tally.export_records import Counts, DeadLetter, Once, Sample
from tally.imports import Plan, part_of, renumbered
from tally.settings import Settings
from tally.store.client import StoreUnavailable
from tally.store.deltas import MAX_DELTA_BYTES, STAGED_SECONDS, DeltaStore
from tally.store.durable import wait_until_durable
from tally.store.import_progress import DONE, Moved, Progress, clashing, progress_of, unfinished
from tally.store.lua import WritingScript
from tally.store.samples import ACCEPTED_SECONDS
from tally.store.shard import ShardStore
from tally.store.shards import Shard
from tally.store.source_vectors import SourceStep, SourceVectors, import_into
from tally.store.tables import numbered_in
from tally.store.windows import raise_wrong_type
from tally.words_by_type import Numbered

_begin, _settle = WritingScript("begin_import"), WritingScript("settle_import")
_once, _entries = WritingScript("import_once"), WritingScript("import_entries")

#: Counts that are written together: some twenty chunks, or about so many bytes.
STEP_UPDATES, STEP_BYTES = 30_000, 1 << 20

#: How long Redis may be unavailable before the import ends. It goes on when it is run again.
PATIENCE_SECONDS = 60.0

#: How long the server may take to write it to its disk.
DURABLE_SECONDS = 2.0

#: Chunks that are applied where there is no room for more.
ROOM_CHUNKS = 100

#: How soon a shard that is held is looked at again, and one in which others apply.
HELD_SECONDS, MOVED_SECONDS = 1.0, 0.03

_ENTRY = re.compile(r"([0-9]{1,15})-([0-9]{1,15})", re.ASCII)

T = TypeVar("T")


class ShardImport(ShardStore):
    """The import of one export, in one shard. Every method but `progress` waits PATIENCE_SECONDS for Redis."""

    def __init__(
        self, shard: Shard, *, settings: Settings, export_id: str, clock: Clock, tell: Callable[[str], None]
    ) -> None:
        super().__init__(shard.redis, keys=shard.keys, settings=settings)
        self._shard = shard
        self._id = export_id
        self._clock = clock
        self._tell = tell
        self._deltas = DeltaStore(shard.redis, keys=shard.keys, settings=settings)
        self._levels = {length.seconds: level for level, length in enumerate(settings.window_lengths, start=1)}
        self._numbers: dict[str, Numbered] = {}
        self._at = ""  # how far the import is, as it is stored
        self._line = 0  # up to which all that is ours is stored, or waits here
        self._parts: list[Part] = []
        self._totals: dict[str, int] = {}
        self._updates = self._bytes = 0
        self._settled = 0

    async def progress(self) -> Progress:
        """Return how far imports are here. Raises StoreUnavailable."""
        return await progress_of(self._redis, self._keys.imports)

    async def begin(self, plan: Plan, shards: int) -> None:
        """Begin, or go on. Raises Failure if another import is unfinished."""
        at, index = self._keys, self._shard.index
        own, incomplete = plan.since_for(index, shards)
        arguments = {
            "id": self._id,
            "floors": [[str(seconds), str(floor)] for seconds, floor in plan.floors_for(index, shards).items()],
            "types": list(own.items()),
            "incomplete": list(incomplete.items()),
            "most": self._settings.types_with_words.most,
        }
        keys = (at.imports, at.backlog, at.floors, at.types_numbers, at.types_numbered, at.types)
        word, *rest = await self._unheld(lambda: _begin.run(self._redis, keys, arguments, layout=self._layout.whole))
        raise_wrong_type(word, rest)
        if word == b"other":
            raise unfinished(rest[0].decode("utf-8", "replace"))
        self._at = rest[0].decode()
        self._line = int(self._at) if self._at.isdecimal() else 1 << 62
        names = (name.decode("utf-8", "replace") for name in rest[1][::2])
        self._numbers = dict(zip(names, (numbered_in(text, at) for text in rest[1][1::2]), strict=True))

    def lacks(self, line: int) -> bool:
        """Return whether what is its own of a line is not here yet."""
        return line > self._line

    async def put_sources(
        self, line: int, sources: Sequence[SourceVectors], *, shards: int, seconds_ago: float
    ) -> None:
        """Take over how far sources were, of which the last is in this line. Raises Failure if some are here by now."""
        progress = {"id": self._id, "before": self._at, "after": str(line)}
        step = SourceStep(sources, shards, seconds_ago, progress)
        word, names = await self._unheld(
            lambda: import_into(self._redis, keys=self._keys, settings=self._settings, step=step)
        )
        if word == "stored":
            raise clashing(names)
        self._went_on(word, line)

    async def add_counts(self, line: int, record: Counts, counts: Mapping[str, int]) -> None:
        """Add counts of a line, with others in one step."""
        part = part_of(record, counts, self._levels, self._numbers)
        if part is not None:
            self._parts.append(part)
            self._updates += len(counts) + HASH_UPDATES
            self._bytes += sum(map(len, counts))
        self._line = line
        if self._updates >= STEP_UPDATES or self._bytes >= STEP_BYTES:
            await self.flush()

    def add_totals(self, line: int, fields: Mapping[str, int]) -> None:
        """Add totals of a line, with others in one step."""
        for name, count in fields.items():
            self._totals[name] = self._totals.get(name, 0) + count
        self._line = line

    async def flush(self) -> None:
        """Write what waits here, and have it applied."""
        if not self._parts and not self._totals:
            return
        chunks = list(chunks_of(self._parts, totals=self._totals, samples=()))
        self._parts, self._totals = [], {}
        self._updates = self._bytes = 0
        await self._settle_chunks(chunks, str(self._line))
        await self._patiently(self._apply)

    async def put_once(self, line: int, record: Once, keys: Mapping[bytes, bytes]) -> None:
        """Take over idempotency keys of a line."""
        await self.flush()
        at = self._keys
        by_age = (at.once_own_new, at.once_own_old) if record.own else (at.once_new, at.once_old)
        target = by_age[record.age == "old"]
        arguments = {"since_ms": str(record.since_ms), "expires_ms": str(record.expires_ms)}
        values = [each for pair in keys.items() for each in pair]
        await self._step(_once, (target,), arguments, values, line)

    async def put_dead_letter(self, line: int, record: DeadLetter) -> None:
        """Take over a dead letter, with its ID if that is behind those that there are."""
        await self.flush()
        found = _ENTRY.fullmatch(record.id)
        entry = (*(found.groups() if found else ("0", "*")), 2 * len(record.fields))
        fields = record.fields
        if "targets" in fields:
            fields = fields | {"targets": renumbered(fields["targets"], self._numbers)}
        values = [each for pair in fields.items() for each in pair]
        await self._step(_entries, (self._keys.dead_letters,), {"entries": [entry]}, values, line)

    async def put_samples(self, line: int, samples: Sequence[Sample]) -> None:
        """Take over samples of one kind, the oldest first, at least one, as far as there is room."""
        await self.flush()
        settings, accepted = self._settings, samples[0].kind == "accepted"
        arguments: dict[str, Any] = {"most": settings.accepted_samples if accepted else settings.max_rejected_samples}
        if accepted:
            arguments["expires_ms"] = str(samples[-1].at_ms + ACCEPTED_SECONDS * 1000)
        each_of = [_fields_of(sample) for sample in samples]
        entries = [(str(sample.at_ms), "*", len(fields)) for sample, fields in zip(samples, each_of, strict=True)]
        values = [value for fields in each_of for value in fields]
        key = self._keys.accepted if accepted else self._keys.rejected
        await self._step(_entries, (key,), {**arguments, "entries": entries}, values, line)

    async def finish(self) -> None:
        """Note that all of it is here, and applied."""
        await self.flush()
        if not self._at.startswith(DONE):
            # What was settled before this process was started, too.
            self._settled = (await self._patiently(self._deltas.progress)).settled
            await self._patiently(self._apply)
            await self._settle_chunks([], f"{DONE}{int(self._clock.time())}")

    async def is_durable(self) -> bool:
        """Wait until what is here is on the server's disk; return whether that is so, as far as the server can tell.

        Raises StoreUnavailable also while fewer replicas have it than settings.ingest_wait_for_replicas.
        """
        write = ("HINCRBY", self._keys.backlog, "settled", 0)
        return await self._patiently(
            lambda: wait_until_durable(self._redis, write, settings=self._settings, timeout_seconds=DURABLE_SECONDS)
        )

    async def _step(
        self,
        script: WritingScript,
        keys: Sequence[str],
        arguments: Mapping[str, Any],
        values: Sequence[str | bytes | int],
        line: int,
    ) -> None:
        of_step = {**arguments, "id": self._id, "before": self._at, "after": str(line)}
        keys = (self._keys.imports, self._keys.backlog, *keys)
        reply = await self._unheld(lambda: script.run(self._redis, keys, of_step, values, layout=self._layout.whole))
        word, *rest = reply if isinstance(reply, list) else [reply]
        raise_wrong_type(word, rest)
        self._went_on(word.decode(), line)

    def _went_on(self, word: str, line: int) -> None:
        if word == "moved":
            raise Moved
        self._at, self._line = str(line), line

    async def _settle_chunks(self, chunks: Sequence[Any], after: str) -> None:
        word, number = await self._unheld(lambda: self._stage_and_settle(chunks, after))
        if word == b"moved":
            raise Moved
        self._at, self._settled = after, number or self._settled

    async def _stage_and_settle(self, chunks: Sequence[Any], after: str) -> tuple[bytes, int]:
        """Return the script's word, and the number of the last chunk if these are settled now."""
        at = self._keys
        arguments = {
            "id": self._id,
            "before": self._at,
            "after": after,
            "chunks": len(chunks),
            "delta_bytes": sum(chunk.bytes for chunk in chunks),
            "max_delta_bytes": MAX_DELTA_BYTES,
            "expires_ms": STAGED_SECONDS * 1000,
        }
        while True:
            name = uuid4().hex  # of this try alone, as an aggregator's
            outcome = await self._deltas.stage(name=name, first=0, chunks=chunks) if chunks else "staged"
            word, rest = outcome.encode(), []
            if outcome == "staged":
                keys = (at.imports, at.deltas, at.delta(name), at.backlog)
                word, *rest = await _settle.run(self._redis, keys, arguments, layout=self._layout.whole)
                raise_wrong_type(word, rest)
            if word == b"full":
                await self._apply(most=ROOM_CHUNKS)
            elif word != b"stale":
                return word, rest[0] if rest else 0

    async def _apply(self, *, most: int | None = None) -> None:
        """Apply chunks until ours are, or so many, whosever they are. Any aggregator may do so, too."""
        chunk = await self._deltas.next_chunk()
        while chunk is not None and (chunk.number <= self._settled if most is None else most > 0):
            results = await self._deltas.apply_together(chunk)
            most = None if most is None else most - len(results)
            chunk = results[-1].next
            if results[-1].word == "moved":
                await self._clock.sleep(MOVED_SECONDS)
                chunk = await self._deltas.next_chunk()

    async def _unheld(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """Return what a step gives, once the shard is not held."""
        while True:
            reply = await self._patiently(step)
            word = reply[0] if isinstance(reply, list | tuple) else reply
            if word not in (b"held", "held"):
                return reply
            self._tell("another command needs everything to stay as it is; the import goes on after that")
            await self._clock.sleep(HELD_SECONDS)

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        """Return what a step gives that may be repeated, however often Redis is unavailable for a while."""
        backoff = Backoff(most_seconds=2.0, clock=self._clock)
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await step()
            except StoreUnavailable as error:
                if not backoff.failures:
                    self._tell(f"it waits for Redis, for {PATIENCE_SECONDS:g} s at the most: {error}")
                seconds = backoff.next_seconds()
                if self._clock.monotonic() + seconds > deadline:
                    raise
                await self._clock.sleep(seconds)


def _fields_of(sample: Sample) -> list[str | bytes | int]:
    """Return the fields of a sample as apply.lua stores them, names and values by turns."""
    fields: list[str | bytes | int] = ["line", sample.line]
    if sample.kind == "rejected":
        fields += ("reason", sample.reason)
    return [*fields, "source", sample.source, f"{sample.kind}_ms", sample.at_ms]
