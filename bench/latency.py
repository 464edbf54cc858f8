"""How soon an event shows: `python -m bench.latency [--write]`.

An idle pipeline of a durable server, an ingestor, an aggregator and the api, each a process of its own. One line is
written to the ingestor's standard input, and a client asks GET /events/CountByEventType over one connection until
the answer holds it; then nothing happens for a while, and the next line is written.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from statistics import median, quantiles

from bench.contenders import server_version
from bench.processes import Bench, BenchError, Process, fresh_bench, tidy_when_terminated, wait_until
from bench.report import machine, table, write_section
from tests.server import free_port

PATH = "/events/CountByEventType"

#: Between two questions of the client, and between two events, in seconds.
POLL_SECONDS = 0.001
IDLE_SECONDS = (0.02, 0.12)

#: Lines that are not measured, at the start.
WARM_UP = 10

EXPLANATION = """\
From writing one line to the ingestor's standard input until `GET {path}` shows it, on an idle pipeline;
{events} events, one at a time. The client asks over one connection, {poll_ms:.0f} ms after each answer. *The question
alone* is how long an answer took that showed nothing new."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """In seconds: of each event, and of each answer that showed nothing new."""

    events: list[float]
    questions: list[float]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description="How soon an event shows.")
    parser.add_argument("--events", type=int, default=100, help="how many are measured (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the report into bench/results.md")
    options = parser.parse_args(arguments)
    if not 10 <= options.events <= 10_000:
        parser.error("10 to 10,000 events")
    tidy_when_terminated()
    about = machine(server_version())
    try:
        found = measure(options.events)
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    explained = EXPLANATION.format(path=PATH, events=options.events, poll_ms=POLL_SECONDS * 1000)
    text = "\n\n".join((about, explained, _table(found)))
    print(text)
    if options.write:
        write_section("Latency", text)


def measure(events: int) -> Latencies:
    """Start everything, and show so many events."""
    with fresh_bench() as bench:
        bench.start_server()
        bench.start_module("aggregator")
        ingestor = bench.start_module("ingestor", "-", stdin=subprocess.PIPE)
        with closing(_client(bench)) as client:
            return _measure(ingestor, client, events)


def _client(bench: Bench) -> http.client.HTTPConnection:
    """A client of a new api, which answers."""
    port = free_port()
    api = bench.start_module("api", TALLY_HTTP_PORT=str(port), TALLY_HTTP_HOST="127.0.0.1")
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def connects() -> bool:
        api.check()
        try:
            client.connect()
        except ConnectionError:
            return False
        return True

    wait_until(connects, what="the api listens")
    return client


def _measure(ingestor: Process, client: http.client.HTTPConnection, events: int) -> Latencies:
    chance = random.Random(7)
    found = Latencies([], [])
    for shown in range(1, WARM_UP + events + 1):
        time.sleep(chance.uniform(*IDLE_SECONDS))
        line = json.dumps({"event_type": "foo", "data": "lorem ipsum", "timestamp": int(time.time())}) + "\n"
        began = time.perf_counter()
        ingestor.write(line.encode())
        questions = _ask_until(client, shown, ingestor)
        if shown > WARM_UP:
            found.events.append(time.perf_counter() - began)
            found.questions.extend(questions)
    return found


def _ask_until(client: http.client.HTTPConnection, shown: int, ingestor: Process) -> list[float]:
    """Ask until so many events are shown: how long each answer took that showed fewer."""
    questions: list[float] = []
    asking_since = time.perf_counter()
    while True:
        asked = time.perf_counter()
        client.request("GET", PATH)
        response = client.getresponse()
        body = response.read()
        if response.status != 200:
            raise BenchError(f"GET {PATH}: {response.status}: {body[:500]!r}")
        if json.loads(body).get("foo", 0) >= shown:
            return questions
        questions.append(time.perf_counter() - asked)
        if asked - asking_since > 30:
            ingestor.check()
            raise BenchError(f"event number {shown} did not show within 30 s")
        time.sleep(POLL_SECONDS)


def _table(found: Latencies) -> str:
    rows = []
    for name, seconds in (("an event shows", found.events), ("the question alone", found.questions)):
        percentiles = quantiles(seconds, n=100, method="inclusive")
        figures = (median(seconds), percentiles[94], percentiles[98], max(seconds))
        rows.append((name, *(f"{1000 * each:.1f} ms" for each in figures)))
    return table(("", "median", "p95", "p99", "slowest"), rows)


if __name__ == "__main__":
    main()
