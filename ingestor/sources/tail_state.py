"""What one run of a tail knows of its files, and the means that all of its parts share."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ingestor.log_events import TOO_MANY_FILES
from ingestor.metrics import of_source
from ingestor.retrying import ask, or_stop
from ingestor.sources.base import Context
from ingestor.sources.followed import FollowedFile
from ingestor.sources.tail_names import beginning_of_names
from ingestor.sources.tail_paths import FollowedPaths
from tally.log_throttle import LASTING_SECONDS, LogThrottle
from tally.store import Known
from tally.telemetry import get_logger

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RestingFile:
    """A file that is closed because it was still, and what is to be seen of it until it changes."""

    path: Path
    look: tuple[int, int]  # as FollowedFile has it
    name: str  # the stored one; empty if nothing was read of it


class TailState:
    """The files that are open or were, and the tasks that see to them."""

    def __init__(self, label: str, context: Context) -> None:
        self.context = context
        self.stop = context.stop
        self.clock = context.clock
        self.log = get_logger().bind(source=label)
        self.metrics = of_source(label)
        self.paths = FollowedPaths(label.removeprefix("tail:"))
        self.wake = asyncio.Event()  # the paths are to be looked at
        self.tasks: set[asyncio.Task[None]] = set()
        self.files: dict[FollowedFile, asyncio.Event] = {}  # that are open, each with what is set when it is done with
        self.at: dict[str, FollowedFile] = {}  # by their present paths
        self.resting: dict[tuple[int, int], RestingFile] = {}  # inode -> what is at its path, and closed
        self.truncated: dict[tuple[int, int], int] = {}  # inode -> the generation that it no longer holds
        self.left: set[Path] = set()  # paths of which something is stored, or will be
        self.places: defaultdict[int, set[Path]] = defaultdict(set)  # by inode: where files were ever followed
        self._throttle = LogThrottle(source=label, seconds=LASTING_SECONDS, clock=context.clock)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Have some work done beside all other; what it raises ends the tail."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(lambda _: self.wake.set())

    def note_followed(self, path: Path, inode: int) -> None:
        """Note that a file with this inode is, or was, followed at this path."""
        self.places[inode].add(path)
        self.left.add(path)

    def say_too_many(self, waiting: int) -> None:
        """Warn that so many files wait until others may be closed."""
        self._throttle.warning(
            TOO_MANY_FILES,
            open=len(self.files),
            waiting=waiting,
        )

    async def known(self, path: Path, file: FollowedFile | None) -> dict[str, Known]:
        """Return what is stored of files that were followed at this path, or at another one if this file was there."""
        paths = {path} if file is None else {path, *file.places}
        beginnings = [beginning_of_names(each) for each in sorted(paths)]
        return await self.ask(partial(self.context.store.known, beginnings=beginnings)) or {}

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """Ask Redis until it answers; None when we are to stop first."""
        return await ask(question, stop=self.stop, log=self.log)

    async def or_stop(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do some work; None when we are to stop before it is done."""
        return await or_stop(work, self.stop)

    async def until(self, event: asyncio.Event, *, seconds: float) -> None:
        """Wait for an event, so long at the most, or until we are to stop."""
        await self.or_stop(self.clock.wait(event, seconds))

    async def pause(self, seconds: float) -> bool:
        """Wait so long, or until we are to stop; return whether we are."""
        return await self.clock.wait(self.stop, seconds)
