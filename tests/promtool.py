"""Prometheus' own checker, of Debian's package prometheus.

TALLY_REQUIRE_PROMTOOL=1 makes tests that need it fail, rather than be skipped, where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

#: Read here, because each test is run without the TALLY_ variables of the shell.
_REQUIRED = os.environ.get("TALLY_REQUIRE_PROMTOOL") == "1"


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where it must not be skipped."""
    reason = f"there is no {what} (Debian: prometheus)"
    if _REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def promtool(*arguments: str | Path, given: str | None = None) -> str:
    """Run it, and return what it said; fail if it found anything wrong."""
    program = shutil.which("promtool") or missing("promtool")
    done = subprocess.run(
        [program, *map(str, arguments)], input=given, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
