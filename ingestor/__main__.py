"""`python -m ingestor [--stay] [SOURCE…]`: append what the sources (or TALLY_SOURCE) give, until they end.

With `--stay` it waits to be stopped then. Containers are run so: started again whenever they are gone, as after a
restart of the machine, one whose source has ended must not be gone.
"""

from __future__ import annotations

from tally.early_signals import hold

if __name__ == "__main__":
    hold()  # before what takes long to import

import asyncio

from ingestor.service import parse_sources, run
from tally.arguments import Arguments
from tally.runtime import EXIT_USAGE, Failure, Misuse, fail, load_or_exit, run_service
from tally.settings import Settings
from tally.sources import SOURCE_HELP, split_sources


def main(arguments: list[str] | None = None) -> None:
    """Run until the sources end or a signal comes."""
    parser = Arguments("ingestor", "Append what the sources give to the stream, until they end or a signal comes.")
    parser.add_argument(
        "--stay", action="store_true", help="when they have ended, wait to be stopped, as in containers"
    )
    parser.add_argument("sources", metavar="SOURCE", nargs="*", help=f"{SOURCE_HELP} Default: TALLY_SOURCE.")
    given = parser.parse_args(arguments)
    try:
        sources = parse_sources(given.sources or _sources_set())
    except Failure as error:
        fail(str(error), code=EXIT_USAGE)

    async def ingest(settings: Settings, stop: asyncio.Event) -> None:
        await run(settings, stop, sources=sources, stay=given.stay)

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
