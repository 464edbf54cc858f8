"""`tally status --all`: the namespaces of a Redis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.table import Table

from tally.cli.asking import answer_of
from tally.clock import SYSTEM
from tally.printing import markup
from tally.redis_location import redis_url
from tally.refused import Refused
from tally.runtime import Failure
from tally.settings import Settings, without_password
from tally.store.namespaces import NamespaceState, states_of_namespaces


def show_namespaces(settings: Settings, *, as_json: bool) -> None:
    """Print what is in each namespace. Ends the process with a sentence where that cannot be found."""
    as_of = SYSTEM.time()
    found = answer_of(settings, lambda: _states(settings))
    if as_json:
        typer.echo(json.dumps({"namespaces": [asdict(each) for each in found], "as_of": as_of}))
        return
    console = Console()
    console.print(f"Redis: {without_password(redis_url(settings))}", highlight=False, soft_wrap=True)
    if not found:
        console.print("There is no namespace: nothing was ever counted here.")
        return
    console.print(_table(found))
    for each in found:
        if each.problem is not None:
            console.print(f"[bold red]{markup(each.namespace)}: {markup(each.problem)}[/]", soft_wrap=True)


async def _states(settings: Settings) -> list[NamespaceState]:
    try:
        return await states_of_namespaces(settings)
    except Refused as error:
        raise Failure(
            f"namespaces are found by the names of all keys, which takes a user who may run SCAN, as admin may: {error}"
        ) from error


def _table(found: Sequence[NamespaceState]) -> Table:
    table = Table(title="Namespaces", title_justify="left")
    table.add_column("namespace")
    for column in ("shards", "events", "backlog"):
        table.add_column(column, justify="right")
    for column in ("since", "newest block"):
        table.add_column(column)
    for each in found:
        counts = (each.shards, each.events, each.backlog_blocks)
        table.add_row(
            markup(each.namespace),
            *("" if count is None else f"{count:,}" for count in counts),
            _moment(each.since_at, "%Y-%m-%d"),
            _moment(each.appended_at, "%Y-%m-%d %H:%M UTC"),
        )
    return table


def _moment(seconds: float | None, form: str) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime(form)
