"""Lives of an ingestor of one growing source over several shards, of which any falls back: every byte counts once."""

from __future__ import annotations

import pytest

from ingestor.framing import Framer
from tests.striped import Shard, World


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_every_byte_of_a_source_is_in_one_block_whatever_is_killed_or_falls_back(first: int) -> None:
    """The source grows meanwhile, and its last line is taken without its end each time."""
    for seed in range(first, first + 50):
        world = World(seed)
        chance, size = world.chance, len(world.content)
        for grown in sorted(chance.randint(0, size) for _ in range(chance.randint(0, 6))):
            world.ingest(grown, faults=chance.random() < 0.8)
            for shard in world.shards:
                if chance.random() < 0.3:
                    shard.lose_end(chance)
        assert world.ingest(size, faults=False)
        at = 0
        for block in world.blocks():
            assert block.start == at, seed
            at = block.end
        assert at == size, seed


def test_the_lines_are_those_of_a_source_with_one_lane() -> None:
    for seed in range(300):
        world = World(seed)
        assert world.ingest(len(world.content), faults=False)
        framer = Framer(max_line_bytes=world.max_line_bytes, max_block_bytes=world.max_block_bytes)
        framer.feed(world.content)
        lines = []
        while (block := framer.take(finished=True)) is not None:
            lines += block.lines.split(b"\n")
        assert [line for block in world.blocks() for line in block.lines.split(b"\n")] == lines, seed


def test_when_all_is_appended_the_position_is_the_end_if_no_line_is_longer_than_a_stripe() -> None:
    """So a file that was read to its end is not read again."""
    for seed in range(300):
        world = World(seed)
        world.stripe_bytes += 900
        for grown in (len(world.content) // 2, len(world.content)):
            assert world.ingest(grown, faults=False)
            assert world.known.position == grown, seed


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_what_goes_on_in_a_line_that_was_taken_goes_where_its_beginning_went(end: bytes) -> None:
    """Else a shard that falls back alone would have it read as one line, and another had the rest of it."""
    world = World(0)
    world.shards, world.stripe_bytes = [Shard(), Shard()], 16
    world.content = b"0123456789012\nabc" + b"defghi" + end
    assert world.ingest(len(b"0123456789012\nabc"), faults=False)
    assert world.known.is_in_a_line
    assert world.ingest(len(world.content), faults=False)
    lanes = [b"\n".join(block.lines for block in shard.blocks) for shard in world.shards]
    assert sorted(lanes) == [b"", b"0123456789012\nabc\ndefghi"]
