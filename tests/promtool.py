"""Prometheus' own checker, of Debian's package prometheus.

TALLY_REQUIRE_PROMTOOL=1 makes tests that need it fail, rather than be skipped, where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

#: Read here, because each test is run without the TALLY_ variables of the shell.
_REQUIRED = os.environ.get("TALLY_REQUIRE_PROMTOOL") == "1"


def promtool(*arguments: str | Path, given: str | None = None) -> str:
    """Run it, and return what it said; fail if it found anything wrong."""
    program = shutil.which("promtool")
    if program is None:
        reason = "there is no promtool (Debian: prometheus)"
        if _REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        [program, *map(str, arguments)], input=given, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
