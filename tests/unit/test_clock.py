"""Nothing asks the machine's clock, or sleeps, but what says here why; the rest is given a clock."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tally.clock import SYSTEM

ROOT = Path(__file__).resolve().parents[2]

#: Modules that ask the clock themselves, and why.
WITHOUT = {
    "tally/clock.py": "it is the clock",
    "tally/local/guard.py": "beside each server runs one, which without asyncio takes half the memory",
}

#: What asks the clock or waits, besides the event loop's own clock, which its timers go by.
_ASKS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"},
    "asyncio": {"sleep"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}


async def test_a_wait_ends_with_the_event_or_with_its_time() -> None:
    stop = asyncio.Event()
    assert await SYSTEM.wait(stop, 0.001) is False
    waiting = asyncio.create_task(SYSTEM.wait(stop, 3600))
    await asyncio.sleep(0)
    stop.set()
    assert await waiting is True
    assert await SYSTEM.wait(stop, 3600) is True


def _asked(source: str) -> Iterator[str]:
    """Yield what this module calls, passes on or imports of the clock. `asyncio.sleep(0)` only lets others run."""
    tree = ast.parse(source)
    only_lets_run = {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and [each.value for each in node.args if isinstance(each, ast.Constant)] == [0]
        and ast.unparse(node.func) == "asyncio.sleep"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in only_lets_run:
            module = ast.unparse(node.value).rpartition(".")[2]
            if node.attr in _ASKS.get(module, ()):
                yield f"line {node.lineno}: {module}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "asyncio"):
            yield from (
                f"line {node.lineno}: {node.module}.{each.name}"
                for each in node.names
                if each.name in _ASKS[node.module]
            )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.monotonic()", ["line 2: time.monotonic"]),
        ("from time import time", ["line 1: time.time"]),
        ("def f(clock=time.time): ...", ["line 1: time.time"]),
        ("await asyncio.sleep(0.5)", ["line 1: asyncio.sleep"]),
        ("datetime.datetime.now(tz=UTC)", ["line 1: datetime.now"]),
        ("await asyncio.sleep(0)", []),
        ("clock.time(); clock.sleep(1); loop.time()", []),
    ],
)
def test_what_asks_the_clock_is_recognized(source: str, found: list[str]) -> None:
    assert list(_asked(source)) == found


def test_nothing_else_asks_the_clock() -> None:
    modules = {
        path.relative_to(ROOT).as_posix(): list(_asked(path.read_text(encoding="utf-8")))
        for room in ("tally", "ingestor", "aggregator", "api")
        for path in (ROOT / room).rglob("*.py")
    }
    assert len(modules) > 100
    asking = {name: found for name, found in modules.items() if found}
    assert {name: found for name, found in asking.items() if name not in WITHOUT} == {}
    assert asking.keys() == WITHOUT.keys(), "a reason for what is so no more"
