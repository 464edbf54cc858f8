"""How appending a source ends: with all of its source in the stream, or saying that it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import pytest

from ingestor import source_appender as appender_module
from ingestor.durability import NOT_DURABLE_SECONDS
from ingestor.ending import Incomplete
from ingestor.fingerprints import Fingerprint
from ingestor.log_events import LINES_LOST, LINES_NOT_TAKEN, OTHER_BYTES, SOURCE_ENDED, SOURCE_STOPPED, STREAM_FULL
from ingestor.source_appender import SourceAppender, State
from ingestor.sources.base import Lookup
from tally.backoff import Backoff
from tally.log_events import REDIS_AVAILABLE_AGAIN, REDIS_UNAVAILABLE
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import Known, StoreUnavailable
from tests.fakes import FakeClock, FakeLog
from tests.unit.appending import Lines, Store, read_of


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> FakeLog:
    log = FakeLog()
    monkeypatch.setattr(appender_module, "get_logger", lambda: log)
    return log


def _appender(source: Lines, store: Store, stop: asyncio.Event, **options: Any) -> SourceAppender:
    return SourceAppender(source, store=store, settings=Settings(), stop=stop, **{"flush_seconds": 0.05} | options)


async def _stopped_at(position: int, source: Lines, store: Store, stop: asyncio.Event) -> None:
    """Run an appender and stop it when so much is in the stream."""
    running = asyncio.create_task(_appender(source, store, stop).run())
    async with asyncio.timeout(10):
        while store.stored < position or not source.given.empty():
            await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 10)


@pytest.mark.parametrize("replayable", [True, False])
async def test_a_finite_source_that_is_stopped_before_its_end_is_a_failure(log: FakeLog, replayable: bool) -> None:
    source, store, stop = Lines(replayable=replayable, finite=True), Store(), asyncio.Event()
    source.give(b"a\nb\nc")
    with pytest.raises(Incomplete, match=r"^stopped at position 4, before its end(; run it again.*)?$"):
        await _stopped_at(4, source, store, stop)
    assert log.said[-1][0] == SOURCE_STOPPED
    assert log.said[-1][1]["position"] == 4, "what is in the stream, not what was read"


@pytest.mark.parametrize("replayable", [True, False])
async def test_a_source_without_an_end_is_stopped_without_a_failure(log: FakeLog, replayable: bool) -> None:
    source, store, stop = Lines(replayable=replayable, finite=False), Store(), asyncio.Event()
    source.give(b"a\nb\nc")
    await _stopped_at(4, source, store, stop)
    assert log.said[-1][0] == SOURCE_STOPPED


@pytest.mark.parametrize("finite", [True, False])
async def test_what_is_thrown_away_is_a_failure_and_not_called_lost_by_redis(log: FakeLog, finite: bool) -> None:
    source, store, stop = Lines(replayable=False, finite=finite), Store(room=1), asyncio.Event()

    async def give_more() -> None:
        store.before_answer = None
        source.give(b"bb\n")

    store.before_answer = give_more
    source.give(b"a\n")
    running = asyncio.create_task(_appender(source, store, stop).run())
    await log.says(STREAM_FULL)
    stop.set()
    with pytest.raises(Incomplete, match=r"^3 bytes of it are lost"):
        await asyncio.wait_for(running, 10)
    assert [(sentence, fields) for sentence, fields in log.said if "lost_bytes" in fields] == [
        (LINES_NOT_TAKEN, {"lost_bytes": 3})
    ]
    assert (log.said[-1][0], log.said[-1][1]["position"]) == (SOURCE_STOPPED, 2)


async def test_what_an_unavailable_redis_did_not_take_is_logged_as_lost(log: FakeLog) -> None:
    source, store, stop = Lines(replayable=False, finite=False), Store(), asyncio.Event()
    store.unavailable = True
    source.give(b"a\nb\n")
    running = asyncio.create_task(_appender(source, store, stop).run())
    await log.says(REDIS_UNAVAILABLE)
    stop.set()
    with pytest.raises(Incomplete, match=r"^4 bytes of it are lost"):
        await asyncio.wait_for(running, 10)


async def test_a_source_that_has_ended_when_it_is_stopped_has_its_last_line_appended(log: FakeLog) -> None:
    source, store, stop = Lines(replayable=False, finite=True), Store(), asyncio.Event()

    async def end_and_stop() -> None:
        source.give(b"no line end", b"")
        await source.ended.wait()
        await asyncio.sleep(0)
        store.before_answer = None
        stop.set()

    store.before_answer = end_and_stop
    source.give(b"a\n")
    await asyncio.wait_for(_appender(source, store, stop).run(), 10)
    assert store.blocks == [b"a", b"no line end"]
    assert (log.said[-1][0], log.said[-1][1]["position"]) == (SOURCE_ENDED, 13)


async def test_a_stream_that_is_full_again_and_again_is_told_of_once(log: FakeLog) -> None:
    source, stop = Lines(replayable=False, finite=True), asyncio.Event()

    class FullAgain(Store):
        asked = 0

        async def has_room(self, *, bulk: bool = False) -> bool:
            self.asked += 1
            self.room += self.asked % 2  # it is found full once each time
            return bool(self.asked % 2)

    store = FullAgain(room=1)
    source.give(*(b"%0600d\n" % number for number in range(9)), b"")
    appender = SourceAppender(source, store=store, settings=Settings(max_block_bytes=1024), stop=stop)
    await asyncio.wait_for(appender.run(), 10)
    assert len(store.blocks) == 9
    assert [said for said, _ in log.said if said.startswith("stream")] == [
        STREAM_FULL,
        "stream has room again",
    ]


async def test_an_unavailable_redis_is_logged_once_and_when_it_is_available_again(log: FakeLog) -> None:
    source, store, stop = Lines(replayable=False, finite=True), Store(), asyncio.Event()
    store.unavailable = True
    tries = 0

    def no_wait(*_: float) -> float:
        nonlocal tries
        tries += 1
        store.unavailable = tries < 5
        return 0.0

    source.give(b"a\n", b"")
    await asyncio.wait_for(_appender(source, store, stop, backoff=Backoff(jitter=no_wait)).run(), 10)
    assert [said for said, _ in log.said if said.startswith("redis")] == [REDIS_UNAVAILABLE, REDIS_AVAILABLE_AGAIN]
    assert tries == 5


@pytest.mark.parametrize("finite", [True, False])
async def test_what_a_source_gave_before_it_failed_is_appended_though_it_is_stopped_as_well(
    log: FakeLog, finite: bool
) -> None:
    source, store, stop = Lines(replayable=False, finite=finite), Store(), asyncio.Event()

    async def fail_and_stop() -> None:
        source.give(b"bb\n", Failure("broken"))
        await source.ended.wait()
        await asyncio.sleep(0)
        store.before_answer = None
        stop.set()

    store.before_answer = fail_and_stop
    source.give(b"a\n")
    with pytest.raises(Failure, match=r"^broken$"):
        await asyncio.wait_for(_appender(source, store, stop).run(), 10)
    assert store.blocks == [b"a", b"bb"]


async def test_what_a_source_that_failed_gave_is_said_to_be_lost_if_redis_does_not_take_it(log: FakeLog) -> None:
    source, store, stop = Lines(replayable=False, finite=False), Store(), asyncio.Event()
    store.unavailable = True
    source.give(b"a\n", Failure("broken"))
    running = asyncio.create_task(_appender(source, store, stop).run())
    await log.says(REDIS_UNAVAILABLE)
    stop.set()
    with pytest.raises(Failure, match=r"^broken$"):
        await asyncio.wait_for(running, 10)
    assert [fields["lost_bytes"] for _, fields in log.said if "lost_bytes" in fields] == [2]


async def test_what_stands_before_the_position_tells_whether_a_source_is_what_it_is_known_as(
    log: FakeLog,
) -> None:
    source = Lines(read_of("first", b"abc\n"), read_of("second", b"abcd\n"), Known("third"), replayable=True)
    store, stop = Store(), asyncio.Event()
    source.give(b"ab", b"d\n")  # other bytes
    source.give(b"ab", b"")  # not so many
    source.give(b"xyz\n")
    await _stopped_at(4, source, store, stop)
    assert source.never == [set(), {"first"}, {"first", "second"}]
    assert store.blocks == [b"xyz"]
    assert [fields["name"] for fields in log.fields(OTHER_BYTES)] == [
        "first",
        "second",
    ]


async def test_each_block_has_a_fingerprint_of_the_bytes_before_its_end_also_of_those_before_the_position(
    log: FakeLog,
) -> None:
    source, store, stop = Lines(read_of("s", b"abc\n"), replayable=True), Store(), asyncio.Event()
    store.stored = 4
    source.give(b"abc\nd\n")
    await _stopped_at(6, source, store, stop)
    assert store.lasts == [str(Fingerprint.of(b"abc\nd\n"))]


async def test_a_setback_is_told_before_anything_is_appended_again(log: FakeLog) -> None:
    source, store, stop = Lines(Known("s"), Known("s"), Known("s"), replayable=True), Store(), asyncio.Event()
    told: list[int] = []

    async def on_setback() -> None:
        told.append(len(store.blocks))
        if len(told) == 1:
            raise StoreUnavailable("unavailable")
        source.give(b"a\nb\n")

    appender = _appender(source, store, stop, on_setback=on_setback, backoff=Backoff(most_seconds=0))
    running = asyncio.create_task(appender.run())
    source.give(b"a\n")
    async with asyncio.timeout(10):
        while appender.position < 2:
            await asyncio.sleep(0)
        store.stored, store.blocks = 0, []  # it has forgotten
        appender.set_back()
        while appender.position < 4:
            await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert told == [0, 0]
    assert store.blocks == [b"a\nb"]


class Visited(Store):
    """A store that notes in which state it is asked, and does what it is told when it first is asked something."""

    def __init__(self, **once: Callable[[], None]) -> None:
        super().__init__()
        self.once = once
        self.visited: list[State] = []
        self.on_call = self._note
        self.appender: SourceAppender | None = None

    def _note(self, question: str) -> None:
        assert self.appender is not None
        if self.visited[-1:] != [self.appender.state]:
            self.visited.append(self.appender.state)
        self.once.pop(question, lambda: None)()

    def lose_everything(self) -> None:
        self.stored, self.blocks = 0, []

    def fail(self) -> None:
        raise StoreUnavailable("unavailable")


class Whole(Lines):
    """A source that gives the same two lines whenever it is read, and asks what is stored of it."""

    def __init__(self, *, replayable: bool) -> None:
        super().__init__(replayable=replayable, finite=True)

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        await ask(names=["lines#1"])
        return await super().known_as(ask, never=never)

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        yield b"a\nb\n"


ONE_AFTER_THE_OTHER = [State.OPENING, State.SENDING, State.CONFIRMING]


@pytest.mark.parametrize("replayable", [True, False])
@pytest.mark.parametrize("question", ["", "known", "append", "wait_until_durable", "position"])
async def test_a_state_in_which_redis_is_unavailable_is_tried_again_and_nothing_before_it(
    log: FakeLog, question: str, replayable: bool
) -> None:
    store = Visited()
    store.once[question] = store.fail
    store.appender = _appender(Whole(replayable=replayable), store, asyncio.Event(), clock=FakeClock())
    await asyncio.wait_for(store.appender.run(), 10)
    assert store.visited == ONE_AFTER_THE_OTHER
    assert store.appender.state is State.FINISHED
    assert store.blocks == [b"a\nb"]
    assert log.events.count(REDIS_UNAVAILABLE) == bool(question)


async def test_a_source_that_redis_has_lost_before_it_was_on_its_disk_is_opened_and_sent_again(log: FakeLog) -> None:
    store = Visited()
    store.once["wait_until_durable"] = store.lose_everything
    store.appender = _appender(Whole(replayable=True), store, asyncio.Event())
    await asyncio.wait_for(store.appender.run(), 10)
    assert store.visited == ONE_AFTER_THE_OTHER * 2
    assert store.blocks == [b"a\nb"]


async def test_what_redis_has_lost_of_a_source_that_cannot_be_read_again_is_told_of_at_its_end(log: FakeLog) -> None:
    store = Visited()
    store.once["wait_until_durable"] = store.lose_everything
    store.appender = _appender(Whole(replayable=False), store, asyncio.Event())
    with pytest.raises(Incomplete, match=r"^4 bytes of it are lost"):
        await asyncio.wait_for(store.appender.run(), 10)
    assert store.visited == ONE_AFTER_THE_OTHER
    assert log.fields(LINES_LOST) == [{"lost_bytes": 4}]


async def test_a_source_that_cannot_be_read_again_goes_on_under_a_new_name_where_redis_has_lost_it(
    log: FakeLog,
) -> None:
    source, stop = Lines(Known("first"), Known("second"), replayable=False, finite=True), asyncio.Event()
    store = Visited()
    store.appender = _appender(source, store, stop)
    source.give(b"a\n")
    running = asyncio.create_task(store.appender.run())
    async with asyncio.timeout(10):
        while store.appender.position < 2:
            await asyncio.sleep(0)
    store.lose_everything()
    source.give(b"bcd\n", b"")
    with pytest.raises(Incomplete, match=r"^2 bytes of it are lost"):
        await asyncio.wait_for(running, 10)
    assert (store.blocks, store.stored, store.forgotten) == ([b"bcd"], 4, ["second"])
    assert store.visited == [State.SENDING, State.CONFIRMING], "it is not opened again"


@pytest.mark.parametrize(
    ("replayable", "ended_in", "tries"),
    [
        pytest.param(True, State.SENDING, 1, id="it can be read again by the next start"),
        pytest.param(False, State.SENDING, 6, id="it cannot, and is tried until there is no time left"),
    ],
)
async def test_after_a_stop_an_unavailable_redis_is_given_up(
    log: FakeLog, replayable: bool, ended_in: State, tries: int
) -> None:
    stop, store, clock = asyncio.Event(), Visited(), FakeClock()
    store.unavailable = False

    def stop_and_fail() -> None:
        store.unavailable = True
        stop.set()

    store.once["append"] = stop_and_fail
    backoff = Backoff(first_seconds=2.0, most_seconds=2.0, jitter=lambda _, longest: longest)
    options = {"clock": clock, "backoff": backoff, "flush_seconds": 8.0}
    store.appender = _appender(Whole(replayable=replayable), store, stop, **options)
    with pytest.raises(Incomplete):
        await asyncio.wait_for(store.appender.run(), 10)
    assert store.appender.state is ended_in
    assert backoff.failures == tries


@pytest.mark.parametrize("replayable", [True, False])
async def test_where_the_server_cannot_tell_what_is_on_its_disk_a_while_is_waited_before_the_end(
    log: FakeLog, replayable: bool
) -> None:
    store, clock = Store(), FakeClock()
    store.keeps = False
    await asyncio.wait_for(_appender(Whole(replayable=replayable), store, asyncio.Event(), clock=clock).run(), 10)
    assert clock.waits == [NOT_DURABLE_SECONDS]
    assert log.events[-1] == "source ended"


async def test_a_source_that_is_stopped_before_it_is_kept_for_certain_is_a_failure(log: FakeLog) -> None:
    store, stop = Store(), asyncio.Event()
    store.keeps = False
    store.on_call = lambda question: stop.set() if question == "wait_until_durable" else None
    appender = _appender(Whole(replayable=False), store, stop, clock=FakeClock())
    with pytest.raises(Incomplete, match="before it was certain that Redis keeps all of it"):
        await asyncio.wait_for(appender.run(), 10)
    assert (store.blocks, appender.state) == ([b"a\nb"], State.FINISHED)
