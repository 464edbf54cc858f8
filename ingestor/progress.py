"""How far the reading of finite files is: a bar on a terminal, otherwise a line of log now and then."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tally.clock import SYSTEM, Clock
from tally.runtime import LIFELINE_VARIABLE
from tally.settings import Settings
from tally.telemetry import get_logger

#: How often progress is logged, and how often the bar moves.
LOG_SECONDS, BAR_SECONDS = 10.0, 0.25


@dataclass(frozen=True, slots=True)
class Measure:
    """How far something is: bytes of its files read and in all, as they are on the disk; what was appended of it."""

    read_bytes: int
    size_bytes: int
    appended_lines: int
    appended_bytes: int

    @property
    def share(self) -> float:
        return min(1.0, self.read_bytes / self.size_bytes) if self.size_bytes else 1.0


@dataclass(frozen=True, slots=True)
class _Job:
    label: str
    measure: Callable[[], Measure]
    began: float

    def bytes_a_second(self, measure: Measure, *, now: float) -> float:
        return measure.appended_bytes / max(now - self.began, 1e-3)


class ProgressDisplay:
    """Shows what is being read in this process, while `run` is not cancelled."""

    def __init__(self, *, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._jobs: list[_Job] = []

    @contextmanager
    def show(self, label: str, measure: Callable[[], Measure]) -> Iterator[None]:
        """Show this as well, while the body runs."""
        job = _Job(label, measure, self._clock.monotonic())
        self._jobs.append(job)
        try:
            yield
        finally:
            self._jobs.remove(job)

    async def run(self, settings: Settings) -> None:
        """Show what there is to show, until cancelled."""
        # Under `tally up` other services write to the same terminal, and would tear a bar apart; not so under
        # `tally count`, where only errors are logged.
        alone = LIFELINE_VARIABLE not in os.environ or settings.log_level == "error"
        if sys.stderr.isatty() and alone:
            await self._draw()
        else:
            await self._log()

    async def _log(self) -> None:
        while True:
            await self._clock.sleep(LOG_SECONDS)  # cancelled at the end
            for job in self._jobs:
                measure = job.measure()
                get_logger().info(
                    "reading",
                    source=job.label,
                    share=round(measure.share, 4),
                    lines=measure.appended_lines,
                    bytes=measure.appended_bytes,
                    bytes_a_second=round(job.bytes_a_second(measure, now=self._clock.monotonic())),
                )

    async def _draw(self) -> None:
        # The import takes long, and only a terminal needs it.
        from rich import progress as bars
        from rich.console import Console
        from rich.filesize import decimal
        from rich.markup import escape

        columns = (
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.TaskProgressColumn(),
            bars.TextColumn("{task.fields[figures]}"),
            bars.TimeRemainingColumn(),
        )
        drawn: dict[_Job, bars.TaskID] = {}
        with bars.Progress(*columns, console=Console(stderr=True), transient=True) as display, _logs_above():
            while True:
                for job in [job for job in drawn if job not in self._jobs]:
                    display.remove_task(drawn.pop(job))
                for job in self._jobs:
                    if job not in drawn:
                        drawn[job] = display.add_task(escape(job.label), total=1, figures="")
                    measure = job.measure()
                    figures = (
                        f"{measure.appended_lines:,} lines, {decimal(measure.appended_bytes)}, "
                        f"{decimal(round(job.bytes_a_second(measure, now=self._clock.monotonic())))}/s"
                    )
                    total = max(measure.size_bytes, 1)
                    display.update(drawn[job], completed=measure.share * total, total=total, figures=figures)
                await self._clock.sleep(BAR_SECONDS)  # cancelled at the end


@contextmanager
def _logs_above() -> Iterator[None]:
    """Let the log go through what rich has put in the place of standard error, which writes it above the bar."""
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, logging.StreamHandler)]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)
