"""The stores of one shard in one object, for tests that play every part of the pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from aggregator.counts import Counts, NameCounts
from tally.deltas import ALL_TIME, Part, Place, chunks_of
from tally.keys import KINDS, Kind
from tally.store import AggregatorStore, Entry, IngestorStore, PipelineStore
from tally.store.blocks import Missing, Settled
from tally.windows import WindowLength


class AllStores(IngestorStore, AggregatorStore, PipelineStore):
    """What an ingestor does, what an aggregator does, and what looks at the pipeline."""

    async def count(self, *, consumer: str, entries: Sequence[Entry], counts: Counts) -> Settled | Missing:
        """Count these blocks from end to end: stage and settle them, and apply all that waits to be applied."""
        parts = plain_parts(counts, self._settings.window_lengths)
        chunks = list(chunks_of(parts, totals=counts.totals(blocks=len(entries)), samples=counts.samples))
        name = uuid4().hex
        assert await self.stage(name=name, first=0, chunks=chunks) == "staged"
        outcome = await self.settle(
            consumer=consumer, blocks=[entry.pending for entry in entries], name=name, chunks=chunks
        )
        if isinstance(outcome, Missing):
            return outcome
        assert isinstance(outcome, Settled), outcome
        await self.apply_all()
        return outcome

    async def apply_all(self) -> None:
        """Apply all that is settled."""
        chunk = await self.next_chunk()
        while chunk is not None:
            chunk = (await self.apply(chunk)).next


#: Counts by name: of types, and of words.
TypesAndWords = tuple[Mapping[str, int], Mapping[str, int]]


def in_minutes(windows: Mapping[int, TypesAndWords] | None = None, **others: Any) -> Counts:
    """Return counts of windows of the shortest length, by their starts in Unix seconds."""
    found = {
        Place(1, start): NameCounts(Counter(types), Counter(words)) for start, (types, words) in (windows or {}).items()
    }
    return Counts(found, NameCounts.sum_of(list(found.values())), **others)


def plain_parts(counts: Counts, lengths: Sequence[WindowLength]) -> Iterator[Part]:
    """Make parts in the plainest way: nothing is left out as too old, and no two hashes share names.

    All counts are of windows of the shortest length.
    """
    base = lengths[1] if len(lengths) > 1 else lengths[0]
    level = 2 if len(lengths) > 1 else 1
    longer: dict[int, dict[Kind, Counter[str]]] = {}
    all_time: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
    for (shortest, start), window in sorted(counts.windows.items(), key=lambda each: each[0], reverse=True):
        assert shortest == 1
        by_kind: dict[Kind, Counter[str]] = {"types": window.types, "words": window.words}
        sums = longer.setdefault(base.start_of(start), {kind: Counter() for kind in KINDS})
        for kind, names in by_kind.items():
            if level > 1:
                yield _part(kind, Place(1, start), names)
            sums[kind].update(names)
            all_time[kind].update(names)
    for start, sums in longer.items():
        for kind, names in sums.items():
            yield _part(kind, Place(level, start), names)
    for kind, names in all_time.items():
        yield _part(kind, ALL_TIME, names)


def _part(kind: Kind, place: Place, counts: Counter[str]) -> Part:
    return Part(kind, (place,), list(counts), list(counts.values()))
