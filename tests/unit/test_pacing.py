"""A batch is as large as can be counted long before its blocks are claimed."""

from __future__ import annotations

import pytest

from aggregator.pacing import LARGE_BLOCKS, SMALL_BLOCKS, Batch, Pace
from tally.store import Entry

#: With this a batch may take 20 s, of which half is for the one that is counted before it.
CLAIM_IDLE_SECONDS = 60.0


def _entries(number: int, *, size: int = 100) -> list[Entry]:
    return [Entry(f"{at}-0", b"x" * size, "s") for at in range(number)]


def _pace_after(*batches: tuple[int, float]) -> Pace:
    """A pace that saw small batches of so many blocks, which took so many seconds."""
    pace = Pace(claim_idle_seconds=CLAIM_IDLE_SECONDS)
    for number, seconds in batches:
        pace.read(_entries(number))
        pace.counted(Batch(_entries(number), 1000.0), now_seconds=1000.0 + seconds)
    return pace


def test_more_blocks_make_a_batch_while_they_are_small() -> None:
    pace = Pace(claim_idle_seconds=CLAIM_IDLE_SECONDS)
    assert pace.blocks == LARGE_BLOCKS, "who knows"
    pace.read(_entries(3))
    assert pace.blocks == SMALL_BLOCKS
    pace.read(_entries(8, size=262_144))
    assert pace.blocks == LARGE_BLOCKS


@pytest.mark.parametrize(
    ("blocks", "seconds", "fit"), [(256, 9.0, 256), (256, 20.0, 128), (256, 40.0, 64), (256, 2600.0, 1), (1, 500.0, 1)]
)
def test_a_batch_that_took_too_long_makes_the_next_ones_as_large_as_fits(blocks: int, seconds: float, fit: int) -> None:
    assert _pace_after((blocks, seconds)).blocks == fit


def test_batches_grow_again_when_they_are_fast() -> None:
    slow = (256, 1000.0)
    assert [_pace_after(slow, *[(2, 0.1)] * fast).blocks for fast in (0, 1, 2, 3, 50)] == [2, 4, 8, 16, SMALL_BLOCKS]


def test_large_blocks_fit_no_better_for_there_being_time() -> None:
    pace = _pace_after(*[(256, 0.1)] * 5)
    pace.read(_entries(32, size=262_144))
    assert pace.blocks == LARGE_BLOCKS


def test_what_is_held_for_half_of_its_time_is_due() -> None:
    pace, batch = Pace(claim_idle_seconds=CLAIM_IDLE_SECONDS), Batch(_entries(2), 1000.0)
    assert not pace.is_due(batch, now_seconds=1009.9)
    assert pace.is_due(batch, now_seconds=1010.1)
