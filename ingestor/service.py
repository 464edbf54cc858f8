"""The ingestor's process: its sources, each with a feed of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ingestor.feed import Feed
from ingestor.sources import Source, parse_source
from tally.embedded import redis_url
from tally.keys import Keys
from tally.runtime import Failure, backoff_seconds, wait_or_stop
from tally.settings import Settings
from tally.store import BlockStore, StoreUnavailable, connect
from tally.telemetry import get_logger

#: After so long without an append, the position of a source that cannot be read again is forgotten.
FORGET_AFTER_SECONDS = 7 * 86_400


def parse_sources(texts: Sequence[str]) -> list[Source]:
    """Make sources of their text forms. Raises Failure with every one that is wrong."""
    sources, problems = [], []
    for text in texts:
        try:
            sources.append(parse_source(text))
        except ValueError as error:
            problems.append(f"source {error}")
    if problems:
        raise Failure("\n".join(problems))
    return sources


async def run(settings: Settings, stop: asyncio.Event, *, sources: Sequence[Source]) -> None:
    """Feed every source until it ends or `stop` is set.

    A source that fails does not stop the others. Raises Failure, when all have ended, if one had failed.
    """
    redis = connect(redis_url(settings), timeout_seconds=settings.redis_timeout_seconds)
    try:
        store = BlockStore(redis, keys=Keys(), settings=settings)
        await _tidy(store, stop)
        feeds = [Feed(source, store=store, settings=settings, stop=stop) for source in sources]
        outcomes = await asyncio.gather(*(feed.run() for feed in feeds), return_exceptions=True)
    finally:
        await redis.aclose()
    failures = []
    for source, outcome in zip(sources, outcomes, strict=True):
        if isinstance(outcome, Failure):
            failures.append(f"source {source.label}: {outcome}")
        elif isinstance(outcome, BaseException):
            raise outcome
    if failures:
        raise Failure("\n".join(failures))


async def _tidy(store: BlockStore, stop: asyncio.Event) -> None:
    """Wait for Redis; then forget what ingestors that were killed left behind, and say what is dangerous."""
    log = get_logger()
    failures = 0
    while not stop.is_set():
        try:
            for sentence in await store.advice():
                log.warning("redis is set up dangerously", problem=sentence)
            stale = await store.sources_last_seen_before(int((time.time() - FORGET_AFTER_SECONDS) * 1000))
            await store.forget_sources([name for name in stale if not name.startswith("file:")])
            return
        except StoreUnavailable as error:
            failures += 1
            delay_seconds = backoff_seconds(failures)
            log.warning("redis is away", error=str(error), retry_in_seconds=round(delay_seconds, 2))
            await wait_or_stop(stop, delay_seconds)
