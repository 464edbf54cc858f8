"""A kept program ends with the program that started its guard, and so does what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Says its process number and where it is, then waits for ever; for SIGTERM too, if it is told so.
_PROGRAM = """
import os, signal, sys
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), os.getcwd(), flush=True)
while True:
    signal.pause()
"""

#: The guard, which does not wait long.
_GUARD = "import sys; from tally.local import guard; guard.END_SECONDS = 0.1; sys.exit(guard.main(sys.argv[1:]))"


@contextmanager
def _kept(removed: Path, folder: Path, *how: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A guard and the number of its program."""
    guard = subprocess.Popen(
        [sys.executable, "-c", _GUARD, removed, folder, sys.executable, "-c", _PROGRAM, *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with guard:
        assert guard.stdout is not None
        pid, where = guard.stdout.readline().decode().split(maxsplit=1)
        assert where.strip() == str(folder)
        try:
            yield guard, int(pid)
        finally:
            guard.terminate()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("how", "ended_by"), [("willing", signal.SIGTERM), ("stubborn", signal.SIGKILL)])
@pytest.mark.parametrize("is_folder", [True, False], ids=["a folder", "a file"])
def test_a_cut_lifeline_ends_the_program_and_removes_what_it_leaves(
    tmp_path: Path, how: str, ended_by: signal.Signals, is_folder: bool
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "file").touch()
    with _kept(folder if is_folder else folder / "file", folder, how) as (guard, pid):
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(30)
    assert not _runs(pid)
    assert not (folder if is_folder else folder / "file").exists()
    assert folder.exists() is not is_folder
    assert guard.returncode == 256 - ended_by


def test_a_signal_to_the_keeper_ends_the_program_and_removes_nothing(tmp_path: Path) -> None:
    with _kept(tmp_path, tmp_path) as (guard, pid):
        guard.terminate()
        guard.wait(30)
    assert not _runs(pid)
    assert tmp_path.exists()


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_a_keeper_ends_with_its_program(tmp_path: Path, ended_by: signal.Signals) -> None:
    with _kept(tmp_path, tmp_path) as (guard, pid):
        os.kill(pid, ended_by)
        assert guard.wait(30) == 256 - ended_by
    assert tmp_path.exists(), "the program that started it may start it again"
