"""A load of GET requests: `python -m bench.load PORT PATH CONNECTIONS SECONDS`, prints latencies as JSON.

Its own client rather than an HTTP library's, because that would be slower than what it measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop


async def main(port: int, path: str, connections: int, seconds: float) -> None:
    """Ask over so many connections at once, each as soon as it has its answer, for so long."""
    latencies: list[float] = []
    deadline = time.perf_counter() + seconds
    began = time.perf_counter()
    await asyncio.gather(*(_ask(port, path, deadline, latencies) for _ in range(connections)))
    taken = time.perf_counter() - began
    latencies.sort()
    found = {
        "requests_per_second": len(latencies) / taken,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
    }
    sys.stdout.write(json.dumps(found) + "\n")


async def _ask(port: int, path: str, deadline: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    while (asked := time.perf_counter()) < deadline:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"GET {path}: {head[:200]!r}")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        latencies.append(time.perf_counter() - asked)
    writer.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
