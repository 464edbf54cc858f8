"""When a drain is over: what was in the stream at its beginning is in the counts, by whichever aggregator."""

from __future__ import annotations

import asyncio

import pytest

from aggregator.drain import POLL_SECONDS, Drain
from tally.store.blocks import Consumer, Oldest
from tally.store.deltas import Progress
from tests.fakes import FakeClock


class Stream:
    """What a drain asks of its store."""

    def __init__(self, *, last: str, oldest: str | None, pending: int = 0, settled: int = 0, applied: int = 0) -> None:
        self.last = last
        self.first = oldest
        self.pending = pending
        self.settled = settled
        self.applied = applied

    async def last_entry_id(self) -> str:
        return self.last

    async def oldest(self) -> Oldest | None:
        return None if self.first is None else Oldest(self.first, 1.0)

    async def progress(self) -> Progress:
        return Progress(self.settled, self.applied)

    async def consumers(self) -> list[Consumer]:
        return [Consumer("ours", 0, 0.0), Consumer("another", self.pending, 0.0)]


async def _drain(stream: Stream, clock: FakeClock) -> Drain:
    drain = Drain(store=stream, clock=clock, stop=asyncio.Event())
    await drain.begin()
    return drain


@pytest.mark.parametrize(
    ("oldest", "over"),
    [(None, True), ("9-9", False), ("10-3", False), ("10-4", True), ("11-0", True), ("100-0", True)],
)
async def test_a_drain_is_over_when_the_oldest_block_came_after_its_beginning(oldest: str | None, over: bool) -> None:
    drain = await _drain(Stream(last="10-3", oldest=oldest), FakeClock())
    assert await drain.is_over() == over


async def test_what_comes_after_the_beginning_does_not_move_the_end() -> None:
    stream = Stream(last="10-3", oldest="10-3")
    drain = await _drain(stream, FakeClock())
    stream.last = "20-0"
    await drain.begin()
    stream.first = "10-4"
    assert await drain.is_over()


@pytest.mark.parametrize(("pending", "waits"), [(0, []), (2, [POLL_SECONDS])])
async def test_a_drain_waits_only_for_what_another_aggregator_holds(pending: int, waits: list[float]) -> None:
    clock = FakeClock()
    drain = await _drain(Stream(last="10-3", oldest="10-3", pending=pending), clock)
    assert not await drain.is_over()
    assert clock.waits == waits


async def test_a_drain_waits_for_what_is_settled_but_not_for_what_is_settled_later() -> None:
    clock = FakeClock()
    stream = Stream(last="10-3", oldest="10-4", settled=7, applied=5)
    drain = await _drain(stream, clock)
    assert not await drain.is_over()
    stream.settled, stream.applied = 20, 6
    assert not await drain.is_over()
    assert clock.waits == [POLL_SECONDS] * 2
    stream.applied = 7
    assert await drain.is_over()


async def test_a_drain_does_not_wait_for_what_a_server_has_lost() -> None:
    stream = Stream(last="10-3", oldest=None, settled=7, applied=5)
    drain = await _drain(stream, FakeClock())
    assert not await drain.is_over()
    stream.settled = stream.applied = 2
    assert await drain.is_over()
