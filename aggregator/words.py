"""From texts to words. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import compress, filterfalse
from operator import ne

from tally.keys import OTHER
from tally.words import DEFAULT_WORD_PATTERN, compile_word_pattern, normalized

#: How many texts are looked at to tell whether texts repeat.
_SAMPLE = 64

#: Fewer texts than these are not counted before there are more.
_FEW = 256

#: What the default pattern is where all is ASCII.
_ASCII_WORD = re.compile(r"\w+(?:['-]\w+)*")


class Texts:
    """Adds up texts, and gives the pieces between their white space.

    What programs write repeats: a text that came before is counted as a whole, in a tenth of the time that it takes
    to split it. Where few come again, the counting of wholes would only be added to the splitting, so texts are split
    at once. A few texts are not worth either: they are kept until there are more. (There may be a hundred thousand
    windows in a batch, each with an instance of its own, which never has more than a few.)
    """

    __slots__ = ("_few", "_pieces", "_whole", "ascii")

    def __init__(self) -> None:
        self._few: list[str] = []
        self._whole: Counter[str] | None = None
        self._pieces: Counter[str] | None = None
        self.ascii = True  # whether all pieces that were given, or are ready to be, are

    def add(self, texts: list[str]) -> None:
        """Count these."""
        if len(texts) < _FEW:
            self._few += texts
            if len(self._few) < _FEW:
                return
            texts, self._few = self._few, []
        if self._whole is None:
            self._whole = Counter(texts)
            return
        sample = texts[:: len(texts) // _SAMPLE + 1]
        if sum(map(self._whole.__contains__, sample)) * 4 >= len(sample):
            self._whole.update(texts)
        elif self._pieces is None:
            self._pieces = Counter(self._split(texts))
        else:
            self._pieces.update(self._split(texts))

    def pieces(self) -> Counter[str]:
        """Return how often each piece stands in all of them. It is asked once, and nothing is added afterwards."""
        if self._whole is None and self._pieces is None:
            return Counter(self._split(self._few))
        alike: dict[int, list[str]] = defaultdict(list)  # how often -> the texts that came so often
        for text, times in (self._whole or {}).items():
            alike[times].append(text)
        pieces = self._pieces or Counter()
        pieces.update(self._split(alike.pop(1, []) + self._few))
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
        # Whole words, whatever groups there are in the pattern.
        self._find_all: Callable[[str], list[str]] = compiled.findall if not compiled.groups else _whole(compiled)
        self._is_default = pattern == DEFAULT_WORD_PATTERN
        self._fold_case = fold_case
        self._normalize = normalize
        self._max_name_bytes = max_name_bytes
        self._stop_words = frozenset(map(self._in_one_form, stop_words))
        self._min_length = min_length

    def count(self, pieces: Counter[str], *, ascii_: bool = False) -> Counter[str]:
        """Return how often each word stands in them. It may change the pieces; with `ascii_` all are ASCII."""
        if self._normalize and not ascii_:
            _normalize(pieces)
        words = self._count_by_default(pieces) if self._is_default else self._count_each(pieces)
        if self._min_length > 1:
            for word in [word for word in words if len(word) < self._min_length]:
                del words[word]
        for word in self._stop_words:
            words.pop(word, None)
        bound_names(words, self._max_name_bytes)
        return words

    def _count_by_default(self, pieces: Counter[str]) -> Counter[str]:
        """Turn the pieces into words by the default pattern.

        A piece of letters and digits is one word, and stays where it is: most of the time that counting takes is spent
        on putting words into a dictionary. All others are searched at once, because that pattern goes over no space.
        """
        others = list(filterfalse(str.isalnum, pieces))
        ascii_ = _by_times(pieces, filter(str.isascii, others)) if others else {}
        marked = _by_times(pieces, filterfalse(str.isascii, others)) if others else {}
        words = pieces
        if self._fold_case:
            for word in list(compress(words, map(ne, words, map(str.casefold, words)))):
                times = words.pop(word)  # first, because what is folded and put together again may be the same word
                words[self._folded(word)] += times
        for times, group in ascii_.items():
            joined = " ".join(group)
            _add(words, _ASCII_WORD.findall(joined.lower() if self._fold_case else joined), times)
        for times, group in marked.items():
            found = self._find_all(" ".join(group))
            _add(words, map(self._folded, found) if self._fold_case else found, times)
        return words

    def _count_each(self, pieces: Counter[str]) -> Counter[str]:
        """Find the words in the pieces by any pattern, which may have groups, or find nothing everywhere."""
        words: Counter[str] = Counter()
        find = self._find_all
        for piece, times in pieces.items():
            found: Iterable[str] = find(piece)
            if self._fold_case:
                found = map(str.casefold if piece.isascii() else self._folded, found)
            for word in found:
                words[word] = words.get(word, 0) + times
        words.pop("", None)  # a pattern such as \b finds it everywhere
        return words

    def _folded(self, word: str) -> str:
        word = word.casefold()
        return normalized(word) if self._normalize else word

    def _in_one_form(self, word: str) -> str:
        """Return a whole word as it is counted."""
        if self._normalize:
            word = normalized(word)
        return self._folded(word) if self._fold_case else word


def _whole(pattern: re.Pattern[str]) -> Callable[[str], list[str]]:
    """Return what finds all matches of a pattern as a whole, which findall does only of one without groups."""
    return lambda text: [match[0] for match in pattern.finditer(text)]


def _by_times(pieces: Counter[str], some: Iterable[str]) -> dict[int, list[str]]:
    """Take some of the pieces out: those that came so often, by how often that is."""
    taken: dict[int, list[str]] = defaultdict(list)
    for piece in some:
        taken[pieces.pop(piece)].append(piece)
    return taken


def _add(words: Counter[str], found: Iterable[str], times: int) -> None:
    """Add words that were each found so often. Most are found once, and those need no loop of Python's."""
    if times == 1:
        words.update(found)
    else:
        for word in found:
            words[word] = words.get(word, 0) + times


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
    for name in [name for name in counts if len(name) * 4 > max_name_bytes]:
        if len(name.encode()) > max_name_bytes and name != OTHER:
            counts[OTHER] += counts.pop(name)
