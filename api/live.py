"""The live feed: one poller a process for all watchers, which asks Redis only while somebody wants to know."""

from __future__ import annotations

import asyncio
import itertools
import math
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
from fastapi.sse import ServerSentEvent

from api.cached_counts import CachedCounts
from api.memory import NoRoom
from api.watched import ALL, LINGER_SECONDS, Reading, Selection, Watched
from api.work import Busy
from tally.clock import SYSTEM, Clock
from tally.log_events import REDIS_AVAILABLE_AGAIN, REDIS_UNAVAILABLE
from tally.log_throttle import LogThrottle
from tally.rates import Rates
from tally.refused import Refused
from tally.runtime import cancel_and_wait
from tally.store import StoreUnavailable
from tally.store.status import is_alive
from tally.telemetry import get_logger
from tally.web import problem_types as types
from tally.web.problem_types import problem_members

#: How often the poller asks Redis, in seconds.
EVERY_SECONDS = 1.0

#: Ticks that are remembered: a watcher that was gone for no longer gets just what it missed.
REMEMBERED_TICKS = 60

#: What a snapshot holds at the most.
MOST_TYPES, MOST_WORDS = 500, 100
MOST_NAMES = {"types": MOST_TYPES, "words": MOST_WORDS}

#: How long a browser waits before it connects again, in milliseconds.
RETRY_MS = 2000


@dataclass(frozen=True, slots=True)
class _Tick:
    number: int
    event: str
    data: str
    reading: Reading = field(default_factory=Reading)

    def data_for(self, selection: Selection) -> str:
        """Return the data with what the watcher narrows it to. It is encoded once for all, so that is put behind."""
        if not selection or self.event == "unavailable":
            return self.data
        return f'{self.data[:-1]},"selected":{self.reading.of(selection)}}}'


class Live:
    """Polls while somebody watches or asks for rates, and tells all watchers what changed."""

    def __init__(self, counts: CachedCounts, *, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._counts = counts
        self._reader = counts.reader
        self._life = uuid.uuid4().hex[:8]  # ids of another process' life mean nothing here
        self._numbers = itertools.count(1)
        self._ticks: deque[_Tick] = deque(maxlen=REMEMBERED_TICKS)
        self._state: dict[str, Any] | None = None  # None: Redis is unavailable, or was not asked yet
        self._rates = Rates(every_seconds=EVERY_SECONDS)
        self._watched = Watched(counts, every_seconds=EVERY_SECONDS)
        self._reading = Reading()
        self._changed = asyncio.Event()
        self._crowded = LogThrottle(clock=clock)
        self._closed = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None
        self._watching = 0
        self._wanted_until = -math.inf  # monotonic seconds
        self._wanted = asyncio.Event()

    def open(self) -> None:
        """Begin to poll."""
        self._polling = asyncio.create_task(self._poll(), name="live poller")

    async def close(self) -> None:
        """Stop polling, and end every watcher's feed."""
        self.end_watching()
        if self._polling is not None:
            await cancel_and_wait(self._polling)
            with suppress(asyncio.CancelledError):
                await self._polling

    def end_watching(self) -> None:
        """End every watcher's feed, so that a server that stops need not wait for open pages."""
        self._closed.set()
        self._wanted.set()
        self._wake()

    @property
    def watching(self) -> int:
        """Return how many follow the feed."""
        return self._watching

    def rates(self) -> dict[str, float | None]:
        """Return events a second over the last 1, 10 and 60 seconds; None where that is not known yet.

        The poller runs for a while because of this, so that they are known at the next call.
        """
        self._want()
        return self._rates.rates()

    async def watch(self, last_id: str | None, selection: Selection = ALL) -> AsyncIterator[ServerSentEvent]:
        """Yield what changes, until the feed is closed: a snapshot first, or what was missed since `last_id`.

        With what is told of a selection, if there is one.
        """
        seen = self._resume(last_id)
        self._watching += 1
        self._want()
        try:
            with self._watched.watch(selection, now=self._clock.monotonic):
                yield ServerSentEvent(retry=RETRY_MS, comment="tally")
                while not self._closed.is_set():
                    changed = self._changed
                    for event in self._since(seen):
                        seen = event.number
                        data, id_ = event.data_for(selection), f"{self._life}-{event.number}"
                        yield ServerSentEvent(raw_data=data, event=event.event, id=id_)
                    await changed.wait()
        finally:
            self._watching -= 1
            self._want()

    def _resume(self, last_id: str | None) -> int:
        """Return the number of the last tick that a watcher has seen; 0 if it needs a snapshot."""
        life, _, number = (last_id or "").partition("-")
        if life != self._life or not number.isdecimal() or not self._ticks:
            return 0
        return int(number) if self._ticks[0].number - 1 <= int(number) <= self._ticks[-1].number else 0

    def _since(self, seen: int) -> list[_Tick]:
        if not self._ticks or seen >= self._ticks[-1].number:
            return []
        if seen == 0 or seen < self._ticks[0].number - 1:
            newest = self._ticks[-1]
            if self._state is None:
                return [newest]  # Redis is unavailable
            return [_Tick(newest.number, "snapshot", _encode(self._state), newest.reading)]
        return [tick for tick in self._ticks if tick.number > seen]

    def _want(self) -> None:
        self._wanted_until = self._clock.monotonic() + LINGER_SECONDS
        self._wanted.set()

    async def _pause(self) -> None:
        """Wait until somebody wants to know. What was read until now would be old then, and is forgotten."""
        self._state = None
        self._ticks.clear()
        self._rates.clear()
        self._watched.clear()
        self._wanted.clear()
        await self._wanted.wait()

    async def _poll(self) -> None:
        log = get_logger()
        due = self._clock.monotonic()
        while not self._closed.is_set():
            if not self._watching and self._clock.monotonic() >= self._wanted_until:
                await self._pause()
                due = self._clock.monotonic()
                continue
            try:
                state = await self._read()
                self._reading = await self._watched.read(self._clock.monotonic())
                if self._state is None and self._ticks:
                    log.info(REDIS_AVAILABLE_AGAIN)
                self._take(state)
            except (StoreUnavailable, Refused) as error:
                if self._state is not None or not self._ticks:
                    log.warning(REDIS_UNAVAILABLE, error=str(error))
                self._state = None
                self._rates.clear()
                self._watched.clear()
                self._tell("unavailable", problem_members(types.REDIS_UNAVAILABLE, error.public))
            except Exception:
                # A feed that ended for good would look like a stream that stands still.
                log.exception("live poll failed")
            now = self._clock.monotonic()
            due = max(due + EVERY_SECONDS, now)
            await self._clock.wait(self._closed, due - now)

    async def _read(self) -> dict[str, Any]:
        as_of = self._clock.time()
        totals = await self._reader.totals()
        types = await self._types()
        words = await self._words()
        backlog = await self._reader.backlog(totals)
        consumers = await self._reader.aggregators()
        dead = await self._reader.dead_letters()
        self._rates.add(self._clock.monotonic(), totals["events"])
        return {
            "as_of": as_of,
            "totals": totals,
            "events_per_second": self._rates.rates(),
            "backlog": asdict(backlog),
            "aggregators_alive": sum(map(is_alive, consumers)),
            "dead_letters": dead,
            "types": types,
            "words": words,
        }

    async def _types(self) -> dict[str, int]:
        """Return the most frequent types; many of them as they were, if too much else is answered just now."""
        if await self._reader.size("types") <= MOST_TYPES:
            return await self._reader.types()
        try:
            return (await self._counts.all_time("types")).top(MOST_TYPES)
        except (NoRoom, Busy) as error:
            self._crowded.warning("the live feed has no new counts of types", problem=str(error))
            return self._state["types"] if self._state is not None else {}

    async def _words(self) -> dict[str, int]:
        """Return the most frequent words; of several shards as they were, if all must be read and there is no room."""
        if not self._reader.several:
            return dict(itertools.islice((await self._reader.top_words()).items(), MOST_WORDS))
        try:
            return (await self._counts.all_time("words", top=MOST_WORDS)).top(MOST_WORDS)
        except (NoRoom, Busy) as error:
            self._crowded.warning("the live feed has no new counts of words", problem=str(error))
            return self._state["words"] if self._state is not None else {}

    def _take(self, state: dict[str, Any]) -> None:
        before, self._state = self._state, state
        if before is None or state["totals"]["events"] < before["totals"]["events"]:
            self._tell("snapshot", state)  # all watchers need everything anew
            return
        if any(_lacks(before[kind], state[kind], most=most) for kind, most in MOST_NAMES.items()):
            self._ticks.clear()  # what was forgotten is not to be told any more
            self._tell("snapshot", state)
            return
        changed = {kind: _changed(before[kind], state[kind]) for kind in ("types", "words")}
        self._tell("tick", state | changed)

    def _tell(self, event: str, data: Mapping[str, Any]) -> None:
        self._ticks.append(_Tick(next(self._numbers), event, _encode(data), self._reading))
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _lacks(before: Mapping[str, int], now: Mapping[str, int], *, most: int) -> bool:
    """Return whether a name is gone that no others can have pushed out, since counts only grow: it was forgotten."""
    least = min(now.values()) if len(now) >= most else 0
    return any(count > least for name, count in before.items() if name not in now)


def _changed(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in now.items() if before.get(name) != count}


def _encode(data: Mapping[str, Any]) -> str:
    return msgspec.json.encode(data).decode()
