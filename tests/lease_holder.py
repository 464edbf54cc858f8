"""Holds appends until it is killed, by a short lease: `python -m tests.lease_holder`."""

from __future__ import annotations

import asyncio

from tally.settings import load
from tally.store import lease
from tally.store.shards import open_shards

#: For how long it has it, and how often it renews that, in seconds.
lease.LEASE_SECONDS, lease.CERTAIN_SECONDS, lease.RENEW_SECONDS = 4.0, 3.0, 0.2


async def hold() -> None:
    """Hold them."""
    settings, never = load(), asyncio.Event()
    async with (
        open_shards(settings, stop=never, for_writing=True) as shards,
        lease.quiesced(shards, settings, what="export", drain=False),
    ):
        await never.wait()


if __name__ == "__main__":
    asyncio.run(hold())
