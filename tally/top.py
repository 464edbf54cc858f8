"""`tally top`: the live page for a terminal, straight from Redis."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tally.printing import printable
from tally.rates import Rates
from tally.runtime import Failure, stop_on_signals, wait_or_stop
from tally.store import StoreUnavailable
from tally.store.reads import CountReader, Status

#: How often the screen is drawn anew, in seconds.
EVERY_SECONDS = 1.0

#: Rows of each table where nobody watches: in a pipe.
ROWS_PIPED = 20

#: Keys that end it.
_QUIT = (b"q", b"Q", b"\x1b")


@dataclass(frozen=True, slots=True)
class Frame:
    """What is shown at one moment. `before` holds the counts a second ago."""

    status: Status
    types: dict[str, int]
    words: dict[str, int]
    rates: dict[str, float | None]


async def run(reader: CountReader, console: Console) -> None:
    """Draw until `q` is pressed or a signal comes; print once where standard output is no terminal.

    Raises Failure when Redis cannot be reached at the start.
    """
    stop = asyncio.Event()
    rates = Rates(every_seconds=EVERY_SECONDS)
    try:
        frame = await _read(reader, rates)
    except StoreUnavailable as error:
        raise Failure(f"no answer from Redis: {error}") from error
    if not console.is_terminal:
        await wait_or_stop(stop, EVERY_SECONDS)  # a rate needs two looks
        console.print(_body(await _read(reader, rates), rows=ROWS_PIPED))
        return
    with stop_on_signals(stop), _keys(stop), Live(console=console, screen=True, auto_refresh=False) as live:
        problem = ""
        while True:
            live.update(_screen(frame, console, problem), refresh=True)
            if await wait_or_stop(stop, EVERY_SECONDS):
                return
            try:
                frame, problem = await _read(reader, rates), ""
            except StoreUnavailable as error:
                rates.clear()
                problem = str(error)


async def _read(reader: CountReader, rates: Rates) -> Frame:
    status = await reader.status()
    rates.add(time.monotonic(), status.totals["events"])
    return Frame(status, await reader.types(), await reader.top_words(), rates.rates())


@contextmanager
def _keys(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` when a key is pressed that ends it. Gives the terminal back as it was."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def pressed() -> None:
        key = os.read(descriptor, 16)
        if not key or key in _QUIT:
            stop.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, pressed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _screen(frame: Frame, console: Console, problem: str) -> RenderableType:
    layout = Layout()
    layout.split_column(Layout(_head(frame, problem), size=4), Layout(name="body"))
    rows = max(1, console.size.height - 4 - 4)
    layout["body"].split_row(
        Layout(_table("Event types", frame.types, rows, frame.status.totals["events"])),
        Layout(_table("Words", frame.words, rows, frame.status.totals["words"])),
    )
    return layout


def _body(frame: Frame, *, rows: int) -> RenderableType:
    totals = frame.status.totals
    return Group(
        _head(frame, ""),
        _table("Event types", frame.types, rows, totals["events"]),
        _table("Words", frame.words, rows, totals["words"]),
    )


def _head(frame: Frame, problem: str) -> RenderableType:
    status = frame.status
    rate = "  ".join(
        f"{seconds} s {'–' if value is None else f'{value:,.0f}'}/s" for seconds, value in frame.rates.items()
    )
    totals = status.totals
    first = Text(
        f"{totals['events']:,} events   {totals['words']:,} words   {totals['rejected']:,} rejected   "
        f"{totals['lost']:,} lost   rate: {rate}"
    )
    backlog = status.backlog
    waiting = f", the oldest for {backlog.oldest_seconds:.1f} s" if backlog.oldest_seconds is not None else ""
    second = Text(f"backlog {backlog.blocks:,} blocks{waiting}   {len(status.consumers)} aggregators   q quits")
    if problem:
        second = Text(f"disconnected, retrying: {problem}", style="bold red")
    elif status.dead_blocks or totals["lost"] or (backlog.blocks and not status.consumers):
        second.stylize("bold red")
        if status.dead_blocks:
            second.append(f"   {status.dead_blocks:,} dead blocks")
    return Panel(Group(first, second), title="tally", title_align="left")


def _table(title: str, counts: dict[str, int], rows: int, total: int) -> Table:
    table = Table(title=title, title_justify="left", expand=True)
    table.add_column("name", no_wrap=True, ratio=3)
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    for name, count in islice(counts.items(), rows):
        table.add_row(printable(name), f"{count:,}", f"{count / total:.1%}" if total else "")
    return table
