"""Counts merge in any grouping and any order to the same."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from tally.counts import Counts, WindowCounts

_counters = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**12), max_size=4).map(Counter)
_window = st.builds(WindowCounts, _counters, _counters)


def _merged(*parts: WindowCounts) -> WindowCounts:
    whole = WindowCounts()
    for part in parts:
        whole.merge(deepcopy(part))
    return whole


@given(_window, _window, _window)
def test_merging_is_associative_and_commutative(a: WindowCounts, b: WindowCounts, c: WindowCounts) -> None:
    assert _merged(_merged(a, b), c) == _merged(a, _merged(b, c)) == _merged(c, b, a)
    assert _merged(a, WindowCounts()) == _merged(WindowCounts(), a) == a


@given(_window, _window)
def test_a_merge_leaves_the_other_alone(a: WindowCounts, b: WindowCounts) -> None:
    before = deepcopy(b)
    a.merge(b)
    a.merge(before)
    assert b == before, "what is merged into is never shared with what was merged"


def test_events_and_words_are_sums_over_windows() -> None:
    counts = Counts(
        windows={
            0: WindowCounts(Counter(foo=2), Counter(a=5)),
            60: WindowCounts(Counter(foo=1, bar=4), Counter(b=7)),
        }
    )
    assert (counts.events, counts.words) == (7, 12)
