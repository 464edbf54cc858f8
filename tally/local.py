"""Everything on this machine: what `tally up` and `tally count` run."""

from __future__ import annotations

import asyncio
import http.client
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tally.embedded import DEMO_FOLDER, EmbeddedServer
from tally.keys import Keys
from tally.printing import encodable
from tally.runtime import Failure, Misuse, stop_on_signals, wait_or_stop
from tally.settings import PREFIX, TLS_OPTIONS, Settings, without_password
from tally.sources import split_sources
from tally.store import BlockStore, connect
from tally.store.reads import CountReader
from tally.supervisor import Service, Supervisor
from tally.telemetry import get_logger

if TYPE_CHECKING:  # it imports us
    from ingestor.sources import Runner, Source

#: How often the api is asked whether it is ready, and how long its answer may take.
READY_POLL_SECONDS, READY_TIMEOUT_SECONDS = 0.05, 10.0

#: After so many failures in a row `tally count` gives up: nobody watches it try for ever, as somebody does `tally up`.
MOST_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What `tally count` found: counts by name, the most frequent first, the totals, and why a line was rejected."""

    types: dict[str, int]
    words: dict[str, int]
    totals: dict[str, int]
    rejected: str


async def run_everything(
    settings: Settings, *, sources: Sequence[str] | None, aggregators: int, redis_port: int | None = None
) -> None:
    """Run the services until a signal comes. Raises Failure when one of them cannot be run at all.

    With None for the sources, events are made up, and the data folder is one in the data folder of the settings.
    """
    demo = sources is None
    if demo:
        settings = settings.model_copy(update={"data_dir": settings.data_dir / DEMO_FOLDER})
        get_logger().warning(
            "no source was named: events are made up, apart from all others", data=str(settings.data_dir)
        )
    sources = [each for text in sources or () for each in split_sources(text)]
    _check_sources(sources)
    stop = asyncio.Event()
    server = None if settings.redis_url else EmbeddedServer(settings.data_dir, port=redis_port)
    supervisor = Supervisor(stop=stop)

    # A forced end leaves the server to its keeper.
    with stop_on_signals(stop, at_once=supervisor.kill_all):
        try:
            if server is not None:
                await asyncio.to_thread(server.start, stopped=stop.is_set)
            if not stop.is_set():
                url = settings.redis_url or (server.url if server else "")
                _start(supervisor, settings, url=url, sources=["demo:"] if demo else sources, aggregators=aggregators)
                announcing = asyncio.create_task(_announce(settings, stop, url=url, demo=demo))
                await supervisor.watch(lambda: _tend(server))
                announcing.cancel()
        finally:
            await supervisor.stop_all()
            if server is not None:
                get_logger().info("stopping the server")
                await asyncio.to_thread(server.stop)


def _check_sources(sources: Sequence[str], *, endless: bool = True) -> list[Source | Runner]:
    """Make them, to see whether they can be used. Raises Misuse."""
    from ingestor.service import parse_sources
    from ingestor.sources import never_ends

    parsed = parse_sources(sources)
    for source in parsed:
        if not endless and never_ends(source):
            raise Misuse(f"source {source.label}: it never ends; to count what comes, run tally up --source")
    if "-" in sources and sys.stdin.isatty():
        raise Misuse(
            "source -: standard input is a terminal; pipe something in, as in `tally generate | tally up -s -`"
        )
    return parsed


def _start(supervisor: Supervisor, settings: Settings, *, url: str, sources: Sequence[str], aggregators: int) -> None:
    variables = {"TALLY_REDIS_URL": url}
    for at, source in enumerate(sources, start=1):
        supervisor.start(
            Service(
                name=f"ingestor-{at}",
                arguments=["ingestor", source],
                variables=variables,
                standard_input=source == "-",
                ends=True,
            )
        )
    for at in range(1, aggregators + 1):
        supervisor.start(Service(name=f"aggregator-{at}", arguments=["aggregator"], variables=variables))
    listening = {"TALLY_HTTP_PORT": str(settings.http_port), "TALLY_HTTP_HOST": settings.http_host}
    supervisor.start(Service(name="api", arguments=["api"], variables=variables | listening))


def _tend(server: EmbeddedServer | None) -> None:
    if server is not None and server.restart_if_dead():
        get_logger().error("the server died and was started again")


async def _announce(settings: Settings, stop: asyncio.Event, *, url: str, demo: bool) -> None:
    """Say where to look, once the api says that it is ready; meanwhile, once, what it waits for."""
    waiting = False
    while (answered := await asyncio.to_thread(_ready_status, settings)) != http.HTTPStatus.OK:
        if answered is not None and not waiting:
            get_logger().warning("waiting for Redis", redis=without_password(url))
            waiting = True
        if await wait_or_stop(stop, READY_POLL_SECONDS):
            return
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    base = f"http://{host}:{settings.http_port}"
    made_up = (
        "These events are made up, because no source was named. They are apart from all others, in\n"
        f"{settings.data_dir}: remove that folder, when Tally is stopped, and they are gone. For events\n"
        "of your own: tally up --source FILE, or see tally up --help.\n\n"
    )
    try:
        sys.stdout.write(
            f"\nTally is counting.\n\n"
            f"  live page     {base}/\n"
            f"  event types   {base}/events/CountByEventType\n"
            f"  words         {base}/events/CountWords\n"
            f"  redis         {encodable(_shown(url, settings))}\n\n"
            f"{encodable(made_up) if demo else ''}"
            f"Ctrl-C stops it.\n\n"
        )
        sys.stdout.flush()
    except OSError as error:  # a full disk, a closed pipe: no reason to count nothing
        get_logger().warning("cannot write to standard output", error=error.strerror, page=base)


def _shown(url: str, settings: Settings) -> str:
    shown = without_password(url)
    return shown if shown == url or settings.redis_url else f"{shown}, as in {settings.data_dir / 'redis.url'}"


def _ready_status(settings: Settings) -> int | None:
    """What the api answers when it is asked whether it is ready; None while it does not answer."""
    api = http.client.HTTPConnection(settings.http_host, settings.http_port, timeout=READY_TIMEOUT_SECONDS)
    try:
        api.request("GET", "/readyz")
        return api.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        api.close()


async def count_files(settings: Settings, files: Sequence[str]) -> Result:
    """Count files with a server of its own in a folder of its own, which are gone afterwards, however we end."""
    from ingestor.sources import File
    from ingestor.sources.folders import Files

    keeps_position = any(isinstance(each, File | Files) for each in _check_sources(files, endless=False))
    stop = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="tally-") as folder:  # the server's keeper removes it if we cannot
        server = EmbeddedServer(Path(folder), durable=False)
        supervisor = Supervisor(stop=stop)
        with stop_on_signals(stop, at_once=supervisor.kill_all):
            try:
                await asyncio.to_thread(server.start)
                return await _count_with(supervisor, server, settings, files, stop, keeps_position=keeps_position)
            finally:
                await supervisor.stop_all()
                await asyncio.to_thread(server.stop)


async def _count_with(
    supervisor: Supervisor,
    server: EmbeddedServer,
    settings: Settings,
    files: Sequence[str],
    stop: asyncio.Event,
    *,
    keeps_position: bool,
) -> Result:
    # TLS is that of the Redis that may be set; this one is our own.
    without_tls = {PREFIX + name.upper(): "" for name in TLS_OPTIONS}
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_LOG_LEVEL": "error", **without_tls}
    supervisor.start(
        Service(
            name="ingestor",
            arguments=["ingestor", *files],
            variables=variables,
            standard_input="-" in files,
            ends=True,
            most_failures=1,
        )
    )
    aggregator = Service(name="aggregator", arguments=["aggregator"], variables=variables, most_failures=MOST_FAILURES)
    supervisor.start(aggregator)
    await _wait_for("ingestor", supervisor, server, stop)
    supervisor.start(replace(aggregator, name="drain", arguments=["aggregator", "--drain"], ends=True))
    await _wait_for("drain", supervisor, server, stop)
    redis = connect(server.url, timeout_seconds=settings.redis_timeout_seconds)
    try:
        blocks = BlockStore(redis, keys=Keys(), settings=settings)
        if keeps_position and not await blocks.any_source():
            raise Failure("the ingestor ended without having read anything; see above")
        reader = CountReader(redis, keys=Keys(), settings=settings)
        if uncounted := await blocks.backlog() + await reader.dead_blocks():
            raise Failure(f"{uncounted:,} blocks of lines could not be counted; see above")
        samples = await reader.rejected(1)
        return Result(
            types=await reader.types(),
            words=await reader.words(),
            totals=await reader.totals(),
            rejected=samples[0].reason if samples else "",
        )
    finally:
        await redis.aclose()


async def _wait_for(name: str, supervisor: Supervisor, server: EmbeddedServer, stop: asyncio.Event) -> None:
    """Wait for a service to end. Raises Failure if we are to stop instead, or if the others cannot do their part."""

    def tend() -> None:
        if server.dead:  # and its counts with it
            raise Failure("the server died before everything was counted")

    working = asyncio.ensure_future(supervisor.wait(name))
    watching = asyncio.ensure_future(supervisor.watch(tend))
    done, _ = await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    await asyncio.gather(*done)
    if stop.is_set():
        raise Failure("stopped before everything was counted")
