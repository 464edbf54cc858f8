"""What `tally up` runs: everything on this machine, until it is stopped."""

from __future__ import annotations

import asyncio
import http.client
import shlex
import sys
from collections.abc import Iterator, Sequence

from tally.clock import SYSTEM
from tally.local.embedded_cluster import EmbeddedCluster, embedded, settle_shards
from tally.local.embedded_server import EmbeddedServer
from tally.local.log_events import BUS_IS_OPEN, CANNOT_WRITE_OUTPUT, STOPPING_SERVER, WAITING_FOR_REDIS
from tally.local.sources import check_sources
from tally.local.supervisor import Service, Supervisor
from tally.printing import encodable
from tally.redis_location import DEMO_FOLDER, DEMO_NAMESPACE
from tally.runtime import Misuse, stop_on_signals
from tally.settings import Settings, without_password
from tally.sources import split_sources
from tally.telemetry import get_logger

#: Of how many types of the made-up events words are counted apart, if it is not set: of all that there are.
DEMO_WORDS_BY_TYPE = "20"

#: How often the api is asked whether it is ready, and how long its answer may take.
READY_POLL_SECONDS, READY_TIMEOUT_SECONDS = 0.05, 10.0


async def run_everything(
    settings: Settings,
    *,
    sources: Sequence[str] | None,
    aggregators: int,
    nodes: int | None = None,
    redis_port: int | None = None,
) -> None:
    """Run the services until a signal comes. Raises Failure when one of them cannot be run at all.

    With None for the sources, events are made up, and the data folder is one in the data folder of the settings. With
    None for the nodes there are as many as there were in that folder, and as many shards, if they are not set.
    """
    demo = sources is None
    if demo:
        settings = settings.model_copy(update={"data_dir": settings.data_dir / DEMO_FOLDER})
        if "namespace" not in settings.model_fields_set:
            settings = settings.model_copy(update={"namespace": DEMO_NAMESPACE})
        if "words_by_type" not in settings.model_fields_set:
            settings = settings.model_copy(update={"words_by_type": DEMO_WORDS_BY_TYPE})
        get_logger().warning(
            "no source was named: events are made up, apart from all others", data=str(settings.data_dir)
        )
    sources = [each for text in sources or () for each in split_sources(text)]
    check_sources(sources)
    stop = asyncio.Event()
    server = None
    if settings.redis_url is None:
        server = embedded(settings.data_dir, nodes=nodes, port=redis_port)
        wanted = settings.shards if "shards" in settings.model_fields_set else None
        shards = settle_shards(settings.data_dir, wanted=wanted, nodes=server.nodes)
        settings = settings.model_copy(update={"shards": shards})
        if server.nodes > 1:
            get_logger().warning(BUS_IS_OPEN, nodes=server.nodes, shards=shards)
    supervisor = Supervisor(stop=stop)

    # A forced end leaves the server to its guard.
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
                get_logger().info(STOPPING_SERVER)
                await asyncio.to_thread(server.stop)


def _start(supervisor: Supervisor, settings: Settings, *, url: str, sources: Sequence[str], aggregators: int) -> None:
    variables = {
        "TALLY_REDIS_URL": url,
        "TALLY_NAMESPACE": settings.namespace,
        "TALLY_SHARDS": str(settings.shards),
        "TALLY_WORDS_BY_TYPE": settings.words_by_type,
    }
    metrics = metrics_ports(settings, ingestors=len(sources), aggregators=aggregators)
    for at, source in enumerate(sources, start=1):
        supervisor.start(
            Service(
                name=f"ingestor-{at}",
                arguments=["ingestor", "--", source],
                variables=variables | next(metrics),
                standard_input=source == "-",
                ends=True,
            )
        )
    for at in range(1, aggregators + 1):
        arguments = ["aggregator"]
        supervisor.start(Service(name=f"aggregator-{at}", arguments=arguments, variables=variables | next(metrics)))
    listening = {"TALLY_HTTP_PORT": str(settings.http_port), "TALLY_HTTP_HOST": settings.http_host}
    supervisor.start(Service(name="api", arguments=["api"], variables=variables | listening))


def metrics_ports(settings: Settings, *, ingestors: int, aggregators: int) -> Iterator[dict[str, str]]:
    """Give each ingestor and then each aggregator its port for metrics, as a variable, from TALLY_METRICS_PORT upwards.

    Raises Misuse if one is the api's, or there are not so many.
    """
    first, services = settings.metrics_port, ingestors + aggregators
    if not first:  # none, or any that is free
        return iter([{}] * services)
    ports = range(first, first + services)
    if settings.http_port in ports or ports.stop > 65_536:
        raise Misuse(
            f"TALLY_METRICS_PORT={first}: the ingestors and aggregators take {services} ports from there on, to "
            f"{ports[-1]}, which "
            + (f"the api's {settings.http_port} is among" if settings.http_port in ports else "is more than there are")
        )
    return iter([{"TALLY_METRICS_PORT": str(port)} for port in ports])


def _tend(server: EmbeddedServer | EmbeddedCluster | None) -> None:
    if server is not None and server.restart_if_dead():
        get_logger().error("the server died and was started again")


async def _announce(settings: Settings, stop: asyncio.Event, *, url: str, demo: bool) -> None:
    """Say where to look, once the api says that it is ready; meanwhile, once, what it waits for."""
    waiting = False
    while (answered := await asyncio.to_thread(_ready_status, settings)) != http.HTTPStatus.OK:
        if answered is not None and not waiting:
            get_logger().warning(WAITING_FOR_REDIS, redis=without_password(url))
            waiting = True
        if await SYSTEM.wait(stop, READY_POLL_SECONDS):
            return
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    base = f"http://{host}:{settings.http_port}"
    made_up = (
        "These events are made up, because no source was named: the story of a shop. They are apart from\n"
        "all others; to throw them away, when Tally is stopped:\n\n"
        f"  rm -r {shlex.quote(str(settings.data_dir))}\n\n"
        "For events of your own: tally up --source FILE, or see tally up --help.\n\n"
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
        get_logger().warning(CANNOT_WRITE_OUTPUT, error=error.strerror, page=base)


def _shown(url: str, settings: Settings) -> str:
    shown = without_password(url)
    return shown if shown == url or settings.redis_url else f"{shown}, as in {settings.data_dir / 'redis.url'}"


def _ready_status(settings: Settings) -> int | None:
    """Return what the api answers when it is asked whether it is ready; None while it does not answer."""
    api = http.client.HTTPConnection(settings.http_host, settings.http_port, timeout=READY_TIMEOUT_SECONDS)
    try:
        api.request("GET", "/readyz")
        return api.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        api.close()
