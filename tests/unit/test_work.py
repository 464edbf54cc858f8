"""Long work is done in a thread, one at a time, while others are answered; who waits in vain is told so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from api.work import FEW_NAMES, Busy, Slots, Stopping, Work


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    work = Work()
    yield work
    work.close()


async def test_what_is_quick_is_done_at_once_and_what_is_long_in_a_thread(work: Work) -> None:
    assert await work.answer(FEW_NAMES, threading.get_ident) == threading.get_ident()
    assert await work.answer(FEW_NAMES + 1, threading.get_ident) != threading.get_ident()


async def test_long_answers_are_made_one_at_a_time(work: Work) -> None:
    at_once: list[int] = []
    running = 0
    lock = threading.Lock()

    def long_work() -> None:
        nonlocal running
        with lock:
            running += 1
            at_once.append(running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(work.answer(10**6, long_work) for _ in range(20)))
    assert at_once == [1] * 20


async def test_who_waits_too_long_or_behind_too_many_is_told_to_ask_again() -> None:
    slots = Slots(1, most_waiting=2, wait_seconds=0.05)

    async def wait() -> None:
        async with slots.take():
            pass

    async with slots.take():
        waiting = [asyncio.create_task(wait()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="too many"):
            await wait()
        for each in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(each, Busy)
    await wait()


async def test_a_stop_ends_what_runs_at_its_next_step_and_what_waits(work: Work) -> None:
    began = threading.Event()

    def endless() -> None:
        while True:
            began.set()
            work.step()

    asked = [asyncio.create_task(work.answer(10**6, endless)) for _ in range(3)]
    await asyncio.to_thread(began.wait, 30)
    work.close()
    for each in await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30):
        assert isinstance(each, Stopping)
    with pytest.raises(Stopping):
        await work.answer(10**6, endless)
