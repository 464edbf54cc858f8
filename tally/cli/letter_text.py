"""Dead letters as people, and programs, read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.filesize import decimal
from rich.table import Table

from tally.printing import markup, printable
from tally.settings import Settings
from tally.store.dead_letters import DeadLetter

#: Characters of a line that is printed.
MOST_CHARACTERS = 1000


def letters_table(found: Sequence[DeadLetter], settings: Settings, *, limit: int) -> Table:
    """Return a table of so many rows at the most."""
    table = Table(title="Dead letters", title_justify="left")
    for column in ("id", "kind", "set aside (UTC)", "lines", "bytes", "of"):
        table.add_column(column, justify="right" if column in ("lines", "bytes") else "left", no_wrap=column == "id")
    for letter in found[:limit]:
        lines = "" if letter.lines is None else f"{letter.lines:,}"
        cells = (letter.kind, _moment(letter.set_aside_at), lines, f"{letter.bytes:,}", markup(_of(letter)))
        table.add_row(id_of(letter, settings), *cells)
    if len(found) > limit:
        table.caption = f"and {len(found) - limit:,} more"
    return table


def id_of(letter: DeadLetter, settings: Settings) -> str:
    """Return its ID as it is shown: with the number of its shard in front, where there are several."""
    return f"{letter.shard}/{letter.id}" if settings.shards > 1 else letter.id


def as_dict(letter: DeadLetter, settings: Settings) -> dict[str, Any]:
    """Return it as it stands in JSON."""
    return {**asdict(letter), "id": id_of(letter, settings)}


def _of(letter: DeadLetter) -> str:
    if letter.kind == "chunk":
        return f"{letter.blocks or 0:,} blocks"
    return letter.source or ""


def described(letter: DeadLetter, letter_id: str) -> list[str]:
    """Return what is known of it, in parts."""
    parts = [f"{letter_id}: {letter.kind}, set aside {_moment(letter.set_aside_at)} UTC"]
    if letter.kind == "chunk":
        return [*parts, f"a part of what {letter.blocks or 0:,} blocks added up to", decimal(letter.bytes)]
    if letter.deliveries is not None:
        parts[0] += f" after {letter.deliveries:,} deliveries as block {letter.block_id}"
    if letter.appended_at is not None:
        parts.append(f"appended {_moment(letter.appended_at)} UTC")
    parts.append(f"source {printable(letter.source or '(none)')}")
    lines = f"{letter.lines:,} line{'' if letter.lines == 1 else 's'}"
    return [*parts, f"{lines}, {decimal(letter.bytes)}"]


def cut(text: str) -> str:
    """Return the beginning of a line, safe to print."""
    return printable(text[:MOST_CHARACTERS]) + ("…" if len(text) > MOST_CHARACTERS else "")


def _moment(unix_seconds: float) -> str:
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{unix_seconds} s since 1970"
