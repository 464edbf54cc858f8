"""`tally top`: the live page for a terminal, straight from Redis."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tally.cli.asking import ask
from tally.clock import SYSTEM, Clock
from tally.printing import markup
from tally.rates import Rates
from tally.runtime import load_or_exit, stop_on_signals
from tally.store import StoreUnavailable
from tally.store.merged_reads import Reader
from tally.store.status import Status
from tally.telemetry import configure

#: How often the screen is drawn anew, in seconds.
EVERY_SECONDS = 1.0

#: Rows of each table in a pipe, where the height of a terminal does not tell.
ROWS_PIPED = 20

#: What stands around a table's rows, and beside what is in a panel.
TABLE_FRAME_ROWS, PANEL_FRAME_COLUMNS = 5, 4

#: With fewer columns than that the tables stand one over the other: beside each other they would have no names.
NARROW_COLUMNS = 60

#: Between two figures.
GAP = "   "

#: All words are read each time if fewer than these are the first for certain, unless there are more than these.
FEW_WORDS, MOST_READ = 100, 200_000

#: Keys that end it.
_QUIT = (b"q", b"Q", b"\x1b")


@dataclass(frozen=True, slots=True)
class Frame:
    """What is shown at one moment. `before` holds the counts a second ago."""

    status: Status
    types: dict[str, int]
    words: dict[str, int]
    rates: dict[str, float | None]


def top() -> None:
    """Watch rates, ranked types and words and the backlog in the terminal; `q` quits. Prints once into a pipe."""
    settings = load_or_exit(log_level="error")
    configure(settings, service="top")
    ask(settings, lambda reader: watch(reader, Console()))


async def watch(reader: Reader, console: Console, *, clock: Clock = SYSTEM) -> None:
    """Draw until `q` is pressed or a signal comes; print once where standard output is no terminal.

    Raises StoreUnavailable when Redis cannot be reached at the start.
    """
    stop = asyncio.Event()
    rates = Rates(every_seconds=EVERY_SECONDS)
    frame = await _read(reader, rates, clock)
    if not console.is_terminal:
        await clock.wait(stop, EVERY_SECONDS)  # a rate needs two looks
        console.print(page(await _read(reader, rates, clock), console))
        return
    hint = "q quits" if sys.stdin.isatty() else ""
    with stop_on_signals(stop), _keys(stop), Live(console=console, screen=True, auto_refresh=False) as live:
        problem = ""
        while True:
            live.update(screen(frame, console, problem, hint), refresh=True)
            if await clock.wait(stop, EVERY_SECONDS):
                return
            try:
                frame, problem = await _read(reader, rates, clock), ""
            except StoreUnavailable as error:
                rates.clear()
                frame, problem = replace(frame, rates=rates.rates()), str(error)


async def _read(reader: Reader, rates: Rates, clock: Clock) -> Frame:
    status = await reader.status()
    rates.add(clock.monotonic(), status.totals["events"])
    words = await reader.top_words()
    if len(words) < FEW_WORDS and len(words) < (status.distinct_words_at_most or 0) <= MOST_READ:
        words = await reader.words()  # of several shards, where so few are the first for certain
    return Frame(status, await reader.types(), words, rates.rates())


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


def screen(frame: Frame, console: Console, problem: str = "", hint: str = "") -> RenderableType:
    """Return all of a terminal: the figures in as many lines as they need, the tables in the rest.

    `problem` says why Redis does not answer, `hint` which key ends this.
    """
    head = _head(frame, problem, hint, console.width)
    head_rows = len(console.render_lines(head, pad=False))
    layout = Layout()
    layout.split_column(Layout(head, size=head_rows), Layout(name="body"))
    room = console.size.height - head_rows
    narrow = console.width < NARROW_COLUMNS
    rows = max(1, (room // 2 if narrow else room) - TABLE_FRAME_ROWS)
    split = layout["body"].split_column if narrow else layout["body"].split_row
    split(
        Layout(_table("Event types", frame.types, rows, frame.status.totals["events"])),
        Layout(_table("Words", frame.words, rows, frame.status.totals["words"])),
    )
    return layout


def page(frame: Frame, console: Console) -> RenderableType:
    """Return the same, to be printed once."""
    totals = frame.status.totals
    return Group(
        _head(frame, "", "", console.width),
        _table("Event types", frame.types, ROWS_PIPED, totals["events"]),
        _table("Words", frame.words, ROWS_PIPED, totals["words"]),
    )


def _head(frame: Frame, problem: str, hint: str, width: int) -> Panel:
    status, totals = frame.status, frame.status.totals
    counts = [f"{totals[name]:,} {name}" for name in ("events", "words", "rejected", "lost")]
    rates = [f"{seconds} s {_rate(rate)}/s" for seconds, rate in frame.rates.items()]
    waiting = status.backlog.oldest_seconds
    pipeline = [
        f"backlog {status.backlog.blocks:,} blocks, {decimal(status.backlog.bytes)}"
        + ("" if waiting is None else f", oldest {waiting:.1f} s"),
        f"{status.alive:,} aggregator{'' if status.alive == 1 else 's'} alive",
    ]
    if status.backlog.settled_blocks:
        pipeline.insert(1, f"{status.backlog.settled_blocks:,} of them settled")
    if status.dead_letters:
        pipeline.append(f"{status.dead_letters:,} dead letters")
    if status.stuck:
        pipeline.append("nothing is being counted")
    if status.backlog.full:
        pipeline.append("full, sources are not read")
    elif status.backlog.bulk_full:
        pipeline.append("full for files")
    wrong = status.stuck or status.backlog.full or status.dead_letters or totals["lost"]
    lines = [
        _filled(counts, width),
        _filled([f"rate {rates[0]}", *rates[1:]], width),
        _filled([*pipeline, *([hint] if hint else [])], width, style="bold red" if wrong else ""),
    ]
    if problem:
        # What was read last is out of date; the problem stands where one looks first.
        lines[-1] = _filled([f"disconnected, retrying: {problem}", *([hint] if hint else [])], width, style="bold red")
    return Panel(Group(*lines), title="tally", title_align="left")


def _rate(rate: float | None) -> str:
    """Return a rate as text. A few events a minute are not none."""
    if rate is None:
        return "–"
    if 0 < rate < 0.05:
        return "<0.1"
    return f"{rate:,.{1 if 0 < rate < 100 else 0}f}"


def _filled(parts: Sequence[str], width: int, *, style: str = "") -> Text:
    """Return the parts beside each other, and in a new line where there is no room for a whole one."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(GAP) + len(part) > width - PANEL_FRAME_COLUMNS:
            lines.append(part)
        else:
            lines[-1] += GAP + part
    return Text("\n".join(lines), style=style)


def _table(title: str, counts: dict[str, int], rows: int, total: int) -> Table:
    table = Table(title=title, title_justify="left", expand=True)
    table.add_column("name", no_wrap=True, ratio=3)
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    total = max(total, sum(counts.values()))  # of a batch that is being applied the totals come last
    for name, count in islice(counts.items(), rows):
        table.add_row(markup(name), f"{count:,}", f"{count / total:.1%}" if total else "")
    return table
