"""The numbers of the types whose words are counted by type, as far as one worker knows them.

What is settled after a type has got its number has its words apart: that is what the moment stands for that is stored
with the number. So a batch is settled only with the numbers that there are by then. If it was added up before another
aggregator gave a number to a type whose words it has not apart, it is thrown away, and its blocks are counted again:
once a number, at the most.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Protocol

from aggregator.counts import Counts
from tally.store.deltas import UsedNumbers
from tally.words_by_type import Numbered, Numbers, WordsByType


class NumberingStore(Protocol):
    """What numbering types asks; of AggregatorStore."""

    async def number_types(self, types: Collection[str]) -> Numbers: ...


class Numbering:
    """Knows the numbers of types of one shard, and has new ones given."""

    def __init__(self, store: NumberingStore, words_by_type: WordsByType) -> None:
        self._store = store
        self._most = words_by_type.most
        self._numbers = Numbers()

    @property
    def is_on(self) -> bool:
        """Return whether words are counted by type."""
        return self._most > 0

    @property
    def known(self) -> Mapping[str, Numbered]:
        """Return the types that have a number, with these, as far as it is known."""
        return self._numbers.by_type

    async def learn(self) -> None:
        """Ask for the numbers that there are. Raises StoreUnavailable."""
        if self.is_on:
            self._numbers = await self._store.number_types(())

    async def number(self, counts: Counts) -> UsedNumbers | None:
        """Have numbers given to the types that have their words apart in a batch, as long as there is room.

        Returns with which numbers it can be settled, none if words are not counted by type. One that is known is always
        among them: after a flush others may have given as many numbers to types whose words a batch has not apart, and
        how many there are would be no sign of that. Raises StoreUnavailable.
        """
        if not self.is_on:
            return None
        apart = counts.whole.by_type
        missing = [event_type for event_type in apart if event_type not in self.known]
        if missing and len(self.known) < self._most:
            self._numbers = await self._store.number_types(missing)
        used = {event_type: self.known[event_type] for event_type in apart if event_type in self.known}
        used = used or dict(islice(self.known.items(), 1))
        return UsedNumbers(self._numbers.numbered, used)

    def lacks_words(self, counts: Counts) -> bool:
        """Return whether a type that has a number has not its words apart in a batch."""
        numbered = counts.whole.types.keys() & self.known.keys()
        return not numbered <= counts.whole.by_type.keys()
