"""Sums over several shards, made at the same time: what they take is told as that of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TypeVar

from tally.store.sums import Gauge, Sums, Ungauged
from tally.store.together import few_at_once

T = TypeVar("T")
Reader = TypeVar("Reader")

#: A sum of more names than these is made when no other large one is: two at once would hold as much twice.
LARGE_NAMES = 5000


async def add_up_all(
    readers: Sequence[Reader],
    read: Callable[[Reader, Gauge], Awaitable[tuple[T, dict[bytes, int]]]],
    *,
    gauge: Gauge | None = None,
    shards: Sequence[int] | None = None,
) -> tuple[list[T], dict[bytes, int]]:
    """Return what `read` gives for each of these, in their order, and the sum of all counts; `shards` as in together.

    Raises what `read` and `gauge` raise. Of large sums one is made after the other, and added to the rest.
    """
    whole = Sums()
    shared = _Shared(gauge or Ungauged(), whole)

    async def one(reader: Reader) -> T:
        async with AsyncExitStack() as stack:
            part = _Part(shared, stack)
            found, counts = await read(reader, part)
            part.sums = Sums(counts, part.held[1])
            try:
                await whole.take(part.sums)
            except BaseException:
                await part.sums.clear()
                raise
            part.sums = Sums()
        return found

    try:
        found = await few_at_once(readers, one, shards=shards)
    except BaseException:
        await whole.clear()
        raise
    return found, whole.counts


class _Shared:
    """What all sums come to together."""

    def __init__(self, gauge: Gauge, whole: Sums) -> None:
        self.gauge = gauge
        self.whole = whole
        self.parts: list[_Part] = []
        self.large = asyncio.Lock()
        self.expecting = asyncio.Lock()
        self.at_least = self.at_most = 0


class _Part:
    """The gauge of one of them."""

    def __init__(self, shared: _Shared, stack: AsyncExitStack) -> None:
        self._shared = shared
        self._stack = stack
        self._is_large = False
        self.held = (0, 0)
        self.sums: Sums | None = None  # once it is read, while it is added to the rest
        shared.parts.append(self)

    async def expect(self, *, at_least: int, at_most: int) -> None:
        """Wait until no other large sum is made, if this is one. Raises what the gauge of all raises."""
        shared = self._shared
        if at_most > LARGE_NAMES and not self._is_large:
            await self._stack.enter_async_context(shared.large)
            self._is_large = True
        shared.at_least = max(shared.at_least, at_least)
        shared.at_most += at_most
        async with shared.expecting:
            await shared.gauge.expect(at_least=shared.at_least, at_most=shared.at_most)

    def hold(self, names: int, name_bytes: int) -> None:
        """Tell what all of them hold now. Raises what the gauge of all raises."""
        self.held = (names, name_bytes)
        whole, parts = self._shared.whole, [part.now() for part in self._shared.parts]
        self._shared.gauge.hold(
            len(whole.counts) + sum(names for names, _ in parts), whole.name_bytes + sum(size for _, size in parts)
        )

    def now(self) -> tuple[int, int]:
        """Return how many names it holds now, and about how many bytes these have."""
        return self.held if self.sums is None else (len(self.sums.counts), self.sums.name_bytes)
