"""The most frequent words of several shards, of which each knows its own: which of them are so for certain. Pure.

A word that is not among the most frequent ones of any shard was counted in each of them at most as often as the least
frequent of these: its floor. So it cannot come to more than the sum of the floors, and what does is among the most
frequent ones of all. This is the threshold algorithm (R. Fagin, A. Lotem, M. Naor, "Optimal aggregation algorithms for
middleware", Journal of Computer and System Sciences 66(4), 2003), with all of what shards know as its first and only
step: where it proves too few words, all are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tally.keys import TOP_WORDS


@dataclass(frozen=True)
class Top:
    """The most frequent words of a shard, by name in UTF-8; all there are, if they are fewer than TOP_WORDS."""

    counts: Mapping[bytes, int]

    @property
    def is_whole(self) -> bool:
        """Return whether there are no other words."""
        return len(self.counts) < TOP_WORDS

    @cached_property
    def floor(self) -> int:
        """Return how often a word that is not among them was counted at the most."""
        return 0 if self.is_whole else min(self.counts.values())

    def at_most(self, name: bytes) -> int:
        """Return how often a word was counted at the most."""
        return self.counts.get(name, self.floor)


def missing(tops: Sequence[Top]) -> list[list[bytes]]:
    """Return of each shard which words it has to be asked for, because they are among the top of another."""
    candidates: set[bytes] = set().union(*(top.counts for top in tops))
    return [[] if top.is_whole else sorted(candidates - top.counts.keys()) for top in tops]


def proven(sums: Mapping[bytes, int], later: Sequence[Top]) -> dict[bytes, int]:
    """Return those of the words that no other word may have been counted more often than.

    `later` are the tops of all shards as they were when the last count in `sums` had been read, or after that. Counts
    only grow, so what is true of all other words then was true before.
    """
    others: set[bytes] = set().union(*(top.counts for top in later)) - sums.keys()
    most = sum(top.floor for top in later)
    for name in others:  # they have become frequent in between
        most = max(most, sum(top.at_most(name) for top in later))
    return {name: count for name, count in sums.items() if count >= most}
