"""A folder with Python files of the user's own, of whatever names, is as good as any to start Tally in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import httpx
import pytest

from tests.processes import Child, module, running
from tests.server import free_port
from tests.waiting import wait_until

EVENT = b'{"event_type": "a", "data": "one"}\n'

#: The command as it is installed, and run as a module.
COMMANDS = ([str(Path(sys.executable).with_name("tally"))], [sys.executable, "-P", "-m", "tally"])


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """Fill the present folder with a module of every name that somebody may import, each of which tells it here."""
    told = tmp_path / "imported"
    ours = {"tally", "ingestor", "aggregator", "api", "tests"}
    for name in {*ours, *sys.stdlib_module_names, *packages_distributions(), "sitecustomize", "usercustomize"}:
        Path(f"{name}.py").write_text(f"open({str(told)!r}, 'a').write({name!r} + ' ')\nraise SystemExit(0)\n")
    Path("events.ndjson").write_bytes(EVENT)
    return told


@pytest.mark.parametrize("command", COMMANDS, ids=["script", "module"])
def test_count_runs_no_module_of_the_folder_it_is_started_in(imported: Path, command: list[str]) -> None:
    done = subprocess.run([*command, "count", "--json", "events.ndjson"], capture_output=True, text=True, timeout=120)
    assert not imported.exists(), imported.read_text()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["types"] == {"a": 1}


@pytest.mark.slow
def test_up_runs_no_module_of_the_folder_it_is_started_in(imported: Path, tmp_path: Path) -> None:
    port = free_port()
    # No Process, which would be forked: what counts here is what it imports at its start.
    up = Child(module("tally", "up", "--port", str(port), "--source", "events.ndjson"), log=tmp_path / "log")
    with running(up), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        def counted() -> bool:
            assert up.exit_code is None, up.log()
            try:
                return bool(client.get("/events/CountByEventType").json() == {"a": 1})
            except (httpx.TransportError, ValueError):
                return False

        wait_until(counted, what="the event is counted")
        assert client.get("/").status_code == 200
        assert up.stop() == 0
    assert not imported.exists(), imported.read_text()


def test_what_lies_beside_the_script_is_not_imported(imported: Path, tmp_path: Path) -> None:
    # As in ~/.local/bin. What Python itself imports to run a script is not ours to choose.
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for own in ("queue", "redis", "ingestor", "typer", "random"):
        (scripts / f"{own}.py").write_bytes(Path(f"{own}.py").read_bytes())
    (scripts / "tally").write_text("from tally.__main__ import main\nmain()\n")
    done = subprocess.run([sys.executable, scripts / "tally", "--version"], capture_output=True, text=True, timeout=60)
    assert not imported.exists(), imported.read_text()
    assert done.stdout.startswith("tally "), done.stderr


def test_a_program_of_exec_finds_its_own_modules() -> None:
    Path("own.py").write_text('print(\'{"event_type": "own", "data": ""}\')\n')
    program = f"exec:{sys.executable} -m own"
    done = subprocess.run([*COMMANDS[0], "count", "--json", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["types"] == {"own": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "code", "said"),
    [
        pytest.param("ingestor", 0, "the ingestor ended without having read anything", marks=pytest.mark.slow),
        ("ingestor", 3, "ingestor ended with exit code 3"),
        # Whichever comes first: the drain has ended, or the aggregator died once too often.
        pytest.param(
            "aggregator",
            0,
            "1 blocks of lines could not be counted|ended with exit code 0, 5 times in a row",
            marks=pytest.mark.slow,
        ),
        ("aggregator", 3, "ended with exit code 3, 5 times in a row"),
    ],
)
def test_count_prints_nothing_when_a_service_did_not_do_its_part(
    tmp_path: Path, service: str, code: int, said: str
) -> None:
    (tmp_path / "events").write_bytes(EVENT)
    package = tmp_path / "path" / service
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n")
    (package / "__main__.py").write_text(f"raise SystemExit({code})\n")
    done = subprocess.run(
        [*COMMANDS[0], "count", "--json", "events"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr
