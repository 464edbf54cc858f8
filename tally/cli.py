"""The command line, `tally`. Only this module and the packages' `__main__` start services."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from redis.asyncio import Redis
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from tally import __version__, layout_command
from tally.embedded import EmbeddedServer, is_at_rest, redis_url
from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tally.local import count_files, run_everything
from tally.printing import encodable, let_output_lack_characters, markup
from tally.runtime import EXIT_FAILURE, EXIT_USAGE, Failure, fail, load_or_exit, run_or_exit, run_service
from tally.settings import Settings, without_password
from tally.store import StoreUnavailable, connect
from tally.store.reads import CountReader, Status, is_alive
from tally.telemetry import configure
from tally.top import run as run_top

T = TypeVar("T")

_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

app = typer.Typer(
    name="tally",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Counts an endless stream of JSON events exactly, while it runs, and answers over HTTP.\n\n"
    "`tally up` runs everything on this machine; `tally ingest`, `tally aggregate` and `tally serve` run one part. "
    "Settings are environment variables that begin with `TALLY_`, or lines of a `.env` file; see the README.",
)

_SOURCE_HELP = (
    "Where lines come from: `-` (standard input), a path, a folder or a pattern, `tail:PATH`, `exec:COMMAND`, "
    "`tcp://HOST:PORT`, `unix:PATH`, `http://HOST:PORT` or `demo:?rate=100&corrupt=0.1`."
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"tally {__version__}")
        raise typer.Exit


@app.callback()
def _tally(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    del version


@app.command()
def up(
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help=f"{_SOURCE_HELP} May be given more than once. Default: TALLY_SOURCE, else made-up events in a data "
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

    Without a source, events are made up. They are kept apart, in the folder `demo` of the data folder: remove that to
    be rid of them.
    """
    if source and no_source:
        fail("--source and --no-source contradict each other; give one of them", code=EXIT_USAGE)
    settings = load_or_exit(http_port=port, data_dir=data)
    configure(settings, service="up")
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
    run_or_exit(run_everything(settings, sources=sources, aggregators=aggregators, redis_port=redis_port))


def _check_port(settings: Settings) -> int:
    """The port that the api can have; for 0 a free one, because it must be known to be told."""
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


@app.command()
def ingest(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE…", help=f"{_SOURCE_HELP} Default: TALLY_SOURCE.")
    ] = None,
) -> None:
    """Append what the sources give to the stream; ends when they end, and the server has it on its disk.

    A file goes on from where it was appended to before, however that ended: running this twice counts once.
    """
    from ingestor.__main__ import main  # the services import us, so not at the top

    main(sources or [])


@app.command()
def aggregate(
    drain: Annotated[bool, typer.Option("--drain", help="Count what is in the stream now, then exit.")] = False,
) -> None:
    """Count blocks of the stream until Ctrl-C. Run as many of these as you like, wherever you like."""
    from aggregator.__main__ import main

    main(["--drain"] if drain else [])


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: TALLY_HTTP_HOST, 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port. Default: TALLY_HTTP_PORT, 9090.")] = None,
) -> None:
    """Answer over HTTP, and show the live page, until Ctrl-C."""
    from api.service import STOP_SECONDS, run

    run_service("api", run, stop_seconds=STOP_SECONDS, http_host=host, http_port=port)


@app.command()
def generate(
    rate: Annotated[float | None, typer.Option(help="Lines a second. Default: as fast as it goes.")] = None,
    count: Annotated[int | None, typer.Option(help="How many lines. Default: endless.")] = None,
    corrupt: Annotated[float, typer.Option(help="Share of lines that are garbage, 0 to 1.")] = 0.1,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same lines, but for their timestamps.")
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(help="Unix seconds of the first timestamp. Default: the clock, for every line."),
    ] = None,
) -> None:
    """Print made-up events, one JSON object on a line, with garbage in between.

    Types are foo bar baz spam ham eggs, words are of lorem ipsum; the garbage is of several kinds: binary, truncated
    JSON, wrong types, missing fields.
    """
    try:
        spec = GeneratorSpec(rate=rate, count=count, corrupt=corrupt, seed=seed, start=start)
    except ValueError as error:
        fail(str(error), code=EXIT_USAGE)

    async def body() -> None:
        async for chunk in Generator(spec).paced():
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()

    def unpaced() -> None:
        for chunk in Generator(spec).lines():
            sys.stdout.buffer.write(chunk)

    try:
        if spec.rate is not None:
            run_or_exit(body())
        else:
            unpaced()
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        _discard_output()
        raise typer.Exit from None  # `tally generate | head`: the reader has what it wanted
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def count(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Files of events; `-` is standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help='Print {"types": {…}, "words": {…}, "totals": {…}}.')] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows of the table of words; --json has all.")] = 20,
) -> None:
    """Count files and print the result: the whole pipeline on a server of its own, which is gone afterwards.

    Exits with 1 when there are lines and none of them is an event; `tally check FILE` says what is wrong with them.
    """
    settings = load_or_exit(log_level="warning")
    configure(settings, service="count")
    result = run_or_exit(count_files(settings, files))
    if as_json:
        typer.echo(json.dumps({"types": result.types, "words": result.words, "totals": result.totals}))
    else:
        console = Console()
        console.print(_counts_table("Event types", result.types, limit=len(result.types)))
        console.print(_counts_table("Words", result.words, limit=limit))
        console.print(_counts_table("Totals", result.totals, limit=len(result.totals)))
    lines = result.totals["lines"]
    if lines and not result.totals["events"]:
        sys.stdout.flush()
        which = "the line is no event" if lines == 1 else f"none of the {lines:,} lines is an event"
        why = f"; one was rejected so: {result.rejected}" if result.rejected else ""
        fail(f"{which}{why}. `tally check FILE` says more", code=EXIT_FAILURE)


@app.command()
def check(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A file of events, plain or `.gz`, `.zst`, `.bz2` or `.xz`; `-` is standard input."
        ),
    ],
    most_lines: Annotated[int, typer.Option("--lines", min=0, help="How many lines to read; 0 for all.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Read some lines and say what would be counted, what rejected and why, and which field settings might fit.

    Nothing is counted anywhere. Exits with 1 when none of the lines is an event.
    """
    from aggregator.check import check as check_lines
    from aggregator.check import describe, read_lines
    from tally.archives import errors_explained, opened_buffered, refuse_packed

    settings = load_or_exit(log_level="warning")
    if file == "-" and sys.stdin is None:
        fail("-: standard input is closed", code=EXIT_USAGE)
    try:
        with errors_explained(Path(file)), sys.stdin.buffer if file == "-" else opened_buffered(Path(file)) as content:
            if isinstance(content, io.BufferedReader) and file == "-":
                refuse_packed(content.peek(), "-")
            lines = read_lines(content, max_line_bytes=settings.max_line_bytes, most_lines=most_lines)
            report = check_lines(lines, settings, now_seconds=time.time())
    except Failure as error:
        fail(str(error), code=EXIT_USAGE)
    # Escaped, because what stands in a line may be meant for the terminal.
    typer.echo(json.dumps(asdict(report)) if as_json else encodable(describe(report)))
    if not report.events:
        raise typer.Exit(EXIT_FAILURE)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Show totals, backlog, consumers and sources. Exits with 1 when Redis cannot be reached."""
    settings = load_or_exit(log_level="warning")
    configure(settings, service="status")
    found = _ask(settings, lambda reader: reader.status())
    if as_json:
        consumers = [{**asdict(each), "alive": is_alive(each)} for each in found.consumers]
        typer.echo(json.dumps({**asdict(found), "consumers": consumers}))
        return
    _print_status(found, url=without_password(redis_url(settings)))


@app.command()
def layout(
    accept: Annotated[
        bool, typer.Option("--accept", help="From now on count with the settings that are set here.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="Forget windows of lengths that are no longer counted, to free memory.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show how the events in Redis were counted: windows, fields, words; and what of it is set otherwise here.

    Aggregators with other settings are refused, because answers about both would be wrong. With `--accept` the settings
    that are set here hold from then on; what was counted stays as it is.
    """
    settings = load_or_exit(log_level="warning")
    configure(settings, service="layout")
    with _server_at_rest(settings) as settings:
        typer.echo(
            _with_redis(
                settings,
                lambda redis: layout_command.run(redis, settings, accept=accept, drop=drop, as_json=as_json),
            )
        )


@app.command()
def top() -> None:
    """Watch rates, ranked types and words and the backlog in the terminal; `q` quits. Prints once into a pipe."""
    settings = load_or_exit(log_level="error")
    configure(settings, service="top")
    _ask(settings, lambda reader: run_top(reader, Console()))


@contextmanager
def _server_at_rest(settings: Settings) -> Iterator[Settings]:
    """Run the server of the data folder for as long as a command takes, where no `tally up` does; give its settings.

    One whose aggregators are refused ends, and takes the server with it: the way on must not need it.
    """
    if not is_at_rest(settings):
        yield settings
        return
    server = EmbeddedServer(settings.data_dir)
    try:
        try:
            server.start()
        except Failure as error:
            fail(str(error), code=error.exit_code)
        yield settings.model_copy(update={"redis_url": server.url})
    finally:
        server.stop()


def _ask(settings: Settings, question: Callable[[CountReader], Awaitable[T]]) -> T:
    return _with_redis(settings, lambda redis: question(CountReader(redis, keys=Keys(), settings=settings)))


def _with_redis(settings: Settings, work: Callable[[Redis], Awaitable[T]]) -> T:
    async def body() -> T:
        redis = connect(redis_url(settings), timeout_seconds=settings.read_timeout_seconds, tls=settings.redis_tls)
        try:
            return await work(redis)
        except StoreUnavailable as error:
            raise _no_answer(settings, error) from error
        finally:
            await redis.aclose()

    answer: T = run_or_exit(body())
    return answer


def _no_answer(settings: Settings, error: StoreUnavailable) -> Failure:
    hint = "" if settings.redis_url else "\nIs `tally up` running in this folder? Otherwise set TALLY_REDIS_URL."
    return Failure(f"no answer from {without_password(redis_url(settings))}: {error}{hint}")


def _counts_table(title: str, counts: dict[str, int], *, limit: int) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("name")
    table.add_column("count", justify="right")
    for name, value in list(counts.items())[:limit]:
        table.add_row(markup(name), f"{value:,}")
    if len(counts) > limit:
        table.caption = f"and {len(counts) - limit:,} more"
    return table


def _print_status(found: Status, *, url: str) -> None:
    console = Console()
    console.print(f"Redis: {url}", highlight=False, soft_wrap=True)
    console.print(_counts_table("Totals", found.totals, limit=100))
    waiting = (
        f", the oldest for {found.backlog.oldest_seconds:.1f} s" if found.backlog.oldest_seconds is not None else ""
    )
    console.print(f"Backlog: {found.backlog.blocks:,} blocks, {decimal(found.backlog.bytes)}{waiting}", highlight=False)
    if found.backlog.full:
        console.print("It is full: sources are not read until aggregators have counted some of it.", style="bold red")
    if found.stuck:
        console.print("[bold red]No aggregator is alive: lines wait and nothing is being counted[/]")
    if found.dead_blocks:
        console.print(f"[bold red]Dead: {found.dead_blocks:,} blocks killed every aggregator that tried them[/]")
    keys = found.idempotency_keys
    if keys.since_seconds is not None:
        hours = (time.time() - keys.since_seconds) / 3600
        console.print(f"Idempotency keys: {keys.known:,}, all of the last {hours:.1f} h", highlight=False)
    consumers = Table(title="Aggregators", title_justify="left")
    for column in ("name", "state", "pending blocks", "silent for"):
        consumers.add_column(column)
    for consumer in found.consumers:
        state = "alive" if is_alive(consumer) else "[bold red]silent[/]"
        consumers.add_row(markup(consumer.name), state, str(consumer.pending), f"{consumer.idle_ms / 1000:.1f} s")
    console.print(consumers)
    some = f": the latest {len(found.sources):,} of {found.sources_total:,}"
    title = "Sources" + (some if found.sources_total > len(found.sources) else "")
    sources = Table(title=title, title_justify="left")
    for column in ("name", "position in bytes"):
        sources.add_column(column)
    for each in found.sources:
        sources.add_row(markup(each.name), f"{each.position:,}")
    console.print(sources)


def main() -> None:
    """The command. What cannot be written is said in a line: a full disk is nothing that a traceback explains."""
    let_output_lack_characters()
    try:
        app()
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _discard_output()
        fail(f"cannot write {error.filename or 'the output'}: {error.strerror}", code=EXIT_FAILURE)


def _discard_output() -> None:
    """Or the interpreter would complain once more, while it flushes."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123


if __name__ == "__main__":
    main()
