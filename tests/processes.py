"""Processes that may be killed and started again: of tests and of measurements."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.effort import THOROUGH
from tests.forks import Forked, fork
from tests.users import as_its_user

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
        self._arguments: Sequence[str] = ()
        self._log = log
        self._folder = folder
        self._stdin = stdin
        self._variables = dict(variables or {})
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._logged_before = 0  # bytes

    def start(self, **variables: str) -> None:
        """Start it, from now on with these variables too."""
        self._variables.update(variables)
        around = {name: value for name, value in os.environ.items() if not name.startswith(("TALLY_", "_TALLY_"))}
        with self._log.open("ab") as log:
            self._logged_before = log.tell()
            self._process = self._begin(around | _as_its_user(self._variables, self._arguments), log)

    def _begin(self, environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes] | Forked:
        return subprocess.Popen(
            self._command, cwd=self._folder, env=environment, stdin=self._stdin, stdout=log, stderr=log
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
    """`python -m <arguments>`, forked (see tests/forks.py) unless only a real start will do."""

    def __init__(self, *arguments: str, log: Path, **variables: str) -> None:
        super().__init__(module(*arguments), log=log, variables=variables)
        self._arguments = arguments

    def _begin(self, environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes] | Forked:
        if _to_be_started(self._variables):
            return super()._begin(environment, log)
        with _nothing() as nothing:
            return fork(*self._arguments, env=environment, stdin=nothing, stdout=log, stderr=log)


def run(
    *arguments: str,
    given: bytes | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m <arguments>` to its end, with these variables besides our own, and return what it printed.

    What is given comes by a pipe. With `stdout` its output goes there. It is forked as a Process is.
    """
    environment = {**os.environ, **_as_its_user(env or {}, arguments)}
    with ExitStack() as stack:
        out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        stdin = stack.enter_context(_nothing() if given is None else _pipe_with(given))
        process: subprocess.Popen[bytes] | Forked
        if _to_be_started(env or {}):
            command = module(*arguments)
            process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout or out, stderr=err)
        else:
            process = fork(*arguments, env=environment, stdin=stdin, stdout=stdout or out, stderr=err)
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
        said = []
        for each in (out, err):
            each.seek(0)
            said.append(each.read())
    return subprocess.CompletedProcess(arguments, code, said[0].decode(), said[1].decode(errors="replace"))


def _as_its_user(variables: Mapping[str, str], arguments: Sequence[str]) -> dict[str, str]:
    """Return the variables with the URL that a module of ours connects by, where the server has users."""
    found = dict(variables)
    if arguments and "TALLY_REDIS_URL" in found:
        found["TALLY_REDIS_URL"] = as_its_user(found["TALLY_REDIS_URL"], *arguments)
    return found


def _to_be_started(variables: Mapping[str, str]) -> bool:
    """Return whether a process is not to be forked: all is to be tried, or a variable is for Python itself."""
    return THOROUGH or any(name.startswith("PYTHON") for name in variables)


def _nothing() -> IO[bytes]:
    return Path(os.devnull).open("rb")


@contextmanager
def _pipe_with(content: bytes) -> Iterator[IO[bytes]]:
    """Give the reading end of a pipe into which this is written."""
    reading, writing = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), open(writing, "wb") as pipe:
            pipe.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with open(reading, "rb") as pipe:
            yield pipe
    finally:
        thread.join()


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
