"""The processes of a measurement: a fresh server, and services that are started, watched and ended.

They are those of the tests; here a failure ends the measurement, and processor time and memory are read besides.
Everything listens on loopback, in a folder of its own that is gone afterwards. Only what was started here is ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import redis

import tests.waiting
from tests.processes import Child, module
from tests.server import Server

ROOT = Path(__file__).resolve().parents[1]

#: As `tally up` runs it. Without the last one, a server rewrites its file whenever 64 MB have passed through.
DURABLE = ("--appendfsync", "everysec", "--auto-aof-rewrite-min-size", "512mb")

#: How long anything may take before a measurement is given up.
PATIENCE_SECONDS = 120.0


class BenchError(Exception):
    """A measurement came to nothing. The text says why."""


def wait_until(condition: Callable[[], bool], *, what: str, pause_seconds: float = 0.005) -> None:
    """Return as soon as the condition holds. Raises BenchError when it does not in PATIENCE_SECONDS."""
    try:
        tests.waiting.wait_until(condition, what=what, seconds=PATIENCE_SECONDS, pause_seconds=pause_seconds)
    except AssertionError as error:
        raise BenchError(str(error)) from None


class Process(Child):
    """A service of a measurement, which runs, or has ended and is kept until its figures are read."""

    def __init__(
        self, command: Sequence[str], *, name: str, folder: Path, variables: Mapping[str, str], stdin: int
    ) -> None:
        variables = {"PYTHONPATH": str(ROOT), **variables}
        super().__init__(command, log=folder / f"{name}.log", variables=variables, folder=folder, stdin=stdin)
        self.name = name
        self._peak_bytes = 0
        self._cpu_before_seconds = 0.0
        self.started_at = time.time()
        self.start()

    def check(self) -> None:
        """Raise BenchError if it failed."""
        # It is not reaped: what has ended still has its figures in /proc until then.
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None and ended.si_status != 0:
            raise BenchError(f"{self.name} ended with {ended.si_status}:\n{self.log()[-2000:]}")

    def peak_bytes(self) -> int:
        """Return the most memory it ever had; once it has ended, as of the last time this was asked."""
        with suppress(AssertionError):  # it has ended
            self._peak_bytes = super().peak_bytes()
        return self._peak_bytes

    def start_cpu_clock(self) -> None:
        """Leave out of cpu_seconds what was used until now."""
        self._cpu_before_seconds = super().cpu_seconds()

    def cpu_seconds(self) -> float:
        """Return the processor time it has used since then, in user and kernel mode."""
        return super().cpu_seconds() - self._cpu_before_seconds

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until it ends by itself. Raises BenchError if it fails or does not."""
        try:
            code = super().wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.name} does not end") from None
        if code != 0:
            raise BenchError(f"{self.name} ended with {code}:\n{self.log()[-2000:]}")
        return code


class Bench:
    """One measurement's folder, server and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self._server: Server | None = None

    @property
    def server(self) -> Child:
        """The server's process."""
        assert self._server is not None
        return self._server.process

    @property
    def port(self) -> int:
        """The server's."""
        assert self._server is not None
        return self._server.port

    def start_server(self) -> redis.Redis:
        """Start a fresh, durable server and return a client of it."""
        self._server = Server(self._folder, durable=True, options=DURABLE, binary=os.environ.get("BENCH_SERVER"))
        try:
            self._server.start()
        except AssertionError as error:
            raise BenchError(f"the server does not start: {error}") from None
        return self._server.client()

    def start_module(self, name: str, *arguments: str, stdin: int = subprocess.DEVNULL, **variables: str) -> Process:
        """Start `python -m name`, told where the server is, if there is one."""
        url = {"TALLY_REDIS_URL": self._server.url} if self._server else {}
        process = Process(
            module(name, *arguments),
            name=name.replace(".", "-") + (f"-{arguments[0]}" if name.startswith("bench") else ""),
            folder=self._folder,
            variables={"TALLY_LOG_FORMAT": "json", **url, **variables},
            stdin=stdin,
        )
        self._processes.append(process)
        return process

    def end(self) -> None:
        """End what still runs, the server last."""
        for process in reversed(self._processes):
            process.kill()
        if self._server is not None:
            self._server.kill()


@contextmanager
def fresh_bench() -> Iterator[Bench]:
    """A folder and processes for one measurement; nothing is left of them."""
    with temporary_folder() as folder:
        bench = Bench(folder)
        try:
            yield bench
        finally:
            bench.end()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tally-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tidy_when_terminated() -> None:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that processes are ended and folders removed."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
