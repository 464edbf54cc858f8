"""Two time ranges beside each other: what changed, and what rises. Pure: no I/O, no clock.

`step` is called now and then, as in ranking.py.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from api.matching import NameFilter
from api.ranking import Ranking, no_step
from api.sorting import STEP_NAMES


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two time ranges that meet."""

    present: Ranking
    previous: Ranking

    @property
    def ranges(self) -> tuple[Ranking, Ranking]:
        """Return the present one and the previous one."""
        return self.present, self.previous

    def changes(self, among: Ranking, wanted: NameFilter, *, step: Callable[[], None] = no_step) -> Ranking:
        """Return the changes of all names that match, of both time ranges and of `among`, as a ranking by change."""
        changes: dict[bytes, int] = {}
        for ranking, sign in ((among, 0), (self.present, 1), (self.previous, -1)):
            for count, at in enumerate(ranking.matching(wanted, step=step)):
                name, counted = ranking.item(at)
                changes[name] = changes.get(name, 0) + sign * counted
                if not count % STEP_NAMES:
                    step()
        return Ranking.of(changes, as_of=among.as_of, step=step)


@dataclass(frozen=True, slots=True)
class Rise:
    """A name that rises: its count now and in the baseline, what the baseline's share would give now, the score."""

    name: str
    count: int
    baseline: int
    expected: float
    ratio: float | None
    score: float


def rising(
    now: Ranking,
    baseline: Ranking,
    *,
    limit: int,
    least_ratio: float = 1.0,
    excluded: Collection[str] = (),
    step: Callable[[], None] = no_step,
) -> list[Rise]:
    """Return names whose share of all counts is larger now than in the baseline, the most surprising first.

    The score is the log-likelihood ratio G² of the two shares (T. Dunning, "Accurate Methods for the Statistics of
    Surprise and Coincidence", Computational Linguistics 19(1), 1993). Unlike a ratio or a chi-square it holds for
    rare names too: a word seen once where it was never seen before scores about 2 ln(…) and not infinity, and by
    shares a busier hour alone makes nothing rise. Nothing rises without a baseline.

    Where there is much of everything the score of a small change is large, too: `least_ratio` leaves out what is not so
    many times as frequent as before. What is new has no ratio, and is never left out.
    """
    if not now.total or not baseline.total:
        return []
    rises = (rise for rise in _rises(now, baseline, least_ratio, step) if rise.name not in excluded)
    return heapq.nsmallest(limit, rises, key=lambda rise: (-rise.score, rise.name))


def _rises(now: Ranking, baseline: Ranking, least_ratio: float, step: Callable[[], None]) -> Iterator[Rise]:
    ours = now.total / (now.total + baseline.total)
    before = baseline.names()
    other, other_count = next(before, (None, 0))
    for at, (name, count) in enumerate(now.names()):
        if not at % STEP_NAMES:
            step()
        # Both are in the order of their names.
        while other is not None and other < name:
            other, other_count = next(before, (None, 0))
        previous = other_count if other == name else 0
        expected = (count + previous) * ours
        by_baseline = previous * now.total / baseline.total
        if count <= expected or count < least_ratio * by_baseline:
            continue
        score = 2 * count * math.log(count / expected)
        if previous:
            score += 2 * previous * math.log(previous / (count + previous - expected))
        ratio = count / by_baseline if by_baseline else None
        text = name.decode("utf-8", "replace")
        yield Rise(text, count, previous, round(by_baseline, 3), ratio and round(ratio, 3), round(score, 3))
