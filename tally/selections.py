"""What readers may be asked for besides all types and all words: words of some types, types by some words. Pure.

Both need words that are counted apart by type: see TALLY_WORDS_BY_TYPE.
"""

from __future__ import annotations

from dataclasses import dataclass

from tally.keys import Kind


@dataclass(frozen=True, slots=True)
class WordsOf:
    """The words of events of these types, added up."""

    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TypesOf:
    """The types with words of their own, by how often these words stand in their events, added up."""

    words: tuple[str, ...]


#: What readers are asked for. It is hashable, so that it may stand in keys of what is remembered.
Asked = Kind | WordsOf | TypesOf
