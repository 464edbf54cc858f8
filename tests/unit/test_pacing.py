"""What is read at once is small for Redis, and a batch is settled long before its blocks are claimed."""

from __future__ import annotations

import pytest

from aggregator.pacing import BATCH_BLOCKS, MOST_READ_BYTES, READ_BYTES, Batch, Pace
from tally.store import Entry
from tally.store.blocks import PendingBlock

#: With this a batch may take 20 s, of which half is for the one that is settled before it.
CLAIM_IDLE_SECONDS = 60.0

#: As it is by default.
MAX_BLOCK_BYTES = 262_144


def _pace(max_block_bytes: int = MAX_BLOCK_BYTES) -> Pace:
    return Pace(claim_idle_seconds=CLAIM_IDLE_SECONDS, max_block_bytes=max_block_bytes)


def _entries(number: int, *, size: int = 100) -> list[Entry]:
    return [Entry(f"{at}-0", b"x" * size, "s") for at in range(number)]


def _pace_after(*batches: tuple[int, float]) -> Pace:
    """Return a pace that saw batches of so many small blocks, which took so many seconds."""
    pace = _pace()
    pace.read(_entries(1))
    for number, seconds in batches:
        blocks = [PendingBlock(entry.id, 1, None) for entry in _entries(number)]
        pace.settled(Batch(1000.0, blocks), now_seconds=1000.0 + seconds)
    return pace


@pytest.mark.parametrize("size", [1, 100, 10_000, 262_144, 1_048_576])
def test_a_read_gives_about_as_many_bytes_whatever_the_size_of_blocks(size: int) -> None:
    pace = _pace()
    assert pace.blocks * MAX_BLOCK_BYTES == READ_BYTES, "who knows"
    pace.read(_entries(3, size=size))
    assert pace.blocks * size <= READ_BYTES
    assert pace.blocks == min(READ_BYTES // size, MOST_READ_BYTES // MAX_BLOCK_BYTES)


def test_blocks_that_grow_all_at_once_are_not_too_many_for_redis_either() -> None:
    pace = _pace()
    pace.read(_entries(50, size=1))
    assert pace.blocks * MAX_BLOCK_BYTES <= MOST_READ_BYTES


def test_there_is_always_a_block_to_read() -> None:
    pace = _pace(max_block_bytes=2 * MOST_READ_BYTES)
    assert pace.blocks == 1
    pace.read(_entries(1, size=2 * READ_BYTES))
    pace.read([])
    assert pace.blocks == 1


@pytest.mark.parametrize(
    ("blocks", "seconds", "fit"), [(40, 20.0, 20), (40, 40.0, 10), (40, 2600.0, 1), (1, 500.0, 1), (512, 9.0, 64)]
)
def test_a_batch_that_took_too_long_makes_the_next_reads_as_large_as_fits(
    blocks: int, seconds: float, fit: int
) -> None:
    assert _pace_after((blocks, seconds)).blocks == fit


def test_reads_grow_again_when_batches_are_fast() -> None:
    slow, most = (BATCH_BLOCKS, 100_000.0), MOST_READ_BYTES // MAX_BLOCK_BYTES
    assert [_pace_after(slow, *[(2, 0.1)] * fast).blocks for fast in (0, 1, 2, 3, 50)] == [1, 2, 4, 8, most]


def test_what_is_held_for_half_of_its_time_is_due() -> None:
    pace = _pace()
    assert not pace.is_due(1000.0, now_seconds=1009.9)
    assert pace.is_due(1000.0, now_seconds=1010.1)
