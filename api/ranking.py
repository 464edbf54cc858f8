"""Names and their counts, in order; and which of them rise. Pure: no I/O, no clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tally.keys import OTHER


@dataclass(frozen=True, slots=True)
class Ranking:
    """Counts of a stretch of time (None: of all time), the most frequent first.

    `total` is all counts, also those of names that are not in `counts`; `other` those under `__other__`.
    `distinct` is how many names there are; fewer are in `counts` when only the top ones were read.
    """

    counts: dict[str, int]
    total: int
    distinct: int
    other: int
    as_of: float
    start: int | None = None
    end: int | None = None
    _ranks: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, counts: Mapping[str, int], *, as_of: float, start: int | None = None, end: int | None = None
    ) -> Ranking:
        """Rank the sum of a stretch."""
        named = sorted(((name, count) for name, count in counts.items() if name != OTHER), key=_place)
        total = sum(counts.values())
        return cls(dict(named), total, len(named), counts.get(OTHER, 0), as_of, start, end)

    @property
    def complete(self) -> bool:
        """Whether every name is here."""
        return len(self.counts) == self.distinct

    def rank(self, name: str) -> int | None:
        """The place of a name, from 1; None if it is not here."""
        if not self._ranks:
            self._ranks.update((each, at) for at, each in enumerate(self.counts, start=1))
        return self._ranks.get(name)

    def matching(self, *, prefix: str | None, contains: str | None) -> list[tuple[str, int]]:
        """The names that begin with and contain these, in order."""
        found = list(self.counts.items())
        if prefix:
            found = [each for each in found if each[0].startswith(prefix)]
        if contains:
            folded = contains.casefold()
            found = [each for each in found if folded in each[0].casefold()]
        return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two stretches of time that meet."""

    present: Ranking
    previous: Ranking

    @property
    def stretches(self) -> tuple[Ranking, Ranking]:
        """The present one and the previous one."""
        return self.present, self.previous

    def change(self, name: str) -> int:
        """How much more often a name was counted in the present stretch than in the previous one."""
        return self.present.counts.get(name, 0) - self.previous.counts.get(name, 0)


def _place(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


@dataclass(frozen=True, slots=True)
class Rise:
    """A name that rises: its count now and in the baseline, what the baseline's share would give now, the score."""

    name: str
    count: int
    previous: int
    expected: float
    ratio: float | None
    score: float


def rising(now: Ranking, baseline: Ranking, *, limit: int) -> list[Rise]:
    """Names whose share of all counts is larger now than in the baseline, the most surprising first.

    The score is the log-likelihood ratio G² of the two shares (T. Dunning, "Accurate Methods for the Statistics of
    Surprise and Coincidence", Computational Linguistics 19(1), 1993). Unlike a ratio or a chi-square it holds for
    rare names too: a word seen once where it was never seen before scores about 2 ln(…) and not infinity, and by
    shares a busier hour alone makes nothing rise. Nothing rises without a baseline.
    """
    if not now.total or not baseline.total:
        return []
    ours = now.total / (now.total + baseline.total)
    rises = []
    for name, count in now.counts.items():
        previous = baseline.counts.get(name, 0)
        expected = (count + previous) * ours
        if count <= expected:
            continue
        score = 2 * count * math.log(count / expected)
        if previous:
            score += 2 * previous * math.log(previous / (count + previous - expected))
        by_baseline = previous * now.total / baseline.total
        ratio = count / by_baseline if by_baseline else None
        rises.append(Rise(name, count, previous, round(by_baseline, 3), ratio and round(ratio, 3), round(score, 3)))
    rises.sort(key=lambda rise: (-rise.score, rise.name))
    return rises[:limit]
