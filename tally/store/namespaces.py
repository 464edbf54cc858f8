"""Which namespaces there are in a Redis, and what is in each.

One that was ever counted, or appended to, has a layout with the tag 0. All of these share a slot, so that of a cluster
a single node knows them; while that slot is being moved to another node, some may be missing.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from tally.keys import Keys, namespace_of_layout
from tally.layout import SPREAD, Layout
from tally.refused import Refused
from tally.settings import Settings
from tally.shards import MOST_SHARDS
from tally.store.client import errors_translated
from tally.store.merged_reads import reader_of
from tally.store.shards import connect_shards

#: About how many keys Redis looks at before it goes on with other work: less than a millisecond's.
SCANNED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class NamespaceState:
    """What is in a namespace. Moments are Unix seconds; what cannot be read is None, and the `problem` says why."""

    namespace: str
    format: str | None = None
    shards: int | None = None
    since_at: int | None = None  # when its layout was stored
    events: int | None = None
    rejected: int | None = None
    backlog_blocks: int | None = None
    backlog_bytes: int | None = None
    appended_at: float | None = None  # when the newest block was
    problem: str | None = None


async def states_of_namespaces(settings: Settings) -> list[NamespaceState]:
    """Return what is in each namespace of the Redis of these settings, by name; each is read by its own layout.

    Raises StoreUnavailable, and Refused where our user may not look through the names of keys.
    """
    found = [await _state(settings, name) for name in await namespaces(settings)]
    return [each for each in found if each is not None]


async def namespaces(settings: Settings) -> list[str]:
    """Return the names of those that there seem to be. Raises as `states_of_namespaces` does."""
    pattern = Keys(namespace="*").layout
    async with aclosing(connect_shards(settings)) as shards:
        with errors_translated():
            # One connection, because a cursor is of the server that has given it.
            async with shards.home.redis.client() as one:
                redis: Any = one
                scanned = redis.scan_iter(match=pattern, count=SCANNED_AT_ONCE, _type="HASH")
                keys = {key async for key in scanned}  # one may come twice
    return sorted(name for name in map(namespace_of_layout, keys) if name is not None)


async def _state(settings: Settings, name: str) -> NamespaceState | None:
    """Return what is in one of them, which may have other shards than are set, or a format that we do not know.

    None if the key is not a layout of ours after all, or is gone.
    """
    settings = settings.model_copy(update={"namespace": name, "shards": 1})
    known: dict[str, Any] = {}
    try:
        async with aclosing(connect_shards(settings)) as shards:
            with errors_translated():
                redis: Any = shards.home.redis
                stored = await redis.hgetall(shards.home.keys.layout)
        if b"format" not in stored:
            return None
        known = {"format": stored[b"format"].decode("utf-8", "replace"), "since_at": _number(stored.get(b"since"))}
        Layout.stored(stored)
        spread = {field: _number(stored[field.encode()]) for field in SPREAD if field.encode() in stored}
        known["shards"] = number = spread.get("shards", 1)
        if None in spread.values() or not 1 <= (number or 0) <= MOST_SHARDS:
            return NamespaceState(name, **known, problem="its layout cannot be read")
        async with aclosing(connect_shards(settings.model_copy(update=spread))) as shards:
            reader = reader_of(shards, settings=settings.model_copy(update=spread))
            totals = await reader.totals()
            backlog = await reader.backlog(totals)
    except Refused as error:
        return NamespaceState(name, **known, problem=str(error))
    return NamespaceState(
        name,
        **known,
        events=totals["events"],
        rejected=totals["rejected"],
        backlog_blocks=backlog.blocks,
        backlog_bytes=backlog.bytes,
        appended_at=backlog.appended_at,
    )


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 16 else None
