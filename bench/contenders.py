"""The contenders: each counts an input from its file, and says how long that took and what it found.

What passes through a server is timed alike: the reading side runs and waits, the writing side is started; the clock
runs from the writing side's first read of the file until the server holds the counts of the last line. DuckDB is
timed from its first query until both results are there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from time import time
from typing import Any

import redis

from bench import rivals
from bench.inputs import Input
from bench.processes import BenchError, Process, fresh_bench, wait_until
from tally.keys import GROUP, Keys
from tests.oracle import Expected


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: seconds from the first read of the file, and from the start of the process that reads it.

    Processor time and the peak of resident memory are by process; the time that a process which only waits took to
    start is left out.
    """

    seconds: float
    seconds_with_start: float
    cpu_seconds: dict[str, float]
    peak_bytes: dict[str, int]
    found: Expected


Contender = Callable[[Input], Outcome]


def count_with_tally(source: Input) -> Outcome:
    """An ingestor and one aggregator."""
    keys = Keys()

    def found(client: Any) -> Expected:
        totals = client.hgetall(keys.totals)
        return Expected(
            types=_counter(client.hgetall(keys.types)),
            words=_counter(client.hgetall(keys.words)),
            events=int(totals["lines"]) - int(totals.get("rejected", 0)),
            rejected=int(totals.get("rejected", 0)),
        )

    with fresh_bench() as bench:
        client = bench.start_server()
        aggregator = bench.start_module("aggregator")
        _wait_for_consumer(client, keys.stream, GROUP, aggregator)
        ingestor = bench.start_module("ingestor", str(source.path))
        ended_at = _wait_for_lines(client, keys.totals, source.lines, watch=(aggregator, ingestor))
        figures = {"server": bench.server, "ingestor": ingestor, "aggregator": aggregator}
        return _outcome(figures, ingestor, began_at=_opened_at(ingestor), ended_at=ended_at, found=found(client))


def count_each_event(source: Input) -> Outcome:
    """One event an entry; each name incremented for each event."""
    return _count_one_by_one(source, reader="consume")


def count_added_up(source: Input) -> Outcome:
    """One event an entry; each name incremented once a read."""
    return _count_one_by_one(source, reader="sum")


def count_with_duckdb(source: Input) -> Outcome:
    """DuckDB on the file, with the fastest query that gives the right counts."""
    with fresh_bench() as bench:
        strict = ["strict"] if source.kind == "garbage" else []
        process = bench.start_module("bench.rivals", "duckdb", str(source.path), *strict)
        process.wait()
        figures = json.loads(process.log_text())
        types, words = Counter(figures["types"]), Counter(figures["words"])
        lines = source.lines
        return Outcome(
            seconds=figures["ended"] - figures["began"],
            seconds_with_start=figures["ended"] - process.started_at,
            cpu_seconds={"duckdb": figures["cpu_seconds"]},
            peak_bytes={"duckdb": figures["peak_bytes"]},
            found=Expected(types=types, words=words, events=types.total(), rejected=lines - types.total()),
        )


def server_version() -> str:
    """Return the server that the contenders run on."""
    with fresh_bench() as bench:
        about: Any = bench.start_server().info("server")
    if "valkey_version" in about:
        return f"Valkey {about['valkey_version']}"
    return f"Redis {about['redis_version']}"


def _count_one_by_one(source: Input, *, reader: str) -> Outcome:
    with fresh_bench() as bench:
        client: Any = bench.start_server()
        consumer = bench.start_module("bench.rivals", reader)
        _wait_for_consumer(client, rivals.STREAM, rivals.GROUP, consumer)
        producer = bench.start_module("bench.rivals", "produce", str(source.path))
        ended_at = _wait_for_lines(client, rivals.TOTALS, source.lines, watch=(consumer, producer))
        totals = client.hgetall(rivals.TOTALS)
        found = Expected(
            types=_counter(client.hgetall(rivals.TYPES)),
            words=_counter(client.hgetall(rivals.WORDS)),
            events=int(totals["lines"]) - int(totals["rejected"]),
            rejected=int(totals["rejected"]),
        )
        figures = {"server": bench.server, "producer": producer, "consumer": consumer}
        began_at = float(json.loads(producer.log_text().splitlines()[0])["began"])
        return _outcome(figures, producer, began_at=began_at, ended_at=ended_at, found=found)


def _outcome(
    processes: dict[str, Process], first: Process, *, began_at: float, ended_at: float, found: Expected
) -> Outcome:
    return Outcome(
        seconds=ended_at - began_at,
        seconds_with_start=ended_at - first.started_at,
        cpu_seconds={name: process.cpu_seconds() for name, process in processes.items()},
        peak_bytes={name: process.peak_bytes() for name, process in processes.items()},
        found=found,
    )


def _wait_for_consumer(client: Any, stream: str, group: str, process: Process) -> None:
    """Wait until a reader waits in the group."""

    def waits() -> bool:
        process.check()
        with suppress(redis.ResponseError):
            return bool(client.xinfo_consumers(stream, group))
        return False

    wait_until(waits, what=f"{process.name} reads")
    process.start_cpu_clock()


def _wait_for_lines(client: Any, totals: str, lines: int, *, watch: tuple[Process, ...]) -> float:
    """Wait until so many lines are counted: when, in Unix seconds, to within a few milliseconds."""
    counted_at = 0.0

    def counted() -> bool:
        nonlocal counted_at
        counted_at = time()
        for process in watch:
            process.check()
            process.peak_bytes()
        return int(client.hget(totals, "lines") or 0) >= lines

    wait_until(counted, what=f"{lines:,} lines are counted")
    return counted_at


def _opened_at(ingestor: Process) -> float:
    """Return when the ingestor began to read its source, in Unix seconds, by its own log."""
    for line in ingestor.log_text().splitlines():
        with suppress(ValueError):
            record = json.loads(line)
            if record.get("event") == "source opened":
                return datetime.fromisoformat(record["timestamp"]).timestamp()
    raise BenchError("the ingestor's log has no 'source opened'")


def _counter(counts: dict[str, str]) -> Counter[str]:
    return Counter({name: int(count) for name, count in counts.items()})
