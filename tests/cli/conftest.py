"""What the tests of the command line share: a file of events, a `tally up`, and a look at who is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tally.generator import Generator, GeneratorSpec
from tests.cli.up import Up
from tests.oracle import Expected


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 20,000 lines, one in ten of them garbage, the last one without an end."""
    path = tmp_path_factory.mktemp("cli") / "events.ndjson"
    lines = b"".join(Generator(GeneratorSpec(count=20_000, seed=11)).lines())
    path.write_bytes(lines + '{"event_type": "größe", "data": "l’été [bold]"}'.encode())
    return path


@pytest.fixture(scope="session")
def expected(events: Path) -> Expected:
    return Expected.of(events.read_bytes().split(b"\n"))


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """Who still runs of all that this test started, and of what that started: they work in the test's folder."""

    def running() -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                inside = f"{os.readlink(folder / 'cwd')}/".startswith(f"{tmp_path}/")
                zombie = "(zombie)" in (folder / "status").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if inside and not zombie and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        return found

    yield running
    for pid in running():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def up(tmp_path: Path, events: Path, left: Callable[[], list[int]]) -> Iterator[Up]:
    one = Up(tmp_path, events)
    yield one
    one.end()
