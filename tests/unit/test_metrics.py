"""What all services measure, and how its labels are bounded."""

from __future__ import annotations

import asyncio

import pytest

from tally import metrics
from tally.metrics import LOOP_CHECK_SECONDS, MOST_SOURCES, OTHER, exposition, source_label, watch_event_loop
from tests.fakes import FakeClock
from tests.scraping import Scrape


@pytest.fixture(autouse=True)
def _no_sources_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_SOURCES", set())


def test_sources_beyond_a_number_share_a_label() -> None:
    labels = [source_label(f"tail:/var/log/{number}.log") for number in range(MOST_SOURCES + 2)]
    assert labels[MOST_SOURCES - 1 :] == [f"tail:/var/log/{MOST_SOURCES - 1}.log", OTHER, OTHER]
    assert source_label("tail:/var/log/0.log") == "tail:/var/log/0.log"


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("exec:curl -H 'Authorization: secret' https://example.com", "exec:curl"),
        ("exec:  curl secret", "exec:curl"),
        ("exec:curl", "exec:curl"),
        ("exec:", "exec:"),
        ("tail:/var/log/a b.log", "tail:/var/log/a b.log"),
        ("-", "-"),
    ],
)
def test_a_label_has_no_arguments_of_a_program(source: str, label: str) -> None:
    assert source_label(source) == label


async def test_how_late_the_loop_is_is_what_it_slept_too_long() -> None:
    name = "tally_event_loop_lag_seconds"
    before = Scrape(exposition("")[0].decode())
    clock = FakeClock()
    watching = asyncio.ensure_future(watch_event_loop(clock))
    for times, late in enumerate((0.0, 0.75), start=1):
        await _has_slept(clock, times)
        clock.now += LOOP_CHECK_SECONDS + late
    await _has_slept(clock, 3)
    watching.cancel()
    after = Scrape(exposition("")[0].decode())
    assert after.value(f"{name}_count") - before.value(f"{name}_count") == 2
    assert after.value(f"{name}_sum") - before.value(f"{name}_sum") == pytest.approx(0.75)


async def _has_slept(clock: FakeClock, times: int) -> None:
    while len(clock.sleeps) < times:
        await asyncio.sleep(0)
