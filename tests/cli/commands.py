"""The commands of Tally, run to their end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from tests.processes import module, run

TALLY = module("tally")


def tally(
    *arguments: str, given: bytes | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with these variables besides our own."""
    return run("tally", *arguments, given=given, env=env)


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """It ended with this code and a sentence, not a traceback."""
    assert done.returncode == code, done.stderr
    for each in said:
        assert each in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
