"""What was counted of each source: lines, those that were rejected, and when the newest of them was appended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tally.keys import OTHER, Keys
from tally.sources import called
from tally.store.client import errors_translated, execute
from tally.store.known import PAGE_NAMES, REPLAYABLE
from tally.store.lua import LayoutCheck, WritingScript
from tally.store.windows import raise_wrong_type

_forget = WritingScript("forget_source_counts")

#: Of so many sources, those that were last appended to, it is told how long their lines have waited.
LATEST_NAMES = 1000


@dataclass(frozen=True, slots=True)
class SourceCount:
    """What was counted of a source by what it is called.

    `newest_at` is when the newest line that was counted had been appended, and `seen_at` when anything was appended
    last, or the source was last seen open, both in Unix seconds; None where that is not known. `lag_seconds` is for how
    long its lines have waited to be counted, at the most; 0.0 if none does, None if that is not known.
    """

    name: str
    lines: int
    rejected: int
    newest_at: float | None
    seen_at: float | None
    lag_seconds: float | None

    def __add__(self, other: SourceCount) -> SourceCount:
        """Return both together, as those of two shards."""
        lags = (self.lag_seconds, other.lag_seconds)
        return SourceCount(
            self.name,
            self.lines + other.lines,
            self.rejected + other.rejected,
            _later(self.newest_at, other.newest_at),
            _later(self.seen_at, other.seen_at),
            None if None in lags else max(lag for lag in lags if lag is not None),
        )


async def source_counts(redis: Any, *, keys: Keys, waiting_seconds: float | None, now: float) -> list[SourceCount]:
    """Return what was counted of each source of a shard, in no order, some names at a time.

    `waiting_seconds` is for how long the oldest block of the shard has waited, None if none waits. Raises
    StoreUnavailable.
    """
    appended = await _appended(redis, keys=keys)
    found = {}
    cursor = 0
    while True:
        with errors_translated():
            cursor, some = await redis.hscan(keys.source_lines, cursor, count=PAGE_NAMES)
            if some:
                pipeline = redis.pipeline(transaction=False)
                for key in (keys.source_rejected, keys.source_newest):
                    pipeline.hmget(key, list(some))
                rejected, newest = await execute(pipeline)
                for name, lines, few, at in zip(some, some.values(), rejected, newest, strict=True):
                    text = name.decode("utf-8", "replace")
                    newest_at = int(at) / 1000 if at else None
                    appended_at = appended.get(text)
                    lag = _lag(newest_at, appended_at, waiting_seconds=waiting_seconds, now=now)
                    # What is rejected is read after the lines, and may be ahead of them.
                    counted = SourceCount(
                        text, int(lines), min(int(few or 0), int(lines)), newest_at, appended_at or newest_at, lag
                    )
                    found[text] = counted
        if not cursor:
            return list(found.values())


async def _appended(redis: Any, *, keys: Keys) -> dict[str, float]:
    """Return when the sources were last appended to, or seen open, of those where that was latest."""
    with errors_translated():
        seen = await redis.zrange(keys.sources_seen, 0, LATEST_NAMES - 1, desc=True, withscores=True)
    found: dict[str, float] = {}
    for name, seen_ms in seen:
        source = called(name.decode("utf-8", "replace"))
        found[source] = max(found.get(source, 0.0), seen_ms / 1000)
    return found


def _lag(
    newest_at: float | None, appended_at: float | None, *, waiting_seconds: float | None, now: float
) -> float | None:
    """Return for how long lines of a source have waited: not longer than since the newest that is counted."""
    if waiting_seconds is None:
        return 0.0
    if newest_at is None or appended_at is None:
        return None
    return 0.0 if newest_at >= appended_at else round(max(0.0, min(now - newest_at, waiting_seconds)), 3)


async def newest_of_files(redis: Any, *, keys: Keys) -> dict[str, int]:
    """Return when the newest line had been appended that was counted of each file, in Unix milliseconds.

    Raises StoreUnavailable.
    """
    found: dict[str, int] = {}
    cursor = 0
    while True:
        with errors_translated():
            cursor, some = await redis.hscan(keys.source_newest, cursor, count=PAGE_NAMES)
        files = ((name.decode("utf-8", "replace"), at) for name, at in some.items())
        found |= {name: int(at) for name, at in files if name.startswith(REPLAYABLE)}
        if not cursor:
            return found


async def forget_source_counts(
    redis: Any, *, keys: Keys, layout: LayoutCheck, names: Sequence[str], unseen_since_ms: int
) -> None:
    """Forget what was counted of sources, unless something of them was appended since then.

    Nothing is while somebody has the lease of the shard: it is tidied up another time. Raises StoreUnavailable.
    """
    at = (keys.source_lines, keys.source_rejected, keys.source_newest, keys.backlog)
    for first in range(0, len(names), PAGE_NAMES):
        arguments = {"source_names": names[first : first + PAGE_NAMES], "before_ms": unseen_since_ms}
        reply = await _forget.run(redis, at, arguments, layout=layout)
        if isinstance(reply, list):
            raise_wrong_type(reply[0], reply[1:])


def merged(shards: Sequence[Sequence[SourceCount]]) -> list[SourceCount]:
    """Return what was counted of each source in all of these shards."""
    found: dict[str, SourceCount] = {}
    for source in (source for sources in shards for source in sources):
        before = found.get(source.name)
        found[source.name] = source if before is None else before + source
    return list(found.values())


def without_other(sources: Sequence[SourceCount]) -> tuple[list[SourceCount], SourceCount | None]:
    """Return the sources that have a name of their own, and what the rest comes to."""
    other = next((source for source in sources if source.name == OTHER), None)
    return [source for source in sources if source.name != OTHER], other


def _later(one: float | None, other: float | None) -> float | None:
    return max(each for each in (one, other) if each is not None) if (one, other) != (None, None) else None
