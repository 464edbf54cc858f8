"""Stages that work at the same time: how far one may be ahead of the next, and how all of them end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aggregator.stages import Slot, first_of, in_thread, run_stages


async def test_a_stage_is_one_item_ahead_and_no_more() -> None:
    slot: Slot[int] = Slot()
    made, worked_on, ahead = 0, 0, []

    async def make() -> None:
        nonlocal made
        for item in range(20):
            made += 1
            slot.put(item)
            await slot.until_taken()
        await slot.until_done()

    async def work() -> None:
        nonlocal worked_on
        while True:
            async with slot.take() as item:
                for _ in range(5):  # the other one has every opportunity to run ahead
                    await asyncio.sleep(0)
                assert item == worked_on
                worked_on += 1
                ahead.append(made - worked_on)

    await asyncio.wait_for(run_stages(make(), work()), 10)
    assert worked_on == 20, "a stage that waits until all is done returns after the last item"
    assert max(ahead) == 1


async def test_an_item_that_could_not_be_worked_on_is_not_done() -> None:
    slot: Slot[str] = Slot()
    slot.put("poison")
    with pytest.raises(ValueError, match="poison"):
        async with slot.take() as item:
            raise ValueError(item)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slot.until_done(), 0.01)


async def test_what_is_not_taken_is_not_replaced() -> None:
    slot: Slot[int] = Slot()
    slot.put(1)
    with pytest.raises(asyncio.QueueFull):
        slot.put(2)


async def test_the_first_failure_ends_all_stages_and_is_raised() -> None:
    ended = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await asyncio.wait_for(run_stages(endless(), fail(), endless()), 10)
    assert ended == ["endless", "endless"]


async def test_a_stage_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    """As one may that speaks to Redis, before Python 3.12."""
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost > 1:
                    raise

    async def end() -> None:
        await asyncio.sleep(0)

    await asyncio.wait_for(run_stages(deaf(), end()), 10)
    assert lost == 2


async def test_a_slot_is_free_when_all_that_was_put_is_done_with() -> None:
    slot: Slot[int] = Slot()
    assert slot.is_free
    slot.put(1)
    assert (slot.is_filled, slot.is_free) == (True, False)
    async with slot.take():
        assert (slot.is_filled, slot.is_free) == (False, False)
        slot.put(2)
    assert not slot.is_free, "there is another one"
    async with slot.take():
        pass
    assert slot.is_free
    await slot.until_done()


async def test_a_call_in_a_thread_is_waited_for_although_it_is_cancelled() -> None:
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert go_on.wait(30)
        ended.set()

    call = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(began.wait, 30)
    call.cancel()
    await asyncio.sleep(0)
    assert not call.done(), "what it works on is not anybody else's yet"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()


async def test_a_call_in_a_thread_gives_what_it_returns_and_raises() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)


async def test_the_first_of_several_waits_ends_all_of_them() -> None:
    ended = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    async def soon() -> None:
        await asyncio.sleep(0)

    await asyncio.wait_for(first_of(endless(), soon()), 10)
    await asyncio.sleep(0)
    assert ended == ["endless"]
