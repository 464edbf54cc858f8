"""In which steps an aggregator folds and drops windows: one call of the store each, and anew after a failure."""

from __future__ import annotations

from collections.abc import Sequence

from aggregator.folding import Folding
from tally.store.windows import FOLD_FROM_START, FoldWord, Overdue
from tests.metrics import Change


class Store:
    """Tells once what is overdue, and notes each call."""

    windows_at_once = 100

    def __init__(self, overdue: Overdue, words: list[tuple[FoldWord, str, int]]) -> None:
        self._overdue = [overdue]
        self._words = words
        self.calls: list[tuple[object, ...]] = []

    async def overdue(self) -> Overdue:
        self.calls.append(("overdue",))
        return self._overdue.pop() if self._overdue else Overdue((), folds=(), drops={})

    async def fold(self, *, level: int, start: int, cursor: str) -> tuple[FoldWord, str, int]:
        self.calls.append(("fold", level, start, cursor))
        return self._words.pop(0)

    async def drop(self, *, level: int, starts: Sequence[int]) -> int:
        self.calls.append(("drop", level, len(starts)))
        return len(starts)

    async def delete_retired(self, number: int) -> None:
        self.calls.append(("retired", number))


async def test_drops_come_first_some_at_a_time_then_each_fold_with_the_cursor_of_the_slice_before() -> None:
    store = Store(
        Overdue((), folds=((2, 3600), (2, 7200)), drops={1: tuple(range(101)), 3: (0,)}),
        [("more", "a", 3), ("folded", "", 2), ("kept", "", 0)],
    )
    folding = Folding(store)
    names = Change("tally_aggregator_folded_names_total")
    while folding.overdue:
        await folding.step()
    assert names.so_far == 5
    assert store.calls == [
        ("overdue",),
        ("drop", 1, 100),
        ("drop", 1, 1),
        ("drop", 3, 1),
        ("fold", 2, 3600, FOLD_FROM_START),
        ("fold", 2, 3600, "a"),
        ("fold", 2, 7200, FOLD_FROM_START),
        ("overdue",),
    ]


async def test_after_a_failure_it_looks_again_and_begins_a_fold_at_its_start() -> None:
    store = Store(Overdue((), folds=((2, 3600),), drops={}), [("more", "a", 1)])
    folding = Folding(store)
    await folding.step()
    await folding.step()
    folding.forget()
    await folding.step()
    assert store.calls[-1] == ("overdue",), "and not the fold that was begun"
    assert not folding.overdue


async def test_what_types_without_a_number_have_left_is_deleted_when_nothing_is_overdue() -> None:
    store = Store(Overdue((), folds=(), drops={}, retired=7), [])
    folding = Folding(store)
    while folding.overdue:
        await folding.step()
    assert store.calls == [("overdue",), ("retired", 7), ("overdue",)]
