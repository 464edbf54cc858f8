"""A `tally up`, and who belongs to it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.cli.commands import TALLY
from tests.oracle import Expected
from tests.server import free_port

#: What is found in the command lines of the embedded server, however it is reached, and of its guard.
SERVER, GUARD = r"valkey-server (unixsocket|127\.0\.0\.1):", "-m tally.local.guard"


class Up:
    """One `tally up` at a time, in one folder, with one port."""

    def __init__(self, folder: Path, events: Path) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self._events = events
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "out").open("wb") as out, (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*TALLY, "up", "--data", str(self.data), "--port", str(self.port), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, "TALLY_LOG_FORMAT": "json"},
                start_new_session=True,  # a Ctrl-C of ours is not one of the tests' own
            )
        return self._process

    @property
    def source(self) -> str:
        return str(self._events)

    def output(self) -> str:
        return (self._folder / "out").read_text(encoding="utf-8")

    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8")

    def get(self, path: str) -> Any:
        """The answer's JSON; None while there is none."""
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            response = self._http.get(path)
        except httpx.TransportError:
            return None
        return response.json() if response.status_code == 200 else None

    def shows(self, expected: Expected) -> bool:
        return bool(
            self.get("/events/CountByEventType") == expected.types and self.get("/events/CountWords") == expected.words
        )

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    def end(self) -> None:
        """Whatever became of it, leave nothing."""
        self._http.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
