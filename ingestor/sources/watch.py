"""Waking up when files change. Events of the kernel where there are any, else the caller's slow poll has to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, awatch

from tally.clock import SYSTEM, Clock
from tally.telemetry import get_logger

#: How long changes are gathered: they come at the earliest after one step, at the latest after all of them.
STEP_MS, GATHER_MS = 50, 200

#: How soon a watch that could not be set up is tried again.
RETRY_SECONDS = 30.0


class Watch:
    """Tells what changes in some folders: the path, and whether it was only written to rather than made or removed.

    It may be late and may miss changes: poll as well.
    """

    def __init__(self, changed: Callable[[Path, bool], None], *, recursive: bool, clock: Clock = SYSTEM) -> None:
        self._changed = changed
        self._recursive = recursive
        self._clock = clock
        self._folders: frozenset[Path] = frozenset()
        self._task: asyncio.Task[None] | None = None
        # It logs every change at the level info.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)

    def set_folders(self, folders: Iterable[Path]) -> None:
        """Watch these, of which each exists, instead of those before."""
        wanted = frozenset(folders)
        if wanted == self._folders:
            return
        self.close()
        self._folders = wanted
        if wanted:
            self._task = asyncio.create_task(self._run(wanted), name="watch files")

    def close(self) -> None:
        """Watch nothing any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._folders = frozenset()

    async def _run(self, folders: frozenset[Path]) -> None:
        while True:
            try:
                # A stop event of its own: a watch that is cancelled sets it.
                async for changes in awatch(
                    *folders,
                    watch_filter=None,
                    debounce=GATHER_MS,
                    step=STEP_MS,
                    stop_event=asyncio.Event(),
                    rust_timeout=60_000,
                    recursive=self._recursive,
                    ignore_permission_denied=True,
                ):
                    for change, path in changes:
                        self._changed(Path(path), change is Change.modified)
            except (OSError, RuntimeError) as error:  # no folder, or the kernel's limit of watches
                get_logger().warning(
                    "cannot watch for changes; looking every few seconds instead",
                    folders=[str(folder) for folder in folders],
                    error=str(error),
                )
            await self._clock.sleep(RETRY_SECONDS)  # close() cancels it
