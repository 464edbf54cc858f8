"""Words by type: what a batch adds up to beside what it does without, for any lines and any settings."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.counts import Counts, NameCounts
from aggregator.decoding import Decoder
from aggregator.parts import parts_of
from tally.deltas import ALL_TIME, Place
from tally.keys import OTHER, words_of
from tally.settings import Settings
from tally.store import Entry
from tally.words_by_type import MOST_TYPES, Numbered, WordsByType, parse_words_by_type
from tests.effort import seeds
from tests.oracle import event_on, is_nothing
from tests.oracle import words_of as words_in
from tests.unit.lines import ARRIVED, blank, events, garbage


def _count(blocks: Iterable[bytes], *, numbered: Iterable[str] = (), **settings: Any) -> Counts:
    batch = Decoder(Settings(**settings)).begin(numbered=tuple(numbered))
    for block in blocks:
        batch.add(Entry(f"{ARRIVED * 1000}-0", block, "s"))
    return batch.counts()


def _event(event_type: str, data: str, **others: Any) -> bytes:
    return json.dumps({"event_type": event_type, "data": data, **others}).encode()


def _by_type(blocks: Iterable[bytes]) -> dict[str, Counter[str]]:
    """The words of each type, counted line by line."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for block in blocks:
        for line in block.split(b"\n"):
            event, _ = event_on(line)
            if event is not None and not is_nothing(line):
                found[event["event_type"]].update(words_in(event["data"]))
    return found


def _all_names(counts: Counts) -> list[NameCounts]:
    return [counts.whole, *counts.windows.values()]


@given(st.lists(st.lists(events() | garbage | blank, max_size=30).map(b"\n".join), max_size=4), st.integers(1, 4))
def test_any_lines_come_to_the_same_and_the_words_of_each_type_that_is_apart(blocks: list[bytes], most: int) -> None:
    plain, counts = _count(blocks), _count(blocks, words_by_type=str(most))
    truth = _by_type(blocks)
    assert (counts.totals(blocks=1), counts.samples) == (plain.totals(blocks=1), plain.samples)
    assert counts.whole.types == plain.whole.types
    assert counts.whole.words == plain.whole.words
    assert {place: (names.types, names.words) for place, names in counts.windows.items()} == {
        place: (names.types, names.words) for place, names in plain.windows.items()
    }
    assert counts.whole.by_type.keys() <= truth.keys()
    assert len(counts.whole.by_type) == min(most, len(truth.keys() - {OTHER}))
    for event_type, words in counts.whole.by_type.items():
        assert words == truth[event_type]
        in_windows = (names.by_type.get(event_type, Counter()) for names in counts.windows.values())
        assert sum(in_windows, Counter[str]()) == words, "each event is in one window"


def test_the_first_types_that_come_are_apart_while_there_is_room_beside_those_with_a_number() -> None:
    lines = b"\n".join(_event(each, f"{each}1 x") for each in "abcabcd")
    counts = _count([lines], numbered=["c", "z"], words_by_type="4")
    assert counts.whole.by_type == {"a": {"a1": 2, "x": 2}, "b": {"b1": 2, "x": 2}, "c": {"c1": 2, "x": 2}}
    assert counts.whole.words == {"a1": 2, "b1": 2, "c1": 2, "d1": 1, "x": 7}
    assert _count([lines], numbered=["w", "x", "y", "z"], words_by_type="4").whole.by_type == {}


def test_types_that_are_named_are_apart_alone() -> None:
    lines = b"\n".join(_event(each, "x") for each in ["a", "b", "100", OTHER])
    assert set(_count([lines], words_by_type="b,100,z").whole.by_type) == {"b", "100"}
    assert set(_count([lines], words_by_type="100,").whole.by_type) == {"100"}


def test_what_counts_as_other_has_no_words_of_its_own() -> None:
    long = "ü" * 6
    counts = _count(
        [b"\n".join((_event(long, "a"), _event(OTHER, "b"), _event("é", "c")))], words_by_type="9", max_name_bytes=10
    )
    assert counts.whole.types == {OTHER: 2, "é": 1}
    assert counts.whole.by_type == {"é": {"c": 1}}
    assert counts.whole.words == {"a": 1, "b": 1, "c": 1}


def test_a_type_without_words_is_apart_too() -> None:
    """It has its number from then on: what comes later has words."""
    assert _count([_event("a", "")], words_by_type="1").whole.by_type == {"a": {}}
    assert _count([_event("a", "b")], words_by_type="1", text_field="").whole.by_type == {"a": {}}


def test_several_text_fields_go_to_the_type_of_their_event() -> None:
    lines = [
        b'{"event_type":"a","one":"x y","two":{"three":"z"}}',
        b'{"event_type":"b","two":{"three":"z z"}}',
        b'{"event_type":"c"}',
        b'{"event_type":"b","one":"x"}',
    ]
    counts = _count([b"\n".join(lines)], words_by_type="9", text_field="one,two.three")
    assert counts.whole.by_type == {"a": {"x": 1, "y": 1, "z": 1}, "b": {"x": 1, "z": 2}, "c": {}}
    assert counts.whole.types == {"a": 1, "b": 2, "c": 1}
    assert counts.whole.words == {"x": 2, "y": 1, "z": 3}


@pytest.mark.parametrize("seed", seeds(range(4), range(100)))
def test_texts_that_repeat_or_are_many_come_to_the_same(seed: int) -> None:
    chance = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(chance.choice([5, 3000]))]
    texts = [" ".join(chance.choices(vocabulary, k=5)) for _ in range(chance.choice([20, 4000]))]
    blocks = [
        b"\n".join(
            _event(chance.choice("abc"), chance.choice(texts), timestamp=ARRIVED - chance.choice([0, 0, 60]))
            for _ in range(chance.choice([10, 2000]))
        )
        for _ in range(3)
    ]
    counts = _count(blocks, words_by_type="2")
    truth = _by_type(blocks)
    assert len(counts.whole.by_type) == 2
    assert all(words == truth[each] for each, words in counts.whole.by_type.items())
    assert counts.whole.words == sum(truth.values(), Counter[str]())


def test_parts_have_the_words_of_types_that_have_a_number_and_their_type() -> None:
    settings = Settings(windows="60x360,3600x336", words_by_type="2")
    counts = _count([_event("a", "x y", timestamp=3660) + b"\n" + _event("b", "x", timestamp=3660)], words_by_type="2")
    parts = parts_of(counts, settings.window_lengths, (), {"a": Numbered(7, 1)})[:3]
    everywhere = (Place(1, 3660), Place(2, 3600), ALL_TIME)
    assert [(part.table, part.places, part.of_type) for part in parts] == [
        ("types", everywhere, None),
        ("words", everywhere, None),
        (words_of(7), everywhere, "a"),
    ]
    assert dict(zip(parts[2].names, parts[2].counts, strict=True)) == {"x": 1, "y": 1}


@pytest.mark.parametrize(
    ("setting", "most", "names"),
    [
        ("", 0, None),
        (" ", 0, None),
        ("0", 0, None),
        ("7", 7, None),
        (" 007 ", 7, None),
        (str(MOST_TYPES), MOST_TYPES, None),
        ("a", 1, {"a"}),
        ("a, b,,a", 2, {"a", "b"}),
        ("7,", 1, {"7"}),
        ("7,8", 2, {"7", "8"}),
        ("-1", 1, {"-1"}),
        (",", 0, None),
    ],
)
def test_the_setting_is_a_number_or_types(setting: str, most: int, names: set[str] | None) -> None:
    found = parse_words_by_type(setting)
    assert found == WordsByType(most, frozenset(names) if names else None)
    assert parse_words_by_type(found.text) == found, "what is stored can be read again"


@pytest.mark.parametrize("setting", ["1001", "9" * 100, ",".join(map(str, range(1001))), f"a,{OTHER}"])
def test_a_setting_that_cannot_be_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=r"at most 1000|the rest"):
        parse_words_by_type(setting)
