"""`tally dead-letters`: what could not be counted is listed, looked at, tried again, or dropped."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from tally.cli.asking import with_shards
from tally.cli.letter_text import as_dict, cut, described, id_of, letters_table
from tally.printing import encodable
from tally.runtime import EXIT_FAILURE, EXIT_USAGE, fail, load_or_exit
from tally.settings import Settings
from tally.store.client import StoreUnavailable
from tally.store.dead_letters import DeadLetter, DeadLetterStore
from tally.store.layouts import LayoutStore
from tally.store.shards import Shards
from tally.telemetry import configure

T = TypeVar("T")

#: An ID as it is shown: with the number of its shard in front, where there are several.
_ID = re.compile(r"(?:([0-9]{1,5})/)?([0-9]{1,20}-[0-9]{1,20})")

#: Neither part of an ID is more.
_LAST = 2**64 - 1

#: Why a letter is where it was.
_NOT_MOVED = {
    "gone": "there is no such dead letter (any more): somebody, or an earlier try, has moved or dropped it",
    "changed": "another dead letter has this ID by now, or it is neither a block nor a chunk; it stays",
    "full": "as much waits to be counted as may, or a command holds appends (see `tally status`); it stays. Try "
    "again later",
    "held": "a command holds appends just now (`tally status` tells which); it stays. Try again when that has ended",
    "windows": "it holds counts of windows of other lengths than are counted now, and can go into none; it stays",
}

IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="IDs, as `list` shows them.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]

dead_letters = typer.Typer(
    no_args_is_help=True,
    help="List, show, retry or drop what could not be counted.\n\n"
    "A dead letter is a block that ended every aggregator that tried it, or a chunk of counts that nobody could read. "
    "It was set aside whole and is not counted, so that everything else goes on. It stays until you retry or drop it.",
)


@dead_letters.command("list")
def list_(
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows of the table; --json has all.")] = 50,
) -> None:
    """List the dead letters, the oldest first. Exits with 1 when one of several shards cannot be asked."""
    settings, (found, problems) = _with_stores(letters_of_available)
    if as_json:
        typer.echo(json.dumps([as_dict(letter, settings) for letter in found]))
    elif found:
        Console().print(letters_table(found, settings, limit=limit))
    elif not problems:
        typer.echo("There are no dead letters.")
    for problem in problems:
        typer.echo(f"tally: {problem}", err=True)
    raise typer.Exit(EXIT_FAILURE if problems else 0)


@dead_letters.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its ID, as `list` shows it.")],
    most_lines: Annotated[int, typer.Option("--lines", min=0, help="How many of its lines to print; 0 for all.")] = 10,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Print what it holds, byte for byte, and nothing else: as into `tally check -`."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one of them and what it holds. Nothing is changed by that."""
    if raw and as_json:
        fail("--raw and --json contradict each other; give one of them", code=EXIT_USAGE)

    async def ask(stores: Sequence[DeadLetterStore]) -> tuple[DeadLetter, dict[bytes, bytes]] | None:
        shard, entry_id = _place(letter_id, stores)
        letter, fields = await stores[shard].find(entry_id), await stores[shard].content(entry_id)
        return (letter, fields) if letter and fields is not None else None

    settings, found = _with_stores(ask)
    if found is None:
        fail(f"{letter_id}: {_NOT_MOVED['gone']}", code=EXIT_FAILURE)
    letter, fields = found
    content = fields.get(b"body" if letter.kind == "chunk" else b"lines", b"")
    if raw:
        sys.stdout.buffer.write(content + (b"" if letter.kind == "chunk" or content.endswith(b"\n") else b"\n"))
        sys.stdout.buffer.flush()
        return
    targets = fields.get(b"targets", b"").decode("utf-8", "replace") if letter.kind == "chunk" else None
    if as_json:
        text = None if letter.kind == "chunk" else content.decode("utf-8", "replace")
        held = {"content_base64": base64.b64encode(content).decode(), "text": text, "targets": targets}
        typer.echo(json.dumps({**as_dict(letter, settings), **held}))
        return
    typer.echo(encodable("\n".join(described(letter, id_of(letter, settings)))))
    if targets is not None:
        typer.echo(encodable(f"Where its counts go: {cut(targets)}"))
        return
    lines = content.split(b"\n")
    shown = lines[: most_lines or None]
    for line in shown:
        typer.echo(encodable(f"  {cut(line.decode('utf-8', 'replace'))}"))
    if len(lines) > len(shown):
        typer.echo(f"  … {len(lines) - len(shown):,} more lines; --lines 0 prints all")


@dead_letters.command()
def retry(
    ids: IdsArgument = None,
    every: Annotated[bool, typer.Option("--all", help="All that there are now.")] = False,
) -> None:
    """Have them counted after all: a block goes back onto the stream, a chunk behind those that wait to be applied.

    Each is moved once, whatever fails meanwhile. What still cannot be counted is a dead letter again afterwards; a
    block that ends aggregators ends some more before that. Exits with 1 when one of them was not moved.
    """
    _check_which(ids, every)

    async def retry_one(store: DeadLetterStore, letter: DeadLetter) -> tuple[str, str]:
        word, became = await store.retry(letter)
        waits = "applied, as chunk" if word == "settled" else "counted again, as block"
        return word, f"waits to be {waits} {became}"

    async def move(stores: Sequence[DeadLetterStore]) -> bool:
        return await _move_each(await _chosen(ids, stores), stores, retry_one)

    _, failed = _with_stores(move, writes=True)
    raise typer.Exit(EXIT_FAILURE if failed else 0)


@dead_letters.command()
def drop(
    ids: IdsArgument = None,
    every: Annotated[bool, typer.Option("--all", help="All that there are now.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete them for good, after asking. A block is counted under `lost` then.

    Exits with 1 when one of them was not dropped.
    """
    _check_which(ids, every)
    if not yes and (sys.stdin is None or not sys.stdin.isatty()):
        fail("what is dropped is gone for good, and nobody can be asked here: add --yes", code=EXIT_USAGE)

    _, chosen = _with_stores(lambda stores: _chosen(ids, stores))
    there = [(letter_id, letter) for _, letter_id, letter in chosen if letter]
    if there and not yes:  # outside of the event loop, which would keep Ctrl-C from ending it
        for letter_id, letter in there:
            typer.echo(encodable(", ".join(described(letter, letter_id))))
        typer.confirm(f"Drop {'it' if len(there) == 1 else f'these {len(there):,}'} for good?", abort=True)

    async def drop_one(store: DeadLetterStore, letter: DeadLetter) -> tuple[str, str]:
        return await store.drop(letter), "dropped"

    _, failed = _with_stores(lambda stores: _move_each(chosen, stores, drop_one), writes=True)
    raise typer.Exit(EXIT_FAILURE if failed else 0)


def _with_stores(
    work: Callable[[Sequence[DeadLetterStore]], Awaitable[T]], *, writes: bool = False
) -> tuple[Settings, T]:
    """Return the settings, and what some work with the dead letters of all shards gives."""
    settings = load_or_exit(log_level="warning")
    configure(settings, service="dead-letters")

    async def body(shards: Shards) -> T:
        await LayoutStore(shards.home.redis, keys=shards.home.keys, settings=settings).check()
        stores = [
            DeadLetterStore(shard.redis, keys=shard.keys, settings=settings, shard=shard.index) for shard in shards
        ]
        return await work(stores)

    return settings, with_shards(settings, body, writes=writes)


async def letters_of_available(stores: Sequence[DeadLetterStore]) -> tuple[list[DeadLetter], list[str]]:
    """Return the letters of shards that can be asked, and why others cannot. Raises StoreUnavailable if none can."""
    found: list[DeadLetter] = []
    problems: list[str] = []
    for shard, store in enumerate(stores):
        try:
            found += [letter async for letter in store.all()]
        except StoreUnavailable as error:
            problems.append(f"shard {shard} cannot be asked: {error}")
            if len(problems) == len(stores):
                raise
    return found, problems


async def _all(stores: Sequence[DeadLetterStore]) -> AsyncIterator[DeadLetter]:
    for store in stores:
        async for letter in store.all():
            yield letter


#: A letter that was asked for: its shard, its ID as it was asked for, and the letter; None where there is none.
Chosen = tuple[int, str, DeadLetter | None]


async def _chosen(ids: Sequence[str] | None, stores: Sequence[DeadLetterStore]) -> list[Chosen]:
    """Return the letters that were asked for, as they are now; all of them without IDs.

    None of them has been touched by then: one that is moved may come back, under an ID behind all others.
    """
    if ids:
        places = {text: _place(text, stores) for text in ids}
        return [(shard, text, await stores[shard].find(entry_id)) for text, (shard, entry_id) in places.items()]
    several = len(stores) > 1
    letters = [letter async for letter in _all(stores)]
    if not letters:
        typer.echo("There are no dead letters.")
    return [(each.shard, f"{each.shard}/{each.id}" if several else each.id, each) for each in letters]


async def _move_each(
    chosen: Sequence[Chosen],
    stores: Sequence[DeadLetterStore],
    move: Callable[[DeadLetterStore, DeadLetter], Awaitable[tuple[str, str]]],
) -> bool:
    """Move each letter, and say what became of it; return whether one stays where it is.

    `move` gives the word of its script, and what to say if that is none of _NOT_MOVED.
    """
    for shard in {shard for shard, _, _ in chosen}:
        await stores[shard].check_permissions()
    failed = False
    for shard, letter_id, letter in chosen:
        word, became = await move(stores[shard], letter) if letter else ("gone", "")
        if word in _NOT_MOVED:
            failed = True
            typer.echo(f"tally: {letter_id}: {_NOT_MOVED[word]}", err=True)
        else:
            typer.echo(f"{letter_id}: {became}")
    return failed


def _check_which(ids: Sequence[str] | None, every: bool) -> None:
    if bool(ids) == every:
        fail("say which: IDs, as `tally dead-letters list` shows them, or --all", code=EXIT_USAGE)


def _place(text: str, stores: Sequence[DeadLetterStore]) -> tuple[int, str]:
    """Return the shard of a letter and its ID there. Ends the process where the text is none."""
    match = _ID.fullmatch(text)
    shard = int(match[1] or 0) if match else 0
    if match is None or shard >= len(stores) or any(int(part) > _LAST for part in match[2].split("-")):
        fail(f"{text}: this is no ID of a dead letter; `tally dead-letters list` shows them", code=EXIT_USAGE)
    if match[1] is None and len(stores) > 1:
        way_on = f"write the number of its own in front, as in 0/{text}"
        fail(f"{text}: there are {len(stores)} shards; {way_on}", code=EXIT_USAGE)
    return shard, match[2]
