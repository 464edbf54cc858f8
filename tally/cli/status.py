"""`tally status`: the totals and how the pipeline is, once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from tally.cli.asking import ask
from tally.cli.namespaces import show_namespaces
from tally.cli.output import counts_table
from tally.clock import SYSTEM
from tally.keys import OTHER
from tally.printing import markup
from tally.redis_location import redis_url
from tally.runtime import load_or_exit
from tally.settings import without_password
from tally.store.merged_reads import Reader
from tally.store.source_counts import SourceCount
from tally.store.status import ShardState, Status, is_alive
from tally.telemetry import configure

#: How many sources are told with what was counted of them.
BUSIEST_SOURCES = 10


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    of_all: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Show what is in each namespace of the Redis instead. It looks through the names of all keys.",
        ),
    ] = False,
) -> None:
    """Show totals, backlog, aggregators and sources. Exits with 1 when Redis cannot be reached."""
    settings = load_or_exit(log_level="warning")
    configure(settings, service="status")
    if of_all:
        show_namespaces(settings, as_json=as_json)
        return
    as_of = SYSTEM.time()
    found, sources = ask(settings, _read)
    busiest = sorted(sources, key=lambda source: -source.lines)[:BUSIEST_SOURCES]
    if as_json:
        counted = {"busiest_sources": [asdict(each) for each in busiest]}
        typer.echo(json.dumps({**found.as_dict(), **counted, "as_of": as_of}))
        return
    _print_status(found, url=without_password(redis_url(settings)), now=as_of)
    if busiest:
        Console().print(_busiest_table(busiest, of=len(sources), now=as_of))


async def _read(reader: Reader) -> tuple[Status, list[SourceCount]]:
    return await reader.status(), await reader.source_counts()


def _print_status(found: Status, *, url: str, now: float) -> None:
    console = Console()
    console.print(f"Redis: {url}, namespace {found.namespace}", highlight=False, soft_wrap=True)
    if not (found.totals["lines"] or found.backlog.blocks or found.sources_total):
        console.print(
            "Nothing was ever counted in it; `tally status --all` shows which namespaces there are.", soft_wrap=True
        )
    console.print(counts_table("Totals", found.totals, limit=100))
    if reasons := {name: number for name, number in found.rejected_by_reason.items() if number}:
        console.print(counts_table("Rejected", reasons, limit=len(reasons)))
    waiting = (
        f", the oldest for {found.backlog.oldest_seconds:.1f} s" if found.backlog.oldest_seconds is not None else ""
    )
    settled = f" ({found.backlog.settled_blocks:,} of them settled)" if found.backlog.settled_blocks else ""
    console.print(
        f"Backlog: {found.backlog.blocks:,} blocks{settled}, {decimal(found.backlog.bytes)}{waiting}", highlight=False
    )
    if found.unfinished_import is not None:
        unfinished = f"The import of export {found.unfinished_import} has begun and not ended: run it again."
        console.print(unfinished, style="bold red", highlight=False, soft_wrap=True)
    if found.backlog.held is not None:
        console.print(f"Sources are not read: {found.backlog.held}", style="bold red", highlight=False, soft_wrap=True)
    elif found.backlog.full:
        console.print("It is full: sources are not read until aggregators have counted some of it.", style="bold red")
    elif found.backlog.bulk_full:
        console.print("It is full for files: they are read on as it is counted; live sources find room.")
    if found.stuck:
        where = ", ".join(str(shard.shard) for shard in found.shards or () if shard.stuck)
        whose = f" that serves shard {where}" if where else ""
        console.print(f"[bold red]No aggregator is alive{whose}: lines wait and nothing is being counted[/]")
    if found.dead_letters:
        what = "blocks that ended every aggregator, or chunks that cannot be read; see `tally dead-letters list`"
        console.print(f"[bold red]Dead letters: {found.dead_letters:,} {what}[/]")
    if found.other_types or found.other_words:
        other = f"{found.other_types:,} events and {found.other_words:,} words"
        console.print(f"Under {OTHER}, for a bound on names: {other}", highlight=False)
    if (apart := found.words_by_type) is not None:
        most = "" if apart.most is None else f" of {apart.most:,} that may"
        console.print(f"Types with words of their own: {apart.types:,}{most}", highlight=False)
    keys = found.idempotency_keys
    if keys.since_at is not None:
        hours = (now - keys.since_at) / 3600
        console.print(f"Idempotency keys: {keys.known:,}, all of the last {hours:.1f} h", highlight=False)
    if found.shards is not None:
        console.print(_shards_table(found.shards))
    consumers = Table(title="Aggregators", title_justify="left")
    for column in ("name", "state", "pending blocks", "idle for"):
        consumers.add_column(column)
    for consumer in found.aggregators:
        state = "alive" if is_alive(consumer) else "[bold red]idle[/]"
        consumers.add_row(markup(consumer.name), state, str(consumer.pending), f"{consumer.idle_seconds:.1f} s")
    console.print(consumers)
    some = f": the latest {len(found.sources):,} of {found.sources_total:,}"
    title = "Sources" + (some if found.sources_total > len(found.sources) else "")
    sources = Table(title=title, title_justify="left")
    for column in ("name", "position in bytes"):
        sources.add_column(column)
    for each in found.sources:
        sources.add_row(markup(each.name), f"{each.position:,}")
    console.print(sources)


def _busiest_table(sources: Sequence[SourceCount], *, of: int, now: float) -> Table:
    some = f": the busiest {len(sources):,} of {of:,}" if of > len(sources) else ""
    table = Table(title=f"Lines by source{some}", title_justify="left")
    table.add_column("source")
    for column in ("lines", "rejected", "share", "newest", "waiting for"):
        table.add_column(column, justify="right")
    for each in sources:
        share = f"{each.rejected / each.lines:.1%}" if each.lines else ""
        newest = "" if each.newest_at is None else f"{timedelta(seconds=round(max(0.0, now - each.newest_at)))} ago"
        waits = "not known" if each.lag_seconds is None else f"{each.lag_seconds:.1f} s" if each.lag_seconds else ""
        table.add_row(markup(each.name), f"{each.lines:,}", f"{each.rejected:,}", share, newest, waits)
    return table


def _shards_table(shards: Sequence[ShardState]) -> Table:
    table = Table(title="Shards", title_justify="left")
    for column in ("shard", "backlog in blocks", "bytes", "the oldest for", "aggregators alive", "dead letters"):
        table.add_column(column, justify="right")
    for each in shards:
        waiting = "" if each.oldest_seconds is None else f"{each.oldest_seconds:.1f} s"
        cells = (each.shard, each.blocks, each.bytes, waiting, each.aggregators_alive, each.dead_letters)
        texts = (f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)
        table.add_row(*texts, style="bold red" if each.stuck else None)
    return table
