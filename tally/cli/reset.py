"""`tally reset`: everything of a namespace is deleted."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tally.cli.asking import server_at_rest, with_shards
from tally.cli.stopping import until_stopped
from tally.layout import SPREAD
from tally.redis_location import redis_url
from tally.runtime import EXIT_USAGE, fail, load_or_exit
from tally.settings import Settings, without_password
from tally.store.layouts import LayoutStore
from tally.store.merged_reads import reader_of
from tally.store.resetting import reset as reset_shards
from tally.store.shards import Shards
from tally.telemetry import configure


def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete everything of a namespace for good, after asking: counts, positions, what waits, the layout.

    Services may run meanwhile, and begin anew: sources that can be read again are read from their beginning. What was
    pushed, or came through a pipe, is gone. Run it again if it was stopped in the middle.
    """
    settings = load_or_exit(log_level="warning")
    configure(settings, service="reset")
    if not yes and (sys.stdin is None or not sys.stdin.isatty()):
        fail("what is deleted is gone for good, and nobody can be asked here: add --yes", code=EXIT_USAGE)
    with server_at_rest(settings) as settings:
        spread = with_shards(settings, lambda shards: _stored_spread(shards, settings))
        stored = settings.model_copy(update=spread)
        what = f"namespace {stored.namespace} of {without_password(redis_url(stored))}"
        if not yes:  # outside of the event loop, which would keep Ctrl-C from ending it
            typer.echo(with_shards(stored, lambda shards: _described(shards, stored, what)))
            typer.confirm("Delete all of it for good?", abort=True)

        def tell(sentence: str) -> None:
            typer.echo(f"tally: {sentence}", err=True)

        deleted = with_shards(
            stored,
            lambda shards: until_stopped(
                reset_shards(shards, stored, tell=tell),
                but="a part is deleted; appends are held until it is run again",
            ),
            writes=True,
        )
        typer.echo(f"Deleted {deleted:,} keys: {what} is empty.")


async def _stored_spread(shards: Shards, settings: Settings) -> dict[str, int]:
    """Return how many shards are stored, and their stripes, whatever is set here; nothing if nothing is stored.

    Raises StoreUnavailable, and LayoutRefused for a format that this program does not know.
    """
    layout = await LayoutStore(shards.home.redis, keys=shards.home.keys, settings=settings).read()
    if not layout.fields:
        return {}
    return {"shards": 1} | {name: int(layout.fields[name]) for name in SPREAD if name in layout.fields}


async def _described(shards: Shards, settings: Settings, what: str) -> str:
    reader = reader_of(shards, settings=settings)
    totals = await reader.totals()
    backlog = await reader.backlog(totals)
    spread = f" in {settings.shards} shards" if settings.shards > 1 else ""
    return (
        f"This is {what}: {totals['events']:,} events, {totals['words']:,} words{spread}; "
        f"{backlog.blocks:,} blocks wait to be counted."
    )
