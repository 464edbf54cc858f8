"""Lines with made-up texts that are distributed as real one-line texts were found to be.

What was measured on 886,000 of them, and is held by tests/unit/test_bench_inputs.py:

- a line has 1, 4, 7, 10 and 20 words at the 8th, 25th, 50th, 75th and 97th percentile;
- the 10, 100, 1,000 and 10,000 most frequent words are 20, 38, 59 and 82 % of all, and 70 % of the distinct ones come
  up once;
- cut at white space there are 3,119 distinct pieces after 1,000 lines, 20,085 after 10,000, 104,378 after 100,000 and
  522,000 after 886,000;
- 14 % of the pieces have punctuation, and half of the distinct ones;
- 6 % of the lines are not ASCII.

A word has a rank, and its spelling follows from that. Ranks are drawn as often as the shares say, those behind 100,000
from a tail without an end, so that new words never cease. Texts that stand near each other also share words: a part of
the pieces is taken from a pool of earlier ones.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from unicodedata import normalize

from tally.generator import TYPES

#: How often a line has 1, 2, 3 … pieces. (Some pieces are two words.)
_LENGTHS = (9, 6, 6, 8, 8, 9, 9, 8, 8, 7, *(2.6,) * 5, *(1.4,) * 4, 0.8, *(0.18,) * 10)

#: How much of all words the ranks up to each power of ten are, from one power to the next.
_SHARES = ((1, 10, 0.20), (11, 100, 0.18), (101, 1_000, 0.21), (1_001, 10_000, 0.23), (10_001, 100_000, 0.10))

#: Ranks behind those fall off by this power.
_TAIL_BEGINS, _TAIL_POWER, _LAST_RANK = 100_000, 0.45, 10**15

#: The part of the pieces that come from the pool, its size, and the part of the others that enter it.
_REPEATED, _POOL, _ENTERING = 0.3, 1000, 0.03

#: The part of the pieces with punctuation that belongs to the sentence, and of these the part that are two words.
_PUNCTUATED, _JOINED = 0.07, 0.1
_AROUND = ("{},", "{}.", "{}:", "({})", '"{}"', "{};", "{}!")
_AROUND_WEIGHTS = (6, 6, 2, 2, 2, 0.3, 0.3)
_BETWEEN = ("/", ".", ":", "=")

#: Rare words with punctuation of their own: paths, calls, references. So many of a hundred, one after the other.
_OWN_RANKS, _OWN_OF_100 = 10_000, 38
_OWN = ("src/{0}", "{0}.md", "#{0}", "{0}()", "`{0}`", "{0}-{1}", "{0}'s", "{0}={1}", "{0}/{1}", "{0}.{1}")

#: Of the ranks behind the first, one in so many is not spelled in ASCII.
_FOREIGN_RANKS, _FOREIGN_ONE_IN = 1_000, 50


def _syllables(consonants: str, vowels: str) -> list[str]:
    return [consonant + vowel for consonant in consonants.split() for vowel in vowels]


# A vowel ends a syllable, so no two ranks are spelled alike.
_ASCII = _syllables("b c d f g k l m n p r s t v th st", "aeiou")
_FOREIGN = (
    _syllables("b c d f g k l m n p r s t v th st", "éàöüí"),
    [normalize("NFD", each) for each in _syllables("b c d f g k l m n p r s t v th st", "èäóûî")],
    _syllables("б в г д к л м н п р с т", "аеиоу"),
    _syllables("क ग च ज त द न प ब म र ल व स ह", "ािीुे"),
    [chr(code) for code in range(0x4E00, 0x5600)],
)


def text_lines(count: int, *, seed: int, first_seconds: int | None = None, last_seconds: int = 0) -> Iterator[bytes]:
    """Yield so many lines: without times, or with times from first to last (Unix seconds), evenly spread, in order.

    The same seed gives the same texts, with and without times.
    """
    chance = random.Random(seed)
    pieces = _pieces(random.Random(chance.getrandbits(64)))
    times = random.Random(chance.getrandbits(64))
    for first in range(0, count, 10_000):
        size = min(10_000, count - first)
        types = chance.choices(TYPES, k=size)
        lengths = chance.choices(range(1, len(_LENGTHS) + 1), _LENGTHS, k=size)
        for at, (type_, length) in enumerate(zip(types, lengths, strict=True), first):
            text = " ".join(itertools.islice(pieces, length)).replace('"', '\\"')
            if first_seconds is None:
                yield f'{{ "event_type": "{type_}", "data": "{text}" }}\n'.encode()
            else:
                when = first_seconds + int((at + times.random()) * (last_seconds - first_seconds) / count)
                yield f'{{ "event_type": "{type_}", "data": "{text}", "timestamp": {when} }}\n'.encode()


def _pieces(chance: random.Random) -> Iterator[str]:
    words = _words(random.Random(chance.getrandbits(64)))
    draw = chance.random
    pool = list(itertools.islice(words, _POOL))
    while True:
        if draw() < _REPEATED:
            yield pool[int(draw() * _POOL)]
            continue
        piece = next(words)
        if draw() < _PUNCTUATED:
            if draw() < _JOINED:
                piece += chance.choice(_BETWEEN) + next(words)
            else:
                piece = chance.choices(_AROUND, _AROUND_WEIGHTS)[0].format(piece)
        if draw() < _ENTERING:
            pool[int(draw() * _POOL)] = piece
        yield piece


def _words(chance: random.Random) -> Iterator[str]:
    words: list[str | None] = [_spelled(rank) for rank in range(1, _TAIL_BEGINS + 1)]
    weights = [
        share / harmonic / rank
        for first, last, share in _SHARES
        for harmonic in [sum(1 / rank for rank in range(first, last + 1))]
        for rank in range(first, last + 1)
    ]
    words.append(None)  # one of the tail
    weights.append(1 - sum(share for *_, share in _SHARES))
    cumulated = list(itertools.accumulate(weights))
    while True:
        for word in chance.choices(words, cum_weights=cumulated, k=10_000):
            yield word or _spelled(min(int(_TAIL_BEGINS * chance.paretovariate(_TAIL_POWER)) + 1, _LAST_RANK))


def _spelled(rank: int) -> str:
    if rank > _FOREIGN_RANKS and rank % _FOREIGN_ONE_IN == 0:
        return _syllables_of(rank, _FOREIGN[rank // _FOREIGN_ONE_IN % len(_FOREIGN)])
    word = _syllables_of(rank, _ASCII)
    if rank % 7 == 1:
        word = word.capitalize()
    elif rank % 11 == 3:
        word = str(rank)
    if rank > _OWN_RANKS and rank % 100 < _OWN_OF_100:
        return _OWN[rank // 100 % len(_OWN)].format(word, _syllables_of(20 + rank % 997, _ASCII))
    return word


def _syllables_of(rank: int, syllables: Sequence[str]) -> str:
    parts = []
    while rank > 0:
        rank, at = divmod(rank - 1, len(syllables))
        parts.append(syllables[at])
    return "".join(parts)
