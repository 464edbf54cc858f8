"""What every source is to the appender that reads it, and what a runner is: a source with appenders of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ingestor.progress import ProgressDisplay
from tally.backoff import Backoff
from tally.clock import SYSTEM, Clock
from tally.settings import Settings
from tally.store import Known
from tally.store.protocols import ContextStore

#: How much is asked of a file or a pipe at once.
CHUNK_BYTES = 1 << 20


def source_backoff() -> Backoff:
    """Return how a source that fails is tried again: after a while, and soon if it ran steadily for long."""
    return Backoff(first_seconds=1.0, most_seconds=60.0, steady_seconds=60.0)


class Another(Exception):
    """What a source gives is not, or no longer, what it was known as: it is to be known anew."""


class Lookup(Protocol):
    """How sources ask what is stored, as SourceStore.known does. Raises StoreUnavailable."""

    async def __call__(self, *, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> Mapping[str, Known]: ...


class Source(Protocol):
    """What a SourceAppender reads. `known_as`, and then `chunks`, may be called again if the source is replayable."""

    @property
    def label(self) -> str:
        """What people call it, as in TALLY_SOURCE."""

    @property
    def replayable(self) -> bool: ...

    @property
    def finite(self) -> bool:
        """Whether it is expected to be appended whole, so that a stop before its end is a failure."""

    @property
    def is_bulk(self) -> bool:
        """Whether it can wait: what it gives now was there before, and is there to be read later.

        Then it finds the stream full earlier than a live source, whose lines should be counted soon.
        """

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        """Return what is stored of it, or a new name at position 0. Another name each time if it isn't replayable.

        `never` are names under which it was read, and found to be another. Raises StoreUnavailable, and Failure when it
        cannot be read.
        """

    def chunks(self, position: int) -> AsyncIterator[bytes]:
        """Give the bytes from this position on.

        Those of a replayable source begin earlier, by as many bytes as a fingerprint takes or as there are: by these
        the reader tells whether it is the source that it was known as. Raises Failure when they cannot be read, and
        Another when, at the start or at the end, it is no longer the one that was known.
        """


@dataclass(frozen=True, slots=True)
class Context:
    """What a runner works with. All runners of a process share it, and none closes anything of it.

    `ready` is set when Redis, or some of its shards, has answered for the first time and may be appended to.
    """

    store: ContextStore
    settings: Settings
    stop: asyncio.Event
    ready: asyncio.Event
    progress: ProgressDisplay = field(default_factory=ProgressDisplay)
    clock: Clock = SYSTEM


@runtime_checkable
class Runner(Protocol):
    """A source that is more than one run of bytes: files that come and go, connections, requests."""

    @property
    def label(self) -> str:
        """What people call it, as in TALLY_SOURCE."""

    @property
    def is_early(self) -> bool:
        """Whether it is run before `context.ready` is set, and waits for that itself before it asks Redis."""

    async def run(self, context: Context) -> None:
        """Append what comes, until it ends or `context.stop` is set.

        Raises Failure with what is wrong; it may be called again then. Waits for Redis by itself.
        """


class NotReplayable:
    """What sources that cannot be read again have in common: a new name each time."""

    replayable = False
    finite = False
    is_bulk = False
    label: str

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:  # noqa: ARG002
        return Known(self.new_name())

    def new_name(self) -> str:
        return f"{self.label.partition('?')[0]}#{uuid.uuid4().hex[:12]}"
