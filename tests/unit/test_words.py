"""Texts to pieces to words: however they come in, the same as splitting each text by itself."""

from __future__ import annotations

import re
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.words import Texts, WordCounter, bound_names
from tally.settings import DEFAULT_WORD_PATTERN, Settings

_texts = st.lists(st.sampled_from(["", " ", "a", "a b", "b  a a", "\u2003c\x1cd", "don't"]) | st.text(max_size=4))


@given(st.lists(_texts, max_size=6))
def test_pieces_are_those_of_each_text_by_itself(groups: list[list[str]]) -> None:
    texts = Texts()
    for group in groups:
        texts.add(group)
    assert texts.pieces() == Counter(piece for group in groups for text in group for piece in text.split())


@pytest.mark.parametrize("distinct", [1, 10, 1000, 100_000], ids=lambda each: f"{each} distinct texts")
def test_it_makes_no_difference_whether_texts_repeat(distinct: int) -> None:
    every = [f"number {at * 7919 % distinct} of several" for at in range(5000)]
    texts = Texts()
    for at in range(0, len(every), 500):
        texts.add(every[at : at + 500])
    assert texts.pieces() == Counter(" ".join(every).split())


@pytest.mark.parametrize(
    ("text", "words"),
    [("Lorem LOREM", {"lorem": 2}), ("ΐ ΐ", {"ΐ".casefold(): 2}), ("The the THE cat", {"the": 3, "cat": 1})],
)
def test_a_pattern_of_small_letters_finds_large_ones_too_where_case_is_folded(text: str, words: dict[str, int]) -> None:
    counter = WordCounter(pattern="[a-zΐ]+", fold_case=True, max_name_bytes=256)
    assert counter.count(Counter(text.split())) == words


def test_words_that_are_not_counted_do_not_count_as_other_either() -> None:
    counter = WordCounter(
        pattern=Settings().word_pattern,
        fold_case=False,
        max_name_bytes=4,
        stop_words=frozenset({"excluded"}),
        min_length=2,
    )
    assert counter.count(Counter({"excluded": 1, "too-long": 2, "a": 3, "it": 4})) == {"__other__": 2, "it": 4}


def test_nothing_is_no_word_whatever_the_pattern() -> None:
    counter = WordCounter(pattern=r"\b|[a-z]+", fold_case=False, max_name_bytes=256)
    assert counter.count(Counter({"lorem": 2, "-ipsum": 1})) == {"lorem": 2, "ipsum": 1}


def test_a_name_that_is_other_itself_is_counted_once_even_where_it_is_too_long() -> None:
    counts = Counter({"__other__": 3, "too-long-as-well": 2, "a": 1})
    bound_names(counts, 4)
    assert counts == {"__other__": 5, "a": 1}


@given(st.text(st.sampled_from("aßÄ1٣ⅷ_'’-., ・\u0301") | st.characters(), max_size=30))
def test_pieces_that_need_no_search_give_what_a_search_would(text: str) -> None:
    counter = WordCounter(pattern=DEFAULT_WORD_PATTERN, fold_case=False, max_name_bytes=1000)
    pieces = text.split()
    expected = Counter(word for piece in pieces for word in re.findall(DEFAULT_WORD_PATTERN, piece))
    assert counter.count(Counter(pieces)) == expected


def test_every_letter_and_digit_is_one_to_the_pattern_too() -> None:
    """Or a piece of them would not be one word."""
    every = "".join(filter(str.isalnum, map(chr, range(sys.maxunicode + 1))))
    assert re.fullmatch(r"\w+", every)
