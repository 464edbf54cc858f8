"""Batches merge in any grouping and any order to the same counts."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from tally.counts import Counts, Sample, WindowCounts

_counters = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**12), max_size=4).map(Counter)
_samples = st.lists(st.builds(Sample, st.binary(max_size=3), st.sampled_from(["r", "q"]), st.just("s")), max_size=3)
_counts = st.builds(
    Counts,
    windows=st.dictionaries(
        st.sampled_from([-60, 0, 60, 120]), st.builds(WindowCounts, _counters, _counters), max_size=3
    ),
    rejected=st.integers(0, 1000),
    bytes=st.integers(0, 10**9),
    samples=_samples,
)


def _merged(*parts: Counts) -> Counts:
    whole = Counts()
    for part in parts:
        whole.merge(deepcopy(part))
    return whole


def _plain(counts: Counts) -> object:
    """Everything in it, samples in no order."""
    windows = {start: (dict(window.types), dict(window.words)) for start, window in counts.windows.items()}
    return windows, counts.rejected, counts.bytes, Counter(counts.samples), counts.events, counts.words


@given(_counts, _counts, _counts)
def test_merging_is_associative(a: Counts, b: Counts, c: Counts) -> None:
    left = _merged(_merged(a, b), c)
    right = _merged(a, _merged(b, c))
    assert left == right, "the order of samples too"


@given(_counts, _counts)
def test_merging_is_commutative_but_for_the_order_of_samples(a: Counts, b: Counts) -> None:
    assert _plain(_merged(a, b)) == _plain(_merged(b, a))


@given(_counts)
def test_merging_nothing_changes_nothing(a: Counts) -> None:
    assert _plain(_merged(a, Counts())) == _plain(_merged(Counts(), a)) == _plain(a)


@given(_counts, _counts)
def test_a_merge_adds_up_and_leaves_the_other_alone(a: Counts, b: Counts) -> None:
    before = deepcopy(b)
    events, words = a.events + b.events, a.words + b.words
    a.merge(b)
    assert (a.events, a.words) == (events, words)
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
