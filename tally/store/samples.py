"""The newest lines that were rejected, and those that were accepted, where some of these are kept."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from tally.keys import Keys
from tally.store.client import errors_translated

#: For how long accepted ones are kept after the last one: if none are to be kept any more, they are gone by themselves.
ACCEPTED_SECONDS = 86_400

#: How many, of a KiB each at the most, are read at once.
SAMPLES_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class RejectedSample:
    """A rejected line as it was kept; bytes that are not UTF-8 are replaced."""

    id: str
    rejected_at: float
    line: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class AcceptedSample:
    """A line that was accepted as it was kept; bytes that are not UTF-8 are replaced."""

    id: str
    accepted_at: float
    line: str
    source: str


Sample = TypeVar("Sample", RejectedSample, AcceptedSample)


async def rejected_samples(redis: Any, *, keys: Keys, limit: int) -> list[RejectedSample]:
    """Return the newest samples of rejected lines, newest first. Raises StoreUnavailable."""
    return [
        RejectedSample(
            id=id_,
            rejected_at=_moment(id_, fields, b"rejected_ms"),
            line=_text(fields, b"line"),
            reason=_text(fields, b"reason"),
            source=_text(fields, b"source"),
        )
        for id_, fields in await _newest(redis, keys.rejected, limit)
    ]


async def accepted_samples(redis: Any, *, keys: Keys, limit: int) -> list[AcceptedSample]:
    """Return the newest samples of accepted lines, newest first. Raises StoreUnavailable."""
    return [
        AcceptedSample(
            id=id_,
            accepted_at=_moment(id_, fields, b"accepted_ms"),
            line=_text(fields, b"line"),
            source=_text(fields, b"source"),
        )
        for id_, fields in await _newest(redis, keys.accepted, limit)
    ]


def of_all(shards: Sequence[Sequence[Sample]], *, at: Callable[[Sample], float], limit: int) -> list[Sample]:
    """Return the newest samples of several shards, newest first; the id of each begins with its shard."""
    lists = [[replace(sample, id=f"{shard}/{sample.id}") for sample in some] for shard, some in enumerate(shards)]
    return list(islice(heapq.merge(*lists, key=lambda sample: -at(sample)), limit))


async def _newest(redis: Any, key: str, limit: int) -> list[tuple[str, dict[bytes, bytes]]]:
    """Return so many entries of a stream at the most, the newest first, a few at a time."""
    found: list[tuple[str, dict[bytes, bytes]]] = []
    before = "+"
    while len(found) < limit:
        most = min(SAMPLES_AT_ONCE, limit - len(found))
        with errors_translated():
            part = await redis.xrevrange(key, max=before, count=most)
        found += ((id_.decode(), fields) for id_, fields in part)
        if len(part) < most:
            break
        before = f"({found[-1][0]}"
    return found


def _moment(id_: str, fields: dict[bytes, bytes], name: bytes) -> float:
    return moment_ms(id_, fields, name) / 1000


def moment_ms(id_: str, fields: dict[bytes, bytes], name: bytes) -> int:
    """Return when a line was kept, in Unix milliseconds: what this field of its entry says, or else its ID."""
    return int(fields.get(name) or id_.partition("-")[0])


def _text(fields: dict[bytes, bytes], name: bytes) -> str:
    return fields.get(name, b"").decode("utf-8", "replace")
