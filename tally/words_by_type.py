"""Which types have their words counted apart: a setting, and what Redis has given them.

Each of these types gets a small number, by which its tables are named, so that keys are short whatever a type is
called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tally.keys import OTHER

#: How many types there may be.
MOST_TYPES = 1000


@dataclass(frozen=True, slots=True)
class WordsByType:
    """What TALLY_WORDS_BY_TYPE says: the first so many types that come (`names` is None), or these alone."""

    most: int = 0
    names: frozenset[str] | None = None

    @property
    def text(self) -> str:
        """Return the same as a setting, empty where it is off: two that count alike have the same."""
        if self.names is None:
            return str(self.most) if self.most else ""
        text = ",".join(sorted(self.names))
        return text + "," if text.isdecimal() else text  # a type that is called as a number

    def may_have_words(self, event_type: str) -> bool:
        """Return whether this type may have words of its own, if there is room."""
        return event_type in self.names if self.names is not None else bool(self.most) and event_type != OTHER


def parse_words_by_type(text: str) -> WordsByType:
    """Return what a setting says. Raises ValueError with a sentence."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        if int(text[:10]) > MOST_TYPES:
            raise ValueError(f"at most {MOST_TYPES} types can have words of their own")
        return WordsByType(int(text))
    names = frozenset(name for name in map(str.strip, text.split(",")) if name)
    if len(names) > MOST_TYPES:
        raise ValueError(f"{len(names)} types, and at most {MOST_TYPES} can have words of their own")
    if OTHER in names:
        raise ValueError(f"{OTHER} is no type, but the rest of them")
    return WordsByType(len(names), names) if names else WordsByType()


class Numbered(NamedTuple):
    """The number of a type, and since when it has it, in Unix seconds: from then on its words are counted apart."""

    number: int
    since: int

    def __str__(self) -> str:
        return f"{self.number}:{self.since}"


def parse_numbered(text: bytes) -> Numbered:
    """Return what a field of the numbers says."""
    number, _, since = text.partition(b":")
    return Numbered(int(number), int(since))


@dataclass(frozen=True, slots=True)
class Numbers:
    """Which types have a number, and how many numbers were ever given, as of one moment."""

    numbered: int = 0
    by_type: Mapping[str, Numbered] = field(default_factory=dict)
