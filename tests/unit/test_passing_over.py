"""A growing source that is moved between layouts in the middle of it: every byte counts once, under one of them."""

from __future__ import annotations

import pytest

from tests.striped import World


def tiled(world: World, size: int) -> bool:
    """Whether the blocks are the source, each byte of it in one."""
    at = 0
    for block in world.blocks():
        if block.start != at:
            return False
        at = block.end
    return at == size


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_every_byte_of_a_source_is_in_one_block_under_one_layout(first: int) -> None:
    """Whatever is killed or falls back before a move and after it, and though lines are taken without their ends."""
    for seed in range(first, first + 50):
        world = World(seed)
        chance, size = world.chance, len(world.content)
        for grown in sorted(chance.randint(0, size) for _ in range(chance.randint(1, 6))):
            for _ in range(chance.randint(0, 2)):
                world.ingest(grown, faults=chance.random() < 0.8)
                for shard in world.shards:
                    if chance.random() < 0.3:
                        shard.lose_end(chance)
            if chance.random() < 0.6:
                world.move(shards=chance.choice([1, 1, 2, 3, 4]), stripe_bytes=chance.randint(20, 200))
        assert world.ingest(size, faults=False), seed
        assert tiled(world, size), seed
