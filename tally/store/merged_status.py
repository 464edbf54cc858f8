"""How the pipeline is, over several shards: what StatusReader tells of each, made one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from tally.keys import Kind
from tally.ranges import Kept
from tally.settings import Settings
from tally.store.blocks import Consumer
from tally.store.known import REPLAYABLE
from tally.store.layouts import LayoutStore
from tally.store.pipeline import PipelineStore
from tally.store.reads import CountReader
from tally.store.samples import AcceptedSample, RejectedSample, of_all
from tally.store.shards import Shards
from tally.store.source_counts import SourceCount, merged
from tally.store.status import (
    SHOWN_SOURCES,
    Backlog,
    IdempotencyKeys,
    Names,
    ShardState,
    SourceState,
    Status,
    WordsByTypeState,
)
from tally.store.status_reads import words_by_type_state
from tally.store.together import together

T = TypeVar("T")

#: Of so many sources in all shards together it is looked which are the same.
FEW_SOURCES = 5000


class MergedPipeline:
    """The pipelines of all shards, as a readiness check asks about them. Raises StoreUnavailable if any is not well."""

    def __init__(self, shards: Shards, *, settings: Settings) -> None:
        self._home = LayoutStore(shards.home.redis, keys=shards.home.keys, settings=settings)
        self._stores = [PipelineStore(shard.redis, keys=shard.keys, settings=settings) for shard in shards]

    async def check_format(self) -> None:
        """Raise LayoutRefused if what is in Redis has a format that we do not know, or is spread otherwise."""
        await self._home.check()
        await together([store.check_format() for store in self._stores])

    async def check_writable(self) -> None:
        """Write a key that is gone after a second to each shard, and look whether blocks fit."""
        await together([store.check_writable() for store in self._stores])


class MergedStatusReader:
    """Reads the state of all shards' pipelines. Every method raises StoreUnavailable if one of them cannot be asked."""

    def __init__(self, shards: Shards, *, settings: Settings) -> None:
        self._namespace = shards.home.keys.namespace
        self._places = [shard.index for shard in shards]
        self._readers = [CountReader(shard.redis, keys=shard.keys, settings=settings) for shard in shards]
        self._home = CountReader(shards.home.redis, keys=shards.home.keys, settings=settings)
        self._layout = LayoutStore(shards.home.redis, keys=shards.home.keys, settings=settings)

    async def _each(self, ask: Callable[[CountReader], Awaitable[T]]) -> list[T]:
        return await together([ask(reader) for reader in self._readers], shards=self._places)

    async def totals(self) -> dict[str, int]:
        """Return every total. Raises LayoutRefused where there is another format, or other shards."""
        totals, _ = await self.version()
        return totals

    async def version(self) -> tuple[dict[str, int], object]:
        """Return every total, and what differs whenever any count does: of each shard what its own reader tells."""
        await self._layout.check()
        found = await self._each(lambda reader: reader.version())
        return _added(totals for totals, _ in found), [(list(totals.values()), applied) for totals, applied in found]

    async def moves(self) -> object:
        """Return what differs whenever names were moved to `__other__` in any shard."""
        return await self._each(lambda reader: reader.moves())

    async def rejected_by_reason(self) -> dict[str, int]:
        """Return how many lines were rejected for each reason. Raises LayoutRefused as `totals` does."""
        await self._layout.check()
        return _added(await self._each(lambda reader: reader.rejected_by_reason()))

    async def names(self, kind: Kind) -> Names:
        """Return how many names there are of all time."""
        raise NotImplementedError

    async def status(self) -> Status:
        """Return totals, backlog, aggregators and sources."""
        await self._layout.check()
        found = await self._each(lambda reader: reader.status())
        types, words = await self.names("types"), await self.names("words")
        return Status(
            namespace=self._namespace,
            totals=_added(each.totals for each in found),
            rejected_by_reason=_added(each.rejected_by_reason for each in found),
            backlog=_one_backlog([each.backlog for each in found]),
            idempotency_keys=_all_keys([each.idempotency_keys for each in found]),
            dead_letters=sum(each.dead_letters for each in found),
            distinct_types=types.distinct,
            distinct_words=words.distinct,
            other_types=types.other,
            other_words=words.other,
            aggregators=_processes([each.aggregators for each in found]),
            sources=_latest(source for each in found for source in each.sources),
            sources_total=await self._sources_total([each.sources_total for each in found]),
            kept=_all_kept([each.kept for each in found]),
            distinct_types_at_most=types.at_most,
            distinct_words_at_most=words.at_most,
            shards=[
                ShardState(
                    index,
                    each.backlog.blocks,
                    each.backlog.bytes,
                    each.backlog.oldest_seconds,
                    each.alive,
                    each.dead_letters,
                    each.distinct_types,
                    each.distinct_words,
                )
                for index, each in enumerate(found)
            ],
            words_by_type=await self._words_by_type(),
            unfinished_import=next(filter(None, (each.unfinished_import for each in found)), None),
        )

    async def _words_by_type(self) -> WordsByTypeState | None:
        return words_by_type_state(await self._home.counting(), await self._each(lambda reader: reader.types_apart()))

    async def source_counts(self) -> list[SourceCount]:
        """Return what was counted of each source, in no order."""
        return merged(await self._each(lambda reader: reader.source_counts()))

    async def _sources_total(self, numbers: Sequence[int]) -> int:
        """Return how many sources are known; of very many at least how many. A file is known to all shards."""
        if sum(numbers) > FEW_SOURCES:
            return max(numbers)
        return len(set().union(*await self._each(lambda reader: reader.source_names(most=FEW_SOURCES))))

    async def backlog(self, _: dict[str, int]) -> Backlog:
        """Return what waits to be counted, in all shards together."""

        async def of(reader: CountReader) -> Backlog:
            return await reader.backlog(await reader.totals())

        return _one_backlog(await self._each(of))

    async def idempotency_keys(self) -> IdempotencyKeys:
        """Return how many idempotency keys are known, and since when all are."""
        return _all_keys(await self._each(lambda reader: reader.idempotency_keys()))

    async def dead_letters(self) -> int:
        """Return how many blocks ended every aggregator that tried them, and how many chunks cannot be read."""
        return sum(await self._each(lambda reader: reader.dead_letters()))

    async def aggregators(self) -> list[Consumer]:
        """Return the members of the consumer groups: processes, which serve many shards or all."""
        return _processes(await self._each(lambda reader: reader.aggregators()))

    async def accepted(self, limit: int) -> list[AcceptedSample]:
        """Return the newest samples of accepted lines, newest first."""
        found = await self._each(lambda reader: reader.accepted(limit))
        return of_all(found, at=lambda sample: sample.accepted_at, limit=limit)

    async def rejected(self, limit: int) -> list[RejectedSample]:
        """Return the newest samples of rejected lines, newest first."""
        found = await self._each(lambda reader: reader.rejected(limit))
        return of_all(found, at=lambda sample: sample.rejected_at, limit=limit)

    async def rejected_kept(self) -> int:
        """Return how many samples of rejected lines are kept."""
        return sum(await self._each(lambda reader: reader.rejected_kept()))


def _added(totals: Iterable[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in totals:
        for name, count in each.items():
            found[name] = found.get(name, 0) + count
    return found


def _one_backlog(shards: Sequence[Backlog]) -> Backlog:
    """Return what waits in all of them. One that is full stops every source that goes to all."""
    return Backlog(
        blocks=sum(each.blocks for each in shards),
        settled_blocks=sum(each.settled_blocks for each in shards),
        bytes=sum(each.bytes for each in shards),
        lines=sum(each.lines for each in shards),
        oldest_seconds=max((each.oldest_seconds for each in shards if each.oldest_seconds is not None), default=None),
        full=any(each.full for each in shards),
        bulk_full=any(each.bulk_full for each in shards),
        appended_at=max((each.appended_at for each in shards if each.appended_at is not None), default=None),
        held=next((each.held for each in shards if each.held is not None), None),
    )


def _all_kept(shards: Sequence[Kept | None]) -> Kept | None:
    """Return from when to when any of them has windows; None if none has."""
    found = [each for each in shards if each is not None]
    return Kept(min(each.start for each in found), max(each.end for each in found)) if found else None


def _all_keys(shards: Sequence[IdempotencyKeys]) -> IdempotencyKeys:
    """Return how many are known in all of them. A key goes to one shard, so all are known since the latest says so."""
    return IdempotencyKeys(
        known=sum(each.known for each in shards),
        since_at=max((each.since_at for each in shards if each.since_at is not None), default=None),
    )


def _processes(shards: Sequence[Sequence[Consumer]]) -> list[Consumer]:
    """Return the consumers by name: a process has the same one in all shards, and is as idle as it is in the idlest."""
    found: dict[str, Consumer] = {}
    for consumer in (consumer for consumers in shards for consumer in consumers):
        before = found.get(consumer.name)
        if before is not None:
            consumer = Consumer(
                consumer.name,
                pending=before.pending + consumer.pending,
                idle_seconds=max(before.idle_seconds, consumer.idle_seconds),
            )
        found[consumer.name] = consumer
    return sorted(found.values(), key=lambda consumer: consumer.name)


def _latest(sources: Iterable[SourceState]) -> list[SourceState]:
    """Return the sources by name, the latest first.

    One that can be read again is as far as it is in the farthest shard; of others it is counted what all have got.
    """
    found: dict[str, SourceState] = {}
    for source in sources:
        before = found.get(source.name)
        if before is not None:
            at = [each for each in (before.appended_at, source.appended_at) if each is not None]
            both = (before.position, source.position)
            position = max(both) if source.name.startswith(REPLAYABLE) else sum(both)
            source = SourceState(source.name, position, max(at, default=None))
        found[source.name] = source
    ordered = sorted(found.values(), key=lambda source: -(source.appended_at or 0.0))
    return ordered[:SHOWN_SOURCES]


def pipeline_of(shards: Shards, *, settings: Settings) -> PipelineStore | MergedPipeline:
    """Return what tells a readiness check about these shards."""
    if len(shards) > 1:
        return MergedPipeline(shards, settings=settings)
    return PipelineStore(shards[0].redis, keys=shards[0].keys, settings=settings)
