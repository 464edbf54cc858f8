"""What an ingestor measures: of which source, while it lasts, and after it has ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ingestor import metrics
from ingestor.lane import FULL_POLL_SECONDS
from ingestor.metrics import SourceMetrics, of_source
from ingestor.service import Restarter
from ingestor.source_appender import SourceAppender
from ingestor.sources import Command, Context
from tally.backoff import Backoff
from tally.metrics import MOST_SOURCES, OTHER
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import Append, StoreUnavailable
from tests.fakes import FakeClock
from tests.metrics import Change, value
from tests.unit.appending import Lines, Store, read_of
from tests.unit.test_lane import Answering, lane_of
from tests.unit.test_several_sources import Scripted


@pytest.fixture(autouse=True)
def no_sources_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_of", {})
    monkeypatch.setattr("tally.metrics._SOURCES", set())


# Sources.


def test_as_many_sources_are_told_apart_as_there_may_be_and_the_others_are_one() -> None:
    for number in range(MOST_SOURCES):
        assert of_source(f"s{number}").source == f"s{number}"
    assert of_source("one").source == of_source("another").source == OTHER
    assert of_source("one") is of_source("another")
    assert of_source("s7").source == "s7"


def test_a_label_can_be_told_whatever_bytes_are_in_it() -> None:
    assert of_source("tail:/logs/caf\udce9").source.encode() == b"tail:/logs/caf\\udce9"


def test_what_is_so_at_a_moment_is_asked_of_all_parts_that_there_are() -> None:
    source = SourceMetrics("parts")
    assert value("tally_ingestor_buffered_bytes", source="parts") is None
    with source.buffers(lambda: 3), source.up(lambda: True):
        with source.buffers(lambda: 4), source.up(lambda: False):
            assert value("tally_ingestor_buffered_bytes", source="parts") == 7
            assert value("tally_ingestor_source_up", source="parts") == 0
        assert value("tally_ingestor_buffered_bytes", source="parts") == 3
        assert value("tally_ingestor_source_up", source="parts") == 1
    assert value("tally_ingestor_buffered_bytes", source="parts") is None
    with source.buffers(lambda: 5):
        assert value("tally_ingestor_buffered_bytes", source="parts") == 5


# Whether they are up.


def up(label: str) -> float | None:
    return value("tally_ingestor_source_up", source=label)


async def test_a_source_is_up_while_it_is_read_and_has_no_value_when_it_has_ended() -> None:
    store: Any = None
    context = Context(store=store, settings=Settings(), stop=asyncio.Event(), ready=asyncio.Event())
    steady, failing = Scripted("up: steady"), Scripted("up: failing", *[Failure("taken")] * 3)
    restarter = Restarter(
        context, sources=[steady, failing], new_backoff=lambda: Backoff(first_seconds=0.01, most_seconds=0.01)
    )
    failures = Change("tally_ingestor_source_failures_total", source="up: failing")
    running = [asyncio.ensure_future(restarter.run(each)) for each in (steady, failing)]
    await asyncio.sleep(0)
    assert up("up: steady") == up("up: failing") == 0, "Redis has not answered"
    context.ready.set()
    await asyncio.wait_for(failing.runs_well.wait(), 10)
    assert up("up: steady") == up("up: failing") == 1
    assert failures.so_far == 3
    failing.may_end.set()
    await running[1]
    assert (up("up: steady"), up("up: failing")) == (1, None)
    steady.may_end.set()
    await running[0]
    assert up("up: steady") is None


async def test_a_source_that_has_failed_for_good_stays_down_while_others_run() -> None:
    store: Any = None
    ready = asyncio.Event()
    ready.set()
    source = Scripted("up: alone", Failure("gone"))
    context = Context(store=store, settings=Settings(), stop=asyncio.Event(), ready=ready)
    with pytest.raises(Failure, match="gone"):
        await Restarter(context, sources=[source]).run(source)
    assert up("up: alone") == 0


async def test_a_program_that_has_failed_is_down_until_it_runs_again(tmp_path: Path) -> None:
    mark, clock = tmp_path / "mark", FakeClock()
    source = Command(f"[ -e {mark} ]", clock=clock)
    failures = Change("tally_ingestor_source_failures_total", source=source.label)

    async def read() -> None:
        async for _ in source.chunks(0):
            pass

    with of_source(source.label).up(lambda: True):
        reading = asyncio.create_task(read())
        async with asyncio.timeout(60):
            while not clock.sleeping:
                await asyncio.sleep(0.01)
        assert (up(source.label), failures.so_far) == (0, 1)
        mark.touch()
        clock.now += 1000
        await asyncio.wait_for(reading, 60)
        assert (up(source.label), failures.so_far) == (1, 1)


# What is appended.


async def test_blocks_are_counted_by_what_became_of_them_and_lines_when_they_are_in_the_stream() -> None:
    store = Answering(
        StoreUnavailable("no answer"),
        [Append("duplicate", 14), Append("full", 14), Append("moved", 14)],
        [Append("appended", 20), Append("moved", 40)],
    )
    lane = lane_of(store, metrics=SourceMetrics("blocks"))

    def blocks(outcome: str) -> float | None:
        return value("tally_ingestor_blocks_total", source="blocks", outcome=outcome)

    trips = Change("tally_ingestor_append_duration_seconds_count")
    with pytest.raises(StoreUnavailable):
        await lane.send()
    assert (blocks("appended"), blocks("duplicate"), blocks("full")) == (0, 0, 0)
    await lane.send()
    await lane.send()
    assert (blocks("appended"), blocks("duplicate"), blocks("full"), blocks("moved")) == (1, 1, 1, 1)
    assert value("tally_ingestor_lines_total", source="blocks") == 3
    assert value("tally_ingestor_bytes_total", source="blocks") == 10
    assert trips.so_far == 2, "those that Redis has answered"


async def test_back_pressure_is_told_of_while_it_lasts() -> None:
    store, clock = Answering(), FakeClock()
    seen: list[float] = []

    def room() -> Any:
        for _ in range(100):
            seen.append(value("tally_ingestor_backpressure_seconds_total", source="full") or 0)
            yield False
        yield True

    store.room = room()
    assert await lane_of(store, clock=clock, metrics=SourceMetrics("full")).wait_for_room(seconds_after_stop=0)
    assert seen[50] == pytest.approx(49 * FULL_POLL_SECONDS)
    seconds = value("tally_ingestor_backpressure_seconds_total", source="full")
    assert seconds == pytest.approx(100 * FULL_POLL_SECONDS)


async def test_what_is_read_and_not_appended_is_buffered_and_what_is_thrown_away_is_lost() -> None:
    source, store, stop = Lines(replayable=False), Store(), asyncio.Event()
    store.unavailable = True
    source.give(b"one\ntwo")
    appender = SourceAppender(source, store=store, settings=Settings(), stop=stop, flush_seconds=0.01)
    running = asyncio.create_task(appender.run())
    async with asyncio.timeout(10):
        while value("tally_ingestor_buffered_bytes", source="lines") != 7:
            await asyncio.sleep(0)
    lost = Change("tally_ingestor_lost_bytes_total", source="lines")
    stop.set()
    with pytest.raises(Failure, match="7 bytes of it are lost"):
        await asyncio.wait_for(running, 10)
    assert lost.so_far == 7
    assert value("tally_ingestor_buffered_bytes", source="lines") is None


async def test_it_is_told_that_a_source_is_read_again() -> None:
    known = read_of("a file", b"one\n")
    source, store, stop = Lines(known, replayable=True), Store(), asyncio.Event()
    again = Change("tally_ingestor_read_again_total", source="a file of many")
    of_the_file = Change("tally_ingestor_read_again_total", source="lines")
    source.give(b"one\n", b"two\n")  # where the store has nothing
    appender = SourceAppender(
        source, store=store, settings=Settings(), stop=stop, metrics=SourceMetrics("a file of many")
    )
    running = asyncio.create_task(appender.run())
    async with asyncio.timeout(10):
        while not again.so_far:
            await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert of_the_file.so_far == 0
