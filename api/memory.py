"""What answers may take of memory: held together they stay under a bound, and what does not fit is refused."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: When to ask again for what does not fit now, in seconds.
RETRY_AFTER_SECONDS = 5


class NoRoom(Exception):
    """An answer does not fit beside those that are held; the text is for the one who asked."""

    retry_after_seconds = RETRY_AFTER_SECONDS


class Memory:
    """Adds up the bytes of things until these are gone, whatever holds them last: a cache, or a request that goes on.

    Only the event loop's thread calls its methods; a thing may end in any thread.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._held_bytes = 0
        self._freed: deque[int] = deque()  # appended to by what frees, in any thread and at any moment
        self._drops: list[Callable[[], bool]] = []

    @property
    def held_bytes(self) -> int:
        """Return how much is held now."""
        while self._freed:
            self._held_bytes -= self._freed.popleft()
        return self._held_bytes

    def when_full(self, drop: Callable[[], bool]) -> None:
        """Call `drop` when room is needed. It lets go of what was used least lately; False if there is nothing."""
        self._drops.append(drop)

    def no_longer_when_full(self, drop: Callable[[], bool]) -> None:
        """Call `drop` no more: it has nothing to let go of."""
        self._drops.remove(drop)

    def hold(self, thing: object, bytes_: int) -> None:
        """Count these bytes until `thing` is gone. Never refuses, but makes room by dropping what is not in use."""
        weakref.finalize(thing, self._freed.append, bytes_).atexit = False
        self._held_bytes += bytes_
        self.make_room()

    def make_room(self, more_bytes: int = 0) -> bool:
        """Drop what was used least lately until so much more fits. Return whether it does."""
        while self.held_bytes + more_bytes > self.most_bytes:
            if not any(drop() for drop in self._drops):
                return False
        return True

    @contextmanager
    def claim(self) -> Iterator[Claim]:
        """Claim memory for what is being made."""
        claim = Claim(self)
        try:
            yield claim
        finally:
            claim.release()

    def _add(self, bytes_: int) -> None:
        self._held_bytes += bytes_


class Claim:
    """What one answer takes while it is made."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._bytes = 0

    def grow_to(self, bytes_: int) -> None:
        """Claim so much in all. Raises NoRoom, and then claims no more than before."""
        more = bytes_ - self._bytes
        if more <= 0:
            return
        most = self._memory.most_bytes
        if bytes_ > most:
            raise NoRoom(
                f"it takes over {most / 2**20:,.0f} MiB of memory, all that TALLY_MAX_SNAPSHOT_BYTES leaves for it; "
                "ask for a shorter time range"
            )
        if not self._memory.make_room(more):
            raise NoRoom("other answers take the memory that it needs; ask again")
        self._memory._add(more)
        self._bytes = bytes_

    def release(self) -> None:
        """Give it all back."""
        self._memory._add(-self._bytes)
        self._bytes = 0
