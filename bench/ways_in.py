"""How many lines a second each way in appends: a file, TCP, HTTP. `python -m bench.ways_in`

One ingestor process each, the same lines, one run after the other, rounds of all of them in turn; medians. Nobody
counts meanwhile: it is the way into the stream that is measured, from the first byte sent to the last block appended.
"""

from __future__ import annotations

import http.client
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis

from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tests.processes import Child, module
from tests.senders import wait_for_port
from tests.server import Server, free_port
from tests.waiting import wait_until

LINES = 500_000
ROUNDS = 3
CONNECTIONS = 4
BODY_BYTES = 1 << 20


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.ndjson"
        path.write_bytes(b"".join(Generator(GeneratorSpec(count=LINES, seed=1)).lines()))
        server = Server(Path(folder))
        server.start()
        ways: dict[str, Callable[[Server, Path], float]] = {
            "file": from_file,
            f"tcp, {CONNECTIONS} connections": over_tcp,
            "http, bodies of 1 MiB": over_http,
            "http, bodies of 100 lines": over_http_small,
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        try:
            for _ in range(ROUNDS):
                for way, send in ways.items():
                    with server.client() as client:
                        client.flushall()
                    seconds[way].append(send(server, path))
        finally:
            server.stop()
        size = path.stat().st_size
        print(f"{LINES:,} lines, {size / 1e6:.0f} MB; median of {ROUNDS}, {os.cpu_count()} cores")
        for way, measured in seconds.items():
            median = statistics.median(measured)
            print(f"{way:28} {LINES / median:12,.0f} lines/s {size / median / 1e6:8.0f} MB/s")


def ingestor(server: Server, source: str) -> Child:
    """Start an ingestor, without a backlog limit in the way."""
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_MAX_BACKLOG_BYTES": str(1 << 40), "TALLY_LOG_LEVEL": "error"}
    process = Child(module("ingestor", source), log=server.folder / "ingestor.log", variables=variables)
    process.start()
    return process


def appended_bytes(client: redis.Redis) -> int:
    """Over all sources; Tally forgets a source that has ended."""
    return sum(map(int, client.hvals(Keys().sources)))


def timed(server: Server, path: Path, send: Callable[[int], None], *, scheme: str) -> float:
    port = free_port()
    process = ingestor(server, f"{scheme}://127.0.0.1:{port}")
    wait_for_port(port)
    size = path.stat().st_size
    with server.client() as client:
        began = time.perf_counter()
        send(port)
        wait_until(lambda: appended_bytes(client) >= size, what="all of it is appended")
        taken = time.perf_counter() - began
    process.stop()
    return taken


def from_file(server: Server, path: Path) -> float:
    """From the moment its first block is in the stream, so that starting a process does not count."""
    process = ingestor(server, str(path))
    size = path.stat().st_size
    with server.client() as client:
        wait_until(lambda: appended_bytes(client) > 0, what="it has begun")
        began, at = time.perf_counter(), appended_bytes(client)
        wait_until(lambda: appended_bytes(client) >= size, what="all of it is appended")
        taken = time.perf_counter() - began
    process.wait()
    return taken * size / (size - at) if at < size else taken


def over_tcp(server: Server, path: Path) -> float:
    lines = path.read_bytes()

    def send(port: int) -> None:
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        for at, chunk in enumerate(chunks(lines, BODY_BYTES // 4)):
            connections[at % CONNECTIONS].sendall(chunk)
        for connection in connections:
            connection.close()

    return timed(server, path, send, scheme="tcp")


def over_http(server: Server, path: Path) -> float:
    return posted(server, path, BODY_BYTES)


def over_http_small(server: Server, path: Path) -> float:
    return posted(server, path, 100 * path.stat().st_size // LINES)


def posted(server: Server, path: Path, body_bytes: int) -> float:
    """One client, one connection, one body after the other."""
    lines = path.read_bytes()

    def send(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for body in chunks(lines, body_bytes):
            connection.request("POST", "/events", body, {"content-type": "application/x-ndjson"})
            response = connection.getresponse()
            response.read()
            assert response.status == 202
        connection.close()

    return timed(server, path, send, scheme="http")


def chunks(lines: bytes, size: int) -> list[bytes]:
    """Runs of whole lines of about so many bytes."""
    found, at = [], 0
    while at < len(lines):
        end = lines.find(b"\n", min(at + size, len(lines)) - 1) + 1 or len(lines)
        found.append(lines[at:end])
        at = end
    return found


if __name__ == "__main__":
    main()
