"""From texts to words. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import compress, filterfalse
from operator import ne

from tally.keys import OTHER
from tally.words import DEFAULT_WORD_PATTERN, compile_word_pattern, in_one_form, normalized

#: How many texts are looked at to tell whether texts repeat.
_SAMPLE = 64

#: Fewer texts than these, with fewer characters together, are not counted before there are more.
_FEW, _FEW_CHARS = 256, 1 << 16

#: Texts that have more characters than this on average are not looked for among those that came before.
_LONG_CHARS = 1000

#: How many characters of different texts are held as wholes, about; each takes up to four bytes.
WHOLE_CHARS = 4 << 20

#: Characters of a piece, with its space, where they are not yet split. Few have less.
_PIECE_CHARS = 6

#: What the default pattern is where all is ASCII.
_ASCII_WORD = re.compile(r"\w+(?:['-]\w+)*")


class Texts:
    """Adds up texts, and gives the pieces between their white space.

    What programs write repeats: a text that came before is counted as a whole, in a tenth of the time that it takes
    to split it. Where few come again, the counting of wholes would only be added to the splitting, so texts are split
    at once. A few texts are not worth either: they are kept until there are more. (There may be a hundred thousand
    windows in a batch, each with an instance of its own, which never has more than a few.)
    """

    __slots__ = ("_few", "_few_chars", "_most_whole_chars", "_pieces", "_whole", "_whole_chars", "ascii")

    def __init__(self, most_whole_chars: int = WHOLE_CHARS) -> None:
        self._most_whole_chars = most_whole_chars
        self._few: list[str] = []
        self._few_chars = 0
        self._whole: Counter[str] | None = None
        self._whole_chars = 0
        self._pieces: Counter[str] | None = None
        self.ascii = True  # whether all pieces that were given, or are ready to be, are

    @property
    def size(self) -> int:
        """Return how many different texts and pieces it holds, about."""
        return len(self._whole or ()) + len(self._pieces or ()) + self._few_chars // _PIECE_CHARS

    def add(self, texts: list[str]) -> None:
        """Count these."""
        chars = sum(map(len, texts))
        if len(texts) < _FEW and chars < _FEW_CHARS:
            self._few += texts
            self._few_chars += chars
            if len(self._few) < _FEW and self._few_chars < _FEW_CHARS:
                return
            texts, chars = self._take_few()
        if chars > len(texts) * _LONG_CHARS:
            self._add_pieces(texts)
            return
        if self._whole is None:
            self._whole, self._whole_chars = Counter(texts), chars
            return
        sample = texts[:: len(texts) // _SAMPLE + 1]
        if sum(map(self._whole.__contains__, sample)) * 4 < len(sample):
            self._add_pieces(texts)
            return
        known = len(self._whole)
        self._whole.update(texts)
        self._whole_chars += chars * (len(self._whole) - known) // len(texts)
        if self._whole_chars > self._most_whole_chars:
            self._split_whole()

    def merge(self, other: Texts) -> None:
        """Add what another one holds, which is not to be used any more."""
        self.ascii = self.ascii and other.ascii
        self.add(other._few)
        if other._whole is not None:
            self._whole = self._whole or Counter()
            self._whole.update(other._whole)
            self._whole_chars += other._whole_chars
        if other._pieces is not None:
            self._pieces = self._pieces or Counter()
            self._pieces.update(other._pieces)

    def pieces(self) -> Counter[str]:
        """Return how often each piece stands in all of them."""
        self._split_whole()
        return Counter() if self._pieces is None else self._pieces

    def _split_whole(self) -> None:
        """Count the pieces of what is not split yet."""
        alike: dict[int, list[str]] = {}  # how often -> the texts that came so often
        if self._whole is not None:
            for text, times in self._whole.items():
                alike.setdefault(times, []).append(text)
            self._whole = None
            self._whole_chars = 0
        few, _ = self._take_few()
        pieces = self._add_pieces(alike.pop(1, []) + few)
        for times, texts in alike.items():
            for piece, count in Counter(self._split(texts)).items():
                pieces[piece] = pieces.get(piece, 0) + count * times

    def _take_few(self) -> tuple[list[str], int]:
        """Return the few texts that were not counted yet, and how many characters they have."""
        texts, chars = self._few, self._few_chars
        self._few, self._few_chars = [], 0
        return texts, chars

    def _add_pieces(self, texts: list[str]) -> Counter[str]:
        """Count the pieces of these texts; return all that are counted."""
        if self._pieces is None:
            self._pieces = Counter(self._split(texts))
        else:
            self._pieces.update(self._split(texts))
        return self._pieces

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
        return in_one_form(word, normalize=self._normalize, fold_case=self._fold_case)


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
