"""What vectors of before tell of a source: where reading begins, and how far its first lane is under another layout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.stripes import IN_A_LINE, MOVED, Stripes
from tally.vectors import Lane, Vector, View, moved, packed, resume_at, still_telling, unpacked


@st.composite
def vectors(draw: st.DrawFn) -> Vector:
    shards = draw(st.integers(1, 4))
    positions = draw(st.lists(st.integers(0, 120), min_size=shards, max_size=shards))
    ends = draw(st.lists(st.sampled_from(["", IN_A_LINE]), min_size=shards, max_size=shards))
    lanes = tuple(
        Lane(position, f"4-{position:016x}{end if shards > 1 else ''}" if position else "")
        for position, end in zip(positions, ends, strict=True)
    )
    return Vector(shards, draw(st.integers(5, 50)) if shards > 1 else None, lanes)


@given(st.lists(vectors(), min_size=1, max_size=3))
def test_before_the_place_where_reading_begins_no_line_begins_that_no_lane_has(chain: list[Vector]) -> None:
    at = resume_at("s", chain)
    views = [View.of("s", each) for each in chain]
    bridged = [over for each, view in zip(chain, views, strict=True) for over in view.stripes.bridged(each.lanes)]
    for begin in range(at):
        assert any(view.has(begin) for view in views) or any(begin in over for over in bridged), begin
    assert not any(view.has(at) for view in views), "nor is anything read that some lane has"


def test_a_line_that_goes_on_is_not_jumped_over_with_the_stripe_in_which_it_lies() -> None:
    """Its lane has not got it, although that of the stripe is further."""
    first = Stripes.of("s", shards=2, stripe_bytes=100).first
    lanes = (Lane(130, f"4-0{IN_A_LINE}"), Lane(180, "4-0"))
    at = Vector(2, 100, lanes if first == 0 else lanes[::-1])
    assert resume_at("s", [Vector(1, None, (Lane(110, "4-0"),)), at]) == 130


@given(st.lists(vectors(), min_size=1, max_size=3))
def test_vectors_are_read_as_they_were_stored(chain: list[Vector]) -> None:
    assert unpacked(packed(chain)) == tuple(chain)


def test_vectors_tell_nothing_any_more_once_all_lanes_are_behind_them() -> None:
    early, late = Vector(1, None, (Lane(50),)), Vector(2, 10, (Lane(70), Lane(90)))
    assert still_telling([late, early], [60, 100, 80]) == (late,)
    assert still_telling([late, early], [90, 90]) == ()
    assert still_telling([late, early], [0, 500]) == (late, early)


@given(st.lists(vectors(), min_size=1, max_size=3), st.integers(1, 4))
def test_a_first_lane_is_where_all_is_had_and_known_by_its_bytes_and_marked_unless_that_tells_all(
    chain: list[Vector], shards: int
) -> None:
    first = moved("s", chain, shards=shards)
    furthest = max(each.furthest for each in chain)
    assert first.position <= resume_at("s", chain)
    assert first.position in {0, *(lane.position for each in chain for lane in each.lanes)}
    plain, mark, _ = first.last.partition(MOVED)
    assert plain in {"", "0-", f"4-{first.position:016x}"}
    tells_all = not furthest or (shards == 1 and first.position == furthest)
    assert bool(mark) is not tells_all


@pytest.mark.parametrize("shards", [1, 3])
def test_the_mark_of_other_vectors_is_another_one(shards: int) -> None:
    chains = [[Vector(2, 100, (Lane(50, "4-a"), Lane(end, "4-b")))] for end in (150, 170)]
    assert len({moved("s", chain, shards=shards).last for chain in chains}) == 2
