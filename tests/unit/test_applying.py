"""How an aggregator goes on from chunk to chunk, gives way to others, and folds in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aggregator.applying import MOVED_SECONDS, Applier
from aggregator.floors import UNKNOWN
from aggregator.folding import Folding
from aggregator.log_events import BATCH_LOST, CHUNK_DEAD_LETTER
from tally.store import StoreUnavailable
from tally.store.deltas import ApplyResult, NextChunk, Progress
from tally.store.windows import FoldWord, Overdue
from tests.fakes import FakeClock, FakeLog

#: How many chunks the store applies in one round trip.
TOGETHER = 2


class Windows:
    """Windows of which some are to be folded, each in so many slices."""

    windows_at_once = 1

    def __init__(self, slices: dict[int, int] | None = None) -> None:
        self.slices = dict(slices or {})
        self.folded = 0

    async def overdue(self) -> Overdue:
        return Overdue((), folds=tuple((2, start) for start in self.slices), drops={})

    async def fold(self, *, level: int, start: int, cursor: str) -> tuple[FoldWord, str, int]:
        assert level == 2
        self.folded += 1
        self.slices[start] -= 1
        if self.slices[start]:
            return "more", cursor + ".", 1
        del self.slices[start]
        return "folded", "", 1

    async def drop(self, *, level: int, starts: object) -> int:
        raise AssertionError("nothing was to be dropped")

    async def delete_retired(self, number: int) -> None:
        raise AssertionError("no number was retired")


class Chunks:
    """Settled chunks by their numbers, from 1 on."""

    def __init__(self, last: int, *, before: Callable[[int], str] = lambda _: "applied", overdue: bool = False) -> None:
        self.last = last
        self.applied: list[int] = []
        self.next = 1
        self.round_trips = 0
        self._word = before
        self._overdue = overdue
        self.fails = 0

    def _at(self, number: int) -> NextChunk | None:
        return NextChunk("list", number, b"") if number <= self.last else None

    async def next_chunk(self) -> NextChunk | None:
        return self._at(self.next)

    async def apply_together(self, chunk: NextChunk) -> list[ApplyResult]:
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("away")
        self.round_trips += 1
        results = []
        for number in range(chunk.number, min(chunk.number + TOGETHER - 1, self.last) + 1):
            word = self._word(number) if number == self.next else "moved"
            if word != "moved":
                self.applied.append(number)
                self.next = number + 1
            floors = () if word == "moved" else (number,)
            results.append(ApplyResult(word, self._at(number + 1), floors, self._overdue))  # type: ignore[arg-type]
        return results

    async def progress(self) -> Progress:
        return Progress(self.last, self.next - 1)


def applier_of(chunks: Chunks, windows: Windows | None = None, *, stop: asyncio.Event | None = None) -> Applier:
    applier = Applier(
        store=chunks,
        folding=Folding(windows or Windows()),
        clock=FakeClock(),
        stop=stop or asyncio.Event(),
        log=FakeLog(),
    )
    applier._folding.overdue = False
    return applier


async def test_all_that_is_settled_is_applied_in_its_order_and_the_floors_are_known_then() -> None:
    chunks = Chunks(5)
    applier = applier_of(chunks)
    assert applier.known == UNKNOWN
    await applier.apply()
    assert chunks.applied == [1, 2, 3, 4, 5]
    assert chunks.round_trips == 3
    assert applier.known == (5,)


async def test_no_more_than_was_asked_for_is_begun() -> None:
    chunks = Chunks(9)
    await applier_of(chunks).apply(most=3)
    assert chunks.applied == [1, 2, 3, 4], "a round trip is begun while one more may be applied"


async def test_after_a_stop_nothing_is_applied_unless_so_much_was_asked_for() -> None:
    chunks, stop = Chunks(9), asyncio.Event()
    stop.set()
    applier = applier_of(chunks, stop=stop)
    await applier.apply()
    assert chunks.applied == []
    await applier.apply(most=100)
    assert chunks.applied == list(range(1, 10))


async def test_when_another_aggregator_applies_it_is_waited_a_moment_and_looked_again() -> None:
    moved = [True]
    chunks = Chunks(4, before=lambda _: "moved" if moved.pop() else "applied")
    moved[:] = [False, False, False, False, True]
    applier = applier_of(chunks)
    await applier.apply()
    clock = applier._clock
    assert isinstance(clock, FakeClock)
    assert clock.waits == [MOVED_SECONDS]
    assert chunks.applied == [1, 2, 3, 4]


@pytest.mark.parametrize(("word", "said"), [("poison", CHUNK_DEAD_LETTER), ("lost", BATCH_LOST)])
async def test_what_cannot_be_applied_is_said_and_the_next_is_applied(word: str, said: str) -> None:
    chunks = Chunks(3, before=lambda number: word if number == 2 else "applied")
    applier = applier_of(chunks)
    await applier.apply()
    log = applier._log
    assert isinstance(log, FakeLog)
    assert log.fields(said) == [{"chunk": 2}]
    assert chunks.next == 4


async def test_a_batch_of_ours_is_waited_for_until_its_last_chunk_is_applied() -> None:
    chunks = Chunks(4)
    applier = applier_of(chunks)
    applier.settled(2)
    applier.settled(4)
    waiting = asyncio.create_task(applier.until_waiting(most=1))
    await asyncio.sleep(0)
    assert not waiting.done(), "two batches wait, and one may"
    await applier.apply(most=1)
    await asyncio.wait_for(waiting, 10)
    both = asyncio.create_task(applier.until_waiting(most=0))
    await asyncio.sleep(0)
    assert not both.done()
    await applier.apply()
    await asyncio.wait_for(both, 10)


async def test_at_a_stop_nothing_is_waited_for_any_more() -> None:
    """What is settled is applied by the next aggregator; nothing would be while we wait, and we would never end."""
    chunks, stop = Chunks(9), asyncio.Event()
    applier = applier_of(chunks, stop=stop)
    applier.settled(3)
    applier.settled(9)
    waiting = asyncio.create_task(applier.until_waiting(most=1))
    await asyncio.sleep(0)
    assert not waiting.done()
    stop.set()
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(applier.until_waiting(most=0), 10)
    assert chunks.applied == []


async def test_after_a_failure_nothing_is_waited_for_any_more() -> None:
    chunks = Chunks(2)
    applier = applier_of(chunks)
    applier.settled(2)
    waiting = asyncio.create_task(applier.until_waiting(most=0))
    chunks.fails = 1
    with pytest.raises(StoreUnavailable):
        await applier.apply()
    applier.known = (7,)
    applier.forget()
    await asyncio.wait_for(waiting, 10)
    assert applier.known == UNKNOWN, "a server that lost writes has lower floors"
    await applier.apply()
    assert chunks.applied == [1, 2]


async def test_windows_are_folded_between_round_trips_and_on_when_all_is_applied() -> None:
    chunks, windows, stop = Chunks(6, overdue=True), Windows({60: 4, 120: 3}), asyncio.Event()
    applier = applier_of(chunks, windows, stop=stop)
    await applier.apply()
    assert 0 < windows.folded < 7, "a slice for each round trip, but for the one that looked"
    running = asyncio.create_task(applier.run())
    async with asyncio.timeout(10):
        while windows.slices:
            await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert windows.folded == 7


async def test_a_batch_that_waits_for_room_does_not_wait_until_there_are_no_more_chunks() -> None:
    class Endless(Chunks):
        """Others settle as fast as chunks are applied."""

        async def apply_together(self, chunk: NextChunk) -> list[ApplyResult]:
            await asyncio.sleep(0)
            self.last += TOGETHER
            return await super().apply_together(chunk)

    chunks = Endless(5)
    applier = applier_of(chunks)
    running = asyncio.create_task(applier.run())
    async with asyncio.timeout(60):
        for _ in range(3):
            before = chunks.next
            while chunks.next < before + 100:
                await asyncio.sleep(0)
            await applier.apply(most=5)
    running.cancel()
