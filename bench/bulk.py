"""How soon a live event shows while a file is read in bulk: `python -m bench.bulk [--write]`.

An ingestor reads a file of text on a durable server, with one aggregator and the api, while another ingestor takes one
event after the other by HTTP. Each of these has a type that no other line has: so many of them as are counted, show.
They are sent at fixed times, and late ones count from when they were due: a pause is seen by all that it holds up.
Meanwhile others ask the api, and send PING to the server.
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import redis

from bench.contenders import server_version
from bench.processes import BenchError, Process, fresh_bench, temporary_folder, tidy_when_terminated, wait_until
from bench.report import machine, table, write_section
from bench.texts import text_lines
from tally.keys import Keys
from tests.server import free_port

KEYS = Keys()

#: The type that only live events have.
LIVE = "live"

#: How often an event is sent, it is looked whether it is counted, and the api is asked, in seconds.
SEND_SECONDS, LOOK_SECONDS, ASK_SECONDS = 0.05, 0.005, 0.05

#: What the api is asked, in turns.
PATHS = ("/events/CountByEventType", "/v1/words?limit=100")

EXPLANATION = """\
While a file of {megabytes:,.0f} MB ({lines:,} lines of {what}) was read and counted in {seconds:.1f} s,
{events} events were sent to another ingestor by HTTP, one every {send_ms:.0f} ms: *shows* is from then until the server
holds its count, *answered* until the ingestor's 202. The api was asked {asked} times in turns for
{paths}. Processor time: {cpu}."""


@dataclass(slots=True)
class Found:
    """In seconds, of what was measured while the file was read and counted."""

    shows: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    api: list[float] = field(default_factory=list)
    ping: list[float] = field(default_factory=list)
    refused: int = 0  # events that were answered with 429
    cpu: dict[str, float] = field(default_factory=dict)  # processor time by process
    seconds: float = 0.0  # how long reading and counting the file took


class Background(threading.Thread):
    """Does something again and again until it is told to end; what went wrong is raised then."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._over = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        """Go on until the end."""
        try:
            while not self._over.is_set():
                self.once()
        except Exception as error:  # raised again by end()
            self._error = error

    def once(self) -> None:
        """Do it, and wait for the next time."""
        raise NotImplementedError

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the end."""
        self._over.wait(seconds)

    def end(self) -> None:
        """Stop. Raises what ended it before."""
        self._over.set()
        self.join()
        if self._error is not None:
            raise self._error


class Watching(Background):
    """When so many live events were counted, and how many lines in all."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__("watching")
        self._client = client
        self.shown_at: list[float] = []  # of each live event, by the monotonic clock
        self.lines = 0

    def once(self) -> None:
        """Look how many there are."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hget(KEYS.types, LIVE)
        pipeline.hget(KEYS.totals, "lines")
        live, lines = pipeline.execute()
        now = time.monotonic()
        self.shown_at += [now] * (int(live or 0) - len(self.shown_at))
        self.lines = int(lines or 0)
        self.pause(LOOK_SECONDS)


class Asking(Background):
    """How long the api's answers took, and when each was asked."""

    def __init__(self, port: int) -> None:
        super().__init__("asking")
        self._client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.took: list[tuple[float, float]] = []

    def once(self) -> None:
        """Ask once."""
        path = PATHS[len(self.took) % len(PATHS)]
        began = time.monotonic()
        self._client.request("GET", path)
        response = self._client.getresponse()
        body = response.read()
        if response.status != 200:
            raise BenchError(f"GET {path}: {response.status}: {body[:500]!r}")
        self.took.append((began, time.monotonic() - began))
        self.pause(ASK_SECONDS)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.bulk", description="Live events beside a file.")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of the file (default: %(default)s)")
    parser.add_argument("--file", type=Path, help="count this file instead, whole")
    parser.add_argument("--bulk-mb", type=float, help="TALLY_BULK_BACKLOG_BYTES in MiB; default: the ingestor's")
    parser.add_argument("--write", action="store_true", help="put the report into bench/results.md")
    options = parser.parse_args(arguments)
    if not 10_000 <= options.lines <= 100_000_000:
        parser.error("10,000 to 100,000,000 lines")
    tidy_when_terminated()
    about = machine(server_version())
    variables: dict[str, Any] = (
        {} if options.bulk_mb is None else {"TALLY_BULK_BACKLOG_BYTES": str(int(options.bulk_mb * (1 << 20)))}
    )
    try:
        with temporary_folder() as folder:
            path = options.file
            if path is None:
                path = folder / "text.ndjson"
                with path.open("wb") as file:
                    file.writelines(text_lines(options.lines, seed=7))
            with path.open("rb") as file:
                lines = sum(1 for line in file if not line.isspace())
            found = measure(path, lines, variables)
            text = "\n\n".join((about, _explained(found, path, lines, options.file), _table(found)))
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    print(text)
    if options.write:
        write_section("Live beside bulk", text)


def measure(path: Path, lines: int, variables: dict[str, Any]) -> Found:
    """Start everything, send events until the file is counted, and see to it that they all show."""
    with fresh_bench() as bench:
        client = bench.start_server()
        aggregator = bench.start_module("aggregator")
        api_port, intake_port = free_port(), free_port()
        services = (
            aggregator,
            bench.start_module("api", TALLY_HTTP_PORT=str(api_port), TALLY_HTTP_HOST="127.0.0.1"),
            bench.start_module("ingestor", f"http://127.0.0.1:{intake_port}", **variables),
        )
        for service, port in zip(services[1:], (api_port, intake_port), strict=True):
            _wait_for_port(port, service)
        ping = bench.start_module("bench.ping", str(bench.port))
        watching, asking = Watching(client), Asking(api_port)
        watching.start()
        with closing(_connection(intake_port)) as intake:
            _send(intake, Found())  # one that warms up
            wait_until(lambda: len(watching.shown_at) == 1, what="the first event shows")
            asking.start()
            began = time.monotonic(), time.time()
            before = bench.server.cpu_seconds(), aggregator.cpu_seconds()
            file = bench.start_module("tally", "ingest", str(path), **variables)
            found = _send_while_counting(watching, intake, lines, (*services, file))
        found.seconds = time.monotonic() - began[0]
        found.cpu = {
            "server": bench.server.cpu_seconds() - before[0],
            "aggregator": aggregator.cpu_seconds() - before[1],
        }
        asking.end()
        ping.stop()
        ended_at = began[1] + found.seconds
        found.ping = [wait for sent_at, wait in json.loads(ping.log()) if began[1] <= sent_at <= ended_at]
        found.api = [took for asked_at, took in asking.took if asked_at >= began[0]]
        return found


def _send_while_counting(
    watching: Watching, intake: http.client.HTTPConnection, lines: int, services: tuple[Process, ...]
) -> Found:
    found = Found()
    due: list[float] = []  # when each event that was taken was to be sent
    next_at = time.monotonic()
    before = len(watching.shown_at)
    while True:
        for service in services:
            service.check()
        if not watching.is_alive():
            watching.end()
        time.sleep(max(0.0, next_at - time.monotonic()))
        # Asked before the next one is sent, which has a moment to be counted until then.
        if watching.lines >= before + lines + len(due):
            break
        if _send(intake, found):
            due.append(next_at)
            found.answered.append(time.monotonic() - next_at)
        next_at += SEND_SECONDS
    wait_until(lambda: len(watching.shown_at) == before + len(due), what="all live events show")
    watching.end()
    found.shows = [shown - sent for shown, sent in zip(watching.shown_at[before:], due, strict=True)]
    return found


def _send(intake: http.client.HTTPConnection, found: Found) -> bool:
    """Send one event; False if the stream was full for it."""
    event = {"event_type": LIVE, "data": "a live event", "timestamp": int(time.time())}
    intake.request("POST", "/events", body=json.dumps(event), headers={"content-type": "application/x-ndjson"})
    response = intake.getresponse()
    body = response.read()
    if response.status not in (202, 429):
        raise BenchError(f"POST /events: {response.status}: {body[:500]!r}")
    found.refused += response.status == 429
    return response.status == 202


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def _wait_for_port(port: int, service: Process) -> None:
    def listens() -> bool:
        service.check()
        try:
            with closing(_connection(port)) as client:
                client.connect()
        except ConnectionError:
            return False
        return True

    wait_until(listens, what=f"{service.name} listens")


def _explained(found: Found, path: Path, lines: int, given: Path | None) -> str:
    text = EXPLANATION.format(
        megabytes=path.stat().st_size / 1e6,
        lines=lines,
        what="texts like real ones" if given is None else f"`{given.name}`",
        seconds=found.seconds,
        events=len(found.shows),
        send_ms=SEND_SECONDS * 1000,
        asked=len(found.api),
        cpu=", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.cpu.items()),
        paths=" and ".join(f"`{each}`" for each in PATHS),
    )
    return f"{text} {found.refused} events were refused, because the stream was full." if found.refused else text


def _table(found: Found) -> str:
    rows = []
    for name, seconds in (
        ("a live event shows", found.shows),
        ("it is answered", found.answered),
        ("an answer of the api", found.api),
        ("PING", found.ping),
    ):
        percentiles = quantiles(seconds, n=100, method="inclusive")
        figures = (median(seconds), percentiles[98], max(seconds))
        rows.append((name, *(f"{1000 * each:,.1f} ms" for each in figures)))
    return table(("", "median", "p99", "slowest"), rows)


if __name__ == "__main__":
    main()
