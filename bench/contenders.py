"""The contenders: each counts an input from its file, and says how long that took and what it found.

What passes through a server is timed alike: the reading side runs and waits, the writing side is started; the clock
runs from the writing side's first read of the file until the server holds the counts of the last line. DuckDB is
timed from its first query until both results are there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from subprocess import DEVNULL
from time import time
from typing import Any

import redis

from bench import rivals
from bench.inputs import Input
from bench.processes import BenchError, Process, fresh_bench, wait_until
from tally.keys import GROUP, Keys
from tally.settings import Settings
from tests.oracle import Expected
from tests.processes import Child


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: seconds from the first read of the file, and from the start of the process that reads it.

    Processor time and the peak of resident memory are by process; the time that a process which only waits took to
    start is left out. For Tally also: how much was written to the server's append-only file, and how long each PING
    waited meanwhile.
    """

    seconds: float
    seconds_with_start: float
    cpu_seconds: dict[str, float]
    peak_bytes: dict[str, int]
    found: Expected
    appended_bytes: int = 0
    ping_seconds: Sequence[float] = ()


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
        probe = bench.start_module("bench.ping", str(bench.port))
        aggregator = bench.start_module("aggregator", stdin=DEVNULL, **bounds_over(source.truth))
        _wait_for_consumer(client, keys.stream, GROUP, aggregator)
        file = _AppendOnlyFile(client)
        ingestor = bench.start_module("ingestor", str(source.path))
        ended_at = _wait_for_lines(
            client, keys.totals, source.lines, watch=(aggregator, ingestor, probe), meanwhile=file.look
        )
        figures: dict[str, Child] = {"server": bench.server, "ingestor": ingestor, "aggregator": aggregator}
        began_at = _opened_at(ingestor)
        outcome = _outcome(figures, ingestor, began_at=began_at, ended_at=ended_at, found=found(client))
        probe.stop()
        pings = [wait for at, wait in json.loads(probe.log()) if began_at <= at <= ended_at]
        return replace(outcome, appended_bytes=file.appended_bytes, ping_seconds=pings)


def count_each_event(source: Input) -> Outcome:
    """One event an entry; each name incremented for each event."""
    return _count_one_by_one(source, reader="consume")


def count_added_up(source: Input) -> Outcome:
    """One event an entry; each name incremented once a read."""
    return _count_one_by_one(source, reader="sum")


def count_with_duckdb(source: Input) -> Outcome:
    """DuckDB on the file, with the word pattern run over each text."""
    return _count_with_duckdb(source, "texts")


def count_pieces_with_duckdb(source: Input) -> Outcome:
    """DuckDB on the file, with the word pattern run over the distinct pieces only, as Tally does it."""
    return _count_with_duckdb(source, "pieces")


def _count_with_duckdb(source: Input, pattern_over: str) -> Outcome:
    with fresh_bench() as bench:
        strict = ["strict"] if source.truth.rejected else []
        process = bench.start_module("bench.rivals", "duckdb", str(source.path), pattern_over, *strict)
        process.wait()
        figures = json.loads(process.log())
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
        figures: dict[str, Child] = {"server": bench.server, "producer": producer, "consumer": consumer}
        began_at = float(json.loads(producer.log().splitlines()[0])["began"])
        return _outcome(figures, producer, began_at=began_at, ended_at=ended_at, found=found)


def _outcome(
    processes: Mapping[str, Child], first: Process, *, began_at: float, ended_at: float, found: Expected
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


def _wait_for_lines(
    client: Any, totals: str, lines: int, *, watch: tuple[Process, ...], meanwhile: Callable[[], None] = lambda: None
) -> float:
    """Wait until so many lines are counted: when, in Unix seconds, to within a few milliseconds."""
    counted_at = 0.0

    def counted() -> bool:
        nonlocal counted_at
        counted_at = time()
        for process in watch:
            process.check()
            process.peak_bytes()
        meanwhile()
        return int(client.hget(totals, "lines") or 0) >= lines

    wait_until(counted, what=f"{lines:,} lines are counted")
    meanwhile()
    return counted_at


class _AppendOnlyFile:
    """How much is written to it, also while rewrites make it smaller."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._size = self._size_now()
        self.appended_bytes = 0

    def look(self) -> None:
        """Add what has come since the last look. What comes between that and the end of a rewrite is missed."""
        size = self._size_now()
        self.appended_bytes += max(0, size - self._size)
        self._size = size

    def _size_now(self) -> int:
        return int(self._client.info("persistence")["aof_current_size"])


def bounds_over(truth: Expected) -> dict[str, str]:
    """Return settings for what goes over the default bounds, so that nothing is counted under `__other__`."""
    defaults = Settings()
    least = {
        "max_words": len(truth.words),
        "max_types": len(truth.types),
        "max_name_bytes": max(len(name.encode()) for names in (truth.words, truth.types) for name in names or [""]),
    }
    return {f"TALLY_{name.upper()}": str(number) for name, number in least.items() if number > getattr(defaults, name)}


def _opened_at(ingestor: Process) -> float:
    """Return when the ingestor began to read its source, in Unix seconds, by its own log."""
    for line in ingestor.log().splitlines():
        with suppress(ValueError):
            record = json.loads(line)
            if record.get("event") == "source opened":
                return datetime.fromisoformat(record["timestamp"]).timestamp()
    raise BenchError("the ingestor's log has no 'source opened'")


def _counter(counts: dict[str, str]) -> Counter[str]:
    return Counter({name: int(count) for name, count in counts.items()})
