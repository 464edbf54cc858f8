"""Names are filtered as a plain look at each would do it, in bounded time; their case is folded as Unicode does it."""

from __future__ import annotations

import re
import sys
import time
from array import array
from collections.abc import Sequence
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import matching as module
from api.matching import NameFilter, compiled, matching, spellings
from tally.web.problem_types import WrongParameters

#: Letters of which several are folded to one, one to several, and none.
LETTERS = "abAB sSßẞſKkKéÉİıﬁfi日\U0001f600\n\0"

names = st.text(st.sampled_from(LETTERS), max_size=5) | st.text(max_size=3).filter(lambda name: name.isprintable())


@pytest.fixture(params=[(3, 0), (8000, 0), (8000, 64)], ids=["many steps", "by letters", "few names"], autouse=True)
def _step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    step, few = request.param
    monkeypatch.setattr(module, "STEP_NAMES", step)
    monkeypatch.setattr(module, "PATTERN_STEP_NAMES", step)
    monkeypatch.setattr(module, "FEW_NAMES", few)


def found(among: Sequence[bytes], wanted: NameFilter) -> list[bytes]:
    stand = sorted(set(among))
    starts = array("Q", accumulate(map(len, stand), initial=0))
    numbers = matching(b"".join(stand), starts, wanted, step=lambda: None)
    assert sorted(set(numbers)) == list(numbers)
    return [stand[number] for number in numbers]


@given(
    among=st.lists(names, max_size=40),
    prefix=names,
    part=st.just("") | names,
    excluded=st.frozensets(names, max_size=3),
    some=st.data(),
)
def test_every_filter_is_that_of_a_plain_look(
    among: list[str], prefix: str, part: str, excluded: frozenset[str], some: st.DataObject
) -> None:
    if among:
        excluded |= some.draw(st.frozensets(st.sampled_from(among), max_size=3))
        prefix = some.draw(st.sampled_from([prefix, prefix[:1], among[0][:2].upper(), among[-1].swapcase()]))
    for wanted in (
        NameFilter(prefix=prefix),
        NameFilter(contains=part),
        NameFilter(excluded=frozenset(map(str.encode, excluded))),
        NameFilter(
            prefix=prefix[:1], contains=part, pattern="[a-zA-Z]$", excluded=frozenset(map(str.encode, excluded))
        ),
    ):
        want = [
            name
            for name in sorted(set(among), key=str.encode)
            if name.casefold().startswith(wanted.prefix.casefold())
            and wanted.contains.casefold() in name.casefold()
            and (not wanted.pattern or re.search(r"[a-zA-Z]\Z", name))
            and name.encode() not in wanted.excluded
        ]
        assert [name.decode() for name in found([each.encode() for each in among], wanted)] == want


@pytest.mark.parametrize(
    ("prefix", "begin"),
    [
        ("stra", ["STRASSE", "Strand", "straße"]),
        ("STRASS", ["STRASSE", "straße"]),
        ("k", ["KELVIN", "kelvin", "\u212aelvin"]),
        ("fi", ["ﬁsh", "fish"]),
        ("É", ["École", "école"]),
        ("日", ["日本"]),
        ("42", ["42"]),
        ("zz", []),
    ],
)
def test_a_beginning_is_found_in_each_of_its_spellings(prefix: str, begin: list[str]) -> None:
    everything = [
        "42",
        "STRASSE",
        "Strand",
        "straße",
        "KELVIN",
        "kelvin",
        "Kelvin",
        "fish",
        "ﬁsh",
        "École",
        "école",
        "日本",
        "f",
    ]
    assert set(found([name.encode() for name in everything], NameFilter(prefix=prefix))) == {
        name.encode() for name in begin
    }


def test_bytes_that_are_no_text_are_passed_over() -> None:
    among = [b"\xff\xfe", b"a\xffb", b"ab"]
    assert found(among, NameFilter(prefix="A")) == [b"ab", b"a\xffb"]
    assert found(among, NameFilter(pattern="b$")) == [b"ab", b"a\xffb"]
    assert found(among, NameFilter(contains="\ufffdB")) == [b"a\xffb"]


def test_all_characters_that_have_case_are_known() -> None:
    """One in a later Unicode, beyond those that are looked through, would not be found by its other case."""
    cased = [letter for letter in map(chr, range(sys.maxunicode + 1)) if letter.casefold() != letter]
    assert all((letter, letter.casefold()) in spellings(letter.casefold()[0]) for letter in cased)


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("er+o", [b"error.500", b"error.\n"]),
        ("^error", [b"error.500", b"error.\n"]),
        ("500$", [b"error.500"]),
        ("^.*$", [b"Error", b"error.500", "größe".encode()]),  # a dot is no end of a line
        ("(?s)^.*$", [b"Error", b"error.500", b"error.\n", "größe".encode()]),
        ("(?i)ERROR", [b"Error", b"error.500", b"error.\n"]),
        ("^gr.ße$", ["größe".encode()]),
        (r"\pL{5}$", [b"Error", "größe".encode()]),
        ("^$", []),
        ("x", []),
    ],
)
def test_a_regular_expression_is_searched_for(pattern: str, want: list[bytes]) -> None:
    among = [b"error.500", b"error.\n", b"Error", "größe".encode()]
    assert set(found(among, NameFilter(pattern=pattern))) == set(want)


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", r"(a)\1", "a(?=b)", "(a{100}){100}", r"[\pL\pN]{500}", "*"])
def test_one_that_is_none_or_would_be_too_large_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"RE2.*: ."):
        compiled(pattern)


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(a+a+)+b", "(.*.*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_one_that_is_catastrophic_elsewhere_takes_no_time(pattern: str) -> None:
    among = [b"a" * 4000 + b"%d" % number for number in range(20)]
    began = time.thread_time()
    assert found(among, NameFilter(pattern=pattern)) == []
    assert time.thread_time() - began < 20  # a back-tracking one takes years


def test_one_that_takes_too_long_over_all_names_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATTERN_SECONDS", 0.0)
    with pytest.raises(WrongParameters, match=r"regex: .*simpler"):
        found([b"%d" % number for number in range(300)], NameFilter(pattern="x"))
    assert found([b"1"], NameFilter(contains="1")) == [b"1"]
