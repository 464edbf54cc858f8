"""From what a batch adds up to, to what is sent: names with the places at which they are added. Pure.

The shortest length is a copy where there are longer ones, so its counts go into a longer window, too. Where several
places get the very same counts, as a minute, its hour and all time do while events come as they happen, they share a
part.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from aggregator.counts import Counts, NameCounts, SourceCounts
from aggregator.floors import UNKNOWN, Floors, Known
from tally.deltas import ALL_TIME, Part, Place
from tally.keys import SOURCE_LINES, SOURCE_NEWEST, SOURCE_REJECTED, TYPES, WORDS, Table, words_of
from tally.windows import WindowLength
from tally.words_by_type import Numbered

#: No type has a number.
NO_NUMBERS: Mapping[str, Numbered] = {}


def parts_of(
    counts: Counts,
    lengths: Sequence[WindowLength],
    known: Known = UNKNOWN,
    numbers: Mapping[str, Numbered] = NO_NUMBERS,
) -> list[Part]:
    """Return the parts of a batch, the newest windows of the shortest length first, all time last.

    Words by type are among them of those types that have a number. Lines by source come behind all time.

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
    parts = [
        Part(table, tuple(places[at]), list(counter), list(counter.values()), of_type)
        for at, names in shared.items()
        for table, counter, of_type in _tables(names, numbers)
        if counter
    ]
    return parts + _of_sources(counts.sources)


def _of_sources(sources: SourceCounts) -> list[Part]:
    """Return the parts of lines by source. All have the same names, so that all have room for the same ones."""
    names = list(sources.lines)
    numbers = {
        SOURCE_LINES: sources.lines,
        SOURCE_REJECTED: sources.rejected,
        SOURCE_NEWEST: sources.newest_ms,
    }
    return [Part(table, (ALL_TIME,), names, [of[name] for name in names]) for table, of in numbers.items() if names]


def _tables(names: NameCounts, numbers: Mapping[str, Numbered]) -> Iterator[tuple[Table, Counter[str], str | None]]:
    """Yield the tables of these counts, and of the words of a type that type."""
    yield TYPES, names.types, None
    yield WORDS, names.words, None
    for event_type, words in names.by_type.items():
        if (numbered := numbers.get(event_type)) is not None:
            yield words_of(numbered.number), words, event_type


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
