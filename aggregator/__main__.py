"""`python -m aggregator [--drain]`: count blocks until a signal comes, or with --drain until none are left."""

from __future__ import annotations

from tally.early_signals import hold

if __name__ == "__main__":
    hold()  # before what takes long to import

import asyncio

from aggregator.service import run
from tally.arguments import Arguments
from tally.runtime import run_service
from tally.settings import Settings


def main(arguments: list[str] | None = None) -> None:
    """Run until a signal comes."""
    parser = Arguments("aggregator", "Count blocks of the stream until a signal comes.")
    parser.add_argument("--drain", action="store_true", help="count what is in the stream now, then exit")
    given = parser.parse_args(arguments)

    async def aggregate(settings: Settings, stop: asyncio.Event) -> None:
        await run(settings, stop, drain=given.drain)

    run_service("aggregator", aggregate)


if __name__ == "__main__":
    main()
