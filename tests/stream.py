"""The lines that are in the stream, to be compared with those that were written: stricter than any count of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import redis

from tally.keys import DEFAULT_NAMESPACE, Keys
from tally.shards import tags


class Stream:
    """What ingestors have put on a server that nobody counts on. All the answers are about raw bytes."""

    def __init__(self, port: int, *, shards: int = 1, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._client: Any = redis.Redis(port=port, socket_timeout=30)
        self._keys = [Keys(tag, namespace) for tag in tags(shards)]
        self._taken: list[bytes] = []

    def add(self, other: Stream) -> None:
        """Have the lines of another one, on the same server, among these."""
        self._keys += other._keys

    def close(self) -> None:
        self._client.close()

    def positions(self) -> dict[str, int]:
        """Return the stored positions by source name: of the shard that is furthest."""
        found: dict[str, int] = {}
        for keys in self._keys:
            for name, position in self._client.hgetall(keys.sources).items():
                found[name.decode()] = max(found.get(name.decode(), 0), int(position))
        return found

    def appended_bytes(self) -> int:
        if len(self._keys) == 1:
            return sum(self.positions().values())
        return sum(len(line) + 1 for line in self.lines())  # positions are those of the last lines

    def blocks(self) -> int:
        return sum(self.blocks_by_shard())

    def blocks_by_shard(self) -> list[int]:
        return [int(self._client.xlen(keys.stream)) for keys in self._keys]

    def lines(self) -> list[bytes]:
        return self._taken + [line for keys in self._keys for line in _lines(self._client.xrange(keys.stream))]

    def take(self) -> None:
        """Make room in the stream, as aggregators do. What was in it is still among the lines."""
        for keys in self._keys:
            entries = self._client.xrange(keys.stream)
            if entries:
                self._taken += _lines(entries)
                self._client.xdel(keys.stream, *(id_ for id_, _ in entries))

    def snapshot(self, shard: int) -> dict[bytes, bytes]:
        """Return all that a shard has."""
        found = self._client.keys(self._keys[shard].stream.replace("stream", "*"))
        return {key: content for key in found if (content := self._client.dump(key)) is not None}

    def roll_back(self, shard: int, snapshot: dict[bytes, bytes]) -> None:
        """Put a shard back to what it had then, as a fail-over does that loses the last second."""
        with self._client.pipeline() as together:
            for key in self._client.keys(self._keys[shard].stream.replace("stream", "*")):
                together.unlink(key)
            for key, content in snapshot.items():
                together.restore(key, 0, content, replace=True)
            together.execute()

    def difference(self, written: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the lines that are missing, and those that are too many."""
        found, wanted = Counter(self.lines()), Counter(line.rstrip(b"\n") for line in written)
        return list((wanted - found).elements()), list((found - wanted).elements())


def _lines(entries: Any) -> list[bytes]:
    return [line for _, fields in entries for line in fields[b"lines"].split(b"\n")]
