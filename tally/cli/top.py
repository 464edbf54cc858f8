"""`tally top`: the live page for a terminal, straight from Redis."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from tally.cli.asking import ask
from tally.cli.top_screen import Frame, Sort, View, page, screen
from tally.clock import SYSTEM, Clock
from tally.keys import KINDS, Kind
from tally.ranges import last_windows
from tally.rates import Rates
from tally.runtime import EXIT_USAGE, fail, load_or_exit, stop_on_signals
from tally.store import StoreUnavailable
from tally.store.merged_reads import Reader
from tally.store.reads import as_text
from tally.store.status import Status
from tally.telemetry import configure

#: How often the screen is drawn anew, in seconds.
EVERY_SECONDS = 1.0

#: What is read before that may take long, of a long time with many words, so it is read again after so many times that.
READING_SHARE = 4.0

#: All words are read each time if fewer than these are the first for certain, unless there are more than these.
FEW_WORDS, MOST_READ = 100, 200_000

#: Keys that end it.
_QUIT = (b"q", b"Q", b"\x1b")


def top(
    window: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="Counts of the last so much time, as in 15m, 6h, 1d. Default: of all time."
        ),
    ] = None,
    sort: Annotated[
        Sort,
        typer.Option(
            help="The most frequent names first; these by name, so that rows stay where they are; or those first whose "
            "counts have changed most since they were last read."
        ),
    ] = "count",
    as_json: Annotated[bool, typer.Option("--json", help="Print it once, as JSON.")] = False,
) -> None:
    """Watch rates, ranked types and words and the backlog in the terminal; `q` quits.

    Prints once into a pipe, and where the terminal can do no more (`TERM=dumb`). `NO_COLOR` is heeded.
    """
    from api.moments import read_duration  # only now: other commands need not wait for it

    settings = load_or_exit(log_level="error")
    configure(settings, service="top")
    try:
        view = View(window, read_duration(window) if window is not None else 0, sort)
    except ValueError as error:
        fail(f"--window {window}: {error}", code=EXIT_USAGE)
    ask(settings, lambda reader: watch(reader, Console(), view=view, as_json=as_json))


async def watch(
    reader: Reader, console: Console, *, view: View | None = None, as_json: bool = False, clock: Clock = SYSTEM
) -> None:
    """Draw until `q` is pressed or a signal comes; print once as JSON, or where standard output cannot be drawn on.

    Raises StoreUnavailable when Redis cannot be reached at the start.
    """
    view = view or View()
    stop = asyncio.Event()
    rates = Rates(every_seconds=EVERY_SECONDS)
    frame = await _read(reader, view, rates, clock)
    if as_json or not console.is_terminal or console.is_dumb_terminal:
        await clock.wait(stop, EVERY_SECONDS)  # a rate needs two looks
        frame = await _read(reader, view, rates, clock, before=frame)
        if as_json:
            typer.echo(json.dumps(as_dict(frame, view)))
        else:
            console.print(page(frame, console, view=view))
        return
    hint = "q quits" if sys.stdin.isatty() else ""
    with stop_on_signals(stop), _keys(stop), Live(console=console, screen=True, auto_refresh=False) as live:
        problem = ""
        while True:
            live.update(screen(frame, console, problem, hint, view=view), refresh=True)
            if await clock.wait(stop, max(EVERY_SECONDS, READING_SHARE * frame.took_seconds)):
                return
            try:
                frame, problem = await _read(reader, view, rates, clock, before=frame), ""
            except StoreUnavailable as error:
                rates.clear()
                frame, problem = replace(frame, rates=rates.rates()), str(error)


def as_dict(frame: Frame, view: View) -> dict[str, object]:
    """Return what is shown as it stands in JSON: all names that were read, in their order."""
    return {
        "as_of": frame.as_of,
        "from": frame.range[0] if frame.range else None,
        "to": frame.range[1] if frame.range else None,
        "rates": frame.rates,
        **{kind: dict(frame.rows(kind, view.sort)) for kind in KINDS},
        "status": frame.status.as_dict(),
    }


async def _read(reader: Reader, view: View, rates: Rates, clock: Clock, *, before: Frame | None = None) -> Frame:
    began, now = clock.monotonic(), clock.time()
    status = await reader.status()
    rates.add(clock.monotonic(), status.totals["events"])
    if view.window is None:
        range_ = None
        counts: dict[Kind, dict[str, int]] = {"types": await reader.types(), "words": await _words(reader, status)}
    else:
        range_, counts = await _window(reader, view.window_seconds, now)
    changes = {kind: _changes(counts[kind], before.counts[kind]) for kind in KINDS} if before else {}
    took_seconds = clock.monotonic() - began
    return Frame(status, counts, rates.rates(), now, range_, changes, took_seconds)


async def _window(reader: Reader, seconds: int, now: float) -> tuple[tuple[int, int], dict[Kind, dict[str, int]]]:
    """Return the counts of the last so many seconds, and how far these were widened."""
    unit_seconds = (await reader.counting()).unit_seconds
    start, end = last_windows(seconds, unit_seconds=unit_seconds, now=now)
    counts: dict[Kind, dict[str, int]] = {}
    for kind in KINDS:
        found, summed = await reader.sum_range(kind, start, end)
        start, end = found.start, found.end
        counts[kind] = as_text(summed)
    return (start, end), counts


def _changes(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in now.items()}


async def _words(reader: Reader, status: Status) -> dict[str, int]:
    words = await reader.top_words()
    if len(words) < FEW_WORDS and len(words) < (status.distinct_words_at_most or 0) <= MOST_READ:
        words = await reader.words()  # of several shards, where so few are the first for certain
    return words


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
