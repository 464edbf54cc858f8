"""What is held for cursors, for how long, and how much of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.cursors import HELD_SECONDS, HELD_SHARE, BadCursor, Cursors, Held, Place
from api.filters import Narrowed
from api.listing import Listing, Whole
from api.memory import Memory
from api.params import MOST_ITEMS, RankingParams
from api.ranking import Ranking
from tests.fakes import FakeClock

MIB = 2**20

NARROW = Narrowed("words", "words")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def memory() -> Memory:
    return Memory(4 * MIB)


@pytest.fixture
def cursors(memory: Memory, clock: FakeClock) -> Iterator[Cursors]:
    made = Cursors(memory=memory, clock=clock)
    yield made
    made.close()


def ranking(memory: Memory, names: int = 10) -> Ranking:
    made = Ranking.of({f"{at:030}".encode(): at for at in range(names)}, as_of=0.0)
    memory.hold(made, made.size_bytes)
    return made


def whole(found: Ranking) -> Whole:
    return Listing(found, None, None, RankingParams()).whole()


def hold(cursors: Cursors, found: Ranking, **asked: str) -> Held:
    return cursors.hold(NARROW, {name: (value,) for name, value in asked.items()}, whole(found), missing=())


def offer(cursors: Cursors, found: Ranking, **asked: str) -> Held:
    question = {name: (value,) for name, value in asked.items()}
    return cursors.hold(NARROW, question, whole(found), missing=(), begun=False)


def place(cursors: Cursors, held: Held) -> Place:
    return Place(cursors.life, held.number, "words", 0, 10)


async def test_a_list_is_held_for_a_while_after_it_was_last_used(
    cursors: Cursors, memory: Memory, clock: FakeClock
) -> None:
    held = hold(cursors, ranking(memory))
    for _ in range(3):
        clock.now += HELD_SECONDS - 1
        assert cursors.find(place(cursors, held)) is held
    clock.now += HELD_SECONDS
    assert cursors.find(place(cursors, held)) is None
    del held
    assert memory.held_bytes == 0


async def test_what_nobody_asks_for_is_forgotten_by_itself(cursors: Cursors, memory: Memory, clock: FakeClock) -> None:
    hold(cursors, ranking(memory))
    clock.now += HELD_SECONDS
    cursors.forget()
    assert (len(cursors), memory.held_bytes) == (0, 0)


async def test_the_same_question_to_the_same_counts_is_one_list(cursors: Cursors, memory: Memory) -> None:
    found = ranking(memory)
    held = hold(cursors, found, q="a")
    assert hold(cursors, found, q="a") is held
    assert hold(cursors, found, q="b") is not held
    newer = hold(cursors, ranking(memory), q="a")
    assert newer is not held
    assert hold(cursors, newer.whole.listing.found, q="a") is newer
    assert cursors.find(place(cursors, held)) is held, "who reads it on is not disturbed"


async def test_lists_give_way_to_what_others_ask(cursors: Cursors, memory: Memory) -> None:
    first, second = hold(cursors, ranking(memory, 10_000), q="1"), hold(cursors, ranking(memory, 10_000), q="2")
    places = place(cursors, first), place(cursors, second)
    assert cursors.find(places[0]) is first
    del first, second
    with memory.claim() as claim:
        claim.grow_to(memory.most_bytes - memory.held_bytes + 1)
        assert [cursors.find(each) is None for each in places] == [False, True], "what was used last stays longest"
        claim.grow_to(memory.most_bytes)
        assert [cursors.find(each) is None for each in places] == [True, True]


async def test_cursors_take_no_more_than_their_share(cursors: Cursors, memory: Memory) -> None:
    for number in range(20):
        hold(cursors, ranking(memory, 5000), q=str(number))
        assert memory.held_bytes <= HELD_SHARE * memory.most_bytes
    assert 1 < len(cursors) < 20


async def test_first_pages_push_out_nothing_that_is_read_on(cursors: Cursors, memory: Memory) -> None:
    begun = place(cursors, hold(cursors, ranking(memory), q="begun"))
    first, *_, last = [place(cursors, offer(cursors, ranking(memory, 5000), q=str(at))) for at in range(20)]
    assert [cursors.find(each) is None for each in (begun, first, last)] == [False, True, False]
    later = place(cursors, offer(cursors, ranking(memory, 5000), q="later"))
    assert cursors.find(last) is not None, "somebody has gone on with it"
    with memory.claim() as claim:
        claim.grow_to(memory.most_bytes - memory.held_bytes + 1)
        assert [cursors.find(each) is None for each in (begun, last, later)] == [False, False, True]


async def test_the_same_first_page_is_offered_once(cursors: Cursors, memory: Memory) -> None:
    found = ranking(memory)
    held = offer(cursors, found, q="a")
    assert offer(cursors, found, q="a") is held
    assert hold(cursors, found, q="a") is held
    assert offer(cursors, found, q="a") is held
    assert len(cursors) == 1


async def test_what_several_lists_are_made_of_is_held_once(cursors: Cursors, memory: Memory) -> None:
    found = ranking(memory, 20_000)
    for number in range(20):
        hold(cursors, found, q=str(number))
    assert len(cursors) == 20


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "*", "a", "AAAA", "A" * 100, "ä"),
        Place(b"", 1, "words", -1, 5).cursor(),
        Place(b"", 1, "words", 0, 0).cursor(),
        Place(b"", 1, "words", 0, MOST_ITEMS + 1).cursor(),
    ],
)
def test_what_is_no_cursor_is_told(cursor: str) -> None:
    with pytest.raises(BadCursor):
        Place.of(cursor)


def test_a_changed_cursor_is_told() -> None:
    cursor = Place(b"123456", 7, "types", 100, 50).cursor()
    assert Place.of(cursor) == Place(b"123456", 7, "types", 100, 50)
    other: Any = {"A": "B"}
    for at in range(len(cursor) - 1):
        changed = cursor[:at] + other.get(cursor[at], "A") + cursor[at + 1 :]
        with pytest.raises(BadCursor):
            Place.of(changed)
