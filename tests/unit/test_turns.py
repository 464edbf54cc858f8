"""Workers of one process take turns, in the order in which they came, and hold so much together and no more."""

from __future__ import annotations

import asyncio

import pytest

from aggregator import turns
from aggregator.pacing import BATCH_NAMES, BATCH_SECONDS
from aggregator.turns import LEAST_SECONDS, MOST_NAMES, Turn, Turns


async def rest() -> None:
    """Let all others run until they wait for something."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_one_who_always_wants_more_does_not_hold_up_the_others() -> None:
    greedy, *others = Turns(4).of_each()
    served: list[int] = []

    async def for_ever() -> None:
        while True:
            await greedy.take()
            await asyncio.sleep(0)
            served.append(0)
            await greedy.hand_on(1)
            greedy.settled()

    async def once(number: int, turn: Turn) -> None:
        await turn.take()
        served.append(number)
        await turn.hand_on(1)

    running = asyncio.create_task(for_ever())
    await rest()
    served.clear()
    waiting = [asyncio.create_task(once(number, turn)) for number, turn in enumerate(others, 1)]
    await asyncio.gather(*waiting)
    first = served.index(1)
    assert served[first : first + 3] == [1, 2, 3], "each has its own before the first one has another"
    running.cancel()


async def test_the_more_wait_the_shorter_is_a_turn() -> None:
    first, *others = Turns(64).of_each()
    await first.take()
    assert first.batch_seconds == BATCH_SECONDS
    assert not first.is_wanted
    waiting = [asyncio.create_task(turn.take()) for turn in others]
    await rest()
    assert first.batch_seconds == LEAST_SECONDS
    assert first.is_wanted
    for task in waiting:
        task.cancel()
    await rest()
    assert first.batch_seconds == BATCH_SECONDS


async def test_what_is_handed_on_has_to_fit_until_it_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "STALL_SECONDS", 3600)
    first, second, third = Turns(3).of_each()
    await first.take()
    await first.hand_on(2 * MOST_NAMES)  # however large, when it is alone
    await second.take()
    handing = asyncio.create_task(second.hand_on(1))
    await rest()
    assert not handing.done()
    first.settled()
    await handing
    await third.take()
    await third.hand_on(MOST_NAMES - 1)
    await first.take()
    handing = asyncio.create_task(first.hand_on(1))
    await rest()
    assert not handing.done()
    second.give_back()  # it has failed: its batch is gone
    await handing


async def test_a_server_that_hangs_does_not_keep_the_room_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "STALL_SECONDS", 0.01)
    *hanging, third = Turns(4).of_each()[:3]
    for turn in hanging:
        await turn.take()
        await turn.hand_on(BATCH_NAMES)
    # It has a batch that is not settled, and another one now, and with it the turn.
    await hanging[0].take()
    assert hanging[0].batch_names == BATCH_NAMES
    await hanging[0].hand_on(BATCH_NAMES)
    await third.take()
    assert third.batch_names == MOST_NAMES // 4, "all together hold more than they should"
    await third.hand_on(third.batch_names)
    third.settled()
    hanging[0].give_back()
    assert third.batch_names == BATCH_NAMES


async def test_who_fails_gives_back_what_it_has() -> None:
    first, second = Turns(2).of_each()
    await first.take()
    await first.hand_on(MOST_NAMES)
    await first.take()
    waiting = asyncio.create_task(second.take())
    await rest()
    first.give_back()
    await waiting
    await second.hand_on(MOST_NAMES)
    second.settled()


async def test_a_few_lines_take_no_turn_and_no_room() -> None:
    first, second = Turns(2).of_each()
    await first.take()
    await first.hand_on(MOST_NAMES)
    await second.hand_on(100)  # it was not its turn
    second.settled()
    first.settled()


async def test_a_whole_turn_ends_whatever_comes() -> None:
    first, second = Turns(2).of_each()
    with pytest.raises(KeyError):
        async with first.whole():
            raise KeyError
    async with second.whole():
        assert second.is_ours
    assert not second.is_ours


async def test_alone_it_is_always_ones_turn() -> None:
    (alone,) = Turns(1).of_each()
    assert not alone.shared
    async with alone.whole():
        await alone.take()
        await alone.hand_on(10 * MOST_NAMES)
    assert (alone.part(500), alone.batch_seconds, alone.is_wanted) == (500, BATCH_SECONDS, False)


@pytest.mark.parametrize(("workers", "whole", "part"), [(4, 64, 16), (16, 64, 4), (16, 10, 1)])
async def test_all_read_as_much_together_as_one_would_alone_but_each_at_least_a_block(
    workers: int, whole: int, part: int
) -> None:
    assert [each.part(whole) for each in Turns(workers).of_each()] == [part] * workers
