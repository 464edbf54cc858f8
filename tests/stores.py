"""The stores of one shard in one object, for tests that play every part of the pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import uuid4

from aggregator.counts import Counts as Batched
from aggregator.parts import parts_of
from tally.counts import Counts
from tally.deltas import ALL_TIME, Part, Place, chunks_of
from tally.keys import KINDS, Kind
from tally.store import AggregatorStore, Entry, IngestorStore, PipelineStore
from tally.store.blocks import Missing, Settled
from tally.windows import WindowLength


class AllStores(IngestorStore, AggregatorStore, PipelineStore):
    """What an ingestor does, what an aggregator does, and what looks at the pipeline."""

    async def count(self, *, consumer: str, entries: Sequence[Entry], counts: Counts | Batched) -> Settled | Missing:
        """Count these blocks from end to end: stage and settle them, and apply all that waits to be applied."""
        totals = {
            "events": counts.events,
            "words": counts.words,
            "rejected": counts.rejected,
            "padded": counts.padded,
            "lines": counts.events + counts.rejected,
            "bytes": counts.bytes,
            "blocks": len(entries),
        }
        lengths = self._settings.window_lengths
        parts = plain_parts(counts, lengths) if isinstance(counts, Counts) else parts_of(counts, lengths)
        chunks = list(chunks_of(parts, totals=totals, samples=counts.samples))
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
        """Apply whatever is settled."""
        chunk = await self.next_chunk()
        while chunk is not None:
            chunk = (await self.apply(chunk)).next


def plain_parts(counts: Counts, lengths: Sequence[WindowLength]) -> Iterator[Part]:
    """Make parts in the plainest way: nothing is left out as too old, and no two hashes share names."""
    base = lengths[1] if len(lengths) > 1 else lengths[0]
    level = 2 if len(lengths) > 1 else 1
    longer: dict[int, dict[Kind, Counter[str]]] = {}
    all_time: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
    for start in sorted(counts.windows, reverse=True):
        window = counts.windows[start]
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
