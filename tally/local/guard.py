"""Run a program for as long as our parent lives: `python -m tally.local.guard REMOVED FOLDER COMMAND…`.

It is what the embedded server runs under, because a Valkey knows no lifeline and cannot clean up behind itself. Our
standard input is that lifeline: a pipe of which our starter alone has the other end, so that it closes when the
starter is gone, however it ended. Then we end the program, which works in FOLDER, and remove REMOVED: a file, or a
folder with all that is in it. If the program ends by itself, so do we, with its exit code.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

#: How long the program may take to end before it is killed.
END_SECONDS = 30.0

_LIFELINE = 0


def main(arguments: list[str]) -> int:
    """Run the program to its end; its exit code."""
    removed, folder, *command = arguments
    folder_before = Path(folder).stat()
    told_to_end = False

    def end(*_: object) -> None:
        nonlocal told_to_end
        told_to_end = True

    # Every signal wakes the loop below, which alone looks after the program: so its number is never one that was
    # given to another process since.
    waking, wake = os.pipe()
    os.set_blocking(waking, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)

    # What we were given to hold open, the lock of the folder, the program holds too.
    program = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, close_fds=False)
    cut = False
    deadline: float | None = None
    while program.poll() is None:
        if (cut or told_to_end) and deadline is None:
            program.terminate()
            deadline = time.monotonic() + END_SECONDS
        elif deadline is not None and time.monotonic() > deadline:
            program.kill()
        watched = [waking] if cut else [waking, _LIFELINE]
        ready, _, _ = select.select(watched, [], [], None if deadline is None else 1.0)
        cut = cut or (_LIFELINE in ready and not os.read(_LIFELINE, 1))
        if waking in ready:
            os.read(waking, 4096)
    if cut or (select.select([_LIFELINE], [], [], 0)[0] and not os.read(_LIFELINE, 1)):
        with suppress(FileNotFoundError):
            # Somebody may have removed the folder, and somebody else may have made one in its place.
            if os.path.samestat(folder_before, Path(folder).stat()):
                _remove(Path(removed))
    return program.returncode


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
