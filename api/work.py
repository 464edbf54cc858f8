"""Long work: a bounded number at once, in threads, in steps after which others have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: How many may wait for that, and how long, in seconds.
MOST_WAITING = 64
WAIT_SECONDS = 15.0

#: So many names are done with before anybody notices: less than a few milliseconds.
FEW_NAMES = 2000

#: How many tables may be sent at once that are made meanwhile.
MOST_TABLES = 32

#: When to ask again while too many others are answered, in seconds.
RETRY_AFTER_SECONDS = 2


class Busy(Exception):
    """Too many long answers are being made."""

    retry_after_seconds = RETRY_AFTER_SECONDS


class Stopping(Busy):
    """The service stops."""


class Slots:
    """So many at once; others wait, a bounded number of them for a bounded time."""

    def __init__(self, at_once: int, *, most_waiting: int = MOST_WAITING, wait_seconds: float = WAIT_SECONDS) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._most_waiting = most_waiting
        self._wait_seconds = wait_seconds
        self._waiting = 0

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Take a slot. Raises Busy when too many wait for one, or it takes too long."""
        if self._waiting >= self._most_waiting:
            raise Busy("too many long answers are asked for at once; ask again")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise Busy("other long answers are being made; ask again") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()


class Work:
    """Runs what takes long: one large ranking is made at a time, and beside it one long answer and a slice of a table.

    More at once would be no faster, for they share one interpreter, and take more memory.
    """

    def __init__(self) -> None:
        self.making = Slots(1)
        self.tables = Slots(MOST_TABLES)
        self._answering = Slots(1)
        self._slicing = asyncio.Lock()
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="answer")
        self._stopping = False

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in a thread; for those who have a slot."""
        self.step()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))

    async def answer(self, names: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function`, which goes over so many names: at once if they are few, else in a thread. Raises Busy."""
        if names <= FEW_NAMES:
            return function(*args, **kwargs)
        async with self._answering.take():
            return await self.in_thread(function, *args, **kwargs)

    async def slice(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function`, which takes a few milliseconds, for an answer that is made while it is sent."""
        async with self._slicing:
            return await self.in_thread(function, *args, **kwargs)

    def step(self) -> None:
        """Raise Stopping when the service stops. What takes long calls this after each of its steps."""
        if self._stopping:
            raise Stopping("the service stops")

    def close(self) -> None:
        """End what runs, at its next step."""
        self._stopping = True
        self._threads.shutdown(wait=False)
