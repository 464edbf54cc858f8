"""How a process waits, and is told to stop."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from types import FrameType

import pytest

from tally.runtime import EXIT_USAGE, LIFELINE_VARIABLE, cancel_and_wait, load_or_exit, stop_on_signals


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_sets_stop_and_the_handlers_are_restored_afterwards(sent: signal.Signals) -> None:
    def ours(number: int, frame: FrameType | None) -> None:
        raise AssertionError("not while we wait for it to stop")

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(sent, ours)
    try:
        stop = asyncio.Event()
        with stop_on_signals(stop):
            os.kill(os.getpid(), sent)
            await asyncio.wait_for(stop.wait(), 30)
        assert signal.getsignal(sent) is ours
        other = ({signal.SIGINT, signal.SIGTERM} - {sent}).pop()
        assert signal.getsignal(other) is before[other]
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


async def test_the_handlers_are_restored_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), stop_on_signals(asyncio.Event()):
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is before


async def test_a_cut_lifeline_sets_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(LIFELINE_VARIABLE, str(reading))
    try:
        stop = asyncio.Event()
        with stop_on_signals(stop):
            await asyncio.sleep(0)
            assert not stop.is_set()
            os.close(writing)
            await asyncio.wait_for(stop.wait(), 30)
    finally:
        os.close(reading)


_STUBBORN = """
import asyncio
from tally.runtime import run_or_exit, stop_on_signals
from tally.settings import Settings
from tally.telemetry import configure

configure(Settings(), service="stubborn")

async def body():
    stop = asyncio.Event()
    with stop_on_signals(stop, at_once=lambda: print("at once", flush=True)):
        print("ready", flush=True)
        await stop.wait()
        print("stopping", flush=True)
        await asyncio.Event().wait()

run_or_exit(body())
"""


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_process_that_does_not_stop(second: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", _STUBBORN], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.terminate()
            assert process.stdout.readline() == "stopping\n"
            process.send_signal(second)
            assert process.stdout.readline() == "at once\n"
            assert process.wait(30) == 128 + second
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        pytest.param("raise Failure('no luck\\nat all')", 1, "tally: no luck\ntally: at all\n", id="a failure"),
        pytest.param(
            "raise AuthenticationError('NOPE')", 1, "tally: Redis refuses the password", id="a wrong password"
        ),
        pytest.param("pass", 0, "", id="nothing"),
    ],
)
def test_a_process_ends_with_its_outcome_and_a_sentence(body: str, code: int, said: str) -> None:
    program = (
        "from redis.exceptions import AuthenticationError\n"
        "from tally.runtime import Failure, run_service\n"
        f"async def main(settings, stop):\n    {body}\n"
        "run_service('test', main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(said) if said else not done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_a_process_that_was_started_without_standard_input_or_output_ends_in_order(closed: str) -> None:
    program = (
        "import os\n"
        "from tally.runtime import Failure, run_service\n"
        "async def main(settings, stop):\n"
        "    assert os.open(os.devnull, os.O_RDONLY) > 2\n"
        "    raise Failure('no luck')\n"
        "run_service('test', main)\n"
    )
    command = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(program)} {closed}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "tally: no luck\n")


@pytest.mark.parametrize(
    "hangs",
    [
        pytest.param("while True: pass", id="a loop that does not let others run"),
        pytest.param("threading.Thread(target=threading.Event().wait).start()", id="a thread without end"),
        pytest.param("await asyncio.Event().wait()", id="a wait without end"),
    ],
)
def test_a_stop_that_takes_too_long_ends_the_process_and_says_where_it_was(hangs: str) -> None:
    program = (
        "import asyncio, os, signal, threading\n"
        "from tally.runtime import run_service\n"
        "async def main(settings, stop):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    await stop.wait()\n"
        f"    {hangs}\n"
        "run_service('test', main, stop_seconds=0.5)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Timeout" in done.stderr


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    lost: list[str] = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append("one")

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await asyncio.wait_for(cancel_and_wait(task, again_seconds=0.01), 30)
    assert (task.cancelled(), lost) == (True, ["one"])


def test_a_command_with_a_log_level_of_its_own_refuses_a_wrong_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TALLY_LOG_LEVEL", "debug")
    assert load_or_exit(log_level="warning").log_level == "warning"
    assert load_or_exit().log_level == "debug"
    monkeypatch.setenv("TALLY_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as caught:
        load_or_exit(log_level="warning")
    assert caught.value.code == EXIT_USAGE
    assert "TALLY_LOG_LEVEL=loud: " in capsys.readouterr().err
