"""Counts over time: on a regular grid of cells, and where a name was first and last counted. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

    @property
    def end(self) -> int:
        """Return where the window ends."""
        return self.window.start + self.window.seconds

    def as_dict(self) -> dict[str, int]:
        """Return it as a time range of an answer."""
        return {"from": self.window.start, "to": self.end, "total": self.count}

    def has(self, other: Seen) -> bool:
        """Return whether the other window is inside of this one."""
        return self.window.start <= other.window.start and other.end <= self.end


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


def add_up_cells(cells: Sequence[TimeRange], rows: Sequence[Sequence[int]], *, names: int, as_of: float) -> Series:
    """Return the series of so many names. `rows` has the counts of each name in each window of each cell."""
    counts = [[0] * len(cells) for _ in range(names)]
    at = 0
    for column, cell in enumerate(cells):
        for row in rows[at : at + len(cell.windows)]:
            for name, count in enumerate(row):
                counts[name][column] += count
        at += len(cell.windows)
    return Series(
        start=cells[0].start,
        end=cells[-1].end,
        total=sum(map(sum, counts)),
        step_seconds=cells[0].end - cells[0].start,
        starts_at=[cell.start for cell in cells],
        counts=counts,
        as_of=as_of,
    )


# Shorter windows tell more: of those that hold the first or the last moment the shortest is given.


def first_seen(found: Iterable[Seen]) -> Seen:
    """Return the first of these windows."""
    found = list(found)
    first = min(found, key=lambda each: (each.window.start, each.window.seconds))
    return min(filter(first.has, found), key=lambda each: (each.window.seconds, each.window.start))


def last_seen(found: Iterable[Seen]) -> Seen:
    """Return the last of these windows."""
    found = list(found)
    last = max(found, key=lambda each: (each.end, -each.window.seconds))
    return min(filter(last.has, found), key=lambda each: (each.window.seconds, -each.window.start))
