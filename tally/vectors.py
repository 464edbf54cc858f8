"""How far a source was appended under a layout that may be another one than ours. Pure: no I/O.

A vector is the shards and the stripes of then, and how far each lane was. A source that was moved between layouts has
the vectors of before, too: a line that one of them has is passed over, whatever lane it is in now. A lane has the lines
that begin before its position. What its vector says of a line depends on the stripes of then alone; so a chain of moves
is a list of vectors, each as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import msgspec

from tally.stripes import IN_A_LINE, MOVED, Stand, Stripes

#: So many steps from stripe to stripe are made to find where reading begins; then it begins earlier than it need.
MOST_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Lane:
    """How far a lane was, in bytes; `last` is the fingerprint of the bytes before that, empty if there was none."""

    position: int
    last: str = ""

    @property
    def is_in_a_line(self) -> bool:
        """Whether its position is behind a last line without an end."""
        return self.last.endswith(IN_A_LINE)


@dataclass(frozen=True)
class Vector:
    """How far each lane was. `stripe_bytes` is None where there was one shard, which has the source as a whole."""

    shards: int
    stripe_bytes: int | None
    lanes: tuple[Lane, ...]

    @cached_property
    def furthest(self) -> int:
        """Up to where the source was read."""
        return max(lane.position for lane in self.lanes)

    def stripes(self, name: str) -> Stripes:
        """Return the stripes of then of the source with this name in the store."""
        return Stripes.of(name, shards=self.shards, stripe_bytes=self.stripe_bytes)

    @classmethod
    def parse(cls, fields: Any) -> Vector:
        """Read what `fields` gave. Raises KeyError, TypeError or ValueError where it is something else."""
        lanes = tuple(Lane(*each) for each in zip(fields["lanes"], fields["lasts"], strict=True))
        return cls(fields["shards"], fields["stripe_bytes"], lanes)

    @property
    def fields(self) -> dict[str, Any]:
        """What is stored of it."""
        return {
            "shards": self.shards,
            "stripe_bytes": self.stripe_bytes,
            "lanes": [lane.position for lane in self.lanes],
            "lasts": [lane.last for lane in self.lanes],
        }


def packed(vectors: Sequence[Vector]) -> bytes:
    """Return vectors as they are stored."""
    return msgspec.json.encode([vector.fields for vector in vectors])


def unpacked(text: bytes) -> tuple[Vector, ...]:
    """Read what `packed` gave."""
    return tuple(map(Vector.parse, msgspec.json.decode(text)))


def still_telling(vectors: Iterable[Vector], positions: Sequence[int]) -> tuple[Vector, ...]:
    """Return those of the vectors that still tell something where the lanes are so far now.

    A lane that falls back lets them tell it again.
    """
    return tuple(each for each in vectors if each.furthest > min(positions))


class View:
    """What lanes have of the lines of one source, and which lane one is of."""

    def __init__(self, stripes: Stripes, stands: Sequence[Stand]) -> None:
        """Make it of the stripes, and of where the lanes stand, in their order."""
        self.stripes = stripes
        self.positions = tuple(each.position for each in stands)
        self.furthest = max(self.positions, default=0)
        # Whose beginning is before the position goes on there in the same lane.
        self._goes_on_at = {each.position: lane for lane, each in enumerate(stands) if each.is_in_a_line}

    @classmethod
    def of(cls, name: str, vector: Vector) -> View:
        """Return the view of a vector of the source with this name in the store."""
        return cls(vector.stripes(name), vector.lanes)

    def lane_at(self, position: int) -> int:
        """Return the lane of a line that begins here."""
        found = self._goes_on_at.get(position)
        return self.stripes.shard_at(position) if found is None else found

    def end_at(self, position: int) -> int:
        """Return from where on lines may be of another lane than one that begins here; at once, if that goes on."""
        return position if position in self._goes_on_at else self.stripes.end_at(position)

    def has(self, position: int) -> bool:
        """Return whether its lane has the line that begins here."""
        return self.positions[self.lane_at(position)] > position

    def has_up_to(self, position: int) -> int:
        """Return up to where, within the stripe, it has all lines that begin from this position on."""
        had = self.positions[self.lane_at(position)]
        if had <= position:
            return position
        others = (each for each in self._goes_on_at if each > position)  # which may be of another lane
        return min(had, self.stripes.end_at(position), *others)


def resume_at(name: str, vectors: Sequence[Vector]) -> int:
    """Return where reading begins: each line that begins before that is one that some vector has."""
    views = [View.of(name, each) for each in vectors]
    at = max(view.stripes.resume_at(each.lanes) for view, each in zip(views, vectors, strict=True))
    bridged = [over for view, each in zip(views, vectors, strict=True) for over in view.stripes.bridged(each.lanes)]
    for _ in range(MOST_STEPS):
        beyond = max(at, *(view.has_up_to(at) for view in views), *(over.stop for over in bridged if at in over))
        if beyond == at:
            break
        at = beyond
    return at


@dataclass(frozen=True, slots=True)
class Moved:
    """What a source is given in the shard of its first stripe when it is moved: a position, and what is before it."""

    position: int
    last: str


def moved(name: str, vectors: Sequence[Vector], *, shards: int) -> Moved:
    """Return how far the first lane of a source is under a layout of so many shards, by its vectors of before.

    As far as all lines are had, where lanes of then have noted what is before that. Unless that tells all that the
    vectors do, it is marked: an ingestor that has opened the source before knows nothing of these, and appends nothing
    where the bytes before are others than those that it has read.
    """
    resumed = resume_at(name, vectors)
    furthest = max(each.furthest for each in vectors)
    stands = {lane.position: _plain(lane.last) for each in vectors for lane in each.lanes if lane.position <= resumed}
    if shards == 1 and furthest in stands:
        return Moved(furthest, stands[furthest])
    position = max((at for at, last in stands.items() if last), default=0)
    if not furthest:
        return Moved(0, "")
    mark = blake2b(packed(vectors), digest_size=4).hexdigest()
    return Moved(position, f"{stands.get(position) or '0-'}{MOVED}{mark}")


def _plain(last: str) -> str:
    return last.partition(MOVED)[0].removesuffix(IN_A_LINE)
