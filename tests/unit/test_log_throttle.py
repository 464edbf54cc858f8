"""What is said now and then: a trouble that lasts, or comes again and again, and its end."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from tally import log_throttle
from tally.log_throttle import LASTING_SECONDS, Outage
from tests.unit.clock import Clock


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, event: str, **_: Any) -> None:
        self.said.append(event)

    info = warning


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(log_throttle, "time", clock)
    return clock


def test_an_outage_is_told_of_at_first_and_then_now_and_then_and_so_is_its_end(clock: Clock) -> None:
    log = Log()
    outage = Outage(log)  # type: ignore[arg-type]
    outage.is_over()
    for _ in range(100):
        outage.lasts(OSError("away"), retry_in_seconds=1)
        clock.now += LASTING_SECONDS / 50
    assert log.said == ["redis is away"] * 2
    outage.is_over()
    outage.is_over()
    assert log.said == ["redis is away", "redis is away", "redis is back"]


def test_outages_one_after_the_other_are_told_of_now_and_then_and_the_last_word_is_true(clock: Clock) -> None:
    log = Log()
    outage = Outage(log)  # type: ignore[arg-type]
    for _ in range(100):
        outage.lasts(OSError("away"), retry_in_seconds=0)
        outage.is_over()
    assert log.said == ["redis is away", "redis is back"]
    outage.lasts(OSError("away"), retry_in_seconds=0)
    clock.now += LASTING_SECONDS
    outage.lasts(OSError("away"), retry_in_seconds=0)
    assert log.said[-1] == "redis is away"
    outage.is_over()
    assert log.said[-1] == "redis is back"


def test_redis_is_not_blamed_when_no_more_files_may_be_open(clock: Clock) -> None:
    log = Log()
    Outage(log).lasts(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), retry_in_seconds=1)  # type: ignore[arg-type]
    assert log.said == ["redis cannot be connected to"]
