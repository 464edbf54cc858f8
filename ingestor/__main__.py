"""`python -m ingestor [SOURCE…]`: append what the sources (or TALLY_SOURCE) give, until they end."""

from __future__ import annotations

import asyncio
import sys

from ingestor.service import parse_sources, run
from tally.runtime import EXIT_USAGE, Failure, fail, load_or_exit, run_service
from tally.settings import Settings
from tally.sources import split_sources


def main(arguments: list[str] | None = None) -> None:
    """Run until the sources end or a signal comes."""
    texts = arguments if arguments is not None else sys.argv[1:]
    try:
        sources = parse_sources(texts or split_sources(load_or_exit().source))
    except Failure as error:
        fail(str(error), code=EXIT_USAGE)

    async def ingest(settings: Settings, stop: asyncio.Event) -> None:
        await run(settings, stop, sources=sources)

    run_service("ingestor", ingest)


if __name__ == "__main__":
    main()
