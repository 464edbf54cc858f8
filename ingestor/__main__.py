"""`python -m ingestor [--stay] [SOURCE…]`: append what the sources (or TALLY_SOURCE) give, until they end.

With `--stay` it waits to be stopped then. Containers are run so: started again whenever they are gone, as after a
restart of the machine, one whose source has ended must not be gone.
"""

from __future__ import annotations

from tally.early_signals import hold

if __name__ == "__main__":
    hold()  # before what takes long to import

import asyncio
import sys

from ingestor.service import parse_sources, run
from tally.runtime import EXIT_USAGE, Failure, Misuse, fail, load_or_exit, run_service
from tally.settings import Settings
from tally.sources import split_sources

STAY = "--stay"


def main(arguments: list[str] | None = None) -> None:
    """Run until the sources end or a signal comes."""
    texts = list(arguments if arguments is not None else sys.argv[1:])
    stay = texts[:1] == [STAY]
    if stay:
        del texts[0]
    try:
        sources = parse_sources(texts or _sources_set())
    except Failure as error:
        fail(str(error), code=EXIT_USAGE)

    async def ingest(settings: Settings, stop: asyncio.Event) -> None:
        await run(settings, stop, sources=sources, stay=stay)

    run_service("ingestor", ingest)


def _sources_set() -> list[str]:
    """Return the sources of TALLY_SOURCE. Raises Misuse when there is none: no default gets into anybody's counts."""
    source = load_or_exit().source
    if not source:
        raise Misuse(
            "no source: name one, as in `tally ingest events.ndjson` or `some-program | tally ingest -`, or set "
            "TALLY_SOURCE. Made-up events are the source demo:"
        )
    return split_sources(source)


if __name__ == "__main__":
    main()
