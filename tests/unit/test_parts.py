"""What batches add up to, applied part by part in the plainest way, is at any moment what an independent count says."""

from __future__ import annotations

import json
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.counts import Counts, NameCounts
from aggregator.decoding import HELD_BYTES, Decoder
from aggregator.floors import UNKNOWN, Known
from aggregator.parts import parts_of
from tally.deltas import ALL_TIME, Part, Place
from tally.keys import SOURCE_LINES, SOURCE_NEWEST, SOURCE_REJECTED
from tally.settings import Settings
from tally.store import Entry
from tally.windows import WindowLength, parse_window_lengths
from tests.effort import THOROUGH

#: One length up to four of them; short, so that a few events outlive them.
WINDOWS = ["5x4", "1x8,4x3", "1x8,4x6,12x3", "1x8,4x6,12x4,24x3"]

#: When all events arrive, in Unix seconds: later than any of them is.
ARRIVED = 5000


#: For what is not about the lengths.
DECODER = Decoder(Settings(windows="60x10,300x8,1200x3"))


class Windows:
    """Redis as it is to be: where counts go, what is folded and what is dropped."""

    def __init__(self, lengths: tuple[WindowLength, ...]) -> None:
        self.lengths = lengths
        self.hashes: dict[Place, Counter[str]] = {}
        self.whole: Counter[str] = Counter()
        self.newest = -math.inf
        self.longest_floor = -math.inf

    def floor(self, level: int) -> float:
        length = self.lengths[level - 1]
        if level == len(self.lengths):
            starts = sorted(self.starts(level), reverse=True)
            by_number = starts[length.kept - 1] if len(starts) >= length.kept else -math.inf
            return max(self.longest_floor, by_number)
        if self.newest == -math.inf:
            return -math.inf
        own = length.start_of(self.newest) - (length.kept - 1) * length.seconds
        return own if level + 1 == len(self.lengths) else max(own, self.floor(level + 1))

    def starts(self, level: int) -> list[int]:
        return sorted(place.start for place in self.hashes if place.level == level)

    def apply(self, part: Part) -> None:
        counts = Counter(dict(zip(part.names, part.counts, strict=True)))
        for place in part.places:
            if place.level == 1:
                self.newest = max(self.newest, place.start)
        for place in part.places:
            if place == ALL_TIME:
                self.whole += counts
            elif place.level == 1 < len(self.lengths):
                if place.start >= self.floor(1):
                    self._add(place, counts)
            else:
                self._add_base(place, counts)

    def _add_base(self, place: Place, counts: Counter[str]) -> None:
        for level in range(place.level, len(self.lengths) + 1):
            start = self.lengths[level - 1].start_of(place.start)
            if start >= self.floor(level):
                self._add(Place(level, start), counts)
                return

    def _add(self, place: Place, counts: Counter[str]) -> None:
        self.hashes.setdefault(place, Counter()).update(counts)

    def fold_or_drop(self, chance: random.Random) -> None:
        level = chance.randint(1, len(self.lengths))
        behind = [start for start in self.starts(level) if start < self.floor(level)]
        if not behind:
            return
        place = Place(level, behind[0])
        if level == len(self.lengths):
            self.longest_floor = self.floor(level)
            del self.hashes[place]
        elif level == 1:
            del self.hashes[place]
        else:
            self._add_base(Place(level + 1, place.start), self.hashes.pop(place))

    def read(self, level: int, start: int) -> Counter[str]:
        """Add up what a window holds, with the shorter ones in it that are not copies."""
        end = start + self.lengths[level - 1].seconds
        lowest = min(2, len(self.lengths))
        inside = [
            counts
            for place, counts in self.hashes.items()
            if (place.level == level and place.start == start)
            or (lowest <= place.level < level and start <= place.start < end)
        ]
        return sum(inside, Counter())


def _line(at: int, word: str) -> bytes:
    return json.dumps({"event_type": "t", "data": word, "timestamp": at}).encode()


def _trial(decoder: Decoder, seed: int) -> None:
    chance = random.Random(seed)
    lengths = decoder.lengths
    redis = Windows(lengths)
    truth: list[tuple[int, str]] = []
    known: Known = UNKNOWN
    now, position = 100, 0
    for _ in range(chance.randint(1, 25)):
        batch = decoder.begin(known)
        for _ in range(chance.randint(1, 4)):
            now += chance.choice([0, 0, 1, 2, 5, 30])
            lateness = chance.choice([[0], [0, 0, 1, 3], [0, 5, 20, 50, 100]])
            events = [
                (max(0, now - chance.choice(lateness)), chance.choice("abcdefgh")) for _ in range(chance.randint(1, 6))
            ]
            truth += events
            position += 1
            batch.add(Entry(f"{position}-0", b"\n".join(_line(*each) for each in events), "s", ARRIVED * 1000))
        counts = batch.counts()
        parts = parts_of(counts, lengths, known)
        for part in parts:
            if part.table == "words":
                redis.apply(part)
            if chance.random() < 0.3:
                redis.fold_or_drop(chance)
        floors = map(redis.floor, range(1, len(lengths) + 1))
        known = tuple(None if floor == -math.inf else int(floor) for floor in floors)
        if chance.random() < 0.3:
            known = UNKNOWN  # as after a failure
        _check(redis, truth, seed)


def _check(redis: Windows, truth: list[tuple[int, str]], seed: int) -> None:
    assert redis.whole == Counter(word for _, word in truth), seed
    for level, length in enumerate(redis.lengths, 1):
        for start in {length.start_of(at) for at, _ in truth}:
            if start >= redis.floor(level):
                want = Counter(word for at, word in truth if start <= at < start + length.seconds)
                assert redis.read(level, start) == want, (seed, level, start)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("held_bytes", [1, HELD_BYTES])
def test_every_window_that_is_kept_holds_what_an_independent_count_says(
    windows: str, held_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often what is held by its windows is counted."""
    monkeypatch.setattr("aggregator.decoding.HELD_BYTES", held_bytes)
    decoder = Decoder(Settings(windows=windows))
    for seed in range(2000 if THOROUGH else 60):
        _trial(decoder, seed)


def test_a_batch_of_one_minute_is_sent_once_for_all_its_places() -> None:
    decoder = Decoder(Settings(windows="60x360,3600x336,86400x400"))
    batch = decoder.begin()
    for number in range(3):
        batch.add(Entry(f"{number}-0", _line(3660, "a b"), "s", ARRIVED * 1000))
    everywhere = (Place(1, 3660), Place(2, 3600), ALL_TIME)
    assert parts_of(batch.counts(), decoder.lengths) == [
        Part("types", everywhere, ["t"], [3]),
        Part("words", everywhere, ["a", "b"], [3, 3]),
        Part(SOURCE_LINES, (ALL_TIME,), ["s"], [3]),
        Part(SOURCE_REJECTED, (ALL_TIME,), ["s"], [0]),
        Part(SOURCE_NEWEST, (ALL_TIME,), ["s"], [ARRIVED * 1000]),
    ]


def test_the_newest_minute_is_first_and_all_time_last() -> None:
    lengths = parse_window_lengths("60x360,3600x336")
    windows = {Place(1, start): NameCounts(Counter(t=1), Counter({str(start): 1})) for start in (0, 120, 60)}
    counts = Counts(windows, NameCounts.sum_of(list(windows.values())))
    places = [part.places for part in parts_of(counts, lengths) if part.table == "words"]
    assert places == [(Place(1, 120),), (Place(1, 60),), (Place(1, 0),), (Place(2, 0), ALL_TIME)]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300))
def test_no_more_windows_are_sent_than_are_kept(times: list[int]) -> None:
    batch = DECODER.begin()
    batch.add(Entry("1-0", b"\n".join(_line(at, "a") for at in times), "s", 10**12))
    parts = [part for part in parts_of(batch.counts(), DECODER.lengths) if part.table == "words"]
    places = [place for part in parts for place in part.places]
    assert len(places) == len(set(places))
    for level, length in enumerate(DECODER.lengths, 1):
        assert sum(place.level == level for place in places) <= length.kept
    assert next(part for part in parts if ALL_TIME in part.places).counts == [len(times)]


def test_what_is_known_to_be_too_old_for_all_lengths_is_counted_for_all_time_alone() -> None:
    batch = DECODER.begin(known=(12_000, 12_000, 12_000))
    batch.add(Entry("1-0", _line(11_999, "a"), "s", ARRIVED * 10**6))
    parts = parts_of(batch.counts(), DECODER.lengths, (12_000, 12_000, 12_000))
    assert {part.places for part in parts} == {(ALL_TIME,)}


def test_shorter_lengths_get_what_a_longer_one_that_came_later_does_not_reach_back_to() -> None:
    known = (1200, 1200, 2400)  # as it is after another layout was accepted: the longest is counted since then only
    batch = DECODER.begin(known)
    batch.add(Entry("1-0", _line(1260, "a") + b"\n" + _line(1320, "a"), "s", ARRIVED * 1000))
    parts = parts_of(batch.counts(), DECODER.lengths, known)
    places = [part.places for part in parts if part.table == "words"]
    assert places == [(Place(1, 1320),), (Place(1, 1260),), (Place(2, 1200), ALL_TIME)]
