"""What is read of Redis when Prometheus asks, and put beside what the process has measured."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from api.cached_counts import CachedCounts
from api.live import Live
from api.memory import Memory, NoRoom
from api.metrics import SNAPSHOT_BYTES, STORED, WATCHERS, Stored
from api.work import Busy
from tally.log_events import REDIS_REFUSES, REDIS_UNAVAILABLE
from tally.log_throttle import LogThrottle
from tally.metrics import exposition
from tally.refused import Refused
from tally.runtime import cancel_and_wait
from tally.settings import Settings
from tally.store import StoreUnavailable
from tally.store.name_sizes import SOURCES, TYPE_WORDS, most_names
from tally.store.node_memory import memory_of_nodes
from tally.store.shards import Shards
from tally.telemetry import get_logger, shared_context

#: For so long what was read is told again: several may ask, each for itself.
FRESH_SECONDS = 1.0

#: How long a scrape waits for Redis, and then does without: Prometheus gives up after ten seconds, and would know
#: nothing of this process either.
WAIT_SECONDS = 5.0


class Scraping:
    """Answers scrapes. Redis is read once for all who ask within a second."""

    def __init__(
        self, counts: CachedCounts, shards: Shards, live: Live, memories: list[Memory], *, settings: Settings
    ) -> None:
        self._counts = counts
        self._shards = shards
        self._live = live
        self._memories = memories
        self._settings = settings
        self._clock = counts.clock
        self._stored: Stored | None = None
        self._read_at = -math.inf  # monotonic seconds
        self._reading: asyncio.Task[None] | None = None
        self._throttle = LogThrottle(clock=counts.clock)

    async def answer(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the form that the header Accept asks for, and its media type."""
        stored = await self._fresh()
        # From here on nobody else has his turn: there is one registry, whichever application of this process asks it.
        STORED.stored = stored
        SNAPSHOT_BYTES.set(sum(memory.held_bytes for memory in self._memories))
        WATCHERS.set(self._live.watching)
        return exposition(accept)

    async def _fresh(self) -> Stored | None:
        """Return what Redis holds; None if it does not tell, or not in time."""
        if self._reading is None and self._clock.monotonic() - self._read_at >= FRESH_SECONDS:
            self._reading = asyncio.create_task(self._read(), name="read what metrics tell", context=shared_context())
        if self._reading is not None:
            done, _ = await asyncio.wait([self._reading], timeout=WAIT_SECONDS)
            if not done:
                return None  # it goes on: the next scrape may have it
        return self._stored

    async def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            await cancel_and_wait(self._reading)

    async def _read(self) -> None:
        stored = None
        try:
            stored = await self._load()
        except StoreUnavailable as error:
            self._throttle.warning(REDIS_UNAVAILABLE, error=str(error))
        except Refused as error:
            self._throttle.warning(REDIS_REFUSES, problem=str(error))
        except Exception:
            # What the process tells of itself is of use all the more.
            get_logger().exception("what metrics tell could not be read")
        finally:
            self._stored, self._read_at, self._reading = stored, self._clock.monotonic(), None

    async def _load(self) -> Stored:
        status, _ = await self._counts.status()
        return Stored(
            status=status,
            types=await self._types(),
            memory=await memory_of_nodes(self._shards),
            most_names=await most_names(self._shards),
            limits={
                "types": self._settings.max_types,
                "words": self._settings.max_words,
                SOURCES: self._settings.max_sources,
                TYPE_WORDS: self._settings.max_type_words,
            },
        )

    async def _types(self) -> Mapping[str, int]:
        """Return the counts of the types that are told; none, if there is no room or time to read them."""
        try:
            ranking = await self._counts.all_time("types")
        except (NoRoom, Busy) as error:
            self._throttle.warning("metrics have no counts of types", problem=str(error))
            return {}
        named = {name: ranking.count_of(name) for name in self._settings.metrics_type_names}
        return named | ranking.top(self._settings.metrics_top_types)
