"""What an ingestor does in Redis: it appends blocks, and notes how far each source has been appended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tally.store.blocks import Append, Block
from tally.store.client import errors_translated, execute
from tally.store.durable import wait_until_durable
from tally.store.held import LEASE_FIELD, Held, held, held_of, seconds_of
from tally.store.idempotent import Body, OnceWord, append_once
from tally.store.known import (
    Known,
    alone,
    forget,
    forget_files,
    forget_left_behind,
    is_listed,
    known,
    register,
    renew,
    unseen,
)
from tally.store.layouts import LayoutStore
from tally.store.lua import WritingScript
from tally.store.shard import ShardStore
from tally.store.source_counts import forget_source_counts, newest_of_files
from tally.store.stream import create_group, reconcile_backlog
from tally.store.user_check import check_permissions
from tally.store.users import INGESTOR

_append = WritingScript("append")


class IngestorStore(ShardStore):
    """The stream and the sources of one shard. Every method may be called again after a failure."""

    @property
    def shards(self) -> tuple[IngestorStore, ...]:
        """The store of each shard: of the only one; see IngestorStores."""
        return (self,)

    async def check_start(self) -> bool:
        """Return whether a layout is stored, that is, whether anything was spread as our settings say.

        Raises LayoutRefused if Redis holds a format that we do not know, or what was spread over other shards, Refused
        if our user may not do all that an ingestor does, and StoreUnavailable.
        """
        is_stored = await LayoutStore(self._redis, keys=self._keys, settings=self._settings).check()
        await check_permissions(self._redis, keys=self._keys, user=INGESTOR)
        return is_stored

    async def create_group(self) -> bool:
        """Create the consumer group if it is missing; see stream.create_group. Raises StoreUnavailable."""
        return await create_group(self._redis, keys=self._keys, layout=self._layout.format)

    async def reconcile_backlog(self) -> int:
        """Count as lost what was deleted uncounted; see stream.reconcile_backlog. Raises StoreUnavailable."""
        return await reconcile_backlog(self._redis, keys=self._keys, layout=self._layout.format)

    async def append(self, *, source: str, blocks: Sequence[Block], bulk: bool = False) -> list[Append]:
        """Append blocks in their order, in one round trip; return an outcome for each.

        A source that is read in `bulk` finds the stream full earlier, so that there is room for others.

        After the first that is `moved` or `full` the following ones are `moved` too, because none of them
        starts where the source then stands. Raises StoreUnavailable.
        """
        at = self._keys
        keys = (at.stream, at.sources, at.sources_seen, at.sources_last, at.sources_names, at.backlog, at.totals)
        limits = self._settings.backlog_limits(bulk=bulk)
        same = {
            "source": source,
            "max_blocks": limits.blocks,
            "max_bytes": limits.bytes,
            "bulk": bulk,
            "listed": is_listed(source),
        }

        def arguments_of(block: Block) -> dict[str, Any]:
            places = {"start": str(block.start), "finish": str(block.end)}
            return {**same, **places, "before": block.before, "last": block.last}

        # Where it runs again for blocks that are appended already, it answers `duplicate`.
        replies = await _append.run_each(
            self._redis,
            ((keys, arguments_of(block), (block.lines,)) for block in blocks),
            layout=self._layout.format,
        )
        return [Append(outcome=word.decode(), position=int(position)) for word, position in replies]

    async def append_once(self, *, source: str, bodies: Sequence[Body]) -> list[OnceWord]:
        """Append whole bodies, each at most once under its key. Raises StoreUnavailable; call it again then."""
        return await append_once(self._redis, keys=self._keys, settings=self._settings, source=source, bodies=bodies)

    async def position(self, source: str) -> int:
        """Return how far into a source has been appended, in bytes. Raises StoreUnavailable."""
        with errors_translated():
            return int(await self._redis.hget(self._keys.sources, source) or 0)

    async def known(self, *, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> dict[str, Known]:
        """Return what is stored of the sources with these names, or with a listed name that begins so, by name.

        Raises StoreUnavailable.
        """
        found = await known(self._redis, keys=self._keys, names=names, beginnings=beginnings)
        if self._settings.shards > 1:
            return found
        return {name: alone(each) if each.before else each for name, each in found.items()}

    async def register_sources(self, names: Sequence[str]) -> int:
        """Note these sources at position 0, if they are not stored; return how many that were.

        Raises StoreUnavailable.
        """
        return await register(self._redis, keys=self._keys, layout=self._layout.format, names=names)

    async def forget_sources(self, names: Sequence[str], *, unseen_since_ms: int | None = None) -> bool:
        """Forget sources that will never be read again; see `forget`. Raises StoreUnavailable."""
        return await forget(
            self._redis,
            keys=self._keys,
            layout=self._layout.format,
            names=names,
            unseen_since_ms=unseen_since_ms,
        )

    async def renew_sources(self, names: Sequence[str]) -> None:
        """Show that these sources are still open, so that they are not forgotten. Raises StoreUnavailable."""
        await renew(self._redis, keys=self._keys, layout=self._layout.format, names=names)

    async def server_seconds(self) -> float:
        """Return the time by the server's clock, in Unix seconds. Raises StoreUnavailable."""
        with errors_translated():
            return seconds_of(await self._redis.time())

    async def forget_left_behind(self, *, unseen_since_ms: int) -> None:
        """Forget what killed ingestors have left of sources that are not replayable. Raises StoreUnavailable."""
        await forget_left_behind(
            self._redis, keys=self._keys, layout=self._layout.format, unseen_since_ms=unseen_since_ms
        )

    async def forget_files(self, *, unseen_since_ms: int) -> int:
        """Forget files that were neither appended to nor opened since then; return how many.

        Raises StoreUnavailable.
        """
        return await forget_files(
            self._redis, keys=self._keys, layout=self._layout.format, unseen_since_ms=unseen_since_ms
        )

    async def newest_of_files(self) -> dict[str, int]:
        """Return when the newest line had been appended that was counted of each file, in Unix milliseconds.

        Raises StoreUnavailable.
        """
        return await newest_of_files(self._redis, keys=self._keys)

    async def forget_source_counts(self, *, unseen_since_ms: int, names: Sequence[str] | None = None) -> None:
        """Forget what was counted of files, of these or of all, of which nothing was appended since then.

        Raises StoreUnavailable.
        """
        if names is None:
            newest = await self.newest_of_files()
            names = [name for name, newest_ms in newest.items() if newest_ms < unseen_since_ms]
        await forget_source_counts(
            self._redis, keys=self._keys, layout=self._layout.format, names=names, unseen_since_ms=unseen_since_ms
        )

    async def unseen_sources(self, *, unseen_since_ms: int, passed: int) -> list[str]:
        """Return the next names of sources that were neither appended to nor opened since then; see known.unseen.

        Raises StoreUnavailable.
        """
        return await unseen(self._redis, keys=self._keys, unseen_since_ms=unseen_since_ms, passed=passed)

    async def wait_until_durable(self, source: str, *, timeout_seconds: float) -> bool:
        """Wait until the server has what was appended so far on its disk, as far as it keeps any.

        False when that did not happen in time, or the server cannot tell (before Redis 7.2). A reader
        of a replayable source asks for the position once more then. Raises StoreUnavailable, also while fewer replicas
        have it than settings.ingest_wait_for_replicas.
        """
        write = ("HINCRBY", self._keys.sources, source, 0)
        return await wait_until_durable(self._redis, write, settings=self._settings, timeout_seconds=timeout_seconds)

    async def has_room(self, *, bulk: bool = False) -> bool:
        """Return whether a block would be appended, by the limits of our settings, and as nobody has the lease.

        Raises StoreUnavailable.
        """
        limits = self._settings.backlog_limits(bulk=bulk)
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xlen(self._keys.stream)
            pipeline.hmget(self._keys.backlog, "bytes", "settled_blocks", "settled_bytes", LEASE_FIELD)
            pipeline.time()
            length, (*stored, lease), time = await execute(pipeline)
        if held_of(lease, now=seconds_of(time)):
            return False
        bytes_, settled_blocks, settled_bytes = (int(each or 0) for each in stored)
        blocks = length + settled_blocks
        return blocks < limits.blocks and (not blocks or bytes_ + settled_bytes < limits.bytes)

    async def held(self) -> Held | None:
        """Return who holds appends; None if nobody does. Raises StoreUnavailable."""
        return await held(self._redis, keys=self._keys)
