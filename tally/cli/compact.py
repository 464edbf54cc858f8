"""`tally compact`: rare names make room for new ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import typer

from tally.cli.asking import server_at_rest, with_shards
from tally.clock import SYSTEM
from tally.keys import KINDS, OTHER, Kind
from tally.runtime import EXIT_USAGE, fail, load_or_exit
from tally.settings import Settings
from tally.store.compacting import Compacted, Compaction
from tally.store.import_progress import check_no_import
from tally.store.layouts import LayoutStore
from tally.store.merged_reads import reader_of
from tally.store.shards import Shards
from tally.store.user_check import check_permissions
from tally.store.users import NAME_KEEPER
from tally.telemetry import configure

#: How often it is told how far it is.
TELL_SECONDS = 5.0


def compact(
    under: Annotated[
        int, typer.Option("--under", min=2, metavar="N", help="Names that were counted fewer than N times in all.")
    ],
    kind: Annotated[Literal["words", "types", "all"], typer.Option(help="Of which names.")] = "words",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell how many there are.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Move the counts of rare names to `__other__`, so that there is room for new ones under the bounds.

    Names are first come: an endless stream with ids in it fills TALLY_MAX_WORDS in the end, and then no new word is
    counted by its name. All services may run meanwhile, and it may be stopped and run again at any time. Totals stay;
    which names they were cannot be told any more.
    """
    kinds: Sequence[Kind] = KINDS if kind == "all" else (kind,)
    if not (dry_run or yes) and (sys.stdin is None or not sys.stdin.isatty()):
        fail("names that are moved cannot be told any more, and nobody can be asked here: add --yes", code=EXIT_USAGE)
    settings = load_or_exit(log_level="warning")
    configure(settings, service="compact")
    with server_at_rest(settings) as settings:
        if not yes:  # outside of the event loop, which would keep Ctrl-C from ending it
            found = with_shards(settings, lambda shards: _each(shards, settings, kinds, under, moves=False))
            for each, of_kind in zip(kinds, found, strict=True):
                typer.echo(_there_are(each, of_kind, under))
            if dry_run or not any(each.names for each in found):
                return
            typer.confirm(f"Move them to {OTHER}, for good?", abort=True)
        with_shards(settings, lambda shards: _each(shards, settings, kinds, under, moves=True), writes=True)


async def _each(
    shards: Shards, settings: Settings, kinds: Sequence[Kind], under: int, *, moves: bool
) -> list[Compacted]:
    """Look for rare names of each kind, and move them if it `moves`; return what there was."""
    await LayoutStore(shards.home.redis, keys=shards.home.keys, settings=settings).check()
    if moves:
        for shard in shards:
            await check_permissions(shard.redis, keys=shard.keys, user=NAME_KEEPER)
        # Its counts of all time come last: until then what windows hold would be taken for names that are gone.
        await check_no_import(shards)
    lengths = (await reader_of(shards, settings=settings).counting()).lengths
    found = []
    for kind in kinds:
        compaction = Compaction(
            shards, settings=settings, lengths=lengths, kind=kind, under=under, tell=_told(kind, moves=moves)
        )
        found.append(await (compaction.run() if moves else compaction.look()))
        if moves:
            typer.echo(_were_moved(kind, found[-1]))
    return found


def _told(kind: Kind, *, moves: bool) -> Callable[[Compacted], None]:
    """Return what tells on standard error how far it is, from time to time."""
    due = SYSTEM.monotonic() + TELL_SECONDS

    def tell(found: Compacted) -> None:
        nonlocal due
        if SYSTEM.monotonic() >= due:
            due = SYSTEM.monotonic() + TELL_SECONDS
            done = f"{found.names:,} are rare"
            if moves:
                done = f"{found.names:,} moved, and {found.in_windows:,} in windows"
            typer.echo(f"tally: {found.looked_at:,} {kind} were looked at, {done}", err=True)

    return tell


def _there_are(kind: Kind, found: Compacted, under: int) -> str:
    return (
        f"{found.names:,} {kind} were counted fewer than {under:,} times; {found.looked_at:,} were looked at. They "
        f"take about {_megabytes(found.freed_bytes)} besides what windows hold of them."
    )


def _were_moved(kind: Kind, found: Compacted) -> str:
    return (
        f"{found.names:,} {kind} were moved to {OTHER}, and {found.in_windows:,} in windows and tables by type: about "
        f"{_megabytes(found.freed_bytes)} are free."
    )


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
