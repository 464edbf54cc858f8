"""`tally aggregate`: one aggregator."""

from __future__ import annotations

from typing import Annotated

import typer


def aggregate(
    drain: Annotated[bool, typer.Option("--drain", help="Count what is in the stream now, then exit.")] = False,
) -> None:
    """Count blocks of the stream until Ctrl-C. Run as many of these as you like, wherever you like."""
    from aggregator.__main__ import main  # only now: other commands need not wait for it

    main(["--drain"] if drain else [])
