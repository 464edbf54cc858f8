"""What several commands print, and what becomes of it where it cannot be written."""

from __future__ import annotations

import os
import sys

from rich.table import Table

from tally.printing import markup


def counts_table(title: str, counts: dict[str, int], *, limit: int) -> Table:
    """Return a table of names and their counts, of so many rows at the most."""
    table = Table(title=title, title_justify="left")
    table.add_column("name")
    table.add_column("count", justify="right")
    for name, value in list(counts.items())[:limit]:
        table.add_row(markup(name), f"{value:,}")
    if len(counts) > limit:
        table.caption = f"and {len(counts) - limit:,} more"
    return table


def discard_output() -> None:
    """Write nothing more to standard output: the interpreter would complain once more, while it flushes."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
