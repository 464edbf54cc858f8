"""Stripes: how a source that can be read again is spread over shards. Pure: no I/O.

A source is cut into stripes of so many bytes, which go to the shards in turn. A line belongs to the stripe in which its
first byte lies, however long it is. So each shard has a *lane* of the source: the lines of every Nth stripe, and a
position of its own up to which it has them, which may fall back alone.

Where a line begins is decided by the content alone, whichever ingestor reads it and when: behind a line end. What was
taken as the last line of a source, without its end, and has gone on since goes to the same lane as its beginning did.
That lane *stands in a line* meanwhile, which is noted behind the fingerprint of the bytes before its position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tally.shards import shard_of

#: Behind the fingerprint of a position that is in the middle of a line.
IN_A_LINE = "~"

#: Behind the fingerprint of a position that a source was moved to, see tally/vectors.py; more follows.
MOVED = "^"

#: How long the stripe of a source is that is not spread: as good as endless.
_WHOLE = 1 << 62


class Stand(Protocol):
    """How far a lane is."""

    @property
    def position(self) -> int: ...

    @property
    def is_in_a_line(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Stripes:
    """The stripes of one source, and which shard has which: `first` has the first one."""

    shards: int
    stripe_bytes: int
    first: int

    @classmethod
    def of(cls, name: str, *, shards: int, stripe_bytes: int | None) -> Stripes:
        """Return those of the source with this name in the store. With one shard, all of it is one stripe."""
        if shards == 1 or stripe_bytes is None:
            return cls(1, _WHOLE, 0)
        return cls(shards, stripe_bytes, shard_of(name, shards))

    def shard_at(self, position: int) -> int:
        """Return the shard of a line that begins here."""
        return (position // self.stripe_bytes + self.first) % self.shards

    def end_at(self, position: int) -> int:
        """Return where the stripe ends in which this position is."""
        return (position // self.stripe_bytes + 1) * self.stripe_bytes

    def next_position(self, shard: int, position: int) -> int:
        """Return the first position from this one on at which a line of the shard may begin."""
        ahead = (shard - self.shard_at(position)) % self.shards
        return position if not ahead else (position // self.stripe_bytes + ahead) * self.stripe_bytes

    def resume_at(self, stands: Sequence[Stand]) -> int:
        """Return where reading begins, by where the lanes stand: each has all of its lines that begin before that.

        When all of a source was appended, it is its end; unless it has lines that are longer than a stripe.
        """
        bridged = self.bridged(stands)
        return min(self._need(shard, stand, bridged) for shard, stand in enumerate(stands))

    def bridged(self, stands: Sequence[Stand]) -> list[range]:
        """Return positions at which certainly no line begins, by where the lanes stand."""
        return [self._bridged(shard, stand) for shard, stand in enumerate(stands) if stand.position]

    def _need(self, shard: int, stand: Stand, bridged: Sequence[range]) -> int:
        """Return where the next line of a lane can begin."""
        if stand.is_in_a_line:
            return stand.position
        found = self.next_position(shard, stand.position)
        while over := next((each for each in bridged if found in each), None):
            found = self.next_position(shard, over.stop)
        return found

    def _bridged(self, shard: int, stand: Stand) -> range:
        """Return positions at which certainly no line begins: those behind the stripe of one that ends at a stand.

        In which of its stripes that one begins is not known if it is long; in the last of them before its end at the
        latest.
        """
        last = (stand.position - 1) // self.stripe_bytes
        behind = (self.shard_at(stand.position - 1) - shard) % self.shards
        return range((last - behind + 1) * self.stripe_bytes, stand.position)
