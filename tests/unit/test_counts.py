"""Counts merge in any grouping and any order to the same; a batch's windows are kept in bounds without losing any."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from tally.counts import Counts, Section, WindowCounts, sections
from tally.windows import parse_window_lengths

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


_LENGTHS = parse_window_lengths("1x4,2x4,4x2")


@given(st.dictionaries(st.integers(-50, 50), _window, max_size=60))
def test_sections_hold_everything_once_and_no_more_windows_than_are_kept(windows: dict[int, WindowCounts]) -> None:
    before = deepcopy(windows)
    found = list(sections(windows, _LENGTHS))
    assert _merged(*(each.counts for each in found)) == _merged(*windows.values())
    assert windows == before
    for level, length in enumerate(_LENGTHS):
        starts = [each.start for each in found if each.level == level]
        assert starts == sorted(set(starts), reverse=True)
        assert len(starts) <= length.kept
        assert all(length.start_of(start) == start for start in starts)
        # Nothing newer than a window of this length is left to a longer one.
        beyond = [each.start for each in found if level < each.level < len(_LENGTHS)]
        assert not starts or all(start <= min(starts) for start in beyond)
        assert len(starts) == length.kept or not any(each.level > level for each in found)
    assert sum(each.level == len(_LENGTHS) for each in found) <= 1


def test_sections_of_a_few_windows_are_those_windows() -> None:
    windows = {start: WindowCounts(Counter(foo=start)) for start in (60, 0, 120)}
    assert list(sections(windows, parse_window_lengths("60x360,3600x336"))) == [
        Section(0, start, windows[start]) for start in (120, 60, 0)
    ]
