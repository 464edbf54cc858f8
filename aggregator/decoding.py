"""From raw blocks to the counts of a batch, block by block. Pure: no I/O, no clock; no bytes make it raise.

Nothing is kept of a block but what is counted of it. Where all events of a block are in one window they are counted
there, and once more for all time only when the batch is done: with the names that there are, instead of with the texts.
Where they are in many windows, each of which gets a few, they are counted for all time at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from math import inf
from typing import Literal

from aggregator.accepted import Accepted
from aggregator.by_source import BySource
from aggregator.cells import Apart, Cell, new_cell
from aggregator.counts import Counts, NameCounts
from aggregator.floors import UNKNOWN, Floors, Known, NoFloors
from aggregator.lines import LineDecoder
from aggregator.placing import Placing
from aggregator.rejects import Rejects
from tally.deltas import HASH_UPDATES, Place, Sample
from tally.rejections import SENTENCES
from tally.store import Entry

#: How many bytes of lines are held by their windows, about, until they are counted there.
HELD_BYTES = 4 << 20


class Decoder(LineDecoder):
    """Turns blocks into counts. One instance may be used for ever; what it returns is the caller's."""

    def begin(self, known: Known = UNKNOWN, numbered: Collection[str] = ()) -> Accumulator:
        """Return a batch that is still empty. What is known of the floors spares Redis what is too old.

        `numbered` are the types that have a number by now.
        """
        return self._accumulator(Floors(self.lengths, known), numbered)

    def count(self, entries: Iterable[Entry]) -> Counts:
        """Return what these blocks add up to, all in windows of the shortest length, however old it is."""
        batch = self._accumulator(NoFloors(self.lengths), ())
        for entry in entries:
            batch.add(entry)
        return batch.counts()

    def _accumulator(self, floors: Floors, numbered: Collection[str]) -> Accumulator:
        if not self.words_by_type.most:
            return Accumulator(self, floors)
        return Accumulator(self, floors, Apart(self.words_by_type, numbered, max_name_bytes=self.max_name_bytes))


class Accumulator:
    """The counts of one batch while it grows."""

    def __init__(self, decoder: LineDecoder, floors: Floors, apart: Apart | None = None) -> None:
        self._decoder = decoder
        self._fields = decoder.fields
        self._lengths = decoder.lengths
        self._floors = floors
        self._placing = Placing(decoder.fields, self._lengths, self._floors)
        self._rejects = Rejects()
        self._by_source = BySource()
        self._accepted = Accepted() if decoder.keeps_accepted else None
        cell = new_cell(decoder, apart)
        self._alone: dict[Place | Literal["too old"], Cell] = defaultdict(cell)  # of blocks that have one window
        self._mixed: dict[Place, Cell] = defaultdict(cell)  # of blocks that have several
        self._mixed_whole = cell()
        self._mixed_names = 0
        self._held_bytes = 0
        self.bytes = 0

    @property
    def names(self) -> int:
        """Return what it takes, in names: those of each window, and something for each window."""
        alone = sum(cell.size for cell in self._alone.values())
        return alone + self._mixed_names + self._mixed_whole.size

    def add(self, entry: Entry) -> None:
        """Add a block."""
        if entry.lines is None:
            self._rejects.add([b""], ["no_lines"], entry.source, why=SENTENCES["no_lines"])
            self._by_source.add(entry.source, 0, 1, entry.arrived_seconds)
            return
        self.bytes += len(entry.lines)
        rejected_before = self._rejects.lines
        events = self._decoder.events(entry.lines, entry.source, self._rejects)
        arrived_seconds = entry.arrived_seconds
        self._by_source.add(entry.source, len(events), self._rejects.lines - rejected_before, arrived_seconds)
        if not events:
            return
        if self._accepted is not None:
            self._accepted.add(entry.lines, entry.source)
        place = self._placing.place(events, arrived_seconds)
        if place != "held":
            self._alone[place].add(self._fields, events)
            return
        self._mixed_whole.add(self._fields, events)
        self._held_bytes += len(entry.lines)
        if self._held_bytes >= HELD_BYTES:
            self._count_held()

    def counts(self) -> Counts:
        """Return what it comes to. Nothing can be added any more."""
        self._count_held()
        alone = {place: cell.names() for place, cell in self._alone.items()}
        mixed = {place: cell.names() for place, cell in self._mixed.items()}
        whole = [*alone.values(), *([self._mixed_whole.names()] if self._mixed_whole.types else [])]
        windows = {
            place: NameCounts.sum_of([each[place] for each in (alone, mixed) if place in each])
            for place in (*alone, *(each for each in mixed if each not in alone))
            if place != "too old"
        }
        return Counts(
            windows,
            NameCounts.sum_of(whole),
            self._rejects.by_reason,
            self._rejects.padded,
            self.bytes,
            self._samples(),
            newest if (newest := self._placing.newest_seconds) > -inf else None,
            self._by_source.counts(),
        )

    def _samples(self) -> list[Sample]:
        rejected = self._rejects.samples(self._decoder.reason)
        if self._accepted is None:
            return rejected
        return rejected + self._accepted.samples(lambda line: self._decoder.judge(line)[0] is not None)

    def _count_held(self) -> None:
        """Count what is held by its windows."""
        if not self._held_bytes:
            return
        self._held_bytes = 0
        for place, events in self._placing.take():
            self._mixed[place].add(self._fields, events)
        by_level = Counter(place.level for place in self._mixed)
        if any(by_level[level] > 2 * length.kept for level, length in enumerate(self._lengths, 1)):
            self._move_older()
        self._mixed_names = sum(cell.size + HASH_UPDATES for cell in self._mixed.values())

    def _move_older(self) -> None:
        """Move what is in windows that are too old for their length by now to longer ones, or forget it there."""
        longest = len(self._lengths)
        self._floors.raise_longest(place.start for place in self._mixed if place.level == longest)
        for place in list(self._mixed):
            level = self._floors.level_of(place.level, place.start)
            if level == place.level:
                continue
            cell = self._mixed.pop(place)
            if level is not None:
                longer = self._mixed[Place(level, self._lengths[level - 1].start_of(place.start))]
                longer.merge(cell)
