"""What every source is to the feed that reads it, and what a runner is: a source with feeds of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ingestor.progress import Progress
from tally.settings import Settings
from tally.store import BlockStore

#: How much is asked of a file or a pipe at once.
CHUNK_BYTES = 1 << 20

#: What ran for so long before it failed starts with a short back-off again.
STEADY_SECONDS = 60.0


class Source(Protocol):
    """What a feed reads. `chunks` may be called again, with another position, if the source is rereadable."""

    @property
    def label(self) -> str:
        """What people call it, as in TALLY_SOURCE."""

    @property
    def rereadable(self) -> bool: ...

    @property
    def finite(self) -> bool:
        """Whether it is expected to be appended whole, so that a stop before its end is a failure."""

    def name(self, stored: Mapping[str, int]) -> str:
        """Its name in the store, given the stored positions by name. Another one each time if it isn't rereadable."""

    def chunks(self, position: int) -> AsyncIterator[bytes]:
        """The bytes from this position on. Raises Failure when they cannot be read."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a runner works with. All runners of a process share it, and none closes anything of it."""

    store: BlockStore
    settings: Settings
    stop: asyncio.Event
    progress: Progress = field(default_factory=Progress)


@runtime_checkable
class Runner(Protocol):
    """A source that is more than one run of bytes: files that come and go, connections, requests."""

    @property
    def label(self) -> str:
        """What people call it, as in TALLY_SOURCE."""

    async def run(self, context: Context) -> None:
        """Append what comes, until it ends or `context.stop` is set.

        Raises Failure with what is wrong; it may be called again then. Waits for Redis by itself.
        """


class Once:
    """What the sources that cannot be read again have in common: a name of their own each time."""

    rereadable = False
    finite = False
    label: str

    def name(self, stored: Mapping[str, int]) -> str:  # noqa: ARG002
        return f"{self.label.partition('?')[0]}#{uuid.uuid4().hex[:12]}"
