"""What it costs to spread a stream over shards: `python -m bench.shards [--write]`.

The same lines through an ingestor, one durable server and one aggregator, over 1, 2, 4 and 16 shards in turns, several
times over. All shards are on one server, so that only what shards themselves cost differs: processor time, the server's
memory, and the api's answers, which it then adds up. Every count is compared with an independent one.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from statistics import median, quantiles
from subprocess import DEVNULL
from typing import Any, get_args

from bench.contenders import bounds_over, server_version
from bench.inputs import DESCRIPTIONS, Input, InputKind, make_input
from bench.processes import BenchError, Process, fresh_bench, temporary_folder, tidy_when_terminated, wait_until
from bench.report import machine, table, write_section
from tally.keys import GROUP, Keys
from tally.shards import MOST_SHARDS, tags
from tests.oracle import Expected
from tests.server import free_port

#: What the api is asked, in turns, so often each; the words one after the other, so that no two answers are the same.
ASKED = 50
QUESTIONS = ("/v1/types?limit={limit}", "/v1/words?limit={limit}", "/v1/words/{word}")

EXPLANATION = """\
Medians of {repetitions} runs in turns, all shards on one server with an append-only file, one ingestor, one aggregator:
processor seconds for a million lines, without the start of processes; the ratio of their sum to that with one shard,
run by run; what the server's data takes; and how long {asked} answers of the api took that it had not given before
(`/v1/types`, `/v1/words`, one word), while nothing else ran."""


@dataclass(slots=True)
class Run:
    """What one run took."""

    cpu_seconds: dict[str, float]
    memory_bytes: int
    answer_seconds: list[float]
    lines: int

    @property
    def all_seconds(self) -> float:
        """Processor seconds of all processes."""
        return sum(self.cpu_seconds.values())


@dataclass(slots=True)
class Series:
    """The runs over so many shards on one input."""

    source: Input
    shards: int
    runs: list[Run] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.shards", description="What shards cost.")
    kinds = get_args(InputKind)
    parser.add_argument("--shards", nargs="+", type=int, default=[1, 2, 4, 16], help="the first one is compared with")
    parser.add_argument("--inputs", nargs="+", choices=kinds, default=["clean", "text"], help="default: clean text")
    parser.add_argument("--lines", type=int, default=500_000, help="of an input (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="runs of each (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the report into bench/results.md")
    options = parser.parse_args(arguments)
    if not all(1 <= each <= MOST_SHARDS for each in options.shards):
        parser.error(f"1 to {MOST_SHARDS} shards")
    if not 1 <= options.repetitions <= 100 or not 1000 <= options.lines <= 20_000_000:
        parser.error("1 to 100 repetitions, 1,000 to 20,000,000 lines")
    tidy_when_terminated()
    about = machine(server_version())
    try:
        with temporary_folder() as folder:
            sources = [make_input(kind, folder, lines=options.lines, seed=7) for kind in options.inputs]
            found = [[Series(source, shards) for shards in options.shards] for source in sources]
            for repetition, series in itertools.product(range(options.repetitions), itertools.chain(*found)):
                series.runs.append(_measure(series.source, series.shards))
                print(
                    f"run {repetition + 1}/{options.repetitions}  {series.source.kind:8} {series.shards:2} shards  "
                    f"{_per_million(series.runs[-1]):.2f} s a million lines",
                    flush=True,
                )
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    explained = EXPLANATION.format(repetitions=options.repetitions, asked=ASKED * len(QUESTIONS))
    text = "\n\n".join((about, explained, *map(_table, found)))
    print(f"\n{text}")
    if options.write:
        write_section("Shards", text)


def _measure(source: Input, shards: int) -> Run:
    keys = [Keys(tag) for tag in tags(shards)]
    variables = {"TALLY_SHARDS": str(shards), **bounds_over(source.truth)}
    with fresh_bench() as bench:
        client: Any = bench.start_server()
        aggregator = bench.start_module("aggregator", stdin=DEVNULL, **variables)
        wait_until(lambda: _all_are_served(client, keys, aggregator), what="the aggregator serves all shards")
        aggregator.start_cpu_clock()
        before = bench.server.cpu_seconds()
        ingestor = bench.start_module("ingestor", str(source.path), stdin=DEVNULL, **variables)
        wait_until(lambda: _has_begun(client, keys, ingestor), what="the ingestor appends")
        ingestor.start_cpu_clock()
        reading_seconds = 0.0

        def counted() -> int:
            nonlocal reading_seconds
            aggregator.check()
            ingestor.check()
            with suppress(FileNotFoundError):  # it may have ended by now
                reading_seconds = ingestor.cpu_seconds()
            return sum(int(client.hget(each.totals, "lines") or 0) for each in keys)

        wait_until(lambda: counted() >= source.lines, what=f"{source.lines:,} lines are counted")
        ingestor.wait()
        cpu = {
            "ingestor": reading_seconds,
            "aggregator": aggregator.cpu_seconds(),
            "server": bench.server.cpu_seconds() - before,
        }
        difference = source.truth.difference(_found(client, keys))
        if difference:
            raise BenchError(f"wrong counts over {shards} shards: {difference}")
        memory = int(client.info("memory")["used_memory_dataset"])
        port = free_port()
        api = bench.start_module(
            "api", stdin=DEVNULL, TALLY_HTTP_PORT=str(port), TALLY_HTTP_HOST="127.0.0.1", **variables
        )
        return Run(cpu, memory, _ask(port, api, list(source.truth.words)), source.lines)


def _all_are_served(client: Any, keys: Sequence[Keys], aggregator: Process) -> bool:
    aggregator.check()
    pipeline = client.pipeline(transaction=False)
    for each in keys:
        pipeline.xinfo_consumers(each.stream, GROUP)
    return all(isinstance(reply, list) and reply for reply in pipeline.execute(raise_on_error=False))


def _has_begun(client: Any, keys: Sequence[Keys], ingestor: Process) -> bool:
    ingestor.check()
    pipeline = client.pipeline(transaction=False)
    for each in keys:
        pipeline.hlen(each.sources)
    return any(pipeline.execute())


def _found(client: Any, keys: Sequence[Keys]) -> Expected:
    types: Counter[str] = Counter()
    words: Counter[str] = Counter()
    lines = rejected = 0
    for each in keys:
        totals = client.hgetall(each.totals)
        lines += int(totals.get("lines", 0))
        rejected += int(totals.get("rejected", 0))
        for counts, key in ((types, each.types), (words, each.words)):
            for name, count in client.hgetall(key).items():
                counts[name] += int(count)
    return Expected(types=types, words=words, events=lines - rejected, rejected=rejected)


def _ask(port: int, api: Process, words: Sequence[str]) -> list[float]:
    plain = [word for word in words if word.isascii() and word.isalnum()][:ASKED]

    def listens() -> bool:
        api.check()
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
                client.connect()
        except ConnectionError:
            return False
        return True

    wait_until(listens, what="the api listens")
    took = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        for at, question in itertools.product(range(ASKED), QUESTIONS):
            path = question.format(limit=100 + at, word=plain[at % len(plain)])
            began = time.monotonic()
            client.request("GET", path)
            response = client.getresponse()
            body = response.read()
            took.append(time.monotonic() - began)
            if response.status != 200 or not json.loads(body):
                raise BenchError(f"GET {path}: {response.status}: {body[:500]!r}")
    return took


def _per_million(run: Run) -> float:
    return run.all_seconds * 1e6 / run.lines


def _table(group: Sequence[Series]) -> str:
    source, first = group[0].source, group[0]
    rows = []
    for series in group:
        cpu = {
            name: median(run.cpu_seconds[name] * 1e6 / run.lines for run in series.runs)
            for name in first.runs[0].cpu_seconds
        }
        ratio = median(run.all_seconds / base.all_seconds for run, base in zip(series.runs, first.runs, strict=True))
        answers = [seconds for run in series.runs for seconds in run.answer_seconds]
        rows.append(
            (
                f"{series.shards} shard{'s' if series.shards > 1 else ''}",
                *(f"{seconds:.2f} s" for seconds in cpu.values()),
                f"{ratio:.2f} x",
                f"{median(run.memory_bytes for run in series.runs) / 1e6:,.0f} MB",
                f"{median(answers) * 1000:.1f} / {quantiles(answers, n=100, method='inclusive')[98] * 1000:.1f} ms",
            )
        )
    head = ("", *first.runs[0].cpu_seconds, "all of it", "data", "an answer, median / p99")
    return f"**{source.kind}** ({source.lines:,} lines): {DESCRIPTIONS[source.kind]}\n\n{table(head, rows)}"


if __name__ == "__main__":
    main()
