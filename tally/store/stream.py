"""What ingestors, aggregators and readers of the pipeline's state do alike to the stream and its consumer group."""

from __future__ import annotations

from typing import Any

from tally.keys import GROUP, Keys
from tally.store.blocks import Consumer, Oldest
from tally.store.client import GroupMissing, errors_translated
from tally.store.lua import LayoutCheck, ReadingScript, WritingScript

_create_group, _reconcile_backlog = WritingScript("create_group"), WritingScript("reconcile_backlog")
_oldest = ReadingScript("oldest")

#: How many bytes of the stream one call of a script looks at, about, when its size is added up anew: some milliseconds.
RECONCILE_BYTES = 4 << 20


async def create_group(redis: Any, *, keys: Keys, layout: LayoutCheck) -> bool:
    """Make sure that the consumer group is there; return True if it had to be created. Raises StoreUnavailable.

    It starts at the stream's first entry, never at `$`: what was appended before is to be counted.
    """
    # Asked first, because nothing is to be written where nothing is missing: to a replica, say.
    try:
        with errors_translated():
            groups = await redis.xinfo_groups(keys.stream)
    except GroupMissing:
        groups = []
    if any(group["name"] == GROUP.encode() for group in groups):
        return False
    word = await _create_group.run(redis, (keys.stream, keys.backlog), {"group": GROUP}, layout=layout)
    if word == b"exists":
        return False
    # What leaves the stream from now on is accounted for, even if we never appended to it.
    await reconcile_backlog(redis, keys=keys, layout=layout)
    return True


async def reconcile_backlog(redis: Any, *, keys: Keys, layout: LayoutCheck) -> int:
    """Count blocks as lost that were deleted before they were counted; return how many were found.

    The size of the backlog is right again then: what is left is added up, some megabytes a call of the script.
    Raises StoreUnavailable.
    """
    found, again = 0, 1
    while again:
        lost, again = await _reconcile_backlog.run(
            redis, loss_keys(keys), {"bytes_at_once": RECONCILE_BYTES}, layout=layout
        )
        found += int(lost)
    return found


def loss_keys(keys: Keys) -> tuple[str, str, str]:
    """Return what a script needs to count what was deleted as lost."""
    return keys.stream, keys.totals, keys.backlog


async def consumers(redis: Any, *, keys: Keys) -> list[Consumer]:
    """Return the members of the group, by name; none when there is no group yet. Raises StoreUnavailable."""
    try:
        with errors_translated():
            found = await redis.xinfo_consumers(keys.stream, GROUP)
    except GroupMissing:
        return []
    return sorted(
        (
            Consumer(name=each["name"].decode(), pending=each["pending"], idle_seconds=each["idle"] / 1000)
            for each in found
        ),
        key=lambda consumer: consumer.name,
    )


async def oldest(redis: Any, *, keys: Keys) -> Oldest | None:
    """Return the oldest block that is not yet counted. Raises StoreUnavailable."""
    found = await _oldest.run(redis, (keys.stream, keys.deltas), {})
    return Oldest(id=found[0].decode() or None, waited_seconds=found[1] / 1000) if found else None
