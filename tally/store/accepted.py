"""The newest lines that were accepted, where some are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tally.keys import Keys
from tally.store.client import errors_translated

#: For how long they are kept after the last one: if none are to be kept any more, they are gone by themselves.
ACCEPTED_SECONDS = 86_400

#: How many, of a KiB each at the most, are read at once.
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class AcceptedSample:
    """A line that was accepted as it was kept; bytes that are not UTF-8 are replaced."""

    id: str
    accepted_at: float
    line: str
    source: str


async def accepted_samples(redis: Any, *, keys: Keys, limit: int) -> list[AcceptedSample]:
    """Return the newest samples, newest first. Raises StoreUnavailable."""
    found: list[tuple[bytes, dict[bytes, bytes]]] = []
    before = "+"
    while len(found) < limit:
        most = min(_AT_ONCE, limit - len(found))
        with errors_translated():
            part = await redis.xrevrange(keys.accepted, max=before, count=most)
        found += part
        if len(part) < most:
            break
        before = f"({part[-1][0].decode()}"
    return [
        AcceptedSample(
            id=id_.decode(),
            accepted_at=int(fields.get(b"accepted_ms") or id_.partition(b"-")[0]) / 1000,
            line=fields.get(b"line", b"").decode("utf-8", "replace"),
            source=fields.get(b"source", b"").decode("utf-8", "replace"),
        )
        for id_, fields in found
    ]
