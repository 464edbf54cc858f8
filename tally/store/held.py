"""Who has the lease of a shard, as whoever is kept waiting is told; see lease.py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tally.keys import Keys
from tally.store.client import errors_translated, execute

#: The field of the hash `backlog`.
LEASE_FIELD = "lease"

#: When one ends that does not end by itself, in Unix milliseconds; see lease_library.lua.
ENDLESS_MS = 9999999999999

_LEASE = re.compile(r"([^@]*)@(.*)-[0-9a-f]+:([0-9]+):([0-9]+)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Held:
    """Which command has the lease, and on which host; since when, and until when unless it renews it (Unix seconds).

    It ends in the year 2286 if the command has not come to its end: the same one takes it over.
    """

    by: str
    host: str
    since: float
    until: float

    def __str__(self) -> str:
        if self.until * 1000 >= ENDLESS_MS:
            return f"`tally {self.by}` on {self.host} holds appends until its end; if it was stopped, run it again"
        until = datetime.fromtimestamp(self.until, UTC).strftime("%H:%M:%S")
        return f"`tally {self.by}` on {self.host} holds appends, until {until} UTC if it does not renew that"


def held_of(lease: bytes | None, *, now: float) -> Held | None:
    """Return who has a lease, by what is stored of it, at this time of the server in Unix seconds; None if nobody."""
    found = None if lease is None else _LEASE.fullmatch(lease.decode("utf-8", "replace"))
    if found is None:
        return None
    since, until = int(found[3]) / 1000, int(found[4]) / 1000
    return Held(found[1], found[2], since, until) if since <= now < until else None


def seconds_of(time: Sequence[int]) -> float:
    """Return what TIME has answered, in Unix seconds."""
    return float(time[0] + time[1] / 1e6)


async def held(redis: Any, *, keys: Keys) -> Held | None:
    """Return who has the lease of a shard now; None if nobody has. Raises StoreUnavailable."""
    with errors_translated():
        pipeline = redis.pipeline(transaction=False)
        pipeline.hget(keys.backlog, LEASE_FIELD)
        pipeline.time()
        lease, time = await execute(pipeline)
    return held_of(lease, now=seconds_of(time))
