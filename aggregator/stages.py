"""Stages of a pipeline that work at the same time, and the queue of one between two of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from tally.runtime import cancel_and_wait

Item = TypeVar("Item")


class Slot(Generic[Item]):
    """A queue of one: one stage puts an item into it, the next one takes it, works on it, and is done with it.

    The first one waits until its item is taken before it makes another: what is made too early takes memory, and blocks
    that nobody works on grow old.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Item] = asyncio.Queue(maxsize=1)
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()
        self._taken.set()
        self._free = asyncio.Event()
        self._free.set()

    def put(self, item: Item) -> None:
        """Fill it. Raises asyncio.QueueFull unless what was put before has been taken."""
        self._queue.put_nowait(item)
        self._taken.clear()
        self._free.clear()
        self._filled.set()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Item]:
        """Wait for an item and take it; it is done when the block ends without an exception."""
        item = await self._queue.get()
        self._filled.clear()
        self._taken.set()
        yield item
        if not self._filled.is_set():
            self._free.set()

    @property
    def is_filled(self) -> bool:
        """Return whether there is an item to take."""
        return self._filled.is_set()

    @property
    def is_free(self) -> bool:
        """Return whether nothing is in it and nothing of it is being worked on."""
        return self._free.is_set()

    async def until_filled(self) -> None:
        """Wait until there is an item to take."""
        await self._filled.wait()

    async def until_taken(self) -> None:
        """Wait until there is room for the next item."""
        await self._taken.wait()

    async def until_done(self) -> None:
        """Wait until nothing is in it and nothing of it is being worked on."""
        await self._free.wait()


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until the first of these is over, which all may be called off at any moment."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def in_thread(work: Callable[..., Item], *arguments: Any) -> Item:
    """Return what a call returns that takes the processor for long: it is made in a thread, so that the loop goes on.

    It is waited for also if this is cancelled: what it works on is nobody else's until then.
    """
    call = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise


async def run_stages(*stages: Coroutine[Any, Any, None]) -> None:
    """Run the stages at the same time until one of them returns or raises, then cancel the others.

    Raises what the first one raised.
    """
    tasks = [asyncio.create_task(stage) for stage in stages]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in ended:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            await cancel_and_wait(task)
        await asyncio.gather(*tasks, return_exceptions=True)  # what the others raised is of the same cause
