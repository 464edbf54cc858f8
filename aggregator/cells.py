"""Events of one window, or of all time, while they are added up: how many of each type, and their texts. Pure.

Where words are counted by type as well, the texts of a type are kept apart from the others', and all words are summed
up only when the batch is done: with the names that there are, instead of with the texts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection

from aggregator.counts import NameCounts
from aggregator.events import Event, EventFields
from aggregator.lines import LineDecoder
from aggregator.words import Texts, bound_names
from tally.words_by_type import WordsByType

#: Characters of different texts that are held as wholes of each type, about, where words are counted by type.
TYPE_WHOLE_CHARS = 1 << 18


class Cell:
    """Events of one window, or of all time, whose words are not counted by type."""

    __slots__ = ("_decoder", "texts", "types")

    def __init__(self, decoder: LineDecoder) -> None:
        self._decoder = decoder
        self.types: Counter[str] = Counter()
        self.texts = Texts()

    @property
    def size(self) -> int:
        """Return how many names it holds, about."""
        return self.texts.size

    def add(self, fields: EventFields, events: list[Event]) -> None:
        """Count these."""
        self.types.update(fields.types(events))
        self.texts.add(fields.texts(events))

    def merge(self, other: Cell) -> None:
        """Add what another one holds, which is not to be used any more."""
        self.types.update(other.types)
        self.texts.merge(other.texts)

    def names(self) -> NameCounts:
        """Return what it comes to. Nothing can be added any more."""
        bound_names(self.types, self._decoder.max_name_bytes)
        return NameCounts(self.types, self._words_of(self.texts))

    def _words_of(self, texts: Texts) -> Counter[str]:
        return self._decoder.words.count(texts.pieces(), ascii_=texts.ascii)


class Apart:
    """Which types have their words apart in a batch: those that have a number, and as long as there is room more.

    These get their numbers before the batch leaves; if others were first, their words are only among all words.
    """

    def __init__(self, words_by_type: WordsByType, numbered: Collection[str], *, max_name_bytes: int) -> None:
        self._by_type = words_by_type
        self._taken = set(numbered)
        self._room = words_by_type.most - len(self._taken)
        self._max_name_bytes = max_name_bytes

    def takes(self, event_type: str) -> bool:
        """Return whether the words of this type are kept apart."""
        if event_type in self._taken:
            return True
        if self._room <= 0 or not self._by_type.may_have_words(event_type):
            return False
        if len(event_type) * 4 > self._max_name_bytes and len(event_type.encode()) > self._max_name_bytes:
            return False  # it counts as OTHER
        self._taken.add(event_type)
        self._room -= 1
        return True


class CellByType(Cell):
    """Events of one window, or of all time, whose words are counted by type as well.

    `texts` are those of types whose words are not.
    """

    __slots__ = ("_apart", "_by_type")

    def __init__(self, decoder: LineDecoder, apart: Apart) -> None:
        super().__init__(decoder)
        self._apart = apart
        self._by_type: dict[str, Texts] = {}

    @property
    def size(self) -> int:
        return self.texts.size + sum(texts.size for texts in self._by_type.values())

    def add(self, fields: EventFields, events: list[Event]) -> None:
        types = fields.types(events)
        columns = fields.text_columns(events)
        if len(columns) != 1:
            self.types.update(types)
        for texts in columns:
            groups: dict[str, list[str]] = defaultdict(list)
            for event_type, text in zip(types, texts, strict=True):
                groups[event_type].append(text)
            if len(columns) == 1:
                for event_type, of_type in groups.items():
                    self.types[event_type] += len(of_type)
            else:
                groups = {each: [text for text in of_type if text is not None] for each, of_type in groups.items()}
            others: list[str] = []
            for event_type, of_type in groups.items():
                if self._apart.takes(event_type):
                    self._texts_of(event_type).add(of_type)
                else:
                    others += of_type
            if others:
                self.texts.add(others)

    def merge(self, other: Cell) -> None:
        super().merge(other)
        assert isinstance(other, CellByType)
        for event_type, texts in other._by_type.items():
            self._texts_of(event_type).merge(texts)

    def names(self) -> NameCounts:
        bound_names(self.types, self._decoder.max_name_bytes)
        by_type = {event_type: self._words_of(texts) for event_type, texts in self._by_type.items()}
        # The largest is copied at once, while the names of the others are gone through in Python.
        first, *others = sorted((self._words_of(self.texts), *by_type.values()), key=len, reverse=True)
        words = first.copy()
        for each in others:
            words.update(each)
        return NameCounts(self.types, words, by_type)

    def _texts_of(self, event_type: str) -> Texts:
        texts = self._by_type.get(event_type)
        if texts is None:
            texts = self._by_type[event_type] = Texts(TYPE_WHOLE_CHARS)
        return texts


def new_cell(decoder: LineDecoder, apart: Apart | None) -> Callable[[], Cell]:
    """Return what makes the cells of a batch."""
    return (lambda: Cell(decoder)) if apart is None else (lambda: CellByType(decoder, apart))
