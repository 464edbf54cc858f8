"""What is to be forgotten: words, or event types, and whether a text may hold one of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from tally.keys import Kind
from tally.words import in_one_form

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)

_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True)
class Forgotten:
    """Names of one kind, in the form in which they are counted."""

    kind: Kind
    names: tuple[str, ...]
    normalize: bool = False
    fold_case: bool = False

    @classmethod
    def words(cls, words: Iterable[str], *, normalize: bool, fold_case: bool) -> Forgotten:
        """Return words as they are counted where this is set."""
        form = partial(in_one_form, normalize=normalize, fold_case=fold_case)
        return cls("words", tuple(dict.fromkeys(map(form, words))), normalize, fold_case)

    @classmethod
    def types(cls, types: Iterable[str]) -> Forgotten:
        """Return event types, which are counted as they come."""
        return cls("types", tuple(dict.fromkeys(types)))

    def may_be_in(self, content: bytes) -> bool:
        """Return whether one of them stands in this: as it is, or with the escapes of JSON.

        It may be a part of something longer. What was cut off, or could not be counted, is no event to look for words
        in, and one sample too many that is gone is no loss.
        """
        text = content.decode("utf-8", "replace")
        return any(name in each for each in self._forms(text) for name in self.names)

    def _forms(self, text: str) -> Iterable[str]:
        for each in (text, unescaped(text)) if "\\" in text else (text,):
            yield in_one_form(each, normalize=self.normalize, fold_case=self.fold_case)


def unescaped(text: str) -> str:
    """Return a text with the characters in it that JSON's escapes stand for, whether or not it is JSON."""
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _CONTROLS.get(found[2], found[2]), text)
    # Two escapes may stand for one character.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
