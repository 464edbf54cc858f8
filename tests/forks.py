"""Processes of Tally that are forked instead of started, because what they import has been imported already.

A start of Python and all that a service imports takes half a second of processor time and more, and the tests start
over a thousand. So the first one that is wanted starts a forker (this file, run as a program), which imports it all
once, and forks whenever it is asked to. What it forks is a process like any other: it runs a module as `python -P -m`
does, has arguments, an environment, a folder, standard streams and an exit code of its own, and can be stopped and
killed. What only a real start shows (paths, `-P`, the variables that begin with PYTHON) is tested by real starts.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

#: What the forker imports: all but the modules `__main__`, which are run anew each time.
_IMPORTED = (
    *("aggregator.service", "api.service", "ingestor.service", "ingestor.sources.http", "ingestor.sources.sockets"),
    *(
        "ingestor.sources.folders",
        "ingestor.sources.tail",
        "tally.cli.app",
        "tally.cli.report_text",
        "tally.local.count",
    ),
    "tally.local.up",
    "tally.web.metrics_app",
)

_LENGTH, _PID, _CODE = struct.Struct("!I"), struct.Struct("!i"), struct.Struct("!i")


class Forked:
    """A forked process, with what of subprocess.Popen the tests need."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self._code: int | None = None
        self.stdin: IO[bytes] | None = None  # it has none of which we hold the other end
        (self.pid,) = _PID.unpack(_received(status, _PID.size))

    def poll(self) -> int | None:
        """Return its exit code; None while it runs. Of a signal its number below zero."""
        if self._code is None and select.select([self._status], [], [], 0)[0]:
            (self._code,) = _CODE.unpack(_received(self._status, _CODE.size))
            self._status.close()
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code as soon as it has ended. Raises subprocess.TimeoutExpired."""
        if self._code is None and not select.select([self._status], [], [], timeout)[0]:
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def fork(
    *command: str, stdin: int | IO[bytes], stdout: int | IO[bytes], stderr: int | IO[bytes], env: dict[str, str]
) -> Forked:
    """Run `python -P -m <command>` with these streams and this environment, in the folder where we are."""
    streams = [each if isinstance(each, int) else each.fileno() for each in (stdin, stdout, stderr)]
    wanted = json.dumps([command, env, os.getcwd()]).encode()
    ours, theirs = socket.socketpair()
    with theirs, _lock:
        control = _forker()
        socket.send_fds(control, [_LENGTH.pack(len(wanted))], [*streams, theirs.fileno()])
        control.sendall(wanted)
    return Forked(ours)


_lock = threading.Lock()
_control: socket.socket | None = None


def _forker() -> socket.socket:
    """Return the connection with the forker, started the first time. It ends with the connection, and so with us."""
    global _control
    if _control is None:
        _control, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
            )
        atexit.register(process.wait)
        atexit.register(_control.close)  # and this before
    return _control


def _received(connection: socket.socket, size: int) -> bytes:
    text = b""
    while len(text) < size:
        more = connection.recv(size - len(text))
        if not more:
            raise EOFError
        text += more
    return text


# From here on what runs in the forker, and in what it forks.


@dataclass(frozen=True, slots=True)
class _Wanted:
    command: list[str]
    environment: dict[str, str]
    folder: str
    streams: list[int]


def _serve(control: socket.socket) -> _Wanted | None:
    """Fork at each request. Return in what was forked, with what it is to be; and None when nobody asks any more."""
    children: dict[int, socket.socket] = {}
    child_ended, wakes = socket.socketpair()
    child_ended.setblocking(False)
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # it has to have a handler to wake us
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    while True:
        ready = select.select([control, child_ended], [], [])[0]
        if child_ended in ready:
            child_ended.recv(1000)
            _tell_of_ends(children)
        if control not in ready:
            continue
        head, descriptors, _, _ = socket.recv_fds(control, _LENGTH.size, 4)
        if not head:
            return None
        command, environment, folder = json.loads(_received(control, *_LENGTH.unpack(head)))
        status = socket.socket(fileno=descriptors.pop())
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            for each in (control, child_ended, wakes, status, *children.values()):
                each.close()
            return _Wanted(command, environment, folder, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        status.sendall(_PID.pack(pid))
        children[pid] = status


def _tell_of_ends(children: dict[int, socket.socket]) -> None:
    """Tell those who wait for children that have ended."""
    while children:
        pid, state = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with children.pop(pid) as status, suppress(OSError):  # nobody may wait for it
            status.sendall(_CODE.pack(os.waitstatus_to_exitcode(state)))


def _become(wanted: _Wanted) -> None:
    """Run what was wanted, as if it had just been started."""
    for number, descriptor in enumerate(wanted.streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        stream = open(  # noqa: SIM115 - it stays open until the end
            number,
            "w" if number else "r",
            buffering=1 if name == "stderr" else -1,
            encoding=before.encoding,
            errors=before.errors,
            closefd=False,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(wanted.environment)
    time.tzset()
    os.chdir(wanted.folder)
    module, *arguments = wanted.command
    sys.argv[:] = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the tests, and they end us
    for each in _IMPORTED:
        importlib.import_module(each)
    gc.collect()
    gc.freeze()  # so that what was imported stays shared
    found = _serve(socket.socket(fileno=int(sys.argv[1])))
    if found is not None:
        _become(found)
