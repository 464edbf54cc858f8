"""Which windows there are, as readers need to know it."""

from __future__ import annotations

from redis.asyncio import Redis

from tally.keys import Keys
from tally.ranges import Kept, Windows, WindowStarts, kept
from tally.settings import Settings
from tally.store.client import errors_translated, execute
from tally.store.layouts import stored_layout
from tally.store.shard import ShardStore


class WindowReader(ShardStore):
    """Tells which windows of one shard there are."""

    def __init__(self, redis: Redis, *, keys: Keys, settings: Settings) -> None:
        super().__init__(redis, keys=keys, settings=settings)
        self._lengths = settings.window_lengths

    async def windows(self) -> Windows:
        """Return what windows there are, of the lengths that are counted, whatever is set.

        They are not of one moment, which would take a script: that is twenty times the work for Redis. The order makes
        up for it. What is folded behind the first read differs from these `folds` when they are looked at again; and
        what is kept by the floors, which are read last, was not dropped before. Raises StoreUnavailable, and
        LayoutRefused for a format that this program does not know.
        """
        while True:
            lengths = self._lengths
            with errors_translated():
                pipeline = self._redis.pipeline(transaction=False)
                pipeline.hgetall(self._keys.folds)
                for length in lengths:
                    pipeline.zrange(self._keys.windows(length.seconds), 0, -1)
                pipeline.zrange(self._keys.floors, 0, -1, withscores=True)
                pipeline.hmget(self._keys.layout, "format", "windows")
                folds, *starts, floors, layout = await execute(pipeline)
            stored = stored_layout((b"format", b"windows"), layout).window_lengths
            self._lengths = stored or self._settings.window_lengths  # nothing was counted yet
            if self._lengths != lengths:
                continue
            floor_of = {int(seconds): int(floor) for seconds, floor in floors}
            found = [
                WindowStarts(tuple(map(int, each)), floor=floor_of.get(length.seconds))
                for length, each in zip(lengths, starts, strict=True)
            ]
            folds.pop(b"number", None)
            return Windows(lengths, found, {int(start): int(number) for start, number in folds.items()})

    async def kept(self) -> Kept | None:
        """Return from when to when there are windows, as finely as they are kept; None if there are none.

        Only the first and the last window of each length is read, of which a folded or dropped one may be among them
        for a moment. Raises what `windows` does.
        """
        while True:
            lengths = self._lengths
            with errors_translated():
                pipeline = self._redis.pipeline(transaction=False)
                for length in lengths:
                    key = self._keys.windows(length.seconds)
                    pipeline.zrange(key, 0, 0)
                    pipeline.zrange(key, -1, -1)
                pipeline.zrange(self._keys.floors, 0, -1, withscores=True)
                pipeline.hmget(self._keys.layout, "format", "windows")
                *ends, floors, layout = await execute(pipeline)
            stored = stored_layout((b"format", b"windows"), layout).window_lengths
            self._lengths = stored or self._settings.window_lengths
            if self._lengths == lengths:
                floor_of = {int(seconds): int(floor) for seconds, floor in floors}
                found = [
                    WindowStarts(tuple(map(int, (*first, *last))), floor_of.get(length.seconds))
                    for length, first, last in zip(lengths, ends[::2], ends[1::2], strict=True)
                ]
                return kept(lengths, found)
