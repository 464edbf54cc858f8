"""Which shards can be asked just now: some people would rather have an answer about these than none."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from tally.clock import SYSTEM, Clock
from tally.keys import Keys
from tally.layout import Layout
from tally.refused import Refused
from tally.settings import Settings
from tally.store.client import NO_ANSWER, StoreUnavailable
from tally.store.layouts import LayoutStore
from tally.store.shards import Shard, Shards
from tally.telemetry import get_logger, shared_context

#: How long one that could not be asked is left out before anybody waits for it again.
LEFT_OUT_SECONDS = 5.0


@dataclass(slots=True)
class _Seen:
    """What is known of one of them."""

    store: LayoutStore
    layout: Layout | None = None
    is_missing: bool = False
    why: str = ""  # it could not be asked the last time
    is_told: bool = False  # that it cannot be asked
    asked_at: float = -math.inf  # when that was found out, in seconds of the monotonic clock
    asking: asyncio.Task[None] | None = None


class AvailableShards:
    """Asks all shards at the same time whether they can be asked.

    One that hangs is waited for once, as long as any read may take. While it does not answer it is asked beside what
    others answer; who comes after LEFT_OUT_SECONDS in which nobody did waits for it again.
    """

    def __init__(self, shards: Shards, *, settings: Settings, clock: Clock = SYSTEM) -> None:
        self._shards = shards
        self._seen = {
            shard.keys: _Seen(LayoutStore(shard.redis, keys=shard.keys, settings=settings))
            for shard in shards.with_home
        }
        self._timeout_seconds = settings.read_timeout_seconds
        self._clock = clock

    async def find(self) -> Shards:
        """Return the shards that can be asked, all of them as they were given. Raises StoreUnavailable if none can.

        Where the layout of all cannot be read, a shard that has a copy of it stands in for its home.
        """
        now = self._clock.monotonic()
        for seen in self._seen.values():
            if seen.asking is None:
                seen.is_missing = seen.is_missing and now - seen.asked_at < LEFT_OUT_SECONDS
                seen.asking = asyncio.create_task(
                    self._ask(seen), name="ask a shard whether it is there", context=shared_context()
                )
        waited_for = [seen.asking for seen in self._seen.values() if seen.asking and not seen.is_missing]
        if waited_for:
            await asyncio.wait(waited_for)  # who goes away meanwhile ends none of them
        self._tell()
        if not any(seen.is_missing for seen in self._seen.values()):
            return self._shards
        found = Shards(shard for shard in self._shards if not self._seen[shard.keys].is_missing)
        if not found:
            raise StoreUnavailable("none of the shards can be asked", public=NO_ANSWER)
        home = self._shards.home
        found.home = home if not self._seen[home.keys].is_missing else next(filter(self._has_layout, found), found[0])
        return found

    def _has_layout(self, shard: Shard) -> bool:
        layout = self._seen[shard.keys].layout
        return layout is not None and "windows" in layout.fields

    async def _ask(self, seen: _Seen) -> None:
        why = ""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                seen.layout = await seen.store.read()
        except (StoreUnavailable, TimeoutError) as error:
            why = str(error) or "it does not answer"
        except Refused:
            seen.layout = None  # it is there, and tells the same when it is asked more
        finally:
            seen.asked_at, seen.is_missing, seen.asking, seen.why = self._clock.monotonic(), bool(why), None, why

    def _tell(self) -> None:
        """Log which are missing that were not, and the reverse: in one line, for many may be on one server."""
        changed = [(keys, seen) for keys, seen in self._seen.items() if bool(seen.why) != seen.is_told]
        missing = [(keys, seen.why) for keys, seen in changed if seen.why]
        back = [keys for keys, seen in changed if not seen.why]
        for _, seen in changed:
            seen.is_told = bool(seen.why)
        if missing:
            error = ", ".join(dict.fromkeys(why for _, why in missing))
            get_logger().warning(
                "shards cannot be asked", shards=[self._place(keys) for keys, _ in missing], error=error
            )
        if back:
            get_logger().info("shards can be asked again", shards=[self._place(keys) for keys in back])

    def _place(self, keys: Keys) -> int | str:
        return next((shard.index for shard in self._shards if shard.keys == keys), "with the layout of all")
