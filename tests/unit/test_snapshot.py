"""Many who ask at once cost one read; what has not changed costs none; an error is nobody's for long."""

from __future__ import annotations

import asyncio

import pytest

from api.freshness import DUTY, HALF_SECONDS, MOMENT_SECONDS
from api.snapshot import Snapshot
from tests.fakes import FakeClock


class Source:
    """Something that is counted: its version, and how often it was asked for either."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.version = 0
        self.checks = self.loads = 0
        self.load_seconds = 0.0
        self.error: Exception | None = None
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def version_of(self) -> int:
        self.checks += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.version

    async def load(self) -> int:
        self.loads += 1
        await self.let_go.wait()
        self.clock.now += self.load_seconds
        if self.error is not None:
            raise self.error
        return self.version

    def snapshot(self) -> Snapshot[int]:
        return Snapshot(version=self.version_of, load=self.load, clock=self.clock)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def source(clock: FakeClock) -> Source:
    return Source(clock)


async def test_many_who_ask_at_once_share_one_load(source: Source) -> None:
    shared = source.snapshot()
    source.let_go.clear()
    asking = [asyncio.create_task(shared.get()) for _ in range(1000)]
    while not source.loads:
        await asyncio.sleep(0)
    asking += [asyncio.create_task(shared.get()) for _ in range(1000)]
    source.let_go.set()
    assert await asyncio.gather(*asking) == [0] * 2000
    assert (source.checks, source.loads) == (1, 1)


async def test_an_unchanged_version_means_no_load(source: Source, clock: FakeClock) -> None:
    shared = source.snapshot()
    for _ in range(10):
        assert await shared.get() == 0
        clock.now += 3600
    assert (source.checks, source.loads) == (10, 1)


async def test_a_changed_version_is_loaded_at_the_next_call(source: Source, clock: FakeClock) -> None:
    shared = source.snapshot()
    assert await shared.get() == 0
    source.version = 1
    clock.now += MOMENT_SECONDS * 1.01
    assert await shared.get() == 1


async def test_an_answer_is_not_even_checked_for_a_moment(source: Source, clock: FakeClock) -> None:
    shared = source.snapshot()
    await shared.get()
    source.version = 1
    clock.now += MOMENT_SECONDS * 0.9
    assert await shared.get() == 0
    assert source.checks == 1


@pytest.mark.parametrize("version", [None, 0, "", {}])
async def test_any_version_will_do(version: object) -> None:
    async def of() -> object:
        return version

    async def load() -> str:
        return "made"

    assert await Snapshot(version=of, load=load).get() == "made"


async def test_an_error_reaches_all_who_wait_and_the_next_call_tries_again(source: Source) -> None:
    shared = source.snapshot()
    source.error = ConnectionError("away")
    failed = await asyncio.gather(*(shared.get() for _ in range(50)), return_exceptions=True)
    assert failed == [source.error] * 50
    assert source.checks == 1
    source.error = None
    assert await shared.get() == 0


async def test_an_error_of_the_load_does_not_count_as_one(source: Source, clock: FakeClock) -> None:
    shared = source.snapshot()
    assert await shared.get() == 0
    source.version = 1
    clock.now += 1
    source.let_go.clear()
    asking = [asyncio.create_task(shared.get()) for _ in range(5)]
    while source.loads < 2:
        await asyncio.sleep(0)
    source.error = TimeoutError("away")
    source.let_go.set()
    assert await asyncio.gather(*asking, return_exceptions=True) == [source.error] * 5
    source.error = None
    assert await shared.get() == 1, "not the old value as if it were checked"


async def test_one_who_gives_up_does_not_end_it_for_the_others(source: Source) -> None:
    shared = source.snapshot()
    source.let_go.clear()
    first, second = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
    while not source.loads:
        await asyncio.sleep(0)
    first.cancel()
    source.let_go.set()
    assert await second == 0
    assert (first.cancelled(), source.loads) == (True, 1)


async def _loads_over(source: Source, shared: Snapshot[int], seconds: float, *, step: float) -> list[float]:
    """Ask at every step while everything changes all the time; the age of each answer in seconds."""
    clock, ages = source.clock, []
    made_at = {source.version: clock.now}
    until = clock.now + seconds
    while clock.now < until:
        source.version += 1
        made_at[source.version] = clock.now
        asked_at = clock.now
        ages.append(asked_at - made_at[await shared.get()])
        clock.now += step
    return ages


@pytest.mark.parametrize("load_seconds", [0.001, 0.02, HALF_SECONDS / DUTY])
async def test_a_slow_load_takes_no_more_than_its_share_of_the_time(source: Source, load_seconds: float) -> None:
    shared = source.snapshot()
    source.load_seconds = load_seconds
    await shared.get()
    began, before = source.clock.now, source.loads
    ages = await _loads_over(source, shared, 10.0, step=0.002)
    share = (source.loads - before) * load_seconds / (source.clock.now - began)
    assert 0 < share <= 1 / DUTY
    assert max(ages) <= HALF_SECONDS + load_seconds


async def test_however_slow_the_load_no_answer_is_older_than_the_most_and_its_making(source: Source) -> None:
    shared = source.snapshot()
    source.load_seconds = 2.0
    await shared.get()
    assert max(await _loads_over(source, shared, 60.0, step=0.01)) <= HALF_SECONDS + source.load_seconds
    assert source.loads > 20


async def test_a_quick_load_is_repeated_as_soon_as_something_changed(source: Source) -> None:
    shared = source.snapshot()
    await shared.get()
    assert max(await _loads_over(source, shared, 1.0, step=MOMENT_SECONDS * 1.01)) == 0
