"""What counting words by type costs: `python -m bench.by_type [--base FOLDER] [--write]`.

The lines of all inputs, with a hundred types instead of six, lie on a stream, and an aggregator counts them to the end:
with words by type off, of the first 20 types and of 100. The processor time is that of the aggregator, without its
start, and of the server. With `--base` so does the code in another folder, by turns with ours, where it is off.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import DEVNULL
from typing import Any, get_args

from bench.contenders import server_version
from bench.inputs import InputKind, input_lines
from bench.processes import BenchError, Process, fresh_bench, temporary_folder, tidy_when_terminated, wait_until
from bench.report import machine, table, write_section
from tally.keys import Keys

KEYS = Keys()

#: How many types there are, the one of rank r in proportion to 1/r.
TYPES = 100

#: Bytes of lines in a block, as ingestors make them where there are many.
BLOCK_BYTES = 256 << 10

EXPLANATION = """\
Processor seconds for a million lines, of the aggregator (without its start) and of the server, and what the server's
memory had grown by when all was counted, for {lines:,} lines of each input: medians of {repetitions} runs by turns. The
inputs are those above, but of {types} types, the one of rank r as frequent as 1/r; `TALLY_WORDS_BY_TYPE` was as the
column says."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One run: processor seconds of the aggregator and of the server, and by how many bytes its memory grew."""

    aggregator: float
    server: float
    bytes: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print or write what was found."""
    kinds = get_args(InputKind)
    parser = argparse.ArgumentParser(prog="python -m bench.by_type", description="What counting words by type costs.")
    parser.add_argument("--lines", type=int, default=300_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--inputs", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--file", type=Path, help="a file of events, which are counted as they are, besides the inputs")
    parser.add_argument("--base", type=Path, help="a folder with other code, that is compared")
    parser.add_argument("--write", action="store_true", help="put the report into bench/results.md")
    options = parser.parse_args(arguments)
    tidy_when_terminated()
    about = machine(server_version())
    columns: dict[str, tuple[Path | None, str]] = {"off": (None, ""), "20": (None, "20"), "100": (None, "100")}
    if options.base:
        columns = {"base": (options.base, ""), **columns}
    rows = []
    try:
        with temporary_folder() as folder:
            start = median(_count([], *columns["off"]).aggregator for _ in range(3))
            for kind, path in _inputs(options, folder):
                blocks = list(_blocks(path))
                found: dict[str, list[Figures]] = defaultdict(list)
                for _ in range(options.repetitions):
                    for name, (code, setting) in columns.items():
                        found[name].append(_count(blocks, code, setting))
                rows += _rows(kind, found, start=start, lines=sum(block.count(b"\n") for block in blocks))
                print(*rows[-3:], sep="\n", flush=True)
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    text = "\n\n".join(
        (
            about,
            EXPLANATION.format(lines=options.lines, repetitions=options.repetitions, types=TYPES),
            table(("input", *columns), rows),
        )
    )
    print(f"\n{text}")
    if options.write:
        write_section("Words by type", text)


def _inputs(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path]]:
    chance = random.Random(1)
    names = [f"type.{number}" for number in range(TYPES)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, TYPES + 1)))
    for kind in options.inputs:
        path = folder / f"{kind}.ndjson"
        with path.open("wb") as file:
            for line in input_lines(kind, options.lines, seed=7):
                of_type = chance.choices(names, cum_weights=weights)[0].encode()
                file.write(re.sub(rb'("event_type": )"\w+"', rb'\1"' + of_type + b'"', line))
        yield kind, path
    if options.file:
        yield options.file.name, options.file


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while lines := file.readlines(BLOCK_BYTES):
            yield b"".join(lines)


def _count(blocks: Sequence[bytes], code: Path | None, setting: str) -> Figures:
    variables = {"TALLY_WORDS_BY_TYPE": setting} if setting else {}
    if code is not None:
        variables["PYTHONPATH"] = str(code)
    with fresh_bench() as bench:
        client: Any = bench.start_server()
        before = client.info("memory")["used_memory"]
        for first in range(0, len(blocks), 20):
            pipeline = client.pipeline(transaction=False)
            for block in blocks[first : first + 20]:
                pipeline.xadd(KEYS.stream, {"lines": block, "source": "bench"})
            pipeline.execute()
        server = bench.server.cpu_seconds()
        aggregator = bench.start_module("aggregator", "--drain", stdin=DEVNULL, **variables)
        wait_until(partial(_has_ended, aggregator), what="all is counted")
        cpu = aggregator.cpu_seconds()
        server = bench.server.cpu_seconds() - server
        aggregator.wait()
        if client.xlen(KEYS.stream) or client.llen(KEYS.deltas):
            raise BenchError("not all is counted")
        return Figures(cpu, server, client.info("memory")["used_memory"] - before)


def _has_ended(process: Process) -> bool:
    """Return whether it has; it is not reaped, so that its figures can still be read."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _rows(kind: str, found: dict[str, list[Figures]], *, start: float, lines: int) -> list[tuple[str, ...]]:
    million = 1e6 / lines
    first = next(iter(found))

    def row(what: str, values: dict[str, list[float]], form: str) -> tuple[str, ...]:
        ratio = {
            name: median(one / base for one, base in zip(values[name], values[first], strict=True)) for name in found
        }
        cells = (
            f"{median(each):{form}}" + ("" if name == first else f" ({ratio[name]:.2f})")
            for name, each in values.items()
        )
        return (f"{kind}, {what}", *cells)

    both = {
        "aggregator": {name: [(each.aggregator - start) * million for each in runs] for name, runs in found.items()},
        "server": {name: [each.server * million for each in runs] for name, runs in found.items()},
    }
    memory = {name: [each.bytes / (1 << 20) for each in runs] for name, runs in found.items()}
    return [
        *(row(f"{process} s", values, ".2f") for process, values in both.items()),
        row("MiB", memory, ".0f"),
    ]


if __name__ == "__main__":
    main()
