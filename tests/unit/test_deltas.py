"""Batches are cut into chunks that are bounded whatever is in them, and that hold all of it once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tally.deltas
from tally.deltas import ALL_TIME, CHUNK_BYTES, CHUNK_UPDATES, HASH_UPDATES, Chunk, Part, Place, Sample, chunks_of

SAMPLES = [Sample(b"\xff\0", "no JSON", "file:/größe"), Sample(b"x" * 70_000, "", "")]


def _part(counts: dict[str, int], *places: Place) -> Part:
    return Part("words", places, list(counts), list(counts.values()))


def _cut(parts: Iterable[Part]) -> list[Chunk]:
    return list(chunks_of(parts, totals={"events": 7}, samples=SAMPLES))


def _names(chunk: Chunk) -> Any:
    return msgspec.msgpack.decode(
        chunk.body, type=tuple[list[tuple[list[str], list[int]]], dict[str, int], msgspec.Raw]
    )


def _added_up(chunks: Iterable[Chunk]) -> Counter[tuple[str, int, int, str]]:
    """What is added where: (kind, level, start, name) -> count."""
    sums: Counter[tuple[str, int, int, str]] = Counter()
    for chunk in chunks:
        targets, (parts, _, _) = json.loads(chunk.targets), _names(chunk)
        for (kind, places), (names, counts) in zip(targets, parts, strict=True):
            for level, start in places:
                for name, count in zip(names, counts, strict=True):
                    sums[kind, level, start, name] += count
    return sums


def test_a_small_batch_is_one_chunk_with_totals_and_samples() -> None:
    minute = Place(1, -60)
    parts = [
        Part("types", (minute, ALL_TIME), ["click"], [3]),
        _part({"a": 1, "größe": 2}, minute),
        _part({}, ALL_TIME),
    ]
    (chunk,) = _cut(parts)
    assert json.loads(chunk.targets) == [["types", [[1, -60], [0, 0]]], ["words", [[1, -60]]]]
    names, totals, _ = _names(chunk)
    assert names == [(["click"], [3]), (["a", "größe"], [1, 2])]
    assert totals == {"events": 7}
    assert chunk.updates == 2 * (1 + HASH_UPDATES) + 2 + HASH_UPDATES
    assert chunk.bytes == len(chunk.targets) + len(chunk.body)


def test_samples_stand_as_strings_whatever_is_in_them() -> None:
    """Redis' Lua reads no other type of MessagePack."""
    (chunk,) = _cut([])
    assert chunk.body.endswith(
        b"\x92\x93\xda\x00\x02\xff\0\xa7no JSON\xadfile:/gr\xc3\xb6\xc3\x9fe"
        b"\x93\xdb\x00\x01\x11\x70" + b"x" * 70_000 + b"\xa0\xa0"
    )


def test_nothing_is_a_chunk_with_totals_alone() -> None:
    (chunk,) = _cut([])
    assert (chunk.targets, chunk.updates) == (b"[]", 0)
    assert _names(chunk)[:2] == ([], {"events": 7})


_counts = st.dictionaries(st.text("ab\u00df\U0001f600", max_size=6), st.integers(0, 2**53), max_size=30)
_places = st.lists(st.builds(Place, st.integers(0, 3), st.integers(-3, 3)), min_size=1, max_size=6, unique=True)


@given(parts=st.lists(st.tuples(_counts, _places), max_size=12))
def test_chunks_hold_all_of_it_once_in_its_order_and_are_bounded(
    parts: list[tuple[dict[str, int], list[Place]]],
) -> None:
    whole = [_part(counts, *places) for counts, places in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally.deltas, "CHUNK_UPDATES", 100)
        patch.setattr(tally.deltas, "HASH_UPDATES", 5)
        patch.setattr(tally.deltas, "CHUNK_BYTES", 200)
        chunks = _cut(whole)
    expected: Counter[tuple[str, int, int, str]] = Counter()
    for part in whole:
        for place in part.places:
            for name, count in zip(part.names, part.counts, strict=True):
                expected["words", place.level, place.start, name] += count
    assert _added_up(chunks) == expected
    in_order = [name for chunk in chunks for names, _ in _names(chunk)[0] for name in names]
    assert in_order == [name for part in whole for name in part.names]
    assert [_names(chunk)[1] for chunk in chunks] == [{}] * (len(chunks) - 1) + [{"events": 7}]
    for chunk in chunks:
        assert chunk.updates <= 100
    for chunk in chunks[:-1]:
        assert _names(chunk)[0]
        assert len(chunk.body) <= 200 + 20


@pytest.mark.parametrize(
    ("names", "length", "places"),
    [(150_000, 8, 3), (10_000, 256, 3), (20, 65_536, 1), (3, 200_000, 1), (1, 1, 2000), (40, 8, 150)],
)
def test_chunks_of_the_nastiest_batches_are_bounded(names: int, length: int, places: int) -> None:
    counts = {f"{number:0{length}}": 1 for number in range(names)}
    chunks = _cut([_part(counts, *(Place(2, 3600 * number) for number in range(places)))])
    assert sum(len(names) for chunk in chunks for names, _ in _names(chunk)[0]) == names
    alone = max(CHUNK_UPDATES, places * (1 + HASH_UPDATES))
    assert max(chunk.updates for chunk in chunks) <= alone
    assert max(len(chunk.body) for chunk in chunks[:-1] or [Chunk(b"", b"", 0)]) <= max(CHUNK_BYTES, length) + 100


def test_a_million_minutes_with_a_word_each_are_bounded_by_what_a_hash_costs() -> None:
    chunks = _cut(_part({"a": 1}, Place(1, 60 * minute)) for minute in range(10_000))
    assert len(chunks) == -(-10_000 // (CHUNK_UPDATES // (HASH_UPDATES + 1)))
