"""`python -m aggregator [--drain]`: count blocks until a signal comes, or with --drain until none are left."""

from __future__ import annotations

from tally.early_signals import hold

if __name__ == "__main__":
    hold()  # before what takes long to import

import asyncio
import sys

from aggregator.service import run
from tally.runtime import EXIT_USAGE, fail, run_service
from tally.settings import Settings


def main(arguments: list[str] | None = None) -> None:
    """Run until a signal comes."""
    given = sys.argv[1:] if arguments is None else arguments
    if given not in ([], ["--drain"]):
        fail(f"unknown arguments {' '.join(given)!r}; the only one is --drain", code=EXIT_USAGE)

    async def aggregate(settings: Settings, stop: asyncio.Event) -> None:
        await run(settings, stop, drain=bool(given))

    run_service("aggregator", aggregate)


if __name__ == "__main__":
    main()
