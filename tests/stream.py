"""The lines that are in the stream, to be compared with those that were written: stricter than any count of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import redis

from tally.keys import Keys


class Stream:
    """What ingestors have put on a server that nobody counts on. All the answers are about raw bytes."""

    def __init__(self, port: int) -> None:
        self._client: Any = redis.Redis(port=port, socket_timeout=30)
        self._keys = Keys()
        self._taken: list[bytes] = []

    def close(self) -> None:
        self._client.close()

    def positions(self) -> dict[str, int]:
        """Return the stored positions by source name."""
        found = self._client.hgetall(self._keys.sources)
        return {name.decode(): int(position) for name, position in found.items()}

    def appended_bytes(self) -> int:
        return sum(self.positions().values())

    def blocks(self) -> int:
        return int(self._client.xlen(self._keys.stream))

    def lines(self) -> list[bytes]:
        return self._taken + _lines(self._client.xrange(self._keys.stream))

    def take(self) -> None:
        """Make room in the stream, as aggregators do. What was in it is still among the lines."""
        entries = self._client.xrange(self._keys.stream)
        if entries:
            self._taken += _lines(entries)
            self._client.xdel(self._keys.stream, *(id_ for id_, _ in entries))

    def difference(self, written: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the lines that are missing, and those that are too many."""
        found, wanted = Counter(self.lines()), Counter(line.rstrip(b"\n") for line in written)
        return list((wanted - found).elements()), list((found - wanted).elements())


def _lines(entries: Any) -> list[bytes]:
    return [line for _, fields in entries for line in fields[b"lines"].split(b"\n")]
