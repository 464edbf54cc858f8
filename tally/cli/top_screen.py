"""What `tally top` shows: a state of the pipeline and ranked names, as a screen or a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tally.keys import KINDS, Kind
from tally.printing import markup
from tally.store.status import Status

#: Rows of each table in a pipe, where the height of a terminal does not tell.
ROWS_PIPED = 20

#: What stands around a table's rows, and beside what is in a panel.
TABLE_FRAME_ROWS, PANEL_FRAME_COLUMNS = 5, 4

#: With fewer columns than that the tables stand one over the other: beside each other they would have no names.
NARROW_COLUMNS = 60

#: Between two figures.
GAP = "   "

#: How rows are ordered; see the option's help.
Sort = Literal["count", "name", "change"]

#: Of each kind its name in a title, and the total of which shares are shown.
TITLES: dict[Kind, tuple[str, str]] = {"types": ("Event types", "events"), "words": ("Words", "words")}


@dataclass(frozen=True, slots=True)
class View:
    """What is to be shown: counts of all time, or of so many last seconds, in which order."""

    window: str | None = None
    window_seconds: int = 0
    sort: Sort = "count"


@dataclass(frozen=True, slots=True)
class Frame:
    """What is shown at one moment: counts of all time, or of [start, end) in Unix seconds, and how they have changed.

    `took_seconds` is how long it took to read.
    """

    status: Status
    counts: dict[Kind, dict[str, int]]
    rates: dict[str, float | None]
    as_of: float = 0.0
    range: tuple[int, int] | None = None
    changes: dict[Kind, dict[str, int]] = field(default_factory=dict)
    took_seconds: float = 0.0

    def total(self, kind: Kind) -> int:
        """Return of what shares are shown."""
        counted = sum(self.counts[kind].values())
        # Of a batch that is being applied the totals come last.
        return counted if self.range else max(counted, self.status.totals[TITLES[kind][1]])

    def rows(self, kind: Kind, sort: Sort, most: int | None = None) -> list[tuple[str, int]]:
        """Return so many names with their counts: the most frequent ones, or those that have changed most."""
        counts, changes = self.counts[kind], self.changes.get(kind, {})
        by_count = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        if sort == "change":
            by_count.sort(key=lambda each: -abs(changes.get(each[0], 0)))
        rows = by_count[:most]
        return sorted(rows) if sort == "name" else rows


def screen(
    frame: Frame, console: Console, problem: str = "", hint: str = "", *, view: View | None = None
) -> RenderableType:
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
    split(*(Layout(_table(frame, kind, rows, view or View())) for kind in KINDS))
    return layout


def page(frame: Frame, console: Console, *, view: View | None = None) -> RenderableType:
    """Return the same, to be printed once."""
    tables = [_table(frame, kind, ROWS_PIPED, view or View()) for kind in KINDS]
    return Group(_head(frame, "", "", console.width), *tables)


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
    if status.backlog.held is not None:
        pipeline.append(f"sources are not read: tally {status.backlog.held.by} holds appends")
    elif status.backlog.full:
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


def _table(frame: Frame, kind: Kind, rows: int, view: View) -> Table:
    title, total = TITLES[kind][0], frame.total(kind)
    table = Table(title=f"{title}, the last {view.window}" if view.window else title, title_justify="left", expand=True)
    table.add_column("name", no_wrap=True, ratio=3)
    table.add_column("count", justify="right")
    table.add_column("change" if view.sort == "change" else "share", justify="right")
    changes = frame.changes.get(kind, {})
    for name, count in frame.rows(kind, view.sort, rows):
        share = f"{count / total:.1%}" if total else ""
        last = f"{changes.get(name, 0):+,}" if view.sort == "change" else share
        table.add_row(markup(name), f"{count:,}", last)
    return table
