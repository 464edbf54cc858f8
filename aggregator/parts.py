"""From what a batch adds up to, to what is sent: names with the places at which they are added. Pure.

The shortest length is a copy where there are longer ones, so its counts go into a longer window, too. Where several
places get the very same counts, as a minute, its hour and all time do while events come as they happen, they share a
part.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from aggregator.counts import Counts, NameCounts
from aggregator.floors import UNKNOWN, Floors, Known
from tally.deltas import ALL_TIME, Part, Place
from tally.keys import Kind
from tally.windows import WindowLength


def parts_of(counts: Counts, lengths: Sequence[WindowLength], known: Known = UNKNOWN) -> list[Part]:
    """Return the parts of a batch, the newest windows of the shortest length first, all time last.

    What is behind a floor is left out, or added to the next longer window, before Redis has to. For that the floors
    that are known will do, with those that follow from the batch itself: its newest window is added before all others.
    """
    floors = Floors(lengths, known)
    if newest := [place.start for place in counts.windows if place.level == 1]:
        floors.raise_to(max(newest))
    placed = [
        (place, names)
        for place, names in counts.windows.items()
        if place.level == 1 < len(lengths) and place.start >= floors.starts[0]
    ]
    placed += _base(counts, lengths, floors)
    placed.append((ALL_TIME, counts.whole))

    places: dict[int, list[Place]] = defaultdict(list)  # by the identity of their counts
    shared: dict[int, NameCounts] = {}
    for place, names in sorted(placed, key=_order):
        places[id(names)].append(place)
        shared[id(names)] = names
    parts = []
    for at, names in shared.items():
        by_kind: dict[Kind, Counter[str]] = {"types": names.types, "words": names.words}
        for kind, counter in by_kind.items():
            if counter:
                parts.append(Part(kind, tuple(places[at]), list(counter), list(counter.values())))
    return parts


def _base(counts: Counts, lengths: Sequence[WindowLength], floors: Floors) -> list[tuple[Place, NameCounts]]:
    """Return the counts of base windows: each event is in one of them, or in none if it is too old for all."""
    lowest = min(2, len(lengths))
    found: dict[Place, list[NameCounts]] = defaultdict(list)
    for place, names in counts.windows.items():
        level = floors.level_of(max(place.level, lowest), place.start)
        if level is not None:
            found[Place(level, lengths[level - 1].start_of(place.start))].append(names)
    floors.raise_longest(place.start for place in found if place.level == len(lengths))
    events = counts.events
    return [
        # One window that has all events needs no sum of its own.
        (place, counts.whole if sum(each.types.total() for each in names) == events else NameCounts.sum_of(names))
        for place, names in found.items()
        if place.level < len(lengths) or place.start >= floors.starts[-1]
    ]


def _order(placed: tuple[Place, NameCounts]) -> tuple[int, int]:
    (level, start), _ = placed
    return (level, -start) if level else (1 << 30, 0)
