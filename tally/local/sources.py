"""Sources that a command was given, looked at before anything is started for them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ingestor.service import parse_sources
from ingestor.sources import Runner, Source, never_ends
from tally.runtime import Misuse


def check_sources(sources: Sequence[str], *, endless: bool = True) -> list[Source | Runner]:
    """Return them, made to see whether they can be used. Raises Misuse."""
    parsed = parse_sources(sources)
    for source in parsed:
        if not endless and never_ends(source):
            raise Misuse(f"source {source.label}: it never ends; to count what comes, run tally up --source")
    if "-" in sources and sys.stdin.isatty():
        raise Misuse(
            "source -: standard input is a terminal; pipe something in, as in `tally generate | tally up -s -`"
        )
    return parsed
