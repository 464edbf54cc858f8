"""`python -m ingestor [--stay] [SOURCE…]`: append what the sources (or TALLY_SOURCE) give, until they end.

With `--stay` it waits to be stopped then. Containers are run so: started again whenever they are gone, as after a
restart of the machine, one whose source has ended must not be gone.
"""

from __future__ import annotations

import asyncio
import sys

from ingestor.service import parse_sources, run
from tally.runtime import EXIT_USAGE, Failure, fail, load_or_exit, run_service
from tally.settings import Settings
from tally.sources import split_sources
from tally.telemetry import get_logger

STAY = "--stay"


def main(arguments: list[str] | None = None) -> None:
    """Run until the sources end or a signal comes."""
    texts = list(arguments if arguments is not None else sys.argv[1:])
    stay = texts[:1] == [STAY]
    if stay:
        del texts[0]
    try:
        sources = parse_sources(texts or split_sources(load_or_exit().source))
    except Failure as error:
        fail(str(error), code=EXIT_USAGE)

    async def ingest(settings: Settings, stop: asyncio.Event) -> None:
        await run(settings, stop, sources=sources)
        if stay and not stop.is_set():
            get_logger().info("all sources have ended; waiting to be stopped")
            await stop.wait()

    run_service("ingestor", ingest)


if __name__ == "__main__":
    main()
