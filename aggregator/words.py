"""From texts to words. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import filterfalse

from tally.keys import OTHER
from tally.words import DEFAULT_WORD_PATTERN, compile_word_pattern, normalized

#: How many texts are looked at to tell whether texts repeat.
_SAMPLE = 64

#: What the default pattern is where all is ASCII.
_ASCII_WORD = re.compile(r"\w+(?:['-]\w+)*")


class Texts:
    """Adds up texts, and gives the pieces between their white space.

    What programs write repeats: a text that came before is counted as a whole, in a tenth of the time that it takes
    to split it. Where few come again, the counting of wholes would only be added to the splitting, so texts are split
    at once.
    """

    def __init__(self) -> None:
        self._whole: Counter[str] = Counter()
        self._pieces: Counter[str] = Counter()
        self.ascii = True  # whether all pieces that were given, or are ready to be, are

    def add(self, texts: list[str]) -> None:
        """Count these."""
        sample = texts[:: len(texts) // _SAMPLE + 1]
        if not self._whole or sum(map(self._whole.__contains__, sample)) * 4 >= len(sample):
            self._whole.update(texts)
        else:
            self._pieces.update(self._split(texts))

    def pieces(self) -> Counter[str]:
        """Return how often each piece stands in all of them."""
        alike: dict[int, list[str]] = defaultdict(list)  # how often -> the texts that came so often
        for text, times in self._whole.items():
            alike[times].append(text)
        self._whole.clear()
        pieces = self._pieces
        pieces.update(self._split(alike.pop(1, [])))
        for times, texts in alike.items():
            for piece, count in Counter(self._split(texts)).items():
                pieces[piece] = pieces.get(piece, 0) + count * times
        return pieces

    def _split(self, texts: list[str]) -> list[str]:
        joined = " ".join(texts)
        self.ascii = self.ascii and joined.isascii()  # which a string knows, without looking at its characters
        return joined.split()


class WordCounter:
    """Counts the words of texts that are already split on white space.

    The pattern runs over the distinct pieces only, which makes it about as fast as the split itself. So a word
    never goes over white space, whatever the pattern says.

    With `fold_case` the pattern knows no case either, and what it finds is folded: not before, because folding makes
    of one letter up to three, of which some are no letters to the pattern. With `normalize` words are in NFC: the
    pattern sees them so, and what is folded is brought into that form again. Stop words are treated likewise. These and
    words under `min_length` characters are as if they were not there.
    """

    def __init__(
        self,
        *,
        pattern: str,
        fold_case: bool,
        normalize: bool = True,
        max_name_bytes: int,
        stop_words: frozenset[str] = frozenset(),
        min_length: int = 1,
    ) -> None:
        compiled = compile_word_pattern(pattern, re.IGNORECASE if fold_case else 0)
        # Then a piece of letters and digits is one word, and needs no search.
        self._alphanumeric_is_word = pattern == DEFAULT_WORD_PATTERN
        self._find: Callable[[str], Iterable[re.Match[str]]] = compiled.finditer
        # Without marks, of which there are too many for a class of characters that is as fast as any other.
        self._find_ascii = _ASCII_WORD.finditer if self._alphanumeric_is_word else self._find
        self._fold_case = fold_case
        self._normalize = normalize
        self._max_name_bytes = max_name_bytes
        self._stop_words = frozenset(map(self._in_one_form, stop_words))
        self._min_length = min_length

    def count(self, pieces: Counter[str], *, ascii_: bool = False) -> Counter[str]:
        """Return how often each word stands in them. It may change the pieces; with `ascii_` all are ASCII."""
        if self._normalize and not ascii_:
            _normalize(pieces)
        words: Counter[str] = Counter()
        at_once = self._alphanumeric_is_word and not self._fold_case
        for piece, times in pieces.items():
            if at_once and piece.isalnum():
                words[piece] += times
                continue
            for match in (self._find_ascii if piece.isascii() else self._find)(piece):
                word = match[0]
                if self._fold_case:
                    word = word.casefold()
                    if self._normalize and not word.isascii():
                        word = normalized(word)
                words[word] += times
        words.pop("", None)  # a pattern such as \b finds it everywhere
        if self._stop_words or self._min_length > 1:
            for word in [word for word in words if len(word) < self._min_length or word in self._stop_words]:
                del words[word]
        bound_names(words, self._max_name_bytes)
        return words

    def _in_one_form(self, word: str) -> str:
        """Return a whole word as it is counted."""
        if self._normalize:
            word = normalized(word)
        if self._fold_case:
            word = word.casefold()
        return normalized(word) if self._normalize else word


def _normalize(pieces: Counter[str]) -> None:
    """Bring the pieces into their one form. Those that are ASCII are in it."""
    for piece in list(filterfalse(str.isascii, pieces)):
        form = normalized(piece)
        if form != piece:
            pieces[form] += pieces.pop(piece)


def bound_names(counts: Counter[str], max_name_bytes: int) -> None:
    """Move the counts of names that are too long to OTHER."""
    # A character has at most four bytes: most names need no encoding to be judged.
    if max(map(len, counts), default=0) * 4 <= max_name_bytes:
        return
    for name in list(counts):
        if len(name) * 4 > max_name_bytes and len(name.encode()) > max_name_bytes and name != OTHER:
            counts[OTHER] += counts.pop(name)
