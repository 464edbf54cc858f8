"""Tally's services as real processes, to be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Process:
    """`python -m <arguments>`, which may be killed and started again; its log goes to a file."""

    def __init__(self, *arguments: str, log: Path, **variables: str) -> None:
        self._arguments = arguments
        self._log = log
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self._logged_before = 0  # bytes

    def start(self, **variables: str) -> None:
        """Start it, from now on with these variables too."""
        self._variables.update(variables)
        with self._log.open("ab") as log:
            self._logged_before = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *self._arguments],
                env={**os.environ, **self._variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def send(self, signal_: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(signal_)

    def kill(self) -> bool:
        """Send SIGKILL and wait until it is gone; return whether there was anything to kill."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait(30)
        return True

    @property
    def has_begun(self) -> bool:
        """Return whether it has logged anything in this life: it has started, then, and is at work."""
        return self.has_log and self._log.stat().st_size > self._logged_before

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.send(signal.SIGTERM)
        assert self._process is not None
        return self._process.wait(30)

    def wait(self, seconds: float = 120) -> int:
        """Wait until it ends by itself; its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    @property
    def has_log(self) -> bool:
        """Return whether it was ever started."""
        return self._log.exists()

    def log(self) -> str:
        """Return what it said so far, over all its lives."""
        return self._log.read_text(errors="replace")

    def resident_bytes(self) -> int:
        """Return how much memory it has."""
        return self._memory_bytes("VmRSS:")

    def peak_bytes(self) -> int:
        """Return how much memory it had at the most."""
        return self._memory_bytes("VmHWM:")

    def _memory_bytes(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {name}")


@contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Start them; kill them in the end, however it came."""
    try:
        for process in processes:
            process.start()
        yield
    finally:
        for process in processes:
            process.kill()
