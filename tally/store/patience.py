"""How long an answer of Redis is waited for: as the client says, but not for long when we are to stop.

Who stops us gives us some seconds (docker-compose.yml twenty), and a server that hangs is no reason to need more:
what was sent and not answered is settled by those that go on, as after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis import exceptions

#: After a stop. An ingestor may then try for some seconds more to append what cannot be read again.
PATIENCE_SECONDS = 4.0


class Patience:
    """That of all clients of a process. To be watched."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._waiting: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Have a stop shorten what is waited for then."""
        watching = asyncio.create_task(self._shorten())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _shorten(self) -> None:
        await self._stop.wait()
        for each in self._waiting:
            each.reschedule(self._deadline())

    def _deadline(self) -> float | None:
        return asyncio.get_running_loop().time() + PATIENCE_SECONDS if self._stop.is_set() else None

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        """Wait in this block no longer than that. Raises exceptions.TimeoutError, which redis-py raises as well."""
        try:
            async with asyncio.timeout_at(self._deadline()) as timeout:
                self._waiting.add(timeout)
                try:
                    yield
                finally:
                    self._waiting.discard(timeout)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise exceptions.TimeoutError(f"no answer within {PATIENCE_SECONDS:g} s of a stop") from None
