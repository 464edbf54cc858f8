"""`tally check`: what some lines would count as, before anything is counted."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tally.archives import errors_explained, opened_buffered, refuse_packed
from tally.clock import SYSTEM
from tally.printing import encodable
from tally.runtime import EXIT_FAILURE, EXIT_USAGE, Failure, fail, load_or_exit


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
    # Only now: other commands need not wait for it.
    from tally.cli.report import read_lines, report_on
    from tally.cli.report_text import describe

    settings = load_or_exit(log_level="warning")
    if file == "-" and sys.stdin is None:
        fail("-: standard input is closed", code=EXIT_USAGE)
    try:
        with errors_explained(Path(file)), sys.stdin.buffer if file == "-" else opened_buffered(Path(file)) as content:
            if isinstance(content, io.BufferedReader) and file == "-":
                refuse_packed(content.peek(), "-")
            lines = read_lines(content, max_line_bytes=settings.max_line_bytes, most_lines=most_lines)
            report = report_on(lines, settings, now_seconds=SYSTEM.time())
    except Failure as error:
        fail(str(error), code=EXIT_USAGE)
    # Escaped, because what stands in a line may be meant for the terminal.
    typer.echo(json.dumps(asdict(report)) if as_json else encodable(describe(report)))
    if not report.events:
        raise typer.Exit(EXIT_FAILURE)
