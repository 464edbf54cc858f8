"""What looks at the pipeline in Redis: what waits, who counts, whether the server is fit for exact counts."""

from __future__ import annotations

from redis import exceptions

from tally.store.blocks import Consumer, Oldest
from tally.store.client import StoreUnavailable, errors_translated, execute
from tally.store.layouts import LayoutStore
from tally.store.shard import ShardStore
from tally.store.stream import consumers, oldest


class PipelineStore(ShardStore):
    """The state of one shard's pipeline. Nothing is written but a key that shows whether anything can be."""

    async def check_format(self) -> None:
        """Raise LayoutRefused if what is in Redis has a format that we do not know, or is spread over other shards.

        Raises StoreUnavailable.
        """
        await LayoutStore(self._redis, keys=self._keys, settings=self._settings).check()

    async def consumers(self) -> list[Consumer]:
        """Return the members of the group, by name; none when there is no group yet. Raises StoreUnavailable."""
        return await consumers(self._redis, keys=self._keys)

    async def oldest(self) -> Oldest | None:
        """Return the oldest block that is not yet counted. Raises StoreUnavailable."""
        return await oldest(self._redis, keys=self._keys)

    async def backlog(self) -> int:
        """Return how many blocks wait to be counted, in the stream or settled. Raises StoreUnavailable."""
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            # A block that is settled in between is in both, but never in neither.
            pipeline.xlen(self._keys.stream)
            pipeline.hget(self._keys.backlog, "settled_blocks")
            waiting, settled = await execute(pipeline)
        return int(waiting) + int(settled or 0)

    async def any_source(self) -> bool:
        """Return whether the position of any source is stored. Raises StoreUnavailable."""
        with errors_translated():
            return bool(await self._redis.hlen(self._keys.sources))

    async def check_writable(self) -> None:
        """Write a key that is gone after a second, and look whether blocks fit. Raises StoreUnavailable if not.

        Does not tell for a user who may only read.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(self._keys.probe, 1, px=1000)
        pipeline.info("memory")
        with errors_translated():
            written, memory = await pipeline.execute(raise_on_error=False)
            if isinstance(written, exceptions.NoPermissionError):
                return  # a user who may only read, as is right for an api; by now Redis has answered
            if isinstance(written, Exception):
                raise written
            if isinstance(memory, exceptions.ResponseError):
                return  # a hosted Redis that hides INFO
            if isinstance(memory, Exception):
                raise memory
        if memory.get("maxmemory_policy") != "noeviction":
            return  # it makes room by itself
        # One that refuses blocks stays a little below its limit, where a key still fits: what is sent counts, too.
        limit, used = memory["maxmemory"], memory["used_memory"]
        if limit and limit - used < self._settings.max_blocks_in_flight * self._settings.max_block_bytes:
            raise StoreUnavailable(f"Redis is full: it uses {used:,} of its maxmemory of {limit:,} bytes")

    async def advice(self) -> list[str]:
        """Return what about the server's set-up endangers exact counts, a sentence each. Raises StoreUnavailable."""
        with errors_translated():
            try:
                info = await self._redis.info()
            except exceptions.ResponseError:
                return []  # a hosted Redis that hides INFO has its own operators
        if info.get("loading"):
            # Its append-only file is not on before it is loaded.
            raise StoreUnavailable("Redis is loading its data")
        found = []
        if info.get("maxmemory_policy", "noeviction") != "noeviction":
            found.append(f"maxmemory-policy is {info['maxmemory_policy']}: it may evict counts; set noeviction")
        if info.get("aof_enabled") == 0:
            found.append("appendonly is off: what was counted since the last snapshot is gone after a crash")
        return found
