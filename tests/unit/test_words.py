"""Texts to pieces to words: however they come in, the same as splitting each text by itself."""

from __future__ import annotations

import re
import sys
from collections import Counter
from unicodedata import category, combining, is_normalized, normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.words import Texts, WordCounter, bound_names
from tally.settings import Settings
from tally.words import DEFAULT_WORD_PATTERN, MARKS_ARE_IN, MOST_MARKS, compile_word_pattern, normalized
from tests.oracle import words_of

_texts = st.lists(st.sampled_from(["", " ", "a", "a b", "b  a a", "\u2003c\x1cd", "don't"]) | st.text(max_size=4))


@given(st.lists(_texts, max_size=6))
def test_pieces_are_those_of_each_text_by_itself(groups: list[list[str]]) -> None:
    texts = Texts()
    for group in groups:
        texts.add(group)
    pieces = texts.pieces()
    assert pieces == Counter(piece for group in groups for text in group for piece in text.split())
    assert texts.ascii == all(text.isascii() for group in groups for text in group)


@pytest.mark.parametrize("distinct", [1, 10, 1000, 100_000], ids=lambda each: f"{each} distinct texts")
@pytest.mark.parametrize("at_once", [1, 100, 500], ids=lambda each: f"{each} at once")
def test_it_makes_no_difference_whether_texts_repeat(distinct: int, at_once: int) -> None:
    every = [f"number {at * 7919 % distinct} of several" for at in range(5050)]
    texts = Texts()
    for at in range(0, len(every), at_once):
        texts.add(every[at : at + at_once])
    assert texts.pieces() == Counter(" ".join(every).split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Lorem LOREM", {"lorem": 2}),
        ("ΐ \u03b9\u0308\u0301", {"ΐ": 2}),
        ("The the THE cat", {"the": 3, "cat": 1}),
    ],
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
    assert counter.count(Counter(text.split())) == Counter(words_of(text))


_odd_texts = st.text(st.sampled_from("aAzZ09__'’--.,/ eéÉ́ͅßſKıİΐΐςΣᾳﬁǰ한하‍・") | st.characters(), max_size=MOST_MARKS)


@given(st.lists(st.tuples(_odd_texts, st.integers(1, 3)), max_size=20), st.booleans(), st.booleans())
def test_words_are_what_the_oracle_finds_however_often_their_pieces_come(
    texts: list[tuple[str, int]], fold_case: bool, normalize_words: bool
) -> None:
    every = [text if normalize_words else normalize("NFC", text) for text, times in texts for _ in range(times)]
    counter = WordCounter(
        pattern=DEFAULT_WORD_PATTERN, fold_case=fold_case, normalize=normalize_words, max_name_bytes=1000
    )
    expected = Counter(word for text in every for word in words_of(text))
    if fold_case:
        folded: Counter[str] = Counter()
        for word, times in expected.items():
            folded[normalize("NFC", word.casefold()) if normalize_words else word.casefold()] += times
        expected = folded
    pieces = Counter(" ".join(every).split())
    assert counter.count(pieces, ascii_="".join(every).isascii()) == expected


@pytest.mark.parametrize("fold_case", [False, True])
def test_any_pattern_is_searched_in_each_piece_by_itself(fold_case: bool) -> None:
    """One that may begin or end a piece, has groups, or could go over a space."""
    texts = ["Ab-c (ab) x,", "ab-C x", "ab-c"]
    for pattern in (r"^\w+", r"\w+$", r"(a)(b)", r"[^-]+", r"\b", r"(?<=-)c|x"):
        counter = WordCounter(pattern=pattern, fold_case=fold_case, max_name_bytes=1000)
        expected: Counter[str] = Counter()
        for piece in " ".join(texts).split():
            for match in re.finditer(pattern, piece, re.IGNORECASE if fold_case else 0):
                expected[match[0].casefold() if fold_case else match[0]] += 1
        del expected[""]
        assert counter.count(Counter(" ".join(texts).split())) == expected, pattern


def test_every_letter_and_digit_is_one_to_the_pattern_too() -> None:
    """Or a piece of them would not be one word."""
    every = "".join(filter(str.isalnum, map(chr, range(sys.maxunicode + 1))))
    assert re.fullmatch(r"\w+", every)


# Marks.


def test_all_marks_of_unicode_are_marks_to_the_pattern() -> None:
    every = list(map(chr, range(sys.maxunicode + 1)))
    for name in ("Mn", "Mc"):
        found = "".join(filter(compile_word_pattern(rf"\p{{{name}}}").fullmatch, every))
        assert found == "".join(each for each in every if category(each) == name), MARKS_ARE_IN


def test_what_is_put_in_order_is_a_mark() -> None:
    """Or long runs of it would not be seen."""
    ordered = "".join(filter(combining, map(chr, range(sys.maxunicode + 1))))
    assert compile_word_pattern(r"[\p{Mn}\p{Mc}]+").fullmatch(ordered)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"\p{Mn}", "e\u0301", ["\u0301"]),
        (r"e\p{Mn}+x", "e\u0301\u0301x", ["e\u0301\u0301x"]),
        (r"[^\p{Mn}]+", "ab\u0301c", ["ab", "c"]),
        (r"[]\p{Mc}]+", "]\u0903", ["]\u0903"]),
        (r"[^]\p{Mc}]+", "a]\u0903", ["a"]),
        (r"[\]\p{Mc}]+", "]\u0903", ["]\u0903"]),
        (r"\[\p{Mc}", "[\u0903", ["[\u0903"]),
        (r"\\p\{Mc\}", r"\p{Mc}", [r"\p{Mc}"]),
        (r"[\\p{Mc}]+", r"\p{Mc}", [r"\p{Mc}"]),
        (r"[a[]\p{Mn}", "[\u0301", ["[\u0301"]),
        (r"p{2}", "pp", ["pp"]),
    ],
)
def test_a_pattern_may_name_marks_wherever_a_character_may_stand(pattern: str, text: str, found: list[str]) -> None:
    assert compile_word_pattern(pattern).findall(text) == found


_names = st.text(
    st.sampled_from("aeßıİΐᾳ한\u1112\u1161\u0301\u0323\u0345\u0344\u0f73\u093c\u212b") | st.characters(), max_size=40
)


@given(_names, st.booleans())
def test_all_spellings_of_a_word_are_one_and_stay_it(text: str, fold_case: bool) -> None:
    counter = WordCounter(pattern=DEFAULT_WORD_PATTERN, fold_case=fold_case, max_name_bytes=1000)
    words = counter.count(Counter(text.split()))
    for form in ("NFC", "NFD"):
        assert counter.count(Counter(normalize(form, text).split())) == words
    assert counter.count(Counter(dict(words))) == words
    assert all(is_normalized("NFC", word) for word in words)


@pytest.mark.parametrize("before", range(1, 12))
@pytest.mark.parametrize("marks", range(MOST_MARKS - 1, MOST_MARKS + 3))
def test_marks_in_a_row_are_put_in_order_up_to_so_many_wherever_they_stand(before: int, marks: int) -> None:
    name = "e\u0301" + "x" * before + ("\u0301\u0323" * marks)[:marks] + "y" * 40
    form = normalized(name)
    assert form.startswith("é")
    assert ("\u0301\u0323" in form) == (marks > MOST_MARKS)


@given(st.lists(_names | st.integers(MOST_MARKS - 1, 200).map("a\u0301\u0323".__mul__), max_size=8).map("".join))
def test_one_form_is_nfc_but_for_runs_of_marks_that_no_language_has(name: str) -> None:
    form = normalized(name)
    assert normalize("NFC", form) == normalize("NFC", name)
    assert normalized(form) == form
    assert is_normalized("NFC", form) or re.search(f"[\u0301\u0323]{{{MOST_MARKS},}}", name)


def test_the_form_of_marks_does_not_depend_on_what_else_stands_in_the_name() -> None:
    marked = "e" + "\u0301\u0323" * 20
    assert normalized("x" * 200 + marked) == "x" * 200 + normalized(marked)


def test_a_line_of_nothing_but_marks_takes_no_time_by_its_square() -> None:
    marks = "e" + "\u0301\u0323" * 500_000  # to put these in order would take hours
    assert normalized("e\u0301" + marks + "e\u0301") == "é" + marks + "é"


@pytest.mark.parametrize("stop_word", ["RÉSUMÉ", "re\u0301sume\u0301"])
def test_stop_words_are_compared_in_one_form_too(stop_word: str) -> None:
    counter = WordCounter(
        pattern=DEFAULT_WORD_PATTERN, fold_case=True, max_name_bytes=256, stop_words=frozenset({stop_word})
    )
    assert counter.count(Counter({"résumé": 1, "RE\u0301SUME\u0301": 1, "resume": 1})) == {"resume": 1}
