"""No script or command holds the server for long, whatever is counted: its SLOWLOG after the nastiest inputs.

A shared machine has no milliseconds that could be relied on. So what a call took is compared with a yardstick, a
command that always does the same and was sent all the while: a few milliseconds of a core that has nothing else to do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tally.keys import Keys
from tally.settings import Settings
from tally.store.deltas import APPLIED_TOGETHER
from tests.holding import Holding
from tests.processes import Process, running
from tests.server import Server
from tests.waiting import wait_until

KEYS = Keys()

#: Lists of lines, each of which is counted before the next one comes.
Phases = Iterator[list[bytes]]

#: Of a day in the past, so that no clock matters.
DAY = 1_600_000_000 // 86_400 * 86_400

#: What BITCOUNT counts.
YARDSTICK_BYTES = 16 << 20

#: How many yardsticks a call may take: one in four at least, for others may have had to wait for the processor; and all
#: but one in twenty. Of a kind that was seldom called, the shortest.
USUAL, MOST = 3, 12
SELDOM = 30

#: How many yardsticks a round trip may take that applies several chunks.
TOGETHER = 6


def _event(data: str, at: int, type_: str = "a") -> bytes:
    return json.dumps({"event_type": type_, "data": data, "timestamp": at}).encode()


def _words(first: int, count: int, length: int) -> str:
    return " ".join(f"{number:0{length}d}w" for number in range(first, first + count))


def long_lines() -> Phases:
    """Lines of a MiB, of short words and of long ones, none of which comes twice."""
    yield [_event(_words(number * 1_000_000, 110_000, 7), DAY) for number in range(4)]
    yield [_event(_words(number * 1_000_000, 5_000, 200), DAY + 60) for number in range(4)]


def many_minutes() -> Phases:
    """A minute each, forwards and then back again: most are too old for their length."""
    for first in range(0, 50_000, 10_000):
        yield [_event("lorem", DAY + 60 * number) for number in range(first, first + 10_000)]
    yield [_event("lorem", DAY + 60 * number) for number in range(50_000, 0, -1)]


def many_types() -> Phases:
    """Ten thousand types, in ten minutes."""
    yield [_event("lorem ipsum", DAY + number % 600, f"type-{number % 10_000}") for number in range(100_000)]


def full_hours() -> Phases:
    """Hours of many words, and then a day so late that they are folded."""
    yield [_event(_words(number * 300, 300, 12), DAY + 3600 * (number % 4)) for number in range(200)]
    yield [_event("late", DAY + 40 * 86_400)]


def ten_years() -> Phases:
    """Texts, one every two hours."""
    for first in range(0, 40_000, 10_000):
        yield [_event(_words(at * 7 % 30_000, 8, 6), DAY + at * 7919) for at in range(first, first + 10_000)]


def _blocks(lines: list[bytes], size: int = 256 << 10) -> Iterator[bytes]:
    block: list[bytes] = []
    held = 0
    for line in lines:
        block.append(line)
        held += len(line)
        if held >= size:
            yield b"\n".join(block)
            block, held = [], 0
    if block:
        yield b"\n".join(block)


def _is_done(client: Any, events: int) -> bool:
    """Return whether so many events are counted, and no window is behind the floor of its length."""
    if client.hget(KEYS.totals, "events") != str(events):
        return False
    for length in Settings().window_lengths:
        oldest = client.zrange(KEYS.windows(length.seconds), 0, 0)
        floor = client.zscore(KEYS.floors, length.seconds)
        if oldest and floor is not None and int(oldest[0]) < floor:
            return False
    return True


@pytest.mark.parametrize(
    ("phases", "scripts"),
    [
        pytest.param(long_lines, {"stage.lua", "settle.lua", "apply.lua"}, marks=pytest.mark.slow),
        (many_minutes, {"apply.lua", "drop_windows.lua", "overdue.lua"}),
        pytest.param(many_types, {"apply.lua"}, marks=pytest.mark.slow),
        (full_hours, {"apply.lua", "fold.lua"}),
        pytest.param(ten_years, {"apply.lua", "fold.lua"}, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_call_is_long(server: Server, tmp_path: Path, phases: Callable[[], Phases], scripts: set[str]) -> None:
    with server.client() as client:
        client.setrange("yardstick", YARDSTICK_BYTES - 1, "x")
    holding = Holding(server.port)
    done = threading.Event()

    def measure() -> None:
        with server.client() as client:
            while not done.wait(0.03):
                client.bitcount("yardstick")

    measuring = threading.Thread(target=measure)
    measuring.start()
    aggregator = Process("aggregator", log=tmp_path / "log", TALLY_REDIS_URL=server.url)
    try:
        with running(aggregator), server.client() as client:
            events = 0
            for lines in phases():  # each is counted before the next comes, which may leave its windows behind
                events += len(lines)
                for block in _blocks(lines):
                    client.xadd(KEYS.stream, {"lines": block, "source": "nasty"})
                wait_until(partial(_is_done, client, events), what="all is counted, folded and dropped")
    finally:
        done.set()
        measuring.join()
    found = holding.seconds()
    holding.close()
    yardstick = median(found.pop("BITCOUNT"))
    assert scripts <= set(found)
    usual = {kind: sorted(seconds)[len(seconds) // 4] / yardstick for kind, seconds in found.items()}
    often = {kind: sorted(seconds) for kind, seconds in found.items() if len(seconds) >= SELDOM}
    longest = {kind: seconds[-1 - len(seconds) // 20] / yardstick for kind, seconds in often.items()}
    shortest = {kind: min(seconds) / yardstick for kind, seconds in found.items()}
    assert {kind: ratio for kind, ratio in usual.items() if kind in often and ratio > USUAL} == {}
    assert {kind: ratio for kind, ratio in longest.items() if ratio > MOST} == {}
    assert {kind: ratio for kind, ratio in shortest.items() if ratio > USUAL} == {}
    assert usual["apply.lua"] * APPLIED_TOGETHER <= TOGETHER
