"""Time ranges that are to be compared do not overlap, whatever windows are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tally.ranges import Windows, WindowStarts
from tally.windows import WindowLength

LENGTHS = (WindowLength(60, 8), WindowLength(300, 6), WindowLength(1200, 5))
MOMENTS = st.integers(-3000, 12_000)


@st.composite
def some_windows(draw: st.DrawFn) -> Windows:
    """Windows of each length, no more of them than are kept, with gaps."""
    found = []
    for length in LENGTHS:
        starts = draw(st.sets(st.integers(0, 10_000 // length.seconds), max_size=length.kept))
        found.append(WindowStarts(tuple(sorted(start * length.seconds for start in starts)), frozenset()))
    return Windows(LENGTHS, found)


@given(some_windows(), st.lists(MOMENTS, min_size=3, max_size=3, unique=True).map(sorted))
def test_two_time_ranges_apart_meet(windows: Windows, moments: list[int]) -> None:
    before, start, end = moments
    past, now = windows.apart(before, start, end)
    assert past.start <= past.end == now.start <= now.end
    assert not set(past.windows) & set(now.windows)
    assert past.start == past.end or windows.has(past.start, past.end)
    assert windows.has(now.start, now.end)
    cut_off = windows.time_range(-1e6, start).start
    assert now.start <= max(start, cut_off)
    assert past.start <= max(before, cut_off)


@given(some_windows(), MOMENTS, MOMENTS)
def test_what_a_time_range_was_widened_to_can_be_had(windows: Windows, one: int, other: int) -> None:
    found = windows.time_range(min(one, other), max(one, other))
    assert windows.has(found.start, found.end)
