"""`tally count`: what some files come to, counted on a server of its own."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from tally.cli.output import counts_table
from tally.runtime import EXIT_FAILURE, fail, load_or_exit, run_or_exit
from tally.telemetry import configure


def count(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Files of events; `-` is standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help='Print {"types": {…}, "words": {…}, "totals": {…}}.')] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows of the table of words; --json has all.")] = 20,
) -> None:
    """Count files and print the result: the whole pipeline on a server of its own, which is gone afterwards.

    Exits with 1 when there are lines and none of them is an event; `tally check FILE` says what is wrong with them.
    """
    from tally.local.count import count_files  # only now: other commands need not wait for it

    settings = load_or_exit(log_level="warning")
    configure(settings, service="count")
    result = run_or_exit(count_files(settings, files))
    if as_json:
        typer.echo(json.dumps({"types": result.types, "words": result.words, "totals": result.totals}))
    else:
        console = Console()
        console.print(counts_table("Event types", result.types, limit=len(result.types)))
        console.print(counts_table("Words", result.words, limit=limit))
        console.print(counts_table("Totals", result.totals, limit=len(result.totals)))
    lines = result.totals["lines"]
    if lines and not result.totals["events"]:
        sys.stdout.flush()
        which = "the line is no event" if lines == 1 else f"none of the {lines:,} lines is an event"
        why = f"; one was rejected so: {result.rejected}" if result.rejected else ""
        fail(f"{which}{why}. `tally check FILE` says more", code=EXIT_FAILURE)
