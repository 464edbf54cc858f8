"""Services are kept running, stopped in order, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tally.local.supervisor import Service, Supervisor
from tally.runtime import Failure
from tests.waiting import wait_until

#: `python -m pidfile PATH HOW…`: writes its process number where told, then sleeps or ends as told for each start.
_PROGRAM = """
import os, sys, time
path, *codes = sys.argv[1:]
with open(path, "a") as file:
    print(os.getpid(), file=file)
with open(path) as file:
    code = codes[min(len(file.readlines()), len(codes)) - 1]
if code != "sleep":
    sys.exit(int(code))
time.sleep(1000)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "pidfile.py").write_text(_PROGRAM, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "pidfile"


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text(encoding="utf-8").split()] if path.exists() else []


async def test_a_service_that_dies_is_started_again_and_stopped_in_the_end(tmp_path: Path, program: str) -> None:
    pids = tmp_path / "pids"
    supervisor = Supervisor(stop=asyncio.Event())
    supervisor.start(Service(name="a", arguments=[program, str(pids), "sleep"]))
    try:
        await asyncio.to_thread(wait_until, lambda: len(_pids(pids)) == 1, what="it runs")
        os.kill(_pids(pids)[0], signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: len(_pids(pids)) == 2, what="it runs again")
    finally:
        await asyncio.wait_for(supervisor.stop_all(), 60)
    assert not any(_runs(pid) for pid in _pids(pids))


@pytest.mark.parametrize(("code", "failed"), [("0", False), ("2", True)])
async def test_a_service_that_ends_well_is_over_and_one_that_cannot_be_run_is_a_failure(
    tmp_path: Path, program: str, code: str, failed: bool
) -> None:
    pids = tmp_path / "pids"
    stop = asyncio.Event()
    supervisor = Supervisor(stop=stop)
    supervisor.start(Service(name="a", arguments=[program, str(pids), code], ends=True))
    try:
        if failed:
            with pytest.raises(Failure, match="a ended with exit code 2"):
                await asyncio.wait_for(supervisor.watch(lambda: None, every_seconds=0.01), 60)
        else:
            assert await asyncio.wait_for(supervisor.wait("a"), 60) == 0
    finally:
        await asyncio.wait_for(supervisor.stop_all(), 60)
    assert len(_pids(pids)) == 1


async def test_a_service_that_ran_and_cannot_be_run_now_is_tried_again(tmp_path: Path, program: str) -> None:
    # As an ingestor whose file is gone when it is started again.
    pids = tmp_path / "pids"
    supervisor = Supervisor(stop=asyncio.Event())
    supervisor.start(Service(name="a", arguments=[program, str(pids), "1", "2", "2", "0"], ends=True))
    watching = asyncio.create_task(supervisor.watch(lambda: None, every_seconds=0.01))
    try:
        assert await asyncio.wait_for(supervisor.wait("a"), 60) == 0
    finally:
        await asyncio.wait_for(supervisor.stop_all(), 60)
        await watching
    assert len(_pids(pids)) == 4


@pytest.mark.parametrize("turns", range(4))
async def test_a_service_that_is_just_being_started_is_stopped_too(tmp_path: Path, program: str, turns: int) -> None:
    pids = tmp_path / "pids"
    supervisor = Supervisor(stop=asyncio.Event())
    supervisor.start(Service(name="a", arguments=[program, str(pids), "sleep"]))
    for _ in range(turns):
        await asyncio.sleep(0)  # so far, and no further, does its start get
    stopping = asyncio.create_task(supervisor.stop_all())
    try:
        await asyncio.wait_for(asyncio.shield(stopping), 10)
    finally:
        supervisor.kill_all()
        await stopping
    assert not any(_runs(pid) for pid in _pids(pids))


async def test_a_service_that_fails_again_and_again_is_a_failure_where_nobody_watches(
    tmp_path: Path, program: str
) -> None:
    pids = tmp_path / "pids"
    supervisor = Supervisor(stop=asyncio.Event())
    supervisor.start(Service(name="a", arguments=[program, str(pids), "1", "2", "0"], most_failures=3))
    try:
        with pytest.raises(Failure, match="a ended with exit code 0, 3 times in a row"):
            await asyncio.wait_for(supervisor.wait("a"), 60)
    finally:
        await asyncio.wait_for(supervisor.stop_all(), 60)
    assert len(_pids(pids)) == 3
