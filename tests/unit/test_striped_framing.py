"""Lives of an ingestor of one growing source over several shards, of which any falls back: every byte counts once."""

from __future__ import annotations

import random

import pytest

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint
from ingestor.framing import Framer
from ingestor.striped_framing import StripedFramer
from tally.store import Block, Known
from tally.store.known import merged
from tally.stripes import Stripes


class Shard:
    """What append.lua does with the lane of one source; and it may lose the end of what it has."""

    def __init__(self) -> None:
        self.position = 0
        self.last = ""
        self.blocks: list[Block] = []
        self._stood: list[tuple[int, str]] = []  # where it stood before each of them

    def append(self, block: Block, *, start: int, before: str) -> bool:
        """Append it, or find it there; False if the lane stands elsewhere."""
        if self.position >= block.end:
            return True
        if (self.position, self.last) != (start, before):
            return False
        self.blocks.append(block)
        self._stood.append((self.position, self.last))
        self.position, self.last = block.end, block.last
        return True

    def lose_end(self, chance: random.Random) -> None:
        for _ in range(chance.randint(0, len(self.blocks))):
            self.blocks.pop()
            self.position, self.last = self._stood.pop()


class World:
    """A source, its shards, and how it is read; all of it is decided by the seed."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.shards = [Shard() for _ in range(chance.randint(2, 5))]
        self.stripe_bytes = chance.randint(20, 200)
        self.max_line_bytes, self.max_block_bytes = chance.randint(3, 100), chance.randint(3, 300)
        self._sizes = chance.choice([[0, 1, 5, 30], [0, 1, 5, 30, 150, 400], [3, 90]])
        self.content = b"".join(self._line() for _ in range(chance.randint(0, 60)))
        if chance.random() < 0.5:
            self.content = self.content.rstrip(b"\r\n")

    def _line(self) -> bytes:
        body = bytes(self.chance.choice(b"abc\r") for _ in range(self.chance.choice(self._sizes)))
        padding = self.chance.choice([b"\0", b"\xef\xbb\xbf"]) * self.chance.randint(1, 200)
        return (padding if self.chance.random() < 0.1 else b"") + body + self.chance.choice([b"\n", b"\r\n"])

    @property
    def known(self) -> Known:
        lanes = [Known("s", each.position, each.last) if each.position else None for each in self.shards]
        return merged("s", lanes, stripe_bytes=self.stripe_bytes)

    def ingest(self, size: int, *, faults: bool) -> bool:
        """Have one ingestor read so much of the source; True when it has, and False if it was killed."""
        while True:
            outcome = self._read(self.content[:size], faults=faults)
            if outcome is not None:
                return outcome

    def _read(self, content: bytes, *, faults: bool) -> bool | None:
        """None if one of the lanes stands elsewhere, and all is to be known anew."""
        chance, known = self.chance, self.known
        for each in known.lanes:
            last = Fingerprint.parse(each.last)
            assert last is None or last.fits_last(content[: each.position][-FINGERPRINT_BYTES:])
        framer = StripedFramer(
            known,
            stripes=Stripes.of("s", shards=len(self.shards), stripe_bytes=self.stripe_bytes),
            max_line_bytes=self.max_line_bytes,
            max_block_bytes=self.max_block_bytes,
        )
        at = known.position
        framer.restart(at, before=content[:at][-FINGERPRINT_BYTES:])
        lanes = [(each.position, each.last) for each in known.lanes]
        in_flight: list[list[Block]] = [[] for _ in lanes]

        def send(shard: int) -> bool:
            for block in in_flight[shard]:
                start, before = lanes[shard]
                if not self.shards[shard].append(block, start=start, before=before):
                    return False
                lanes[shard] = block.end, block.last
            in_flight[shard].clear()
            return True

        is_read = False
        while not is_read:
            size = chance.choice([1, 7, 50, 300])
            framer.feed(content[at : at + size])
            at += size
            is_read = at >= len(content)
            while (block := framer.take(finished=is_read)) is not None:
                stand = known.lanes[block.shard].position
                assert block.end <= stand or block.start >= stand, "all of it is there, or nothing"
                if block.end > stand:
                    in_flight[block.shard].append(block)
                if faults and chance.random() < 0.05:
                    chance.choice(self.shards).lose_end(chance)
                if faults and chance.random() < 0.05:
                    return False
                if chance.random() < 0.4 and not send(block.shard):
                    return None
                if not is_read and chance.random() < 0.5:
                    break
        for shard in chance.sample(range(len(lanes)), len(lanes)):
            if faults and chance.random() < 0.1:
                return False
            if not send(shard):
                return None
        return True

    def blocks(self) -> list[Block]:
        """What is in the shards, in the order of the source."""
        return sorted((block for shard in self.shards for block in shard.blocks), key=lambda block: block.start)


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
