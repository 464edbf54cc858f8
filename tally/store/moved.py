"""Reading windows that aggregators move meanwhile: a fold or a drop between two reads makes them wrong together.

What was read is kept if everything it belongs to stood still, and read again where it did not: while years of history
are counted, something is folded or dropped at any moment, but in a day or two of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from tally.clock import SYSTEM, Clock
from tally.ranges import TimeRange, Window, Windows
from tally.store.client import StoreUnavailable

T = TypeVar("T")

#: How often the same windows are read again because they moved meanwhile.
MOST_READS = 20

#: A full window is folded in slices for a second or so: the wait between two reads doubles from the first to the last.
FIRST_WAIT_SECONDS, MOST_WAIT_SECONDS = 0.005, 0.25

#: How many windows that may be folded are read together.
WINDOWS_TOGETHER = 100


class WindowsMoved(Exception):
    """Windows were folded or dropped while they were read: what was read does not belong together."""


async def again_while_moved(read: Callable[[], Awaitable[T]], *, clock: Clock = SYSTEM) -> T:
    """Return what `read` returns, which is called again as long as it raises WindowsMoved.

    Raises StoreUnavailable after MOST_READS calls: the same windows move for a second or so, unless something is wrong.
    """
    for tried in range(MOST_READS):
        with suppress(WindowsMoved):
            return await read()
        await clock.sleep(_wait_seconds(tried))
    raise StoreUnavailable("windows are folded faster than they can be read; ask again")


def _wait_seconds(tried: int) -> float:
    return min(MOST_WAIT_SECONDS, float(FIRST_WAIT_SECONDS * 2**tried))


async def read_standing(
    look: Callable[[], Awaitable[Windows]],
    choose: Callable[[Windows], Iterable[Window]],
    read: Callable[[Sequence[Window]], Awaitable[Sequence[T]]],
) -> tuple[Windows, dict[Window, T]]:
    """Return the windows that `look` finds and what `read` tells of those of them that are chosen, as of one moment.

    Raises StoreUnavailable, as again_while_moved does.
    """
    windows = await look()
    values: dict[Window, T] = {}

    async def read_chosen() -> tuple[Windows, dict[Window, T]]:
        nonlocal windows
        since = windows
        chosen = list(choose(since))
        missing = [window for window in dict.fromkeys(chosen) if window not in values]
        values.update(zip(missing, await read(missing), strict=True))
        windows = await look()
        for window in [each for each in values if not windows.stands(each, since=since)]:
            del values[window]
        if not all(window in values for window in chosen):
            raise WindowsMoved
        return since, values

    return await again_while_moved(read_chosen)


async def sum_standing(
    look: Callable[[], Awaitable[Windows]],
    start: float,
    end: float,
    add_up: Callable[[Sequence[Window]], Awaitable[T]],
    take: Callable[[T], Awaitable[None]],
    *,
    clock: Clock = SYSTEM,
) -> TimeRange:
    """Give `take` what `add_up` makes of the windows of [start, end), of all in parts, and return that time range.

    What is not as of one moment is not taken, and added up again. Raises WindowsMoved where all has to be begun anew,
    because a part can no longer be had: what was taken by then is of no use.
    """
    windows = await look()
    found = windows.time_range(start, end)
    rest, *parts = windows.parts(found)
    waiting = deque((windows, batch, 0) for batch in ([rest] if rest.windows else [], *_batches(parts)) if batch)
    while waiting:
        since, batch, tried = waiting.popleft()
        summed = await add_up([window for part in batch for window in part.windows])
        now = await look()
        if all(now.stands(window, since=since) for part in batch for window in part.windows):
            await take(summed)
            continue
        if batch[0] is rest or tried == MOST_READS:
            raise WindowsMoved
        await clock.sleep(_wait_seconds(tried))
        now = await look()
        if not all(now.has(part.start, part.end) for part in batch):
            raise WindowsMoved
        # Each by itself: that is read sooner than anything moves again.
        again = [now.time_range(part.start, part.end) for part in batch]
        waiting.extendleft((now, [part], tried + 1) for part in reversed(again))
    return found


def _batches(parts: Sequence[TimeRange]) -> Iterator[list[TimeRange]]:
    """Yield the parts in their order, as many together as are read together."""
    batch: list[TimeRange] = []
    windows = 0
    for part in parts:
        if batch and windows + len(part.windows) > WINDOWS_TOGETHER:
            yield batch
            batch, windows = [], 0
        batch.append(part)
        windows += len(part.windows)
    if batch:
        yield batch
