"""Every window of a shard, whatever its length, and whether or not an answer has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from tally.keys import Keys
from tally.store.client import errors_translated
from tally.store.layouts import lengths_before
from tally.store.tables import HASHES_AT_ONCE
from tally.windows import WindowLength


async def all_windows(
    redis: Any, *, keys: Keys, lengths: Iterable[WindowLength]
) -> AsyncIterator[tuple[int, list[int]]]:
    """Yield length and starts, in seconds, of windows of these lengths, and of those that were counted before.

    The shortest first: what is folded meanwhile is in a longer one by then. At most HASHES_AT_ONCE at a time. Raises
    StoreUnavailable.
    """
    every = {*(length.seconds for length in lengths), *await lengths_before(redis, keys)}
    for seconds in sorted(every):
        # Those that are counted first: another layout, once it is accepted, makes them one of the others.
        for starts_key in (keys.windows(seconds), keys.folding(seconds), keys.leftovers(seconds)):
            after = "-inf"
            while True:
                with errors_translated():
                    found = await redis.zrange(starts_key, after, "+inf", byscore=True, offset=0, num=HASHES_AT_ONCE)
                if not found:
                    break
                starts = list(map(int, found))
                yield seconds, starts
                after = f"({starts[-1]}"
