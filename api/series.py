"""Counts over time: on a regular grid of cells, and where a name was first and last counted. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tally.ranges import TimeRange, Window, Windows

#: Cells of a series at the most.
MOST_CELLS = 2000

#: A series without a step gets the shortest of these that makes at most DEFAULT_CELLS cells.
STEPS = (60, 300, 900, 3600, 21_600, 86_400, 604_800)
DEFAULT_CELLS = 400


class WrongStep(ValueError):
    """A step that no series can have; the text says which could be had."""


@dataclass(frozen=True, slots=True)
class Series:
    """Counts on a regular grid: a row a name, a column a cell of `step_seconds` that begins at one of `starts_at`."""

    start: int
    end: int
    total: int
    step_seconds: int
    starts_at: list[int]
    counts: list[list[int]]
    as_of: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A window in which a name was counted, and how often."""

    window: Window
    count: int

    def as_dict(self) -> dict[str, int]:
        """Return it as a time range of an answer."""
        return {"from": self.window.start, "to": self.window.end, "total": self.count}

    def has(self, other: Seen) -> bool:
        """Return whether the other window is inside of this one."""
        return self.window.start <= other.window.start and other.window.end <= self.window.end


def cut_into_cells(windows: Windows, start: int, end: int, step: int | None) -> list[TimeRange]:
    """Return the cells of [start, end), widened to whole ones of `step` seconds. Raises WrongStep."""
    finest = windows.resolution(start).seconds
    if step is None:
        fitting = [each for each in STEPS if each % finest == 0 and (end - start) / each <= DEFAULT_CELLS]
        step = fitting[0] if fitting else -(-(end - start) // DEFAULT_CELLS // finest) * finest
    if step % finest:
        raise WrongStep(
            f"that far back, counts are kept in windows of {finest} s: give a multiple of it, as in {finest}s"
        )
    first, last = start // step * step, -(-end // step) * step
    if (last - first) // step > MOST_CELLS:
        raise WrongStep(f"that makes over {MOST_CELLS} cells; give at least {-(-(end - start) // MOST_CELLS)}s")
    cells = []
    for at in range(first, last, step):
        found = windows.time_range(at, at + step)
        # What begins before anything is kept has no windows, and counts as nothing.
        inside = found.windows if (found.start, found.end) == (at, at + step) else ()
        cells.append(TimeRange(at, at + step, inside))
    return cells


def add_up_cells(
    cells: Sequence[TimeRange], counted: Mapping[Window, Sequence[int]], *, names: int, as_of: float
) -> Series:
    """Return the series of so many names. `counted` has the counts of each name in each window."""
    counts = [[0] * len(cells) for _ in range(names)]
    for column, cell in enumerate(cells):
        for window in cell.windows:
            for name, count in enumerate(counted[window]):
                counts[name][column] += count
    return Series(
        start=cells[0].start,
        end=cells[-1].end,
        total=sum(map(sum, counts)),
        step_seconds=cells[0].end - cells[0].start,
        starts_at=[cell.start for cell in cells],
        counts=counts,
        as_of=as_of,
    )


# Both take what was counted in each window that is known whole, of each length, the shortest first.


def first_seen(wholes: Sequence[Mapping[Window, int]]) -> Seen | None:
    """Return the first window in which anything was counted, as short as is kept; None if there is none."""
    found: Seen | None = None
    for counts in reversed(wholes):
        inside = _inside(found, counts)
        if found is not None and sum(each.count for each in inside) < found.count:
            break  # of this length those that were before are no longer kept
        found = min(inside, key=lambda each: each.window.start, default=found)
    return found


def last_seen(wholes: Sequence[Mapping[Window, int]]) -> Seen | None:
    """Return the last window in which anything was counted, as short as is kept; None if there is none."""
    found: Seen | None = None
    for counts in reversed(wholes):
        found = max(_inside(found, counts), key=lambda each: each.window.start, default=found)
    return found


def _inside(outer: Seen | None, counts: Mapping[Window, int]) -> list[Seen]:
    """Return what was counted in the windows that are inside of another one; with None, in all."""
    seen = [Seen(window, count) for window, count in counts.items()]
    return seen if outer is None else [each for each in seen if outer.has(each)]
