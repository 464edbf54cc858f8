"""The lease under which all of a namespace stands still, so that it can be read, or changed, as a whole.

While somebody has it, `append` answers `full`, and nothing is folded, dropped or forgotten; see
store/scripts/lease_library.lua. What waits is counted all the same, so that in the end nothing does. It ends when it is
given back, or by itself, when whoever has it was killed: an ingestor is held up for LEASE_SECONDS at the most then.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from tally.clock import SYSTEM, Clock
from tally.layout import LayoutRefused
from tally.refused import Refused
from tally.runtime import Failure, cancel_and_wait
from tally.settings import Settings
from tally.store.client import LayoutChanged, StoreUnavailable, errors_translated, execute
from tally.store.held import held
from tally.store.layouts import LayoutStore, checks
from tally.store.lua import WritingScript
from tally.store.shards import Shard, Shards
from tally.store.status import is_alive
from tally.store.stream import consumers

_take, _release = WritingScript("take_lease"), WritingScript("release_lease")

#: For how long the lease is taken, and how often it is renewed.
LEASE_SECONDS, RENEW_SECONDS = 30.0, 5.0

#: How long after a renewal it is still ours by our own clock, which may be slower than the server's.
CERTAIN_SECONDS = LEASE_SECONDS - 5.0

#: How soon a renewal that was not answered is tried again.
AGAIN_SECONDS = 1.0

#: How often it is looked whether anything waits, and said what does.
POLL_SECONDS, TELL_SECONDS = 0.05, 5.0

#: How long giving it back may take. It ends by itself.
RELEASE_SECONDS = 5.0

_LOST = (
    "the lease was lost: Redis did not answer for too long, or lost it in a fail-over, or its clock was set. Something "
    "may have been appended meanwhile; run it again"
)


class Lease:
    """The lease of all shards, and of the layout of all. Made by `quiesced`.

    The text of `token` is what scripts compare that are run under it; see has_lease in lease_library.lua.
    """

    def __init__(self, shards: Shards, *, settings: Settings, what: str, clock: Clock = SYSTEM) -> None:
        host = re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname())
        self.token = f"{what}@{host}-{uuid4().hex}"
        self._shards = shards
        self._settings = settings
        self._clock = clock
        self._certain_until: dict[Shard, float] = {}  # by our monotonic clock
        self._is_lost = False

    def check(self) -> None:
        """Raise Failure if the lease was lost, as far as is known here. It costs nothing: call it before each step."""
        if self._is_lost or self._clock.monotonic() >= min(self._certain_until.values()):
            self._is_lost = True
            raise Failure(_LOST)

    async def confirm(self) -> None:
        """Raise Failure unless it was held all along until now, as Redis says. To be called when all was read.

        Raises StoreUnavailable.
        """
        self.check()
        for shard in self._shards.with_home:
            await self._renew(shard)
        self.check()

    async def take(self) -> None:
        """Take it. Raises Failure if somebody else has it, LayoutRefused for other shards, and StoreUnavailable."""
        home = self._shards.home
        await LayoutStore(home.redis, keys=home.keys, settings=self._settings).check()
        for shard in self._shards.with_home:
            began = self._clock.monotonic()
            if await self._run(shard, renews=False) == b"held":
                holder = await held(shard.redis, keys=shard.keys)
                raise Failure(f"{holder or 'another command held appends'}; run it again when that is over")
            self._certain_until[shard] = began + CERTAIN_SECONDS

    async def keep(self) -> None:
        """Renew it again and again, until it is lost."""
        while not self._is_lost:
            await self._clock.sleep(RENEW_SECONDS)
            await asyncio.gather(*(self._keep(shard) for shard in self._shards.with_home))

    async def _keep(self, shard: Shard) -> None:
        while not self._is_lost and self._clock.monotonic() < self._certain_until[shard]:
            try:
                await self._renew(shard)
            except StoreUnavailable:
                await self._clock.sleep(AGAIN_SECONDS)
            except (LayoutChanged, LayoutRefused, Refused):
                self._is_lost = True
            else:
                return

    async def _renew(self, shard: Shard) -> None:
        began = self._clock.monotonic()
        if await self._run(shard, renews=True) == b"taken":
            self._certain_until[shard] = began + CERTAIN_SECONDS
        else:
            self._is_lost = True

    async def _run(self, shard: Shard, *, renews: bool) -> bytes:
        arguments = {"token": self.token, "lease_ms": int(LEASE_SECONDS * 1000), "renews": renews}
        layout = checks(shard.keys, self._settings).format
        word: bytes = await _take.run(shard.redis, (shard.keys.backlog,), arguments, layout=layout)
        return word

    async def drained(self, seconds: float, tell: Callable[[str], None]) -> None:
        """Wait until nothing waits to be counted any more; `tell` from time to time what does.

        Raises Failure if something still does after so many seconds, or the lease is lost, and StoreUnavailable.
        """
        began = self._clock.monotonic()
        tell_at = began + TELL_SECONDS
        while waiting := [shard for shard in self._shards if await _anything_waits(shard)]:
            self.check()
            now = self._clock.monotonic()
            if now - began >= seconds:
                raise Failure(
                    f"after {seconds:g} s {await self._what_waits(waiting)}. Nothing was changed, and appends go on; "
                    "run it again when that is counted, or wait longer"
                )
            if now >= tell_at:
                tell(await self._what_waits(waiting))
                tell_at = now + TELL_SECONDS
            await self._clock.sleep(POLL_SECONDS)

    async def _what_waits(self, waiting: list[Shard]) -> str:
        """Return how much waits, and whether anybody counts it, as a sentence without its end."""
        blocks, alone = 0, []
        for shard in waiting:
            with errors_translated():
                pipeline = shard.redis.pipeline(transaction=False)
                pipeline.xlen(shard.keys.stream)
                pipeline.hget(shard.keys.backlog, "settled_blocks")
                in_stream, settled = await execute(pipeline)
            blocks += in_stream + int(settled or 0)
            if not any(map(is_alive, await consumers(shard.redis, keys=shard.keys))):
                alone.append(shard.index)
        where = f" of shard {', '.join(map(str, alone))}" if alone and len(self._shards) > 1 else ""
        who = f"no aggregator counts those{where}: start one" if alone else "aggregators count them"
        return f"{blocks:,} blocks still wait to be counted, and {who}"

    async def release(self) -> None:
        """Give it back, as far as Redis answers."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await asyncio.gather(*map(self._release, self._shards.with_home))

    async def _release(self, shard: Shard) -> None:
        layout = checks(shard.keys, self._settings).format
        with suppress(StoreUnavailable, LayoutChanged, LayoutRefused, Refused):
            await _release.run(shard.redis, (shard.keys.backlog,), {"token": self.token}, layout=layout)


async def _anything_waits(shard: Shard) -> bool:
    """Return whether anything waits to be counted in a shard. Raises StoreUnavailable."""
    with errors_translated():
        pipeline = shard.redis.pipeline(transaction=False)
        # In this order: a batch that is settled in between is in both, and in no case in neither.
        pipeline.xlen(shard.keys.stream)
        pipeline.llen(shard.keys.deltas)
        return any(await execute(pipeline))


@asynccontextmanager
async def quiesced(
    shards: Shards,
    settings: Settings,
    *,
    what: str,
    seconds: float = 60.0,
    drain: bool = True,
    tell: Callable[[str], None] = lambda _: None,
    clock: Clock = SYSTEM,
) -> AsyncIterator[Lease]:
    """Hold appends in all shards for as long as this block takes, and begin it when nothing waits to be counted.

    `what` is the command that does so, as others are told that are kept waiting. Without `drain` it begins at once, and
    what waits is counted meanwhile. The clients are to be for writing.

    Raises Failure if another command has the lease, and if something still waits after so many `seconds`; `tell` is
    given a sentence from time to time until then. Raises LayoutRefused and StoreUnavailable.
    """
    lease = Lease(shards, settings=settings, what=what, clock=clock)
    keeping: asyncio.Task[None] | None = None
    try:
        await lease.take()
        keeping = asyncio.create_task(lease.keep())
        if drain:
            await lease.drained(seconds, tell)
        yield lease
    finally:
        if keeping is not None:
            with suppress(asyncio.CancelledError):
                await cancel_and_wait(keeping)
        await lease.release()
