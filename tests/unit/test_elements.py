"""Elements of JSON that comes in pieces: the same however it is cut, and no more work than its bytes are worth."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ingestor.elements
from ingestor.elements import MAX_DEPTH, Elements, NotEvents

#: Texts with all that could be taken for the end of something.
TEXT = st.text(st.sampled_from(list('"\\{}[],: \nné')), max_size=6)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXT, each, max_size=3),
    max_leaves=12,
)
CUTS = st.sets(st.integers(0, 400), max_size=12)


def cut(body: bytes, at: set[int]) -> list[bytes]:
    cuts = sorted({each for each in at if each <= len(body)} | {0, len(body)})
    return [body[start:end] for start, end in itertools.pairwise(cuts)] or [body]


def elements(pieces: list[bytes]) -> list[bytes]:
    cutter = Elements()
    lines = b"".join([*map(cutter.feed, pieces), cutter.finish()])
    found = lines.split(b"\n")[:-1]
    assert cutter.count == len(found)
    return found


@given(st.lists(VALUE, max_size=8), st.sampled_from([None, 1]), st.sampled_from([",", " ,", "\n,\n"]), CUTS)
def test_an_array_is_cut_into_its_elements(values: list[Any], indent: int | None, comma: str, cuts: set[int]) -> None:
    body = json.dumps(values, indent=indent, separators=(comma, ": ")).encode() + b" \n"
    assert [json.loads(each) for each in elements(cut(body, cuts))] == values


@given(
    st.lists(st.dictionaries(TEXT, VALUE, max_size=3), min_size=1, max_size=6), st.sampled_from(["", "\n", " "]), CUTS
)
def test_values_one_behind_the_other_are_cut_apart(values: list[Any], between: str, cuts: set[int]) -> None:
    body = between.join(json.dumps(each, indent=1) for each in values).encode()
    assert [json.loads(each) for each in elements(cut(body, cuts))] == values


PIECE = st.sampled_from([b"{", b"}", b"[", b"]", b",", b'"', b"\\", b'"a":1', b"1", b" ", b"\n", b'{"a":"b"}', b"\xff"])


@given(st.sampled_from([b"[", b"{", b""]), st.lists(PIECE, max_size=14), CUTS)
def test_what_is_taken_is_what_is_json_however_it_is_cut(begin: bytes, pieces: list[bytes], cuts: set[int]) -> None:
    body = begin + b"".join(pieces)
    try:
        if not body.lstrip().startswith((b"[", b"{")):
            raise msgspec.DecodeError
        is_array = body.lstrip().startswith(b"[")
        right = (
            msgspec.json.decode(body, type=list[msgspec.Raw])
            if is_array
            else msgspec.json.Decoder(msgspec.Raw).decode_lines(body)
        )
    except msgspec.MsgspecError:
        with pytest.raises(NotEvents):
            elements(cut(body, cuts))
    else:
        assert elements(cut(body, cuts)) == [bytes(each).replace(b"\n", b" ") for each in right]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "neither an object nor an array"),
        (b" \n", "neither an object nor an array"),
        (b"x", "neither an object nor an array"),
        (b'[{"a":1}', "ends in the middle of the array"),
        (b'[{"a":1},', "ends in the middle of the array"),
        (b'[{"a":1},]', "an element is missing (byte 9)"),
        (b"[,1]", "(byte 1)"),
        (b'[{"a":1}] x', "something stands behind the array (byte "),
        (b'[{"a":1}}]', "it closes what it has not opened (byte 8)"),
        (b'[{"a":1}, {"a":1x}]', "(byte 16)"),
        (b'{"a":1}{"a":1x}', "(byte 13)"),
        (b'{"a":1}{"a":', "truncated"),
        (b"[" * 10_000, "nested too deeply"),
        (b"{" + b'"a":{' * 10_000, "nested too deeply"),
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_what_is_wrong_is_said_with_its_place(body: bytes, says: str, step: int) -> None:
    with pytest.raises(NotEvents) as caught:
        elements([body[at : at + step] for at in range(0, len(body), step)])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "element",
    [
        b"{}",
        b'{"a":{"b":[{"c":"},{"},{"d":{}}]}}',
        b"[" * (MAX_DEPTH // 2) + b"]" * (MAX_DEPTH // 2),
        b'"' + b'\\"},' * 5_000 + b'"',
        b"[" + b"[]," * 5_000 + b"[]]",
        b'{"a":"' + b"x" * 100_000 + b'"}',
    ],
    ids=["empty", "nested", "deep", "string", "wide", "long"],
)
def test_the_work_is_in_proportion_to_the_bytes(element: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at and decoded, in bytes: a few times the body, however small its pieces are."""
    looked_at = 0

    class Counting:
        def __init__(self, real: Any) -> None:
            self._real = real

        def match(self, pile: bytearray, at: int) -> Any:
            nonlocal looked_at
            found = self._real.match(pile, at)
            looked_at += found.end() - at
            return found

        def sub(self, blank: Any, pile: bytes) -> Any:
            nonlocal looked_at
            looked_at += len(pile)
            return self._real.sub(blank, pile)

        def decode(self, run: bytes) -> Any:
            nonlocal looked_at
            looked_at += len(run)
            return self._real.decode(run)

    for name in ("_RUN_OF_ARRAY", "_REST_OF_STRING", "_ANY_STRING", "_ARRAY"):
        monkeypatch.setattr(f"ingestor.elements.{name}", Counting(getattr(ingestor.elements, name)))
    body = b"[" + b",".join([element] * (200_000 // len(element) + 1)) + b"]"
    for step in (100, 4096, len(body)):
        looked_at = 0
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        assert len(elements(pieces)) == 200_000 // len(element) + 1
        assert looked_at < 12 * len(body), step
