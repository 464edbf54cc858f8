"""How long a server keeps its clients waiting: `python -m bench.ping PORT`, until SIGTERM.

It sends PING every 10 ms over a connection of its own, and prints when it sent each (Unix seconds) and how long the
answer took. A server that is held for a second answers one PING late, and would be found late by all that should have
been sent meanwhile: these are among what is printed, with what each would have waited.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time

EVERY_SECONDS = 0.01


def main(port: int) -> None:
    """Ask until terminated."""
    waits: list[tuple[float, float]] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                sent_at, began = time.time(), time.perf_counter()
                connection.sendall(b"PING\r\n")
                if not connection.recv(64).startswith(b"+PONG"):
                    raise SystemExit("the server does not answer PING")
                waits.extend(waits_of_one(sent_at, time.perf_counter() - began))
                time.sleep(EVERY_SECONDS)
    finally:
        print(json.dumps(waits), flush=True)


def waits_of_one(sent_at: float, seconds: float) -> list[tuple[float, float]]:
    """Return a PING and those that were due while it waited: when each was sent, and how long it took."""
    due = range(int(seconds / EVERY_SECONDS) + 1)
    return [(sent_at + number * EVERY_SECONDS, seconds - number * EVERY_SECONDS) for number in due]


if __name__ == "__main__":
    main(int(sys.argv[1]))
