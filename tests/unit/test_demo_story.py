"""The demo's story as a source: it goes on where it was, whatever happened meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

import pytest

from ingestor.fingerprints import FINGERPRINT_BYTES
from ingestor.sources.base import Another
from ingestor.sources.story import Day, DemoStory
from tally.store import Known
from tally.story import DAY_MINUTES, PAST_MINUTES, Story, StorySpec
from tests.fakes import FakeClock

NOW = 1_632_663_990.0
BEGAN = 1_632_663_960 - PAST_MINUTES * 60


class Stored:
    """What a store has of sources."""

    def __init__(self, *known: Known) -> None:
        self._known = {each.name: each for each in known}

    async def __call__(self, *, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> Mapping[str, Known]:
        found = self._known.items()
        return {name: each for name, each in found if name in names or name.startswith(tuple(beginnings))}


def source(now: float = NOW, hours: int = 48) -> tuple[DemoStory, FakeClock]:
    clock = FakeClock(now)
    return DemoStory(StorySpec(hours=hours), clock=clock), clock


def day(first: int, position: int = 0, *, began: int = BEGAN, seen: float = NOW) -> Known:
    return Known(f"demo:story#1-{began}-{first}", position, seen_ms=int(seen * 1000))


async def is_known_as(*known: Known, now: float = NOW, never: Sequence[str] = (), hours: int = 48) -> Known:
    return await source(now, hours)[0].known_as(Stored(*known), never=never)


def minutes(first: int, end: int) -> bytes:
    story = Story(StorySpec())
    return b"".join(line.text for minute in range(first, end) for line in story.minute(minute, began=BEGAN))


async def told_from(position: int, first: int) -> bytes:
    """What it tells of a past day without a pause, from a position on."""
    told, clock = source()
    await told.known_as(Stored(day(first, position)))
    found = await _all_of(told, position)
    assert not clock.sleeps
    return found


async def _all_of(told: DemoStory, position: int) -> bytes:
    found = b""
    try:
        async for chunk in told.chunks(position):
            found += chunk
    except Another:
        return found
    raise AssertionError("it just ended")


async def test_it_begins_two_days_ago_or_as_many_hours_ago_as_asked_for() -> None:
    assert await is_known_as() == Known(f"demo:story#1-{BEGAN}-0")
    assert await is_known_as(hours=3) == Known(f"demo:story#1-{BEGAN}-2700")
    assert await is_known_as(hours=0) == Known(f"demo:story#1-{BEGAN}-2880")


async def test_it_goes_on_with_the_day_that_it_was_at() -> None:
    week_later = NOW + 7 * 86_400
    days = [day(number * DAY_MINUTES, number * 1000, seen=week_later) for number in (1, 2, 10, 9)]
    others = [Known("demo:story#2-1632663960-0", 7), Known("demo:story#1-x", 7), Known("demo:#0123456789ab", 7)]
    assert await is_known_as(*days, *others, now=week_later) == days[2]


async def test_after_a_long_time_it_is_told_anew_and_what_was_told_is_no_part_of_its_past() -> None:
    later = NOW + PAST_MINUTES * 60
    assert await is_known_as(day(2880, 1000), now=later - 60) == day(2880, 1000)
    assert await is_known_as(day(2880, 1000), now=later + 60) == Known(
        f"demo:story#1-{BEGAN + PAST_MINUTES * 60 + 60}-0"
    )


async def test_when_it_was_another_story_only_what_comes_is_told() -> None:
    before = day(2880, 1000)
    found = Day.parse((await is_known_as(before, now=NOW + 600, never=[before.name])).name)
    assert found is not None
    assert found.began + found.minutes.start * 60 == 1_632_663_960 + 600
    in_the_same_minute = await is_known_as(before, never=[before.name])
    assert in_the_same_minute.name != before.name


async def test_a_day_that_is_over_is_told_at_once_and_ends_with_another() -> None:
    assert await told_from(0, 1380) == minutes(1380, 1440)


@pytest.mark.parametrize("position", [1, 1000, 500_000])
async def test_it_goes_on_at_any_position_behind_what_a_fingerprint_takes(position: int) -> None:
    assert await told_from(position, 1260) == minutes(1260, 1440)[max(0, position - FINGERPRINT_BYTES) :]


async def test_the_next_day_comes_when_all_of_this_one_is_appended_and_not_before() -> None:
    told, _ = source()
    size = len(minutes(1380, 1440))

    async def at(position: int) -> Known:
        return await told.known_as(Stored(day(1380, position)))

    assert await at(size) == day(1380, size), "it is not known how long a day is"
    await _all_of(told, size)
    assert await at(size - 1) == day(1380, size - 1)
    assert await at(size) == Known(f"demo:story#1-{BEGAN}-1440")


async def test_what_happens_now_is_told_when_it_happens() -> None:
    told, clock = source()
    await told.known_as(Stored(day(2880)))
    minute = Story(StorySpec()).minute(PAST_MINUTES, began=BEGAN)
    async with aclosing(cast("Any", told.chunks(0))) as chunks:
        so_far = await anext(chunks)
        assert so_far == b"".join(line.text for line in minute if line.seconds <= 30), "what was due is told together"
        assert told.is_bulk
        while clock.now < NOW + 10:
            so_far += await clock.passes_for(_next(chunks))
            assert so_far == b"".join(line.text for line in minute if line.seconds <= clock.now - NOW + 30)
    assert not told.is_bulk
    assert len(clock.sleeps) > 5


async def test_after_a_restart_within_a_minute_nothing_is_told_before_it_happens() -> None:
    minute = Story(StorySpec()).minute(PAST_MINUTES, began=BEGAN)
    position = sum(len(line.text) for line in minute if line.seconds <= 20)
    told, clock = source()
    await told.known_as(Stored(day(2880, position)))
    async with aclosing(cast("Any", told.chunks(position))) as chunks:
        so_far = await anext(chunks)
        assert so_far == minutes(2880, 2881)[max(0, position - FINGERPRINT_BYTES) :][: len(so_far)]
        due = sum(len(line.text) for line in minute if line.seconds <= 30)
        assert max(0, position - FINGERPRINT_BYTES) + len(so_far) == due
        assert not clock.sleeps


async def test_what_was_told_is_told_again_although_the_clock_was_set_back() -> None:
    told, _ = source(NOW - 3600)
    await told.known_as(Stored(day(2880, 900)))
    async with aclosing(cast("Any", told.chunks(900))) as chunks:
        assert len(await asyncio.wait_for(anext(chunks), 60)) >= 900


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks)
