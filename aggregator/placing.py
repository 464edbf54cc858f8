"""Which window an event goes to: the shortest that still reaches back to its time, or to its arrival. Pure.

Looked at a block at a time, because most have all their events in one window. Those of a block that has not are held by
their windows, until there are enough of them to be worth adding up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from math import inf
from typing import Any, Literal

from aggregator.events import Event, EventFields, Time
from aggregator.floors import Floors
from tally.deltas import Place
from tally.windows import MAX_FUTURE_SECONDS, WindowLength

#: The year 1: a timestamp below that is taken for it, so that no window is named by a number of 300 digits.
EARLIEST_SECONDS = -62_135_596_800


class Placing:
    """Finds the windows of events, and holds those of blocks that have several."""

    def __init__(self, fields: EventFields, lengths: tuple[WindowLength, ...], floors: Floors) -> None:
        self._fields = fields
        self._lengths = lengths
        self._floors = floors
        self.newest_seconds = -inf  # the time of the newest event, in Unix seconds
        self._held: list[tuple[list[Any], list[Event], int]] = []  # times, events, units of the times a second

    def place(self, events: list[Event], arrived_seconds: float) -> Place | Literal["held", "too old"]:
        """Return the window of all these events, or hold them by theirs: those that are not too old for all lengths."""
        times: list[Any] = self._fields.times(events)
        if times[0] is None and times.count(None) == len(times):
            return self._one(self._lengths[0].start_of(arrived_seconds), newest_seconds=arrived_seconds)
        units = self._fields.units_per_second
        try:
            earliest, latest = min(times), max(times)
        except TypeError:  # not all of one kind
            return self._hold(events, self._believed(times, arrived_seconds), units)
        if isinstance(earliest, datetime):
            earliest, latest, units = earliest.timestamp(), latest.timestamp(), 1
            times = [at.timestamp() for at in times]
        if earliest < EARLIEST_SECONDS * units or latest > (arrived_seconds + MAX_FUTURE_SECONDS) * units:
            return self._hold(events, self._believed(times, arrived_seconds, units), units)
        width = self._lengths[0].seconds * units
        number = latest // width
        if earliest // width == number:
            return self._one(int(number) * self._lengths[0].seconds, newest_seconds=latest / units)
        return self._hold(events, times, units)

    def take(self) -> Iterator[tuple[Place, list[Event]]]:
        """Yield the windows of what is held, and their events, which are held no longer.

        What is too old for all lengths is in none of them. Looked at together, fewer windows are found that are too old
        for their length in the next moment.
        """
        levels: list[dict[float, list[Event]]] = [defaultdict(list) for _ in self._lengths]
        for times, events, units in self._held:
            self._group(times, events, units, levels)
        self._held.clear()
        longest = self._lengths[-1].seconds
        self._floors.raise_longest(int(number) * longest for number in levels[-1])
        for level, (length, groups) in enumerate(zip(self._lengths, levels, strict=True), 1):
            for number, events in groups.items():
                start = int(number) * length.seconds
                if start >= self._floors.starts[level - 1]:
                    yield Place(level, start), events

    def _one(self, start: int, *, newest_seconds: float) -> Place | Literal["too old"]:
        """Return the window of what is in this one of the shortest length."""
        self.newest_seconds = max(self.newest_seconds, newest_seconds)
        self._floors.raise_to(start)
        level = self._floors.level_of(1, start)
        return "too old" if level is None else Place(level, self._lengths[level - 1].start_of(start))

    def _hold(self, events: list[Event], times: list[Any], units: int) -> Literal["held"]:
        """Hold events with these times, in so many units a second."""
        shortest, newest = self._lengths[0].seconds, max(times)
        self.newest_seconds = max(self.newest_seconds, newest / units)
        self._floors.raise_to(int(newest // (shortest * units)) * shortest)
        self._held.append((times, events, units))
        return "held"

    def _group(self, times: list[Any], events: list[Event], units: int, levels: list[dict[float, list[Event]]]) -> None:
        """Add events to the groups of their windows: by level, and by the number of the window since 1970.

        The number is a float where times are, which is as good a key.
        """
        floors = self._floors.starts
        rest = list(zip(times, events, strict=True))
        # Mostly the longest's, but not if it was not counted from the beginning on.
        oldest = min(floors) * units
        if oldest > min(times):
            rest = [each for each in rest if each[0] >= oldest]
        for length, start, groups in zip(self._lengths, floors, levels, strict=True):
            floor, width = start * units, length.seconds * units
            older = []
            for each in rest:
                if each[0] >= floor:
                    groups[each[0] // width].append(each[1])
                else:
                    older.append(each)
            rest = older

    def _believed(self, times: list[Time], arrived_seconds: float, units: int | None = None) -> list[float]:
        """Return times as numbers in so many units a second: of several kinds, missing, ahead, or before the year 1."""
        units = units or self._fields.units_per_second
        arrived, earliest = arrived_seconds * units, EARLIEST_SECONDS * units
        latest = (arrived_seconds + MAX_FUTURE_SECONDS) * units

        def believed(at: Time) -> float:
            if isinstance(at, datetime):
                at = at.timestamp() * units
            return arrived if at is None or at > latest else max(at, earliest)

        return [believed(at) for at in times]
