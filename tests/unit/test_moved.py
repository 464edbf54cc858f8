"""What is read again because windows moved meanwhile."""

from __future__ import annotations

import pytest

from tally.store import StoreUnavailable
from tally.store.moved import MOST_READS, WindowsMoved, again_while_moved


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tally.store.moved.MOST_WAIT_SECONDS", 0)


class Reading:
    """Finds the windows moved a number of times, and answers then."""

    def __init__(self, moves: int) -> None:
        self.moves = moves
        self.reads = 0

    async def read(self) -> str:
        self.reads += 1
        if self.reads <= self.moves:
            raise WindowsMoved
        return "whole"


@pytest.mark.parametrize("moves", [0, 1, MOST_READS - 1])
async def test_what_moved_is_read_again_until_it_stands(moves: int) -> None:
    reading = Reading(moves)
    assert await again_while_moved(reading.read) == "whole"
    assert reading.reads == moves + 1


async def test_what_moves_all_the_time_is_given_up() -> None:
    reading = Reading(MOST_READS)
    with pytest.raises(StoreUnavailable, match=r"^windows are folded faster than they can be read; ask again$"):
        await again_while_moved(reading.read)
    assert reading.reads == MOST_READS


async def test_other_errors_are_not_swallowed() -> None:
    async def fails() -> str:
        raise StoreUnavailable("no answer")

    with pytest.raises(StoreUnavailable, match=r"^no answer$"):
        await again_while_moved(fails)
