"""The ingestor's process: its sources, each appended by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from ingestor.ending import Incomplete
from ingestor.log_events import ALL_SOURCES_ENDED, SOURCE_FAILED, STARTED
from ingestor.metrics import SourceMetrics, of_source, sources_down
from ingestor.progress import Measure
from ingestor.readiness import Readiness
from ingestor.source_appender import SourceAppender
from ingestor.sources import Context, DemoStory, File, Runner, Source, StandardInput, parse_source, source_backoff
from ingestor.spread_appender import SpreadAppender, new_appender
from ingestor.starting import Start
from tally.backoff import Backoff
from tally.redis_location import is_demo
from tally.refused import Refused
from tally.runtime import Failure, Misuse
from tally.settings import Settings
from tally.store.ingestor_stores import ingestor_store
from tally.store.shards import open_shards
from tally.telemetry import get_logger
from tally.web.metrics_server import metrics_served


def parse_sources(texts: Sequence[str]) -> list[Source | Runner]:
    """Make sources of their text forms. Raises Misuse with every one that is wrong."""
    sources, problems = [], []
    for text in texts:
        try:
            sources.append(parse_source(text))
        except ValueError as error:
            problems.append(f"source {error}")
        except OSError as error:
            # As for a folder that is mounted into a container and is another user's alone.
            problems.append(f"source {text!r}: cannot be read: {error.strerror}")
    if sum(isinstance(source, StandardInput) for source in sources) > 1:
        problems.append("source -: standard input can be read once only")
    if sum(isinstance(source, DemoStory) for source in sources) > 1:
        problems.append("source demo:: its story can be told once only; demo:?rate=100 gives made-up lines beside it")
    if problems:
        raise Misuse("\n".join(problems))
    return sources


async def run(
    settings: Settings, stop: asyncio.Event, *, sources: Sequence[Source | Runner], stay: bool = False
) -> None:
    """Append every source until it ends or `stop` is set. To `stay` is to wait for `stop` when all have ended.

    A source that fails does not stop the others, and is tried again as long as another one runs, if it can come
    back: a file that cannot be read now, an address that is taken. Raises Failure, when all have ended, with each
    that had failed and did not come back, and with each finite one that is not in the stream whole.
    """
    if is_demo(settings):
        get_logger().warning(
            "only the server of made-up events is up: these events are counted among them, and are thrown away with "
            "them; for counts of their own stop it, and run `tally up --no-source`"
        )
    async with open_shards(settings, stop=stop, for_writing=True) as shards:
        store = ingestor_store(shards, settings=settings)
        context = Context(store=store, settings=settings, stop=stop, ready=asyncio.Event())
        restarter = Restarter(context, sources=sources)
        readiness = Readiness(shards, settings=settings, ready=context.ready, stop=stop, down=sources_down)
        get_logger().info(STARTED, namespace=settings.namespace, sources=len(sources))
        async with metrics_served(settings, readiness=readiness):
            await _run_all(sources, restarter, Start(shards, store, context=context), context)
            if stay and not stop.is_set():
                get_logger().info(ALL_SOURCES_ENDED)
                await stop.wait()


async def _run_all(
    sources: Sequence[Source | Runner],
    restarter: Restarter,
    start: Start,
    context: Context,
) -> None:
    """Run them all; what is not early waits until there is something to append to. Raises as `run` does."""
    running = [asyncio.create_task(restarter.run(source)) for source in sources]
    try:
        await start.run()
    except BaseException:
        for each in running:
            each.cancel()
        await asyncio.wait(running)
        raise
    showing = asyncio.create_task(context.progress.run(context.settings))
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    showing.cancel()
    await asyncio.wait((showing,))
    failures = []
    for source, outcome in zip(sources, outcomes, strict=True):
        if isinstance(outcome, Failure):
            failures.append(f"source {source.label}: {outcome}")
        elif isinstance(outcome, BaseException):
            raise outcome
    if failures:
        raise Failure("\n".join(failures))


class Restarter:
    """Runs the sources of a process, each by itself, and those that fail again."""

    def __init__(
        self,
        context: Context,
        *,
        sources: Sequence[Source | Runner],
        new_backoff: Callable[[], Backoff] = source_backoff,
    ) -> None:
        self._context = context
        self._new_backoff = new_backoff
        self._to_begin = list(sources)
        self._open: set[Source | Runner] = set()  # those that are read, or listened to
        self._none_runs = asyncio.Event()

    async def run(self, source: Source | Runner) -> None:
        """Run one source; after a failure again, as long as another one runs. Raises Failure with the last one."""
        metrics = of_source(source.label)
        with metrics.up(lambda: source in self._open):
            try:
                await self._run(source, metrics)
            except Exception:
                metrics.stays_down()  # as long as others run
                raise

    async def _run(self, source: Source | Runner, metrics: SourceMetrics) -> None:
        log = get_logger().bind(source=source.label)
        if not (isinstance(source, Runner) and source.is_early):
            await self._context.ready.wait()
        backoff = self._new_backoff()
        while True:
            backoff.begin()
            try:
                await self._run_once(source)
                return
            except Refused:
                raise  # the same for all of them, and no source's fault
            except Incomplete:
                raise  # it was told to stop, or has ended and cannot be read again
            except Exception as error:
                unexpected = not isinstance(error, Failure)
                failure = Failure(f"{type(error).__name__}: {error}; see the log") if unexpected else error
                metrics.failures.inc()
                delay_seconds = backoff.next_seconds()
                again = self._may_come_back(source) and not self._pointless
                log.error(
                    SOURCE_FAILED,
                    error=str(error),
                    exc_info=unexpected,
                    retry_in_seconds=round(delay_seconds, 1) if again else None,
                )
                if not again or await self._wait(delay_seconds):
                    raise failure from error

    async def _run_once(self, source: Source | Runner) -> None:
        if source in self._to_begin:
            self._to_begin.remove(source)
        self._open.add(source)
        self._none_runs.clear()
        context = self._context
        try:
            if isinstance(source, Runner):
                await source.run(context)
                return
            appender = new_appender(
                source, store=context.store, settings=context.settings, stop=context.stop, clock=context.clock
            )
            if isinstance(source, File):
                with context.progress.show(source.label, partial(_measure, source, appender)):
                    await appender.run()
            else:
                await appender.run()
        finally:
            self._open.discard(source)
            if not self._open and not self._to_begin:
                self._none_runs.set()

    def _may_come_back(self, source: Source | Runner) -> bool:
        return isinstance(source, Runner) or source.replayable

    @property
    def _pointless(self) -> bool:
        """Whether trying again is of no use, because no other one runs or we are to stop."""
        return self._none_runs.is_set() or self._context.stop.is_set()

    async def _wait(self, seconds: float) -> bool:
        """Wait so long, or until it becomes pointless: True if it did."""
        waits = [asyncio.ensure_future(each.wait()) for each in (self._none_runs, self._context.stop)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        return self._pointless


def _measure(file: File, appender: SourceAppender | SpreadAppender) -> Measure:
    return Measure(file.read_bytes, file.size_bytes, appender.appended_lines, appender.appended_bytes)
