"""Of the most frequent words of several shards it is told of which it is certain, whatever is counted meanwhile."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.store import top_words
from tally.store.top_words import Top, candidates, proven

#: How many words a shard knows as its most frequent ones here.
TOP = 4

COUNTS = st.dictionaries(st.sampled_from([f"w{at}".encode() for at in range(12)]), st.integers(1, 9), max_size=12)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_words, "DEPTH", TOP)


def top_of(counts: Counter[bytes]) -> Top:
    """What a shard's sorted set would hold."""
    return Top(dict(counts.most_common(TOP)))


def read(before: list[Counter[bytes]], between: list[Counter[bytes]], after: list[Counter[bytes]]) -> dict[bytes, int]:
    """The sums of what was read, of which the tops were read before, the rest in between, and the tops once more."""
    tops = [top_of(counts) for counts in before]
    sums = {
        name: sum(top.counts.get(name, counts[name]) for top, counts in zip(tops, between, strict=True))
        for name in candidates(tops)
    }
    return proven(sums, [top_of(counts) for counts in after])


@given(st.lists(COUNTS, min_size=1, max_size=4))
def test_no_other_word_is_more_frequent_than_one_that_is_told(shards: list[dict[bytes, int]]) -> None:
    counts = [Counter(each) for each in shards]
    whole = sum(counts, Counter[bytes]())
    found = read(counts, counts, counts)
    assert found.items() <= whole.items(), "exact sums"
    others = [count for name, count in whole.items() if name not in found]
    assert not found or max(others, default=0) <= min(found.values())
    if all(len(each) < TOP for each in shards):
        assert found == whole, "where shards tell all their words, all are told"


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS), min_size=1, max_size=4))
def test_what_is_counted_while_they_are_read_proves_nothing_wrong(
    shards: list[tuple[dict[bytes, int], dict[bytes, int], dict[bytes, int]]],
) -> None:
    before = [Counter(first) for first, _, _ in shards]
    between = [Counter(first) + Counter(second) for first, second, _ in shards]
    after = [each + Counter(third) for each, (_, _, third) in zip(between, shards, strict=True)]
    found = read(before, between, after)
    # What a word came to when the tops were read for the first time is the least that any was told of it.
    for name, count in sum(before, Counter[bytes]()).items():
        if name not in found:
            assert count <= min(found.values(), default=count)
    for name, count in found.items():
        assert sum(before, Counter[bytes]())[name] <= count <= sum(between, Counter[bytes]())[name]


def test_words_that_are_frequent_nowhere_may_be_the_most_frequent_ones_of_all() -> None:
    shards = [Counter({f"{shard}-{at}".encode(): 10 for at in range(TOP)} | {b"x": 9}) for shard in range(3)]
    assert read(shards, shards, shards) == {}
    for shard in shards:
        shard[b"often"] = 11
    assert read(shards, shards, shards) == {b"often": 33}
