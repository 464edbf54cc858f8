"""When what was appended may be believed to outlive a crash of the server."""

from __future__ import annotations

import asyncio

from tally.clock import SYSTEM, Clock
from tally.store.protocols import DurabilityStore

#: How long the server may take to write everything to its disk.
DURABLE_SECONDS = 5.0

#: How long is waited instead where the server cannot tell: an append-only file is written out once a second.
NOT_DURABLE_SECONDS = 2.0


async def wait_until_kept(store: DurabilityStore, name: str, *, stop: asyncio.Event, clock: Clock = SYSTEM) -> bool:
    """Wait until the server has on its disk what was appended; False if we are to stop before that can be believed.

    `name` is that of one of the sources of which something was appended. Raises StoreUnavailable.
    """
    if await store.wait_until_durable(name, timeout_seconds=DURABLE_SECONDS):
        return True
    return not await clock.wait(stop, NOT_DURABLE_SECONDS)
