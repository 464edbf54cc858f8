"""How fast a namespace is exported and imported, and what it takes: `python -m bench.export [--write]`.

Words of all time and of many windows, written past the pipeline; `tally export`, and `tally import` of that with one
shard and with four, in turns, on one durable server. Processes are measured from their start to their end, and the
server meanwhile by PINGs. That what comes in is what went out is for the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from subprocess import DEVNULL
from typing import Any

from bench.contenders import server_version
from bench.processes import Bench, BenchError, Process, fresh_bench, temporary_folder, tidy_when_terminated, wait_until
from bench.report import machine, table, write_section
from tally.export_files import opened
from tally.keys import TYPES, WORDS, Keys
from tally.layout import Layout
from tally.settings import Settings
from tally.windows import WindowLength
from tests.filling import fill

#: How many windows of each length there are, and how many of a million words each has.
WINDOWS = {60: (360, 0.0005), 3600: (200, 0.003), 86_400: (30, 0.02)}

#: The newest one, in Unix seconds.
NEWEST = 1_700_006_400

EXPLANATION = """\
Medians of {repetitions} runs in turns: {names:,} names in hashes, {lines} of lines, {packed} packed; the
largest hash has {words:,} names. The server has an append-only file."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one command took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    longest_wait_seconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=200_000, help="distinct words of all time (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the results into bench/results.md, too")
    options = parser.parse_args()
    tidy_when_terminated()
    about = machine(server_version())
    try:
        text = _measured(options.words, options.repetitions)
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    print(f"{about}\n\n{text}")
    if options.write:
        write_section("Export and import", f"{about}\n\n{text}")


def _measured(words: int, repetitions: int) -> str:
    runs: dict[str, list[Run]] = {}
    with fresh_bench() as bench, temporary_folder() as folder:
        client = bench.start_server()
        names = _fill(client, words)
        for number in range(repetitions):
            path = folder / f"{number}.zst"
            runs.setdefault("export", []).append(_run(bench, "export", path))
            for shards in (1, 4):
                what = f"import, {shards} shard{'s' if shards > 1 else ''}"
                runs.setdefault(what, []).append(_run(bench, "import", path, namespace="other", shards=shards))
                _empty(client, "other")
        line_bytes = _line_bytes(path)
        packed = path.stat().st_size
    head = ("", "seconds", "names a second", "lines", "processor", "memory", "longest PING")
    rows = [_row(what, each, names, line_bytes) for what, each in runs.items()]
    explanation = EXPLANATION.format(
        repetitions=repetitions, names=names, lines=_mb(line_bytes), packed=_mb(packed), words=words
    )
    return f"{explanation}\n\n{table(head, rows)}"


def _fill(client: Any, words: int) -> int:
    """Write a namespace with so many words; return how many names are in its hashes."""
    keys = Keys()
    windows = ",".join(f"{seconds}x{number + 40}" for seconds, (number, _) in WINDOWS.items())
    layout = Layout.of(Settings(windows=windows))
    client.hset(keys.layout, mapping={**layout.fields, "since": str(NEWEST)})
    hashes = {keys.words: words, keys.types: 1}
    for length in (WindowLength(seconds, number) for seconds, (number, _) in WINDOWS.items()):
        for at in range(length.kept):
            start = length.start_of(NEWEST) - at * length.seconds
            client.zadd(keys.windows(length.seconds), {str(start): start})
            hashes[keys.window(WORDS, length.seconds, start)] = int(words * WINDOWS[length.seconds][1])
            hashes[keys.window(TYPES, length.seconds, start)] = 1
    fill(client, {key: _names(number) for key, number in hashes.items()})
    client.hset(keys.totals, mapping={"events": words, "lines": words})
    return sum(hashes.values())


def _names(number: int) -> Iterator[tuple[str, int]]:
    """Return names that nothing packs, of the length of words, with counts as words have them."""
    for rank in range(number):
        digest = sha256(b"%d" % rank).hexdigest()
        yield digest[: 4 + rank % 9], 1 + number // (1 + rank)


def _run(bench: Bench, command: str, path: Path, *, namespace: str = "tally", shards: int = 1) -> Run:
    windows = ",".join(f"{seconds}x{number + 40}" for seconds, (number, _) in WINDOWS.items())
    probe = bench.start_module("bench.ping", str(bench.port))
    variables = {"TALLY_WINDOWS": windows, "TALLY_NAMESPACE": namespace, "TALLY_SHARDS": str(shards)}
    process = bench.start_module("tally", command, str(path), stdin=DEVNULL, **variables)
    peak_bytes, cpu_seconds, seconds = _figures(process)
    probe.send(signal.SIGTERM)
    probe.wait()
    waits = json.loads(probe.log().splitlines()[-1])
    during = [wait for sent_at, wait in waits if sent_at >= process.started_at]
    return Run(seconds, cpu_seconds, peak_bytes, max(during))


def _figures(process: Process) -> tuple[int, float, float]:
    """Wait until it has ended; return its memory at the most, its processor time, and how long it took."""

    def has_ended() -> bool:
        process.check()
        process.peak_bytes()
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    wait_until(has_ended, what=f"{process.name} has ended")
    seconds, cpu_seconds, peak_bytes = time.time() - process.started_at, process.cpu_seconds(), process.peak_bytes()
    process.wait()
    return peak_bytes, cpu_seconds, seconds


def _empty(client: Any, namespace: str) -> None:
    for key in client.scan_iter(f"{namespace}:*", count=1000):
        client.unlink(key)


def _line_bytes(path: Path) -> int:
    with opened(path) as lines:
        return sum(map(len, lines))


def _row(what: str, runs: list[Run], names: int, line_bytes: int) -> tuple[str, ...]:
    seconds = median(run.seconds for run in runs)
    return (
        what,
        f"{seconds:.1f} s",
        f"{names / seconds:,.0f}",
        f"{_mb(line_bytes / seconds)}/s",
        f"{median(run.cpu_seconds for run in runs):.1f} s",
        _mb(median(run.peak_bytes for run in runs)),
        f"{1000 * median(run.longest_wait_seconds for run in runs):.0f} ms",
    )


def _mb(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


if __name__ == "__main__":
    main()
