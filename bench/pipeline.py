"""How fast lines are counted, end to end: `python -m bench.pipeline [--write]`.

A million lines from a file, through the ingestor, a durable server and one aggregator, beside what one would use
instead. The contenders take turns, several times over, so that they share whatever else the machine does; figures
are medians. Every count is compared with an independent one, and it ends with an error if any differs.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import get_args

from bench.contenders import (
    Contender,
    Outcome,
    count_added_up,
    count_each_event,
    count_pieces_with_duckdb,
    count_with_duckdb,
    count_with_tally,
    server_version,
)
from bench.inputs import DESCRIPTIONS, Input, InputKind, head_of, input_of_file, make_input
from bench.processes import BenchError, temporary_folder, tidy_when_terminated
from bench.report import machine, table, write_section

TALLY, DUCKDB = "Tally", "DuckDB on the file"

EXPLANATION = """\
Lines a second: the median of {repetitions} runs, in which the contenders took turns, and the slowest and the fastest.
The clock runs from the first read of the file until the server holds the counts of the last line; *with start* it
runs from the start of the process that reads the file: its imports took Tally's ingestor {start:.2f} s. *Tally is* the
median of the ratios run by run. Tally and the streams run on a server of their own each time, with an append-only
file (`appendfsync everysec`): an ingestor or producer, the server, one aggregator or consumer, all at once. The
streams with one event an entry count the first {rival_lines:,} lines only. DuckDB reads the file with all cores,
without a stream, a server or anything durable, and knows nothing before the end. It finds words by Tally's
default pattern: in each text, or in the distinct pieces between spaces only, as Tally does it. It counts nothing by
time."""

COST_EXPLANATION = """\
What counting took, medians: processor seconds for a million lines by process (the ingestor's with its start), the most
memory that each of Tally's had resident, what was written to the append-only file for a million lines, and how long the
server kept a PING every 10 ms waiting while it counted."""


#: One event an entry: these would need minutes for all lines.
ONE_BY_ONE = {"stream, added up each read": count_added_up, "stream, HINCRBY for each event": count_each_event}

CONTENDERS: dict[str, Contender] = {
    TALLY: count_with_tally,
    DUCKDB: count_with_duckdb,
    "DuckDB, distinct pieces": count_pieces_with_duckdb,
    **ONE_BY_ONE,
}


@dataclass(slots=True)
class Series:
    """One contender's runs on one input."""

    name: str
    count: Contender
    source: Input
    outcomes: list[Outcome] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Run once more, and check what it found."""
        outcome = self.count(self.source)
        self.outcomes.append(outcome)
        difference = self.source.truth.difference(outcome.found)
        if difference:
            self.problems[difference] += 1

    def speeds(self, *, with_start: bool = False) -> list[float]:
        """Lines a second of each run."""
        return [self.source.lines / (each.seconds_with_start if with_start else each.seconds) for each in self.outcomes]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    options = _options(arguments)
    tidy_when_terminated()
    about = machine(server_version())
    try:
        with temporary_folder() as folder:
            groups = [_contest(source, options) for source in _inputs(folder, options)]
            for repetition in range(options.repetitions):
                for series in (each for group in groups for each in group):
                    series.run()
                    print(
                        f"run {repetition + 1}/{options.repetitions}  {series.source.kind:8} {series.name:32} "
                        f"{series.speeds()[-1]:>12,.0f} lines/s",
                        flush=True,
                    )
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    text = _report(groups, about, options)
    print(f"\n{text}")
    if options.write:
        write_section("Speed", text)
    wrong = {series.name for group in groups for series in group if series.problems}
    if wrong:
        raise SystemExit(f"bench: wrong counts: {', '.join(sorted(wrong))}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description="How fast lines are counted.")
    kinds = get_args(InputKind)
    parser.add_argument("--inputs", nargs="+", choices=kinds, default=kinds, help="default: all")
    parser.add_argument("--file", type=Path, help="a file of events, in place of the inputs that are made")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of an input, at the most (default: %(default)s)")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="default: all")
    parser.add_argument("--rival-lines", type=int, default=50_000, help="for one event an entry (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=5, help="runs of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of the inputs (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the report into bench/results.md")
    options = parser.parse_args(arguments)
    if options.file is not None and (options.write or not options.file.is_file()):
        parser.error(f"{options.file}: no file" if not options.write else "--write is for the inputs that are made")
    if not 1 <= options.repetitions <= 100 or not 1000 <= options.lines <= 20_000_000 or options.rival_lines < 1000:
        parser.error("1 to 100 repetitions, 1,000 to 20,000,000 lines, at least 1,000 rival lines")
    return options


def _inputs(folder: Path, options: argparse.Namespace) -> Iterator[Input]:
    if options.file is not None:
        print(f"counting {options.file}", flush=True)
        yield input_of_file(options.file, folder, lines=options.lines)
        return
    for kind in options.inputs:
        print(f"making {kind}: {DESCRIPTIONS[kind]}", flush=True)
        yield make_input(kind, folder, lines=options.lines, seed=options.seed)


def _contest(source: Input, options: argparse.Namespace) -> list[Series]:
    """Run the contenders on one input, Tally first."""
    head = head_of(source, lines=options.rival_lines)
    names = [TALLY, *(name for name in options.contenders if name != TALLY)]
    return [Series(name, CONTENDERS[name], head if name in ONE_BY_ONE else source) for name in names]


def _report(groups: Sequence[Sequence[Series]], about: str, options: argparse.Namespace) -> str:
    start_seconds = median(each.seconds_with_start - each.seconds for group in groups for each in group[0].outcomes)
    parts = [
        about,
        EXPLANATION.format(repetitions=options.repetitions, rival_lines=options.rival_lines, start=start_seconds),
    ]
    for group in groups:
        source = group[0].source
        rejected = f", {source.truth.rejected:,} of them rejected" if source.truth.rejected else ""
        parts.append(
            f"**{source.kind}**: {source.description}; {source.lines:,} lines{rejected}, "
            f"{source.bytes / 1e6:,.1f} MB, {len(source.truth.words):,} distinct words"
        )
        parts.append(_speed_table(group))
    parts.append(COST_EXPLANATION)
    parts.append(_cost_table(groups))
    parts.append(_verdict([series for group in groups for series in group]))
    return "\n\n".join(parts)


def _speed_table(group: Sequence[Series]) -> str:
    tally = group[0]
    rows = []
    for series in group:
        speeds = series.speeds()
        ratio = median(ours / theirs for ours, theirs in zip(tally.speeds(), speeds, strict=True))
        rows.append(
            (
                series.name,
                f"{median(speeds):,.0f}",
                f"({min(speeds):,.0f} - {max(speeds):,.0f})",
                f"{median(series.speeds(with_start=True)):,.0f}",
                "" if series is tally else f"{ratio:.2f} x",
            )
        )
    return table(("contender", "lines/s", "slowest - fastest", "with start", "Tally is"), rows)


def _cost_table(groups: Sequence[Sequence[Series]]) -> str:
    rows = []
    for tally, *others in groups:
        millions = tally.source.lines / 1e6
        cells = []
        for process in ("ingestor", "aggregator", "server"):
            peak_mb = max(each.peak_bytes[process] for each in tally.outcomes) / 1e6
            cells.append(f"{_cpu_seconds(tally, process) / millions:.2f} s, {peak_mb:.0f} MB")
        duckdb = next((series for series in others if series.name == DUCKDB), None)
        cells.append(f"{_cpu_seconds(duckdb, 'duckdb') / millions:.2f} s" if duckdb else "")
        cells.append(f"{median(each.appended_bytes for each in tally.outcomes) / 1e6 / millions:,.0f} MB")
        p99 = median(_percentile(each.ping_seconds, 99) for each in tally.outcomes)
        longest = median(max(each.ping_seconds, default=0.0) for each in tally.outcomes)
        cells.append(f"{1000 * p99:,.1f} / {1000 * longest:,.1f} ms")
        rows.append((tally.source.kind, *cells))
    head = ("input", "ingestor", "aggregator", "server", DUCKDB, "append-only file", "PING p99 / longest")
    return table(head, rows)


def _percentile(values: Sequence[float], percent: int) -> float:
    """Return it, and 0 of nothing: a short file is counted before the first answer."""
    ordered = sorted(values)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] if ordered else 0.0


def _cpu_seconds(series: Series, process: str) -> float:
    return median(each.cpu_seconds[process] for each in series.outcomes)


def _verdict(all_series: Sequence[Series]) -> str:
    wrong = [
        f"{series.name} on {series.source.kind}: {difference} ({times} of {len(series.outcomes)} runs)"
        for series in all_series
        for difference, times in series.problems.items()
    ]
    if wrong:
        return "Counts that differ from an independent count: " + "; ".join(wrong) + "."
    return "The counts of every run of every contender equal an independent count (`json` and `re`, a line at a time)."


if __name__ == "__main__":
    main()
