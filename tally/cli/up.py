"""`tally up`: everything on this machine until Ctrl-C."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from tally.local.embedded_cluster import MOST_NODES
from tally.runtime import EXIT_USAGE, fail, load_or_exit, run_or_exit
from tally.settings import Settings
from tally.shards import MOST_SHARDS
from tally.sources import SOURCE_HELP
from tally.telemetry import configure


def up(
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help=f"{SOURCE_HELP} May be given more than once. Default: TALLY_SOURCE, else made-up events in a data "
            "folder of their own.",
        ),
    ] = None,
    no_source: Annotated[
        bool, typer.Option("--no-source", help="Count only what others append, and show what was counted before.")
    ] = False,
    aggregators: Annotated[int, typer.Option(min=0, max=64, help="How many aggregators to run.")] = 1,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the api. Default: TALLY_HTTP_PORT, 9090.")
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_SHARDS,
            help="How many shards everything is spread over; chosen once for a data folder. Default: TALLY_SHARDS, "
            "else one a node.",
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_NODES,
            help="How many processes the embedded server is, as a Redis Cluster, for a machine with many cores; chosen "
            "once for a data folder. They are reached by TCP ports of 127.0.0.1, with a password. Default: 1.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the embedded server's data. Default: TALLY_DATA_DIR, .tally"),
    ] = None,
    redis_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Reach the embedded server by this TCP port of 127.0.0.1, with a password, rather than by a Unix "
            "socket: for clients that know none. The URL is in `redis.url` in its folder.",
        ),
    ] = None,
) -> None:
    """Run everything on this machine until Ctrl-C: a server, an ingestor for each source, aggregators, the api.

    The server is embedded, with its data in a folder, so that counts are there again after a restart. Of the users of
    this machine only you reach it: with `tally ingest`, `status` and `top` in the same folder, and with
    `redis-cli -s .tally/private/redis.sock`. When TALLY_REDIS_URL is set, that Redis is used instead.

    Each service is a process of its own and is started again when it dies. A second Ctrl-C ends everything at once; no
    count is lost by it.

    With TALLY_METRICS_PORT the ingestor serves its metrics there, and its aggregators on the ports above it; the api on
    its own port.

    Without a source, events are made up: the story of a shop, two days of its past at once and then live. They are kept
    apart, in the folder `demo` of the data folder: remove that to be rid of them. Their namespace is `demo`, too,
    unless TALLY_NAMESPACE is set.
    """
    from tally.local.up import run_everything  # only now: other commands need not wait for it

    if source and no_source:
        fail("--source and --no-source contradict each other; give one of them", code=EXIT_USAGE)
    settings = load_or_exit(finds_server=False, http_port=port, data_dir=data, shards=shards)
    configure(settings, service="up")
    if nodes is not None and settings.redis_url is not None:
        fail("--nodes is of the embedded server, and TALLY_REDIS_URL names another; unset one", code=EXIT_USAGE)
    if redis_port is not None and settings.redis_url is not None:
        fail("--redis-port is of the embedded server, and TALLY_REDIS_URL names another; unset one", code=EXIT_USAGE)
    sources = [] if no_source else source or ([settings.source] if settings.source else None)
    if sources is None and settings.redis_url is not None:
        fail(
            "no source, and in the Redis of TALLY_REDIS_URL nothing is made up unasked: name one with --source or "
            "TALLY_SOURCE, give --no-source to count what others append, or --source demo: for made-up events",
            code=EXIT_USAGE,
        )
    settings = settings.model_copy(update={"http_port": _check_port(settings)})
    running = run_everything(settings, sources=sources, aggregators=aggregators, nodes=nodes, redis_port=redis_port)
    run_or_exit(running)


def _check_port(settings: Settings) -> int:
    """Return the port that the api can have; for 0 a free one, because it must be known to be told."""
    try:
        family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.http_host, settings.http_port))
            return int(probe.getsockname()[1])
    except OSError as error:
        fail(
            f"cannot listen on {settings.http_host} port {settings.http_port}: {error.strerror}; "
            "name another with --port or TALLY_HTTP_PORT",
            code=EXIT_USAGE,
        )
