"""A stop that comes while a process still imports what it needs is a stop as any other."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.processes import Child
from tests.server import Server, free_port
from tests.waiting import wait_until

#: Makes Python wait, when it begins to import a package that all commands need, until it may go on.
_WAITS = """
import sys, time
from pathlib import Path

here = Path(__file__).parent

class Waits:
    def find_spec(self, name, path=None, target=None):
        if name == "pydantic" and not (here / "go").exists():
            (here / "importing").touch()
            while not (here / "go").exists():
                time.sleep(0.01)

sys.meta_path.insert(0, Waits())
"""


class Importing:
    """A real start of `python -m …`, stopped in the middle of its imports until it is let go on."""

    def __init__(self, folder: Path, *command: str, url: str) -> None:
        self._folder = folder / "waits"
        self._folder.mkdir()
        (self._folder / "sitecustomize.py").write_text(_WAITS)
        variables = {"TALLY_REDIS_URL": url, "PYTHONPATH": str(self._folder), "TALLY_HTTP_PORT": str(free_port())}
        self.process = Child(
            [sys.executable, "-P", "-m", *command], log=folder / "log", variables=variables, folder=folder
        )

    def begin(self) -> None:
        self.process.start()
        wait_until((self._folder / "importing").exists, what="it imports")

    def go_on(self) -> None:
        (self._folder / "go").touch()


def _ends(folder: Path, *command: str, url: str, sent: signal.Signals) -> tuple[int, str]:
    """Return how it ends, and what it says, if this is sent while it imports."""
    importing = Importing(folder, *command, url=url)
    try:
        importing.begin()
        importing.process.send(sent)
        importing.go_on()
        code = importing.process.wait()
    finally:
        importing.process.kill()
    return code, importing.process.log()


@pytest.mark.parametrize("sent", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "command",
    [
        pytest.param("ingestor tail:x"),
        pytest.param("aggregator", marks=pytest.mark.slow),
        pytest.param("api"),
        pytest.param("tally ingest tail:x", marks=pytest.mark.slow),
        pytest.param("tally aggregate", marks=pytest.mark.slow),
        pytest.param("tally serve", marks=pytest.mark.slow),
        pytest.param("tally up --no-source"),
    ],
)
def test_it_is_a_stop_in_order(server: Server, tmp_path: Path, command: str, sent: signal.Signals) -> None:
    code, said = _ends(tmp_path, *command.split(), url=server.url, sent=sent)
    assert code == 0, said
    assert "Traceback" not in said
    assert '"stopping"' in said


def test_a_file_that_was_not_read_is_not_said_to_be_in_the_stream(server: Server, tmp_path: Path) -> None:
    """It would be removed, in `tally ingest FILE && rm FILE`."""
    (tmp_path / "x").write_text('{"event_type": "a", "data": "b"}\n')
    code, said = _ends(tmp_path, "tally", "ingest", "x", url=server.url, sent=signal.SIGTERM)
    assert code == 1, said
    assert "Traceback" not in said
    assert "tally: source x: " in said


@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGTERM, -signal.SIGTERM), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_what_only_asks_ends_by_it(server: Server, tmp_path: Path, sent: signal.Signals, code: int) -> None:
    ended, said = _ends(tmp_path, "tally", "status", url=server.url, sent=sent)
    assert ended == code, said
    assert "Traceback" not in said
    assert "Backlog" not in said


def test_a_second_one_does_not_wait_for_the_imports(server: Server, tmp_path: Path) -> None:
    importing = Importing(tmp_path, "ingestor", "tail:x", url=server.url)
    try:
        importing.begin()
        importing.process.send(signal.SIGINT)
        importing.process.send(signal.SIGTERM)  # they may come in either order
        assert importing.process.wait() in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        assert importing.process.log() == ""
    finally:
        importing.process.kill()


#: A service whose work is done at a stop, but for a thread that does not come to an end.
_HAS_A_THREAD = """
from tally.early_signals import hold
hold()
import asyncio, threading
from tally.runtime import run_or_exit, stop_on_signals

async def body():
    stop = asyncio.Event()
    with stop_on_signals(stop):
        asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
        print("has begun", flush=True)
        await stop.wait()
    print("is done", flush=True)

run_or_exit(body())
"""


def test_a_second_one_does_not_wait_for_threads_either(tmp_path: Path) -> None:
    process = Child([sys.executable, "-P", "-c", _HAS_A_THREAD], log=tmp_path / "log")
    process.start()
    try:
        for said in ("has begun", "is done"):
            wait_until(lambda said=said: said in process.log(), what=f"it {said}")  # type: ignore[misc]
            process.send(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
