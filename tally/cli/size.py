"""`tally size`: how much memory Redis needs, before there is one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tally.runtime import EXIT_USAGE, fail, load_or_exit
from tally.sizing import SERVER_BYTES, UNDER_WAY_BYTES, Expected, Size, size_of


def size(
    words: Annotated[
        int | None, typer.Option(min=0, help="Distinct words that are expected. Default: TALLY_MAX_WORDS.")
    ] = None,
    types: Annotated[int | None, typer.Option(min=0, help="Distinct event types. Default: TALLY_MAX_TYPES.")] = None,
    window_words: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N…]",
            help="Distinct words in a window of each length of TALLY_WINDOWS, as in 500,8000,40000; the last one "
            "stands for those that follow. Default: TALLY_MAX_WINDOW_WORDS.",
        ),
    ] = None,
    type_words: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N…]",
            help="Distinct words of one type of TALLY_WORDS_BY_TYPE in a window of each length, likewise; the last one "
            "also stands for all time. Default: TALLY_MAX_TYPE_WORDS.",
        ),
    ] = None,
    word_bytes: Annotated[float, typer.Option(min=1, max=65_536, help="Bytes in a word, in the mean of these.")] = 10,
    type_bytes: Annotated[float, typer.Option(min=1, max=65_536, help="Bytes in a type, likewise.")] = 16,
    files: Annotated[int, typer.Option(min=0, help="Files that are read and remembered.")] = 1000,
    keys: Annotated[
        int | None,
        typer.Option(min=0, help="Bodies with an Idempotency-Key in two days. Default: TALLY_MAX_IDEMPOTENCY_KEYS."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Reckon how much memory and disk Redis needs with these settings, at the most.

    What is not given is taken to be at its bound. Redis is not asked for anything.
    """
    settings = load_or_exit(log_level="warning")
    found = size_of(
        settings,
        Expected(
            words=words,
            types=types,
            window_words=_numbers("--window-words", window_words),
            type_words=_numbers("--type-words", type_words),
            word_bytes=word_bytes,
            type_bytes=type_bytes,
            files=files,
            keys=keys,
        ),
    )
    if as_json:
        typer.echo(json.dumps(_as_dict(found)))
        return
    _print(found)


def _numbers(option: str, text: str | None) -> list[int] | None:
    if text is None:
        return None
    numbers = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in numbers):
        fail(f"{option} {text}: give whole numbers with commas between, as in 500,8000,40000", code=EXIT_USAGE)
    return [int(part) for part in numbers]


def _as_dict(found: Size) -> dict[str, object]:
    return {
        "items": [asdict(each) for each in found.items],
        "shards": found.shards,
        "shard_bytes": found.shard_bytes,
        "bytes": found.bytes,
        "maxmemory_bytes": found.maxmemory_bytes,
        "machine_bytes": found.machine_bytes,
        "disk_bytes": found.disk_bytes,
    }


def _print(found: Size) -> None:
    console = Console()
    table = Table(title="What one shard takes" if found.shards > 1 else "What it takes", title_justify="left")
    table.add_column("what")
    table.add_column("so many", justify="right")
    table.add_column("memory", justify="right")
    for each in found.items:
        table.add_row(each.what, f"{each.number:,}", _megabytes(each.bytes))
    if found.shards > 1:
        table.add_row(f"all of {found.shards} shards", "", _megabytes(found.shards * found.shard_bytes))
    table.add_row("the server, and what is under way", "", _megabytes(SERVER_BYTES + UNDER_WAY_BYTES))
    table.add_section()
    table.add_row("together", "", _megabytes(found.bytes))
    console.print(table)
    console.print(
        f"Set maxmemory to {found.maxmemory_bytes >> 20}mb, and give the machine, or the container, "
        f"{_megabytes(found.machine_bytes)} of memory and {_megabytes(found.disk_bytes)} of disk.",
        highlight=False,
        soft_wrap=True,
    )


def _megabytes(size: int) -> str:
    return f"{-(-size // (1 << 20)):,} MiB"
