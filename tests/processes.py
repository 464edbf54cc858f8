"""Processes that may be killed and started again: of tests and of measurements."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Child:
    """A command as a process, which may be killed and started again; what it says goes to a file.

    Its settings come from its variables alone: those of Tally around us are kept from it.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        variables: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self._command = command
        self._log = log
        self._folder = folder
        self._stdin = stdin
        self._variables = dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._logged_before = 0  # bytes

    def start(self, **variables: str) -> None:
        """Start it, from now on with these variables too."""
        self._variables.update(variables)
        around = {name: value for name, value in os.environ.items() if not name.startswith(("TALLY_", "_TALLY_"))}
        with self._log.open("ab") as log:
            self._logged_before = log.tell()
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=around | self._variables, stdin=self._stdin, stdout=log, stderr=log
            )

    def write(self, data: bytes) -> None:
        """Write to its standard input, which must have been asked for."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

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
        if self._process.stdin is not None:
            self._process.stdin.close()
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

    def cpu_seconds(self) -> float:
        """Return the processor time it has used. It may have ended, but not been waited for."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def _memory_bytes(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {name}")


class Process(Child):
    """`python -m <arguments>`."""

    def __init__(self, *arguments: str, log: Path, **variables: str) -> None:
        super().__init__(module(*arguments), log=log, variables=variables)


def module(*arguments: str) -> list[str]:
    """Return the command `python -m <arguments>`, which imports nothing from the folder that it runs in."""
    return [sys.executable, "-P", "-m", *arguments]


@contextmanager
def running(*processes: Child) -> Iterator[None]:
    """Start them; kill them in the end, however it came."""
    try:
        for process in processes:
            process.start()
        yield
    finally:
        for process in processes:
            process.kill()
