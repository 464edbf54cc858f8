"""The processes of a measurement: a fresh server, and services that are started, watched and ended.

Everything listens on loopback, in a folder of its own that is gone afterwards. Only what was started here is ended.
Not the tests' own processes: of these the processor time and memory are measured, and a failure ends a measurement.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import redis

from tally.local.server_binary import server_binary
from tests.server import free_port

ROOT = Path(__file__).resolve().parents[1]

#: As `tally up` runs it. Without the last one, a server rewrites its file whenever 64 MB have passed through.
DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--auto-aof-rewrite-min-size", "512mb")

#: How long anything may take before a measurement is given up.
PATIENCE_SECONDS = 120.0

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measurement came to nothing. The text says why."""


def wait_until(condition: Callable[[], bool], *, what: str, pause_seconds: float = 0.005) -> None:
    """Return as soon as the condition holds. Raises BenchError when it does not in PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {PATIENCE_SECONDS:.0f} s in vain until {what}")
        time.sleep(pause_seconds)


class Process:
    """A child process that runs, or has ended and is kept until its figures are read."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        name: str,
        variables: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._peak_bytes = 0
        self._cpu_before_seconds = 0.0
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TALLY_", "_TALLY_"))}
        environment |= {"PYTHONPATH": str(ROOT)} | (variables or {})
        with self.log.open("wb") as log:
            self.started_at = time.time()
            self._child = subprocess.Popen(
                arguments, cwd=folder, env=environment, stdin=stdin, stdout=log, stderr=subprocess.STDOUT
            )

    def write(self, data: bytes) -> None:
        """Write to its standard input, which must have been asked for."""
        assert self._child.stdin is not None
        self._child.stdin.write(data)
        self._child.stdin.flush()

    def check(self) -> None:
        """Raise BenchError if it failed."""
        # It is not reaped: what has ended still has its figures in /proc until then.
        ended = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None and ended.si_status != 0:
            raise BenchError(f"{self.name} ended with {ended.si_status}:\n{self.log_text()[-2000:]}")

    def log_text(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def peak_bytes(self) -> int:
        """The most memory it ever had resident; once it has ended, as of the last time this was asked."""
        for line in Path(f"/proc/{self._child.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                self._peak_bytes = int(line.split()[1]) * 1024
        return self._peak_bytes

    def start_cpu_clock(self) -> None:
        """Leave out of cpu_seconds what was used until now."""
        self._cpu_before_seconds += self.cpu_seconds()

    def cpu_seconds(self) -> float:
        """The processor time it has used, in user and kernel mode."""
        fields = Path(f"/proc/{self._child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND - self._cpu_before_seconds

    def wait(self) -> None:
        """Wait until it ends by itself. Raises BenchError if it fails or does not."""
        try:
            code = self._child.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.name} does not end") from None
        if code != 0:
            raise BenchError(f"{self.name} ended with {code}:\n{self.log_text()[-2000:]}")

    def end(self) -> None:
        """Ask it to stop; kill it if it does not."""
        if self._child.stdin is not None:
            with suppress(OSError):
                self._child.stdin.close()
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


class Bench:
    """One measurement's folder, server and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self.server: Process
        self.port = 0

    def start_server(self) -> redis.Redis:
        """Start a fresh, durable server and return a client of it."""
        self.port = free_port()
        binary = os.environ.get("BENCH_SERVER") or str(server_binary())
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder))
        self.server = self._add(Process([binary, *place, *DURABLE], folder=self._folder, name="server"))
        client = redis.Redis(port=self.port, decode_responses=True, socket_timeout=30)

        def answers() -> bool:
            self.server.check()
            with suppress(redis.RedisError):
                return bool(client.ping())
            return False

        wait_until(answers, what="the server answers")
        return client

    def start_module(self, module: str, *arguments: str, stdin: int = subprocess.DEVNULL, **variables: str) -> Process:
        """Start `python -m module`, told where the server is, if there is one."""
        url = {"TALLY_REDIS_URL": f"redis://127.0.0.1:{self.port}/0"} if self.port else {}
        return self._add(
            Process(
                [sys.executable, "-P", "-m", module, *arguments],
                folder=self._folder,
                name=module.replace(".", "-") + (f"-{arguments[0]}" if module.startswith("bench") else ""),
                variables={"TALLY_LOG_FORMAT": "json", **url, **variables},
                stdin=stdin,
            )
        )

    def _add(self, process: Process) -> Process:
        self._processes.append(process)
        return process

    def end(self) -> None:
        """End what still runs, the server last."""
        for process in reversed(self._processes):
            process.end()


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
