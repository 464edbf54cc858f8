"""What of the layout matters to answers."""

from __future__ import annotations

from dataclasses import dataclass

from tally.keys import Kind
from tally.layout import Layout, is_cut
from tally.settings import Settings
from tally.windows import WindowLength
from tally.words import in_one_form
from tally.words_by_type import WordsByType, parse_words_by_type

#: The fields of the stored layout that it is read from.
COUNTING_FIELDS = ("format", "windows", "normalize_words", "fold_case", "words_by_type")


@dataclass(frozen=True, slots=True)
class Counting:
    """How lines are counted: in windows of which lengths, the shortest first, and words in which form.

    Of the types in `words_by_type` words are counted apart; None where these are named, and too many to be stored.
    """

    lengths: tuple[WindowLength, ...]
    normalize_words: bool
    fold_case: bool
    words_by_type: WordsByType | None

    @classmethod
    def of(cls, layout: Layout, settings: Settings) -> Counting:
        """Return what the stored layout says; where none is, the settings."""
        if layout.window_lengths is None:
            return cls(settings.window_lengths, settings.normalize_words, settings.fold_case, settings.types_with_words)
        return cls(
            layout.window_lengths,
            layout.flag("normalize_words", default=settings.normalize_words),
            layout.flag("fold_case", default=settings.fold_case),
            _words_by_type(layout, settings),
        )

    @property
    def unit_seconds(self) -> int:
        """The length of the shortest windows."""
        return self.lengths[0].seconds

    def name(self, kind: Kind, asked: str) -> str:
        """Return a name, or a part of one, as it is counted: words in the form of the layout."""
        if kind == "types":
            return asked
        return in_one_form(asked, normalize=self.normalize_words, fold_case=self.fold_case)


def _words_by_type(layout: Layout, settings: Settings) -> WordsByType | None:
    """Return which types have words of their own. Of a text that is cut the settings know, if they are the same."""
    text = layout.fields.get("words_by_type", "")
    if text == Layout.of(settings).fields.get("words_by_type", ""):
        return settings.types_with_words
    return None if is_cut(text) else parse_words_by_type(text)
