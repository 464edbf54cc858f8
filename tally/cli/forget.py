"""`tally forget`: words or event types are gone from all that was counted, and from the servers' files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from tally.cli.asking import server_at_rest, with_shards
from tally.clock import SYSTEM
from tally.forgetting import Forgotten
from tally.keys import OTHER
from tally.printing import encodable, printable
from tally.runtime import EXIT_FAILURE, EXIT_USAGE, Failure, fail, load_or_exit
from tally.settings import Settings
from tally.store.dead_letters import DeadLetter
from tally.store.file_rewrites import Rewritten, rewrite_files
from tally.store.forgetting import ForgettingStore, Leftovers
from tally.store.import_progress import check_no_import
from tally.store.layouts import LayoutStore
from tally.store.lease import quiesced
from tally.store.merged_reads import reader_of
from tally.store.shards import Shards
from tally.store.together import together
from tally.store.user_check import check_permissions
from tally.store.users import NAME_KEEPER
from tally.telemetry import configure

#: How many dead letters are named that hold what is to be forgotten.
SHOWN_LETTERS = 10

#: How often it is looked whether what a killed aggregator has staged is gone.
STAGED_SECONDS = 1.0


def forget(
    words: Annotated[
        list[str] | None, typer.Option("--word", metavar="WORD", help="A word to forget. May be given several times.")
    ] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="An event type to forget, likewise.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dead_letters: Annotated[
        Literal["refuse", "drop"],
        typer.Option(help="What to do if dead letters may hold one of them: refuse, or drop these letters for good."),
    ] = "refuse",
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait until what waits is counted.")
    ] = 60.0,
) -> None:
    """Forget words or event types: their counts go to `__other__` everywhere, and totals stay.

    Samples of lines that may hold them are deleted, and the append-only file of every server is rewritten. Appends are
    held meanwhile, for a few seconds, until the names are moved: what waits is counted first, and then forgotten. What
    comes later is counted anew. docs/forgetting.md tells what else may hold a name. May be run again after a failure.
    """
    if not words and not types:
        fail("say what to forget: --word WORD or --type TYPE", code=EXIT_USAGE)
    if OTHER in (*(words or ()), *(types or ())) or "" in (*(words or ()), *(types or ())):
        fail(f"{OTHER} and the empty name cannot be forgotten", code=EXIT_USAGE)
    for name in (*(words or ()), *(types or ())):
        if name != name.encode(errors="replace").decode():
            fail(f"{printable(name)!r} is not UTF-8, and whatever is counted is", code=EXIT_USAGE)
    if not yes and (sys.stdin is None or not sys.stdin.isatty()):
        fail("what is forgotten is gone for good, and nobody can be asked here: add --yes", code=EXIT_USAGE)
    settings = load_or_exit(log_level="warning")
    configure(settings, service="forget")
    with server_at_rest(settings) as settings:
        if not yes:  # outside of the event loop, which would keep Ctrl-C from ending it
            asked = with_shards(settings, lambda shards: _question(shards, settings, words or [], types or []))
            typer.confirm(encodable(asked), abort=True)

        async def work(shards: Shards) -> bool:
            return await Forgetting(shards, settings, wait_seconds=wait, drops=dead_letters == "drop").run(
                words or [], types or []
            )

        raise typer.Exit(0 if with_shards(settings, work, writes=True) else EXIT_FAILURE)


async def _question(shards: Shards, settings: Settings, words: Sequence[str], types: Sequence[str]) -> str:
    reader = reader_of(shards, settings=settings)
    named = []
    for each in await _forgotten(shards, settings, words, types):
        counts = await reader.count_each(each.kind, each.names)
        named += [f"{_named(each, name)} ({count:,})" for name, count in zip(each.names, counts, strict=True)]
    return f"Forget {', '.join(named)} for good?"


async def _forgotten(shards: Shards, settings: Settings, words: Sequence[str], types: Sequence[str]) -> list[Forgotten]:
    """Return what is to be forgotten, as it is counted, whatever is set here. Raises LayoutRefused."""
    counting = await reader_of(shards, settings=settings).counting()
    form = {"normalize": counting.normalize_words, "fold_case": counting.fold_case}
    return [each for each in (Forgotten.words(words, **form), Forgotten.types(types)) if each.names]


def _named(forgotten: Forgotten, name: str) -> str:
    return f"the {'word' if forgotten.kind == 'words' else 'type'} {printable(name)!r}"


class Forgetting:
    """All of it, from the lease to the files."""

    def __init__(self, shards: Shards, settings: Settings, *, wait_seconds: float, drops: bool) -> None:
        self._shards = shards
        self._settings = settings
        self._wait_seconds = wait_seconds
        self._drops = drops

    async def run(self, words: Sequence[str], types: Sequence[str]) -> bool:
        """Do it, and say what was done; return whether nothing was left undone."""
        await LayoutStore(self._shards.home.redis, keys=self._shards.home.keys, settings=self._settings).check()
        for shard in self._shards.with_home:
            await check_permissions(shard.redis, keys=shard.keys, user=NAME_KEEPER)
        await check_no_import(self._shards)  # it would bring the name again
        leftovers = [Leftovers(shard.redis, keys=shard.keys, settings=self._settings) for shard in self._shards]
        was_due = any(await together([each.are_due() for each in leftovers]))
        forgotten = await _forgotten(self._shards, self._settings, words, types)
        named = ", ".join(_named(each, name) for each in forgotten for name in each.names)
        if not await self._forget(forgotten):
            if not was_due:
                raise Failure(f"{named} was never counted, or is forgotten; nothing was changed")
            _say(f"{named} is not counted any more. What was begun before goes on.")
        await self._wait_for_staged(leftovers)
        files = await rewrite_files(self._shards, settings=self._settings, tell=_tell)
        for each in files:
            _say(_about(each))
        failed = [each for each in files if each.outcome == "failed"]
        if failed:
            _tell(
                f"{', '.join(each.node for each in failed)}: the append-only file may still hold it. Run this again, "
                "or `redis-cli BGREWRITEAOF` there"
            )
            return False
        await together([each.are_gone() for each in leftovers])
        return True

    async def _forget(self, forgotten: Sequence[Forgotten]) -> bool:
        """Move the names under the lease; return whether there was anything to move or to delete."""
        counting = await reader_of(self._shards, settings=self._settings).counting()
        async with quiesced(
            self._shards, self._settings, what="forget", seconds=self._wait_seconds, tell=_tell
        ) as lease:
            stores = [
                ForgettingStore(
                    shard.redis,
                    keys=shard.keys,
                    settings=self._settings,
                    lengths=counting.lengths,
                    lease=lease.token,
                    shard=shard.index,
                )
                for shard in self._shards
            ]
            letters = [
                (store, letter) for store in stores for each in forgotten for letter in await store.letters(each)
            ]
            if letters and not self._drops:
                raise Failure(self._refusal([letter for _, letter in letters]))
            dropped = sum([await store.drop_letters([letter]) for store, letter in letters])
            samples = fields = 0
            for store in stores:
                for each in forgotten:
                    lease.check()
                    samples += await store.purge(each)
                    async for moved in store.names.forget(each):
                        fields += moved
                        lease.check()
                await store.names.rebuild_top()
        if dropped:
            _say(f"Dropped: {dropped:,} dead letters. Blocks among them are counted under `lost`.")
        if samples:
            _say(f"Deleted: {samples:,} samples of lines.")
        if fields:
            _say(f"Forgotten: what was counted in {fields:,} places is under {OTHER} now. Appends go on.")
        return bool(dropped or samples or fields)

    def _refusal(self, letters: Sequence[DeadLetter]) -> str:
        ids = [f"{each.shard}/{each.id}" if len(self._shards) > 1 else each.id for each in letters]
        shown = " ".join(dict.fromkeys(ids[:SHOWN_LETTERS]))
        more = f" and {len(ids) - SHOWN_LETTERS:,} more" if len(ids) > SHOWN_LETTERS else ""
        return (
            f"dead letters may hold it: {shown}{more}; nothing was changed\n"
            f"Have them counted first: tally dead-letters retry {shown}\n"
            f"Or drop them for good: tally forget --dead-letters drop ..., or tally dead-letters drop {shown}"
        )

    async def _wait_for_staged(self, leftovers: Sequence[Leftovers]) -> None:
        """Wait until no list is there any more that an aggregator may have staged before, and never settled."""
        for each in leftovers:
            staged = await each.staged()
            if staged:
                _tell("what an aggregator has left behind that was killed is gone after two minutes; waiting for that")
            while staged:
                await SYSTEM.sleep(STAGED_SECONDS)
                staged = await each.still_staged(staged)


def _about(each: Rewritten) -> str:
    where = f"{each.node} ({each.role})"
    if each.outcome == "rewritten":
        return f"{where}: its append-only file was rewritten."
    if each.outcome == "none":
        return f"{where}: it keeps no append-only file. A snapshot (dump.rdb) may hold it until the next one: BGSAVE."
    return f"{where}: its append-only file was not rewritten: {each.why}"


def _say(text: str) -> None:
    typer.echo(encodable(text))


def _tell(text: str) -> None:
    typer.echo(encodable(f"tally: {text}"), err=True)
