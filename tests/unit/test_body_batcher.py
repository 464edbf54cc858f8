"""Bodies share round trips, are tried again while Redis is away, and no sender waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from ingestor.bodies import Lines
from ingestor.body_batcher import APPEND_SECONDS, BodyBatcher
from tally.store import StoreUnavailable
from tally.store.idempotent import Body, DiskNotWaitedFor, OnceWord
from tests.fakes import FakeClock


class FakeStore:
    """Answers when it is let, and as it is told."""

    def __init__(self) -> None:
        self.trips: list[list[Body]] = []
        self.errors: list[Exception] = []
        self.words: dict[str, OnceWord] = {}
        self.open = asyncio.Event()
        self.open.set()

    async def append_once(self, *, source: str, bodies: Sequence[Body]) -> list[OnceWord]:
        assert source == "http://test"
        self.trips.append(list(bodies))
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        return [self.words.get(body.key, "appended") for body in bodies]


@pytest.fixture
async def store() -> FakeStore:
    return FakeStore()


def appender_of(store: FakeStore, clock: FakeClock | None = None) -> BodyBatcher:
    return BodyBatcher(store, source="http://test", max_block_bytes=100, clock=clock or FakeClock())


def lines(text: bytes) -> Lines:
    return Lines([text], 1, text.hex())


async def test_bodies_that_come_while_redis_is_busy_share_a_trip_and_a_block(store: FakeStore) -> None:
    store.open.clear()
    appender = appender_of(store)
    first = [asyncio.create_task(appender.append(lines(b"first"), key=None)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(appender.append(lines(b"x" * 30), key=None)) for _ in range(4)]
    rest.append(asyncio.create_task(appender.append(lines(b"keyed"), key="k")))
    rest.append(asyncio.create_task(appender.append(Lines([b"a", b"b"], 2, "ab"), key=None)))
    await asyncio.sleep(0)
    assert [[list(body.blocks) for body in trip] for trip in store.trips] == [[[b"first"]], [[b"first"]]]
    store.open.set()
    assert await asyncio.gather(*first, *rest) == ["appended"] * 8
    block = b"x" * 30
    assert [list(body.blocks) for body in store.trips[2]] == [
        [b"\n".join([block] * 3)],
        [block],
        [b"keyed"],
        [b"a", b"b"],
    ]


async def test_a_trip_that_failed_is_made_again_with_the_same_keys(store: FakeStore) -> None:
    store.errors = [StoreUnavailable("away"), StoreUnavailable("away")]
    clock = FakeClock()
    assert await clock.passes_for(appender_of(store, clock).append(lines(b"a"), key=None)) == "appended"
    assert len(store.trips) == 3
    assert len({trip[0].key for trip in store.trips}) == 1


async def test_each_sender_gets_its_own_word(store: FakeStore) -> None:
    store.words = {"full": "full", "old": "duplicate", "other": "conflict"}
    appender = appender_of(store)
    words = await asyncio.gather(*(appender.append(lines(b"a"), key=key) for key in ("full", "old", "other", "new")))
    assert words == ["full", "duplicate", "conflict", "appended"]


@pytest.mark.parametrize("error", [DiskNotWaitedFor("no"), ValueError("a defect")])
async def test_what_will_not_pass_is_told_at_once(store: FakeStore, error: Exception) -> None:
    store.errors = [error]
    with pytest.raises(type(error)):
        await appender_of(store).append(lines(b"a"), key="k")
    assert len(store.trips) == 1
    assert await appender_of(store).append(lines(b"a"), key="k") == "appended"


async def test_senders_are_told_when_redis_stays_away(store: FakeStore) -> None:
    clock = FakeClock()
    began = clock.now
    store.errors = [StoreUnavailable("away") for _ in range(1000)]
    with pytest.raises(StoreUnavailable, match="away"):
        await clock.passes_for(appender_of(store, clock).append(lines(b"a"), key=None))
    assert APPEND_SECONDS - 1 <= clock.now - began <= APPEND_SECONDS
    assert len(store.trips) == len(clock.sleeps) + 1 > 2


async def test_a_sender_that_leaves_does_not_hold_up_the_others(store: FakeStore) -> None:
    store.open.clear()
    appender = appender_of(store)
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(appender.append(lines(b"a"), key=None)) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[4].cancel()
    await asyncio.sleep(0)
    store.open.set()
    assert await asyncio.gather(*tasks[1:4]) == ["appended"] * 3
