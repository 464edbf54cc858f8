"""Answers that are shared: a thousand viewers cost Redis one read."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from api.freshness import HALF_SECONDS, MOMENT_SECONDS, fresh_seconds
from api.memory import Memory
from api.metrics import SNAPSHOT_AGE
from tally.clock import SYSTEM, Clock
from tally.telemetry import shared_context

T = TypeVar("T")

#: What a snapshot takes besides its value.
SNAPSHOT_BYTES = 2000


class Snapshot(Generic[T]):
    """A value that is made of what is in Redis, and made again when that has changed.

    `version` is cheap and tells whether anything was counted since; `load` makes the value. How old a value may be is
    told in freshness.py: at most `most_seconds`, and as long as making it takes. Many who ask at once wait for the same
    read. Errors of either are raised to all who wait.
    """

    def __init__(
        self,
        *,
        version: Callable[[], Awaitable[object]],
        load: Callable[[], Awaitable[T]],
        most_seconds: float = HALF_SECONDS,
        clock: Clock = SYSTEM,
    ) -> None:
        self._version_of = version
        self._load = load
        self._most_seconds = most_seconds
        self._clock = clock
        self._value: T
        self._version: object = None
        self._checked_at = self._made_at = self._asked_at = -1e9
        self._cost_seconds = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def refreshing(self) -> bool:
        """Return whether the value is being made, or checked."""
        return self._refreshing is not None

    async def get(self) -> T:
        """Return the value."""
        if self._clock.monotonic() - self._checked_at >= MOMENT_SECONDS:
            if self._refreshing is None:
                self._refreshing = asyncio.create_task(
                    self._refresh(), name="refresh snapshot", context=shared_context()
                )
                self._refreshing.add_done_callback(self._refreshed)
            await asyncio.shield(self._refreshing)
        SNAPSHOT_AGE.observe(self._clock.monotonic() - self._asked_at)
        return self._value

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # those who asked have it; there may be none

    async def _refresh(self) -> None:
        began = self._clock.monotonic()
        if began - self._made_at < fresh_seconds(cost_seconds=self._cost_seconds, most_seconds=self._most_seconds):
            self._checked_at = began
            return
        version, asked_at = await self._version_of(), began
        if self._version is None or version != self._version:
            loading = self._clock.monotonic()
            value = await self._load()
            asked_at = loading
            self._value, self._version, self._made_at = value, version, self._clock.monotonic()
            self._cost_seconds = self._made_at - loading
        self._checked_at, self._asked_at = self._clock.monotonic(), asked_at


class Snapshots(Generic[T]):
    """Snapshots by key. Those that were asked for least lately are forgotten when `memory` has no room."""

    def __init__(self, *, make: Callable[[Hashable], Snapshot[T]], memory: Memory) -> None:
        self._make = make
        self._memory = memory
        self._snapshots: OrderedDict[Hashable, Snapshot[T]] = OrderedDict()
        memory.when_full(self._drop)

    async def get(self, key: Hashable) -> T:
        """Return the value of the snapshot with this key."""
        snapshot = self._snapshots.get(key)
        if snapshot is None:
            snapshot = self._make(key)
            self._memory.hold(snapshot, SNAPSHOT_BYTES)  # before it is among those that may be forgotten for that
            self._snapshots[key] = snapshot
        self._snapshots.move_to_end(key)
        return await snapshot.get()

    def close(self) -> None:
        """Forget them all. Who waits for one still gets it."""
        self._snapshots.clear()
        self._memory.no_longer_when_full(self._drop)

    def _drop(self) -> bool:
        """Forget the one that was asked for least lately, but for those that are being made."""
        for key, snapshot in self._snapshots.items():
            if not snapshot.refreshing:
                del self._snapshots[key]
                return True
        return False
