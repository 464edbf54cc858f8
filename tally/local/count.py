"""What `tally count` runs: the whole pipeline on a server of its own, for as long as some files take."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ingestor.sources import File
from ingestor.sources.folders import Files
from tally.keys import DEFAULT_NAMESPACE, Keys
from tally.local.embedded_server import EmbeddedServer
from tally.local.sources import check_sources
from tally.local.supervisor import Service, Supervisor
from tally.runtime import Failure, stop_on_signals
from tally.settings import PREFIX, TLS_OPTIONS, Settings
from tally.store import PipelineStore, connect
from tally.store.reads import CountReader

#: After so many failures in a row it gives up: `tally count` is to end, while somebody watches `tally up` try again.
MOST_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What `tally count` found: counts by name, the most frequent first, the totals, and why a line was rejected."""

    types: dict[str, int]
    words: dict[str, int]
    totals: dict[str, int]
    rejected: str


async def count_files(settings: Settings, files: Sequence[str]) -> Result:
    """Count files with a server of its own in a folder of its own, which are gone afterwards, however we end."""
    keeps_position = any(isinstance(each, File | Files) for each in check_sources(files, endless=False))
    stop = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="tally-") as folder:  # the server's guard removes it if we cannot
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
    # TLS, shards and a namespace are those of the Redis that may be set, or is found; this one is our own.
    without_tls = {PREFIX + name.upper(): "" for name in TLS_OPTIONS}
    ours = {"shards": 1, "namespace": DEFAULT_NAMESPACE}
    variables = {PREFIX + name.upper(): str(value) for name, value in ours.items()} | without_tls
    variables |= {"TALLY_REDIS_URL": server.url, "TALLY_LOG_LEVEL": "error"}
    settings = settings.model_copy(update=ours)
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
        keys = Keys(namespace=settings.namespace)
        pipeline = PipelineStore(redis, keys=keys, settings=settings)
        if keeps_position and not await pipeline.any_source():
            raise Failure("the ingestor ended without having read anything; see above")
        reader = CountReader(redis, keys=keys, settings=settings)
        if uncounted := await pipeline.backlog() + await reader.dead_letters():
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
