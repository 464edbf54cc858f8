"""A growing source, its shards, of which any falls back, and ingestors that are killed: all decided by a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint
from ingestor.framing import Framer
from ingestor.striped_framing import StripedFramer
from tally.store import Block, Known
from tally.store.known import alone, merged
from tally.stripes import Stripes
from tally.vectors import Lane, Vector, moved


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
        self.before: tuple[Vector, ...] = ()
        self._counted: list[Block] = []  # under layouts of before
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
        if len(self.shards) == 1:
            return alone(Known("s", self.shards[0].position, self.shards[0].last, before=self.before))
        lanes = [Known("s", each.position, each.last) if each.last else None for each in self.shards]
        return merged("s", lanes, stripe_bytes=self.stripe_bytes, before=self.before)

    def move(self, *, shards: int, stripe_bytes: int) -> None:
        """Go on under another layout."""
        known = self.known
        lanes = tuple(Lane(each.position, each.last) for each in known.stands)
        present = Vector(len(lanes), self.stripe_bytes if len(lanes) > 1 else None, lanes)
        self.before = (present, *known.before)
        self._counted += [block for shard in self.shards for block in shard.blocks]
        self.shards, self.stripe_bytes = [Shard() for _ in range(shards)], stripe_bytes
        first = moved("s", self.before, shards=shards)
        shard = self.shards[Stripes.of("s", shards=shards, stripe_bytes=stripe_bytes).first]
        shard.position, shard.last = first.position, first.last

    def ingest(self, size: int, *, faults: bool) -> bool:
        """Have one ingestor read so much of the source; True when it has, and False if it was killed."""
        while True:
            outcome = self._read(self.content[:size], faults=faults)
            if outcome is not None:
                return outcome

    def _read(self, content: bytes, *, faults: bool) -> bool | None:
        """None if one of the lanes stands elsewhere, and all is to be known anew."""
        chance, known = self.chance, self.known
        for each in known.stands_of_all:
            last = Fingerprint.parse(each.last)
            assert last is None or last.fits_last(content[: each.position][-FINGERPRINT_BYTES:])
        at, has_gaps = known.position, len(self.shards) > 1 or bool(known.before)
        framer = self._framer(known, has_gaps=has_gaps)
        framer.restart(at, before=content[:at][-FINGERPRINT_BYTES:])
        lanes = [(each.position, each.last) for each in known.stands]
        in_flight: list[list[Block]] = [[] for _ in lanes]

        def send(shard: int) -> bool:
            for block in in_flight[shard]:
                start, before = lanes[shard] if has_gaps else (block.start, block.before if block.start else "")
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
                stand = known.stands[block.shard].position
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

    def _framer(self, known: Known, *, has_gaps: bool) -> Framer:
        longest = {"max_line_bytes": self.max_line_bytes, "max_block_bytes": self.max_block_bytes}
        if not has_gaps:
            return Framer(**longest, fingerprints=True)
        stripes = Stripes.of("s", shards=len(self.shards), stripe_bytes=self.stripe_bytes)
        return StripedFramer(known, stripes=stripes, **longest)

    def blocks(self) -> Sequence[Block]:
        """What was appended, under whichever layout, in the order of the source."""
        now = [block for shard in self.shards for block in shard.blocks]
        return sorted((*self._counted, *now), key=lambda block: block.start)
