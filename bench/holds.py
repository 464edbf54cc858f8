"""How long anything of Tally's holds the server: `python -m bench.holds [--inputs …]`.

The pipeline counts inputs that ask much of the server, one after the other, each on a durable server of its own, which
notes every command in its SLOWLOG. The report has each kind of script and command: how often it ran, the median and the
longest. What a script calls is in it, and has a row of its own besides.

Meanwhile a client of its own sends a PING every 10 ms. In what it waits is all that the server does, and on a busy
machine also the waiting for a processor.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench.contenders import server_version
from bench.processes import BenchError, fresh_bench, temporary_folder, tidy_when_terminated, wait_until
from bench.report import machine, table
from bench.texts import text_lines
from tally.keys import Keys
from tests.holding import Holding

DAY_SECONDS = 86_400

#: For what is done after the last line is counted.
LINGER_SECONDS = 3.0

#: Kinds whose longest took less than this are left out of the report.
SHOWN_SECONDS = 0.001


def distinct_words() -> Iterator[bytes]:
    """Eight words a line, of every length, and each comes once."""
    numbers = itertools.count()
    while True:
        yield _line(" ".join(_word(next(numbers)) for _ in range(8)))


def long_lines() -> Iterator[bytes]:
    """Lines of nearly a MiB, of distinct words."""
    numbers = itertools.count()
    while True:
        yield _line(" ".join(f"w{next(numbers):x}" for _ in range(140_000)))


def minutes() -> Iterator[bytes]:
    """Each line in a minute of its own, of two years, in no order."""
    order = list(range(2 * 365 * 1440))
    random.Random(7).shuffle(order)
    now = int(time.time())
    for ago in itertools.cycle(order):
        yield _line("a few words", timestamp=now - 60 * ago)


def types() -> Iterator[bytes]:
    """Ten thousand types, in each minute of six hours."""
    now = int(time.time())
    for number in itertools.count():
        yield _line("a few words", type_=f"type-{number % 10_000}", timestamp=now - 60 * (number // 10_000 % 360))


def history() -> Iterator[bytes]:
    """Texts like real ones, over ten years."""
    now = int(time.time())
    return text_lines(1_000_000, seed=7, first_seconds=now - 3650 * DAY_SECONDS, last_seconds=now)


def text() -> Iterator[bytes]:
    """Texts like real ones, at once."""
    return text_lines(1_000_000, seed=7)


INPUTS: dict[str, Callable[[], Iterator[bytes]]] = {
    "distinct-words": distinct_words,
    "long-lines": long_lines,
    "minutes": minutes,
    "types": types,
    "history": history,
    "text": text,
}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.holds", description="How long Tally holds the server.")
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS), help="default: all")
    parser.add_argument("--megabytes", type=float, default=16, help="of each input (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not 0.1 <= options.megabytes <= 1000:
        parser.error("0.1 to 1000 megabytes")
    tidy_when_terminated()
    print(machine(server_version()))
    try:
        for name in options.inputs:
            with temporary_folder() as folder:
                path = folder / f"{name}.ndjson"
                lines = _write(path, INPUTS[name](), int(options.megabytes * 1e6))
                print(f"\n**{name}**: {INPUTS[name].__doc__} {lines:,} lines.\n\n{_measure(path, lines)}", flush=True)
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None


def _measure(path: Path, lines: int) -> str:
    keys = Keys()
    with fresh_bench() as bench:
        client = bench.start_server()
        holding = Holding(bench.port)
        probe = bench.start_module("bench.ping", str(bench.port))
        aggregator = bench.start_module("aggregator")
        ingestor = bench.start_module("ingestor", str(path))

        def counted() -> bool:
            aggregator.check()
            ingestor.check()
            return int(client.hget(keys.totals, "lines") or 0) >= lines

        # Seldom asked: every question is in the SLOWLOG, too.
        wait_until(counted, what=f"{lines:,} lines are counted", pause_seconds=0.1)
        time.sleep(LINGER_SECONDS)
        aggregator.stop()
        found = holding.seconds()
        holding.close()
        probe.stop()
        found["PING, as it waited"] = [wait for _, wait in json.loads(probe.log())]
    slowest_first = sorted(found.items(), key=lambda each: max(each[1]), reverse=True)
    rows = [
        (kind, f"{len(seconds):,}", f"{1000 * median(seconds):,.2f} ms", f"{1000 * max(seconds):,.1f} ms")
        for kind, seconds in slowest_first
        if max(seconds) >= SHOWN_SECONDS
    ]
    return table(("script or command", "calls", "median", "longest"), rows)


def _write(path: Path, lines: Iterator[bytes], size: int) -> int:
    """Write so many bytes, to the end of a line: how many lines."""
    number = written = 0
    with path.open("wb") as file:
        while written < size:
            line = next(lines, b"")
            if not line:
                break
            written += file.write(line)
            number += 1
    return number


def _line(text: str, *, type_: str = "a", timestamp: int | None = None) -> bytes:
    event = {"event_type": type_, "data": text} | ({} if timestamp is None else {"timestamp": timestamp})
    return json.dumps(event).encode() + b"\n"


def _word(number: int) -> str:
    """Return a word that no other number has, of 2 to about 60 letters."""
    return f"{number:x}" + "x" * (1 + number * 7919 % 55)


if __name__ == "__main__":
    main()
