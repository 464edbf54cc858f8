"""The stores of one shard in one object, for tests that play every part of the pipeline."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from aggregator.counts import Counts, NameCounts
from aggregator.parts import NO_NUMBERS
from tally.deltas import ALL_TIME, Part, Place, chunks_of
from tally.keys import KINDS, TYPES, WORDS, Table, words_of
from tally.store import AggregatorStore, Entry, IngestorStore, PipelineStore
from tally.store.blocks import Missing, Settled
from tally.windows import WindowLength
from tally.words_by_type import Numbered, Numbers


class AllStores(IngestorStore, AggregatorStore, PipelineStore):
    """What an ingestor does, what an aggregator does, and what looks at the pipeline."""

    async def count(self, *, consumer: str, entries: Sequence[Entry], counts: Counts) -> Settled | Missing:
        """Count these blocks from end to end: stage and settle them, and apply all that waits to be applied.

        Types that have their words apart in these counts get a number first, as far as the settings allow.
        """
        numbers = await self.number_types(list(counts.whole.by_type)) if counts.whole.by_type else Numbers()
        parts = plain_parts(counts, self._settings.window_lengths, numbers.by_type)
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


def typed_minutes(windows: Mapping[int, Mapping[str, tuple[int, Mapping[str, int]]]]) -> Counts:
    """Return the same from how many events there are of each type, and the words of these, all types apart."""
    found = {}
    for start, by_type in windows.items():
        names = NameCounts(by_type={event_type: Counter(words) for event_type, (_, words) in by_type.items()})
        names.types.update({event_type: events for event_type, (events, _) in by_type.items()})
        for words in names.by_type.values():
            names.words.update(words)
        found[Place(1, start)] = names
    return Counts(found, NameCounts.sum_of(list(found.values())))


def plain_parts(
    counts: Counts, lengths: Sequence[WindowLength], numbers: Mapping[str, Numbered] = NO_NUMBERS
) -> Iterator[Part]:
    """Make parts in the plainest way: nothing is left out as too old, and no two hashes share names.

    All counts are of windows of the shortest length.
    """
    base = lengths[1] if len(lengths) > 1 else lengths[0]
    level = 2 if len(lengths) > 1 else 1
    types = {words_of(numbered.number): event_type for event_type, numbered in numbers.items()}
    longer: dict[int, dict[Table, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    all_time: dict[Table, Counter[str]] = {Table(kind): Counter() for kind in KINDS}
    for (shortest, start), window in sorted(counts.windows.items(), key=lambda each: each[0], reverse=True):
        assert shortest == 1
        tables = {TYPES: window.types, WORDS: window.words}
        tables |= {table: window.by_type[each] for table, each in types.items() if each in window.by_type}
        for table, names in tables.items():
            if level > 1:
                yield Part(table, (Place(1, start),), list(names), list(names.values()), types.get(table))
            longer[base.start_of(start)][table].update(names)
            all_time.setdefault(table, Counter()).update(names)
    places = [(Place(level, start), sums) for start, sums in longer.items()]
    for place, sums in [*places, (ALL_TIME, all_time)]:
        for table, names in sums.items():
            yield Part(table, (place,), list(names), list(names.values()), types.get(table))
