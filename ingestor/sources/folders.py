"""A folder, or a pattern: its files one after the other, each a source with a position of its own."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Collection, Iterable
from pathlib import Path

from ingestor.durability import NOT_DURABLE_SECONDS, wait_until_kept
from ingestor.ending import Incomplete
from ingestor.metrics import of_source
from ingestor.progress import Measure
from ingestor.source_appender import SourceAppender
from ingestor.sources.base import Context
from ingestor.sources.files import File
from tally.runtime import Failure
from tally.store import Known, StoreUnavailable
from tally.telemetry import get_logger


class Files:
    """Reads the files of a folder (not of folders in it, no hidden ones) or those that match a pattern, by name.

    Which ones is decided when it starts. One that cannot be read does not keep the others from being read.
    """

    is_early = False

    def __init__(self, text: str) -> None:
        """Look for the files. Raises ValueError when there is none now."""
        self._text = text
        self.label = text
        if not self._paths():
            what = f"no file in the folder {text!r}" if Path(text).is_dir() else f"no file matches {text!r}"
            raise ValueError(f"{what}; hidden files and folders in it do not count")

    def _paths(self) -> list[Path]:
        if Path(self._text).is_dir():
            found: Iterable[Path] = (path for path in Path(self._text).iterdir() if not path.name.startswith("."))
        else:
            # Path.glob takes no absolute pattern, and hidden files as well.
            found = map(Path, glob.glob(self._text, recursive=True))  # noqa: PTH207
        return sorted(path for path in found if path.is_file())

    async def run(self, context: Context) -> None:
        """Read each file to its end. Raises Failure, in the end, with each that could not be read.

        Raises Incomplete when it was stopped before that.
        """
        files = [File(path) for path in self._paths()]
        appenders: dict[File, SourceAppender] = {}
        total_bytes = sum(file.size_bytes for file in files)

        def measure() -> Measure:
            return Measure(
                read_bytes=sum(file.read_bytes for file in appenders),
                size_bytes=total_bytes,
                appended_lines=sum(appender.appended_lines for appender in appenders.values()),
                appended_bytes=sum(appender.appended_bytes for appender in appenders.values()),
            )

        metrics = of_source(self.label)
        problems: dict[File, str] = {}
        waiting = files
        with context.progress.show(self.label, measure):
            while waiting and not context.stop.is_set():
                for file in waiting:
                    appenders[file] = SourceAppender(
                        file,
                        store=context.store,
                        settings=context.settings,
                        stop=context.stop,
                        confirms=False,
                        clock=context.clock,
                        metrics=metrics,
                    )
                    try:
                        await appenders[file].run()
                        problems.pop(file, None)
                    except Incomplete:
                        break  # we are to stop
                    except (Failure, OSError) as error:
                        problems[file] = str(error)
                        metrics.failures.inc()
                        get_logger().error("file failed", source=self.label, path=file.label, error=str(error))
                    if context.stop.is_set():
                        break
                else:
                    read = {file: appender for file, appender in appenders.items() if file not in problems}
                    # One wait for all of them: for each it would take a second a file.
                    waiting = await self._set_back(context, read)
        if waiting:
            raise Incomplete("stopped before all files were read; run it again, and it goes on there")
        if problems:
            raise Failure("; ".join(problems.values()))

    async def _set_back(self, context: Context, appenders: dict[File, SourceAppender]) -> list[File]:
        """Return the files that stand elsewhere than we left them when Redis has all on its disk: they are read on.

        It has lost something, or another ingestor has appended what may be another file under this name.
        All of them when we are to stop before that is known.
        """
        if not appenders:
            return []
        try:
            if not await self._are_kept(context, appenders.values()):
                return list(appenders)
            stored = await context.store.known(names=[appender.name for appender in appenders.values()])
        except StoreUnavailable:
            # Their appenders wait for it to come back, but not for it to take writes: they may find nothing to read.
            await context.clock.wait(context.stop, NOT_DURABLE_SECONDS)
            return list(appenders)
        elsewhere = [
            file
            for file, appender in appenders.items()
            if not stored.get(appender.name, Known(appender.name)).stands_at(appender.positions)
        ]
        if elsewhere:
            get_logger().warning("reading again from the stored positions", files=[file.label for file in elsewhere])
        return elsewhere

    async def _are_kept(self, context: Context, appenders: Collection[SourceAppender]) -> bool:
        """Wait until what was appended outlives a crash, in each shard that has something of the files."""
        waits = []
        for at, shard in enumerate(context.store.shards):
            names = [each.name for each in appenders if each.positions[at]]
            if names:
                waits.append(wait_until_kept(shard, names[-1], stop=context.stop, clock=context.clock))
        return all(await asyncio.gather(*waits))
