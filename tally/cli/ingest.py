"""`tally ingest`: one ingestor, for sources that are named."""

from __future__ import annotations

from typing import Annotated

import typer

from tally.sources import SOURCE_HELP


def ingest(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE…", help=f"{SOURCE_HELP} Default: TALLY_SOURCE.")
    ] = None,
) -> None:
    """Append what the sources give to the stream; ends when they end, and the server has it on its disk.

    A file goes on from where it was appended to before, however that ended: running this twice counts once.
    """
    from ingestor.__main__ import main  # only now: other commands need not wait for it

    main(["--", *(sources or [])])
