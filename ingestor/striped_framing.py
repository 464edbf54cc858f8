"""Cutting a source's bytes into blocks of which each goes to one shard. Pure: no I/O, no clock.

Reading begins where any of the lanes needs something, and others are further. So where a lane stands a block ends, and
so does a line: what was taken as the last line of the source is a line, whatever came behind it since. Every block is
then one that its lane has, or one that it has not.

Of a source that was moved from another layout, the same holds for the lanes of then, up to where the furthest of them
was: a block ends where one of these stood, and where a stripe of then ends. Those that one of them has are left out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from ingestor.framing import Framer
from tally.store import Block, Known
from tally.stripes import IN_A_LINE, Stripes
from tally.vectors import View


class StripedFramer(Framer):
    """A Framer whose blocks hold lines of one stripe each, and know their shard."""

    def __init__(self, known: Known, *, stripes: Stripes, max_line_bytes: int, max_block_bytes: int) -> None:
        """Make it for a source that is known so, with bytes from its position on."""
        self._positions = {each.position for each in known.stands_of_all}
        self._present = View(stripes, known.lanes)
        self._past = [View.of(known.name, each) for each in known.before]
        self._past_until = max((each.furthest for each in self._past), default=0)
        super().__init__(
            max_line_bytes=max_line_bytes,
            max_block_bytes=max_block_bytes,
            position=known.position,
            fingerprints=True,
        )

    def restart(self, position: int, *, before: bytes = b"") -> None:
        super().restart(position, before=before)
        self._ends = deque(sorted(each for each in self._positions if each > position))  # whatever comes, a line ends
        self._ahead = bytearray()  # what came from behind the first of them
        self._fed = position  # up to where the pile holds what came
        # The rest of a line that began before: the lane that has its beginning has all of it.
        self._is_in_rest = not (position in self._positions or not before or before.endswith(b"\n"))

    @property
    def piled_bytes(self) -> int:
        return super().piled_bytes + len(self._ahead)

    def feed(self, chunk: bytes) -> None:
        if not self._ends:
            super().feed(chunk)
            return
        self._ahead += chunk
        self._feed_ahead()

    def _feed_ahead(self) -> None:
        """Put onto the pile what came, up to where a line ends whatever comes."""
        room = self._ends[0] - self._fed if self._ends else len(self._ahead)
        with memoryview(self._ahead) as view:
            super().feed(bytes(view[:room]))
        self._fed += min(room, len(self._ahead))
        del self._ahead[:room]

    def take(self, *, finished: bool = False) -> Block | None:
        while True:
            is_at_end = bool(self._ends) and self._fed == self._ends[0]
            block = self._take_one(finished=is_at_end or (finished and not self._ahead))
            if block is not None and self._past and self._was_had(block):
                continue
            if block is not None or not is_at_end:
                return block
            self._ends.popleft()
            self._is_in_rest = False
            self._feed_ahead()

    def _take_one(self, *, finished: bool) -> Block | None:
        if self._is_in_rest:
            end = self._pile.find(b"\n")
            self._is_in_rest = end < 0
            self._remove(lines=0, through=len(self._pile) if end < 0 else end + 1)
        block = super().take(finished=finished)
        if block is None:
            return None
        shard = self._present.lane_at(block.start)
        # Where there is one lane, there is no other one that a line may go on in.
        whole = self._before.endswith(b"\n") or self._present.stripes.shards == 1
        return replace(block, shard=shard, last=block.last if whole else block.last + IN_A_LINE)

    def _was_had(self, block: Block) -> bool:
        """Return whether a lane of before has what is in the block: all of it, or nothing."""
        if block.start >= self._past_until:
            self._past = []
        return any(each.has(block.start) for each in self._past)

    def _line_end(self) -> int | None:
        """Return where the block ends: as without stripes, but with the first line end behind which another begins."""
        end = super()._line_end()
        if end is None:
            return None
        other = self._present.end_at(self._position)
        for each in self._past:
            other = min(other, each.end_at(self._position))
        within = (
            other - self._position - self._padding_dropped - 1
        )  # of the pile; up to there no line of another begins
        return end if end <= within else self._pile.find(b"\n", max(0, within))
