"""How a million names and counts are sorted: in parts, after each of which other threads have their turn."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from itertools import islice

#: How many names are sorted, searched or encoded in one step: other threads wait for a few milliseconds.
STEP_NAMES = 8000


def sorted_parts(names: Collection[bytes], step: Callable[[], None]) -> Iterator[list[bytes]]:
    """Yield the names in their order, in parts: to sort a million at once takes a second, in which no thread runs."""
    if len(names) <= STEP_NAMES:
        yield sorted(names)
        return
    # Every part gets about as many: where they meet is taken from the names themselves.
    sample = sorted(islice(names, 0, None, max(1, STEP_NAMES // 16)))
    step()
    pivots = sample[8::8]
    parts: list[list[bytes]] = [[] for _ in range(len(pivots) + 1)]
    for name in names:
        parts[bisect_right(pivots, name)].append(name)
    for part in parts:
        part.sort()
        yield part


def ordered(values: array[int], step: Callable[[], None]) -> tuple[array[int], array[int]]:
    """Return the places of the values, the largest first, equal ones in order; and where each group of these ends."""
    groups: dict[int, array[int]] = {}
    for at, value in enumerate(values):
        group = groups.get(value)
        if group is None:
            groups[value] = array("I", (at,))
        else:
            group.append(at)
    step()
    order, ends = array("I"), array("I")
    for value in sorted(groups, reverse=True):
        order.extend(groups.pop(value))
        ends.append(len(order))
    return order, ends
