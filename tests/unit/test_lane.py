"""What is in flight between a source and the stream, and what becomes of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from ingestor.lane import FULL_POLL_SECONDS, Lane, Sent
from ingestor.log_events import APPENDS_GO_ON, APPENDS_HELD, STREAM_FULL, STREAM_HAS_ROOM
from ingestor.metrics import SourceMetrics
from tally.settings import Settings
from tally.store import Append, Block, Known, StoreUnavailable
from tally.store.held import Held
from tests.fakes import FakeClock, FakeLog


class Answering:
    """A store that gives the answers that it was told to, and keeps what it was asked to append."""

    def __init__(self, *answers: list[Append] | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, list[tuple[int, int]]]] = []
        self.room: Iterator[bool] = iter([True])
        self.holders: Iterator[Held | None] = iter(())
        self.reconciled = 0
        self.asked_as: list[tuple[str, bool]] = []  # what, and whether for a source that is read in bulk

    async def append(self, *, source: str, blocks: Sequence[Block], bulk: bool = False) -> list[Append]:
        self.asked_as.append(("append", bulk))
        self.sent.append((source, [(block.start, block.end) for block in blocks]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def held(self) -> Held | None:
        return next(self.holders, None)

    async def has_room(self, *, bulk: bool = False) -> bool:
        self.asked_as.append(("has_room", bulk))
        return next(self.room)

    async def reconcile_backlog(self) -> int:
        self.reconciled += 1
        return 0

    async def position(self, source: str) -> int:
        raise NotImplementedError

    async def wait_until_durable(self, source: str, *, timeout_seconds: float) -> bool:
        raise NotImplementedError


def lane_of(
    store: Answering,
    *,
    clock: Any = None,
    log: Any = None,
    stop: asyncio.Event | None = None,
    is_bulk: Callable[[], bool] = lambda: False,
    metrics: SourceMetrics | None = None,
) -> Lane:
    lane = Lane(
        store=store,
        settings=Settings(max_blocks_in_flight=3),
        stop=stop or asyncio.Event(),
        log=log or FakeLog(),
        clock=clock or FakeClock(),
        is_bulk=is_bulk,
        metrics=metrics or SourceMetrics("a lane"),
    )
    lane.start(Known("s", 10))
    for start, end, lines in ((10, 14, b"a\nb"), (14, 20, b"12345"), (20, 30, b"123456789")):
        lane.put(Block(start, end, lines))
    return lane


async def test_blocks_leave_the_lane_when_they_are_in_the_stream() -> None:
    store = Answering([Append("appended", 14), Append("appended", 20), Append("appended", 30)])
    lane = lane_of(store)
    assert not lane.has_room
    assert (await lane.send(), lane.is_empty, lane.position) == (Sent.APPENDED, True, 30)
    assert (lane.appended_bytes, lane.appended_lines) == (20, 4)


async def test_a_reply_that_is_lost_makes_the_same_blocks_be_sent_again_and_counted_once() -> None:
    landed = [Append("duplicate", 30)] * 3
    store = Answering(StoreUnavailable("the reply is lost"), landed)
    lane = lane_of(store)
    with pytest.raises(StoreUnavailable):
        await lane.send()
    assert (lane.position, lane.in_flight_bytes) == (10, 20)
    assert await lane.send() is Sent.APPENDED
    assert store.sent[0] == store.sent[1] == ("s", [(10, 14), (14, 20), (20, 30)])
    assert (lane.position, lane.appended_bytes) == (30, 20)


async def test_what_finds_no_room_stays_in_flight() -> None:
    store = Answering([Append("appended", 14), Append("full", 14), Append("moved", 14)], [Append("appended", 20)])
    lane = lane_of(store)
    assert (await lane.send(), lane.position, lane.in_flight_bytes) == (Sent.FULL, 14, 16)
    await lane.send()
    assert store.sent[1] == ("s", [(14, 20), (20, 30)])


async def test_under_a_new_name_positions_begin_with_what_is_in_flight() -> None:
    store = Answering([Append("appended", 14), Append("moved", 4)], [Append("appended", 6), Append("appended", 16)])
    lane = lane_of(store)
    assert (await lane.send(), lane.stored_position) == (Sent.ELSEWHERE, 4)
    assert lane.go_on_as("t") == 10, "the bytes that were in the stream and no longer are"
    assert (lane.name, lane.position) == ("t", 0)
    assert await lane.send() is Sent.APPENDED
    assert store.sent[1] == ("t", [(0, 6), (6, 16)])
    assert (lane.position, lane.appended_bytes) == (16, 20)


async def test_what_was_in_flight_is_dropped_when_the_source_is_known_anew() -> None:
    lane = lane_of(Answering())
    lane.start(Known("t", 5))
    assert (lane.is_empty, lane.in_flight_bytes, lane.name, lane.position) == (True, 0, "t", 5)


async def test_a_full_stream_is_asked_until_it_has_room_and_looked_through_now_and_then() -> None:
    store, log, clock = Answering(), FakeLog(), FakeClock()
    store.room = iter([False] * round(12.5 / FULL_POLL_SECONDS) + [True])
    lane = lane_of(store, log=log, clock=clock)
    assert await lane.wait_for_room(seconds_after_stop=8.0)
    assert log.events == [STREAM_FULL, STREAM_HAS_ROOM]
    assert log.fields(STREAM_HAS_ROOM) == [{"waited_seconds": 12.5}]
    assert store.reconciled == 2


@pytest.mark.parametrize(("holders", "said"), [([True], []), ([False, True], [STREAM_FULL])], ids=["held", "later"])
async def test_who_holds_appends_is_said_instead_of_that_the_stream_is_full(
    holders: list[bool], said: list[str]
) -> None:
    store, log, clock = Answering(), FakeLog(), FakeClock()
    store.room = iter([False] * round(12.5 / FULL_POLL_SECONDS) + [True])
    held = Held("export", "there", 1.0, 31.0)
    store.holders = itertools.chain((held if each else None for each in holders), itertools.repeat(held))
    lane = lane_of(store, log=log, clock=clock)
    assert await lane.wait_for_room(seconds_after_stop=8.0)
    assert log.events == [*said, APPENDS_HELD, APPENDS_GO_ON]
    assert log.fields(APPENDS_HELD) == [{"by": "tally export", "host": "there"}]


async def test_each_time_it_is_asked_whether_the_source_is_read_in_bulk() -> None:
    """One that is followed is, until what it gives was just written."""
    store, log = Answering([Append("full", 10)], [Append("full", 10)]), FakeLog()
    store.room = iter([False, True])
    bulk = iter([True, True, True, False, False])
    lane = lane_of(store, log=log, is_bulk=lambda: next(bulk))
    assert await lane.send() is Sent.FULL
    assert await lane.wait_for_room(seconds_after_stop=0.0)
    await lane.send()
    assert store.asked_as == [("append", True), ("has_room", True), ("has_room", False), ("append", False)]


@pytest.mark.parametrize("seconds_after_stop", [0.0, 1.0])
async def test_after_a_stop_room_is_waited_for_as_long_as_it_is_worth_it(seconds_after_stop: float) -> None:
    store, log, clock, stop = Answering(), FakeLog(), FakeClock(0.0), asyncio.Event()
    store.room = itertools.repeat(False)
    stop.set()
    lane = lane_of(store, log=log, clock=clock, stop=stop)
    assert not await lane.wait_for_room(seconds_after_stop=seconds_after_stop)
    assert seconds_after_stop <= clock.now < seconds_after_stop + 2 * FULL_POLL_SECONDS
    assert log.events == [STREAM_FULL]
