"""Positions of sources that cannot be read again are forgotten after a while, but not of those that are open.

An ingestor that was killed leaves its own behind, and each start of another makes new ones. But a source may be idle
for weeks, and if it were forgotten meanwhile, its next line would look as if Redis had lost all before it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tally.clock import SYSTEM, Clock
from tally.store import StoreUnavailable
from tally.store.protocols import SourceStore

#: After so long without an append or a renewal, the position of a source that cannot be read again is forgotten.
FORGET_AFTER_SECONDS = 7 * 86_400

#: How often an open source is renewed.
RENEW_SECONDS = 3600.0


#: How long to wait before a source is made known again where Redis is unavailable.
AGAIN_SECONDS = 5.0


async def make_known(store: SourceStore, name: str, *, clock: Clock = SYSTEM) -> None:
    """Have a source be known from when it listens on: the page names it to those who have not sent anything yet."""
    while True:
        try:
            await store.register_sources([name])
            return
        except StoreUnavailable:
            await clock.sleep(AGAIN_SECONDS)


async def keep_known(store: SourceStore, name: Callable[[], str], *, clock: Clock = SYSTEM) -> None:
    """Renew the source that has this name in the store now and then (empty: none yet), until cancelled."""
    while True:
        await clock.sleep(RENEW_SECONDS)
        if name():
            with suppress(StoreUnavailable):  # the next time will do
                await store.renew_sources([name()])
