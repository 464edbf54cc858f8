"""What watchers narrow the figures of now to: a bounded number is read, those that are watched first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from api.watched import ALL, LINGER_SECONDS, MOST_SELECTIONS, Reading, Selection, Watched
from tally.store.counting import Counting
from tally.windows import WindowLength


class Counts:
    """Each name was counted as often as it has letters; it tells which were asked for."""

    def __init__(self) -> None:
        self.reader = self
        self.asked: list[list[str]] = []

    async def counting(self) -> Counting:
        return Counting((WindowLength(60, 360),), normalize_words=True, fold_case=False, words_by_type=None)

    async def count_each(self, _: str, names: Sequence[str]) -> list[int]:
        self.asked.append(list(names))
        return [len(name) for name in names]


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def watched(counts: Counts) -> Watched:
    return Watched(counts, every_seconds=1.0)  # type: ignore[arg-type]


def told(reading: Reading, selection: Selection) -> Any:
    return msgspec.json.decode(reading.of(selection))


def of(*types: str) -> Selection:
    return Selection(types)


async def test_nothing_is_asked_for_who_narrows_nothing(watched: Watched, counts: Counts) -> None:
    with watched.watch(ALL, now=lambda: 0.0):
        assert told(await watched.read(0.0), ALL) is None
    assert counts.asked == []


async def test_all_are_asked_for_at_once_and_each_name_once(watched: Watched, counts: Counts) -> None:
    with ExitStack() as stack:
        for selection in (of("foo", "error"), of("foo"), of("foo"), Selection((), ("e\u0301t\u00e9", "\u00e9t\u00e9"))):
            stack.enter_context(watched.watch(selection, now=lambda: 0.0))
        reading = await watched.read(0.0)
    assert counts.asked == [["foo", "error"], ["\u00e9t\u00e9"]]
    assert told(reading, of("foo", "error")) == {
        "unit": "events",
        "count": 8,
        "per_second": {"1": None, "10": None, "60": None},
    }
    spelled_twice = told(reading, Selection((), ("e\u0301t\u00e9", "\u00e9t\u00e9")))
    assert (spelled_twice["unit"], spelled_twice["count"]) == ("words", 3)


async def test_it_is_read_on_for_a_while_behind_its_last_watcher(watched: Watched, counts: Counts) -> None:
    with watched.watch(of("foo"), now=lambda: 0.0):
        await watched.read(0.0)
    for now in (1.0, LINGER_SECONDS - 1):
        await watched.read(now)
    with watched.watch(of("foo"), now=lambda: LINGER_SECONDS - 1):
        found = told(await watched.read(LINGER_SECONDS), of("foo"))
    assert found["per_second"]["60"] == 0.0, "what was read before is known still"
    asked = len(counts.asked)
    await watched.read(10 * LINGER_SECONDS)
    assert len(counts.asked) == asked


async def test_so_many_are_read_and_those_that_nobody_watches_make_room(watched: Watched, counts: Counts) -> None:
    names = [f"type{at:03}" for at in range(MOST_SELECTIONS + 2)]
    with ExitStack() as stack:
        for name in names[2:]:
            stack.enter_context(watched.watch(of(name), now=lambda: 0.0))
        for name in names[:2]:
            with watched.watch(of(name), now=lambda: 0.0):
                reading = await watched.read(0.0)
                assert told(reading, of(name)) is None, "it came too late"
        await watched.read(0.0)
        assert counts.asked[-1] == names[2:], "what nobody watches is forgotten"
        stack.close()
        with watched.watch(of(names[0]), now=lambda: 0.0):
            assert told(await watched.read(0.0), of(names[0]))["count"] == len(names[0])
            assert len(counts.asked[-1]) == MOST_SELECTIONS
