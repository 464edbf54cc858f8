"""The most frequent words of several shards, of which each knows its own: which of them are so for certain. Pure.

A word that is not among the most frequent ones of any shard was counted in each of them at most as often as the least
frequent of these: its floor. So it cannot come to more than the sum of the floors, and what does is among the most
frequent ones of all. This is the threshold algorithm (R. Fagin, A. Lotem, M. Naor, "Optimal aggregation algorithms for
middleware", Journal of Computer and System Sciences 66(4), 2003), with all of what shards know as its first and only
step: where it proves too few words, all are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

#: So many of its most frequent words are read of each shard, and of so many of all that it does not tell.
DEPTH = 500


@dataclass(frozen=True)
class Top:
    """The most frequent words of a shard, by name in UTF-8: DEPTH of them, or all that there are above `lacked`."""

    counts: Mapping[bytes, int]
    #: How often a word was counted at the most that is missing among them, because others were moved to `__other__`.
    lacked: int = 0

    @cached_property
    def floor(self) -> int:
        """Return how often a word that is not among them was counted at the most."""
        return self.lacked if len(self.counts) < DEPTH else min(self.counts.values())

    def at_most(self, name: bytes) -> int:
        """Return how often a word was counted at the most."""
        return self.counts.get(name, self.floor)


def candidates(tops: Sequence[Top]) -> list[bytes]:
    """Return the words that may be the most frequent ones: DEPTH of them, by what they may come to; or a few more."""
    found = Counter(_at_most(set().union(*(top.counts for top in tops)), tops))
    if not any(top.floor for top in tops):
        return list(found)  # what each comes to is known
    return [name for name, _ in found.most_common(DEPTH)]


def proven(sums: Mapping[bytes, int], later: Sequence[Top]) -> dict[bytes, int]:
    """Return those of these words that no other word may have been counted more often than.

    `later` are the tops of all shards as they were when the last count in `sums` had been read, or after that. Counts
    only grow, so what is true of all other words then was true before.
    """
    others: set[bytes] = set().union(*(top.counts for top in later)) - sums.keys()
    most = max(sum(top.floor for top in later), *_at_most(others, later).values(), 0)
    return {name: count for name, count in sums.items() if count >= most}


def _at_most(names: Iterable[bytes], tops: Sequence[Top]) -> dict[bytes, int]:
    """Return what each of these words was counted at the most, in all shards together."""
    return {name: sum(top.at_most(name) for top in tops) for name in names}
