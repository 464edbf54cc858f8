"""Everything of a namespace is deleted, while services run: they begin anew then, as after a FLUSHALL.

What waits and the positions go first, so that nothing is counted any more that is not read again. From then on the
lease does not end by itself: what is read again must not be added to counts that are left. The layout goes behind the
counts, so that whoever runs it again after it was killed knows the shards, and the lease last.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from tally.clock import SYSTEM
from tally.keys import Keys, keys_of_all_tags, keys_with_tag
from tally.runtime import Failure
from tally.settings import Settings
from tally.store.client import errors_translated
from tally.store.layouts import checks
from tally.store.lease import Lease, quiesced
from tally.store.lua import WritingScript
from tally.store.shards import Shard, Shards
from tally.store.user_check import check_permissions
from tally.store.users import User

_empty_pipeline = WritingScript("empty_pipeline")

#: About how many keys Redis looks at before it goes on with other work, and how many are deleted at once: it only takes
#: them out of the keyspace, and gives the memory back beside its work.
SCANNED_AT_ONCE, DELETED_AT_ONCE = 1000, 200

#: How often it is said how far it is.
TELL_SECONDS = 5.0


def _emptied(at: Keys) -> tuple[str, ...]:
    """Return the keys of what waits to be counted, and of how far sources are."""
    return (
        *(at.stream, at.deltas, at.sources, at.sources_last, at.sources_seen, at.sources_names, at.sources_before),
        *(at.once_new, at.once_old, at.once_own_new, at.once_own_old),
    )


#: The keys and commands of the scripts.
_RESETTER = User(
    name="admin",
    scripts=("empty_pipeline", "release_lease", "take_lease"),
    written=lambda at, _: (at.backlog, *_emptied(at), at.layout, at.absent),
)


async def reset(shards: Shards, settings: Settings, *, tell: Callable[[str], None]) -> int:
    """Delete all that is stored under the namespace; return how many keys that were.

    The shards are to be those of the stored layout, if there is one. May be run again after a failure, and goes on
    then. Raises Failure, Refused and StoreUnavailable.
    """
    for shard in shards.with_home:  # nothing is to be deleted by somebody who may not delete all
        await check_permissions(shard.redis, keys=shard.keys, user=_RESETTER)
        with errors_translated():
            await shard.redis.scan(match=keys_with_tag(shard.keys), count=1)
    deleted = _Deleted(tell)
    async with quiesced(shards, settings, what="reset", drain=False) as lease:
        for shard in shards.with_home:
            await _empty(shard, settings, lease)
        # What services that run make anew stays then: a consumer group, files that are to be read.
        again = {key for shard in shards.with_home for key in (*_emptied(shard.keys), shard.keys.probe)}
        last = {key for shard in shards.with_home for key in (shard.keys.layout, shard.keys.backlog)}
        spared = last
        while await _delete_found(shards, lease, deleted, spared={key.encode() for key in spared}):
            spared = last | again
        lease.check()
        for shard in reversed(shards.with_home):  # that of all last: it tells how many there are
            with errors_translated():
                deleted.note(int(await shard.redis.unlink(shard.keys.layout)))
        for shard in shards.with_home:  # and with it the lease
            with errors_translated():
                await shard.redis.unlink(shard.keys.backlog)
    return deleted.keys


class _Deleted:
    """How many keys are deleted, which is told from time to time."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._tell_at = SYSTEM.monotonic() + TELL_SECONDS
        self.keys = 0

    def note(self, keys: int) -> None:
        """Add so many."""
        self.keys += keys
        if SYSTEM.monotonic() >= self._tell_at:
            self._tell_at = SYSTEM.monotonic() + TELL_SECONDS
            self._tell(f"{self.keys:,} keys deleted so far")


async def _empty(shard: Shard, settings: Settings, lease: Lease) -> None:
    layout = checks(shard.keys, settings).format
    keys = (shard.keys.backlog, *_emptied(shard.keys))
    if await _empty_pipeline.run(shard.redis, keys, {"lease": lease.token}, layout=layout) != b"emptied":
        lease.check()
        raise Failure("the lease was lost; run it again")


async def _delete_found(shards: Shards, lease: Lease, deleted: _Deleted, *, spared: set[bytes]) -> bool:
    """Delete what is found of the namespace, but for some keys; return whether there was anything."""
    by_client: dict[Any, list[Shard]] = {}
    for shard in shards.with_home:
        by_client.setdefault(shard.redis, []).append(shard)
    found = False
    for redis, some in by_client.items():
        # One server has all of them, and perhaps some of other shards that there once were; a client of a cluster has
        # those of its slot.
        pattern = keys_of_all_tags(some[0].keys) if len(by_client) == 1 else keys_with_tag(some[0].keys)
        async with aclosing(_pages(redis, pattern)) as pages:
            async for page in pages:
                lease.check()
                keys = [key for key in page if key not in spared]
                for first in range(0, len(keys), DELETED_AT_ONCE):
                    with errors_translated():
                        deleted.note(int(await redis.unlink(*keys[first : first + DELETED_AT_ONCE])))
                    found = True
    return found


async def _pages(redis: Any, pattern: str) -> AsyncGenerator[list[bytes], None]:
    """Yield the keys with such names, some at a time, of the server that a client is connected to."""
    # One connection, because a cursor is of the server that has given it.
    async with redis.client() as one:
        cursor: int | str = 0
        while True:
            with errors_translated():
                cursor, keys = await one.scan(cursor, match=pattern, count=SCANNED_AT_ONCE)
            yield keys
            if not int(cursor):
                return
