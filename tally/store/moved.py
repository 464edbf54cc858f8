"""Reading windows that aggregators move meanwhile: a roll-up or a drop between two reads makes them wrong together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from tally.store.client import StoreUnavailable

T = TypeVar("T")

#: How often windows are read again because they moved meanwhile.
MOST_READS = 20


class WindowsMoved(Exception):
    """Windows were rolled up or dropped while they were read: what was read does not belong together."""


async def again_while_moved(read: Callable[[], Awaitable[T]]) -> T:
    """Return what `read` returns, which is called again as long as it raises WindowsMoved.

    Raises StoreUnavailable after MOST_READS calls: windows move once a minute, unless something is wrong.
    """
    for _ in range(MOST_READS):
        with suppress(WindowsMoved):
            return await read()
    raise StoreUnavailable("windows are rolled up faster than they can be read; ask again")
