"""Whether something may hold what is to be forgotten, however it is written there."""

from __future__ import annotations

import json
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.forgetting import Forgotten, unescaped

CAFE = normalize("NFC", "Café")


def words(*names: str, fold_case: bool = False) -> Forgotten:
    return Forgotten.words(names, normalize=True, fold_case=fold_case)


@pytest.mark.parametrize(
    "line",
    [
        '{"event_type": "a", "data": "at the Café"}'.encode(),
        normalize("NFD", '{"data": "Café,"}').encode(),
        b'{"data": "at the Caf\\u00e9"}',
        b'{"data": "torn Caf\\u0065\\u0301',
        b"garbage \xff\xfe " + "Café".encode() + b"\xff",
    ],
)
def test_it_is_found_as_it_is_counted(line: bytes) -> None:
    assert words(CAFE).may_be_in(line)
    assert words(normalize("NFD", CAFE)).may_be_in(line), "the name that was given is brought into that form"
    assert words("other", CAFE).may_be_in(line)
    assert not words("café").may_be_in(line)
    assert words("café", fold_case=True).may_be_in(line)
    assert not words("cafés", fold_case=True).may_be_in(line)


def test_types_are_looked_for_as_they_came() -> None:
    line = b'{"event_type": "a\\/b \\ud83d\\ude00", "data": ""}'
    assert Forgotten.types(["a/b 😀"]).may_be_in(line)
    assert not Forgotten.types(["A/B 😀"]).may_be_in(line)


@given(st.text(min_size=1), st.text(), st.text(), st.booleans())
def test_whatever_stands_in_a_string_of_json_is_found(name: str, before: str, behind: str, ascii_: bool) -> None:
    line = json.dumps(before + name + behind, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")
    assert Forgotten.types([name]).may_be_in(line)


@given(st.text())
def test_any_text_can_be_looked_through(text: str) -> None:
    unescaped(text).encode()
    assert unescaped(json.dumps(text)[1:-1]) == text.encode("utf-16", "replace").decode("utf-16")
