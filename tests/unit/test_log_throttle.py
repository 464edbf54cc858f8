"""What is said now and then: a trouble that lasts, or comes again and again, and its end."""

from __future__ import annotations

import errno
import os

from tally.log_events import REDIS_AVAILABLE_AGAIN, REDIS_CONNECTION_IMPOSSIBLE, REDIS_UNAVAILABLE
from tally.log_throttle import LASTING_SECONDS, Outage
from tests.fakes import FakeClock, FakeLog


def test_an_outage_is_told_of_at_first_and_then_now_and_then_and_so_is_its_end() -> None:
    log, clock = FakeLog(), FakeClock()
    outage = Outage(log, clock=clock)
    outage.is_over()
    for _ in range(100):
        outage.lasts(OSError("away"), retry_in_seconds=1)
        clock.now += LASTING_SECONDS / 50
    assert log.events == [REDIS_UNAVAILABLE] * 2
    outage.is_over()
    outage.is_over()
    assert log.events == [REDIS_UNAVAILABLE, REDIS_UNAVAILABLE, REDIS_AVAILABLE_AGAIN]


def test_outages_one_after_the_other_are_told_of_now_and_then_and_the_last_word_is_true() -> None:
    log, clock = FakeLog(), FakeClock()
    outage = Outage(log, clock=clock)
    for _ in range(100):
        outage.lasts(OSError("away"), retry_in_seconds=0)
        outage.is_over()
    assert log.events == [REDIS_UNAVAILABLE, REDIS_AVAILABLE_AGAIN]
    outage.lasts(OSError("away"), retry_in_seconds=0)
    clock.now += LASTING_SECONDS
    outage.lasts(OSError("away"), retry_in_seconds=0)
    assert log.events[-1] == REDIS_UNAVAILABLE
    outage.is_over()
    assert log.events[-1] == REDIS_AVAILABLE_AGAIN


def test_of_many_with_the_same_trouble_one_tells_of_it() -> None:
    log, clock = FakeLog(), FakeClock()
    outages = [Outage(log, clock=clock) for _ in range(100)]

    def last(seconds: float, some: list[Outage]) -> None:
        for _ in range(10):
            for each in some:
                each.lasts(OSError("away"), retry_in_seconds=1)
            clock.now += seconds / 10

    last(LASTING_SECONDS * 0.9, outages)
    assert log.events == [REDIS_UNAVAILABLE]
    last(LASTING_SECONDS * 2, outages)
    told = log.events.count(REDIS_UNAVAILABLE)
    assert told in (2, 3), "now and then, by the same"
    for each in outages:
        each.is_over()
    assert log.events == [REDIS_UNAVAILABLE] * told + [REDIS_AVAILABLE_AGAIN]


def test_another_one_tells_when_the_one_that_did_has_ended() -> None:
    log, clock = FakeLog(), FakeClock()
    ended, lasting = Outage(log, clock=clock), Outage(log, clock=clock)
    ended.lasts(OSError("away"), retry_in_seconds=1)
    lasting.lasts(OSError("away"), retry_in_seconds=1)
    clock.now += LASTING_SECONDS * 2
    lasting.lasts(OSError("away"), retry_in_seconds=1)
    assert log.events == [REDIS_UNAVAILABLE] * 2
    lasting.is_over()
    assert log.events[-1] == REDIS_AVAILABLE_AGAIN


def test_other_troubles_and_the_next_one_are_told_of_at_once() -> None:
    log, clock = FakeLog(), FakeClock()
    first, second, third = (Outage(log, clock=clock) for _ in range(3))
    first.lasts(OSError("away"), retry_in_seconds=1)
    second.lasts(OSError("another server is away"), retry_in_seconds=1)
    assert log.events == [REDIS_UNAVAILABLE] * 2
    first.is_over()
    third.lasts(OSError("away"), retry_in_seconds=1)
    assert log.events == [REDIS_UNAVAILABLE, REDIS_UNAVAILABLE, REDIS_AVAILABLE_AGAIN, REDIS_UNAVAILABLE]


def test_redis_is_not_blamed_when_no_more_files_may_be_open() -> None:
    log = FakeLog()
    Outage(log, clock=FakeClock()).lasts(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), retry_in_seconds=1)
    assert log.events == [REDIS_CONNECTION_IMPOSSIBLE]
