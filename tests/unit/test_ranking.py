"""Rankings answer as a plain sort of the same counts does, whatever the names are, and in steps."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import matching, ranking
from api.comparison import Comparison, rising
from api.matching import NameFilter
from api.ranking import ByCountOrName, Ranking
from tally.keys import OTHER

#: Letters whose case folds oddly, that end in the middle of a byte pattern, and none at all.
LETTERS = "abAB ſßKkéÉ\u0301日\U0001f600\n\0"

names = st.text(st.sampled_from(LETTERS), max_size=6) | st.text(max_size=4).filter(lambda name: name.isprintable())
counts = st.dictionaries(names | st.just(OTHER), st.integers(1, 5) | st.integers(1, 2**62), max_size=40)

ORDERS: dict[ByCountOrName, Callable[[tuple[str, int]], Any]] = {
    "-count": lambda item: (-item[1], item[0]),
    "count": lambda item: (item[1], item[0]),
    "name": lambda item: item[0],
}


@pytest.fixture(params=[3, 8000], ids=["many steps", "one step"], autouse=True)
def _step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (matching, ranking):
        monkeypatch.setattr(module, "STEP_NAMES", request.param)


def ranked(counts: dict[str, int]) -> Ranking:
    return Ranking.of({name.encode(): count for name, count in counts.items()}, as_of=0.0)


def plainly(counts: dict[str, int], order: ByCountOrName) -> list[tuple[str, int]]:
    named = [item for item in counts.items() if item[0] != OTHER]
    return (
        sorted(named, key=lambda item: item[0], reverse=True) if order == "-name" else sorted(named, key=ORDERS[order])
    )


@given(counts=counts, prefix=names, part=names, offset=st.integers(0, 45), limit=st.integers(1, 45))
def test_every_page_is_that_of_a_plain_sort(
    counts: dict[str, int], prefix: str, part: str, offset: int, limit: int
) -> None:
    found = ranked(counts)
    for begin, contained in ((None, None), (prefix, None), (None, part), (prefix[:1], part[:1])):
        matching = found.matching(NameFilter(prefix=begin or "", contains=contained or ""))
        for order in (*ORDERS, "-name"):
            want = [
                item
                for item in plainly(counts, order)
                if item[0].casefold().startswith((begin or "").casefold())
                and (contained or "").casefold() in item[0].casefold()
            ]
            assert len(matching) == len(want)
            page = found.page(matching, order=order, offset=offset, limit=limit)
            assert page == want[offset : offset + limit]
            if begin is None and contained is None:
                assert found.page(order=order, offset=offset, limit=limit) == page


@given(counts=counts, limit=st.integers(1, 45))
def test_sums_ranks_and_the_whole_as_json(counts: dict[str, int], limit: int) -> None:
    found = ranked(counts)
    other = counts.get(OTHER, 0)
    assert (found.total, found.other) == (sum(counts.values()), other)
    assert (found.distinct, found.complete) == (len(counts) - (OTHER in counts), True)
    want = plainly(counts, "-count")
    assert found.top(limit) == dict(want[:limit])
    assert [(found.rank(name), found.count_of(name)) for name, _ in want] == [
        (at, count) for at, (_, count) in enumerate(want, start=1)
    ]
    assert (found.rank("never there"), found.count_of("never there")) == (None, 0)
    everything = sorted(counts.items(), key=ORDERS["-count"])
    assert list(json.loads(found.as_object()).items()) == everything
    assert list(json.loads(found.as_object(limit=limit)).items()) == everything[:limit]


@given(among=counts, present=counts, previous=counts, part=names)
def test_changes_are_those_of_all_names_of_all_three(
    among: dict[str, int], present: dict[str, int], previous: dict[str, int], part: str
) -> None:
    compared = Comparison(ranked(present), ranked(previous))
    changes = compared.changes(ranked(among), NameFilter(contains=part))
    want = {
        name: present.get(name, 0) - previous.get(name, 0)
        for name in {*among, *present, *previous} - {OTHER}
        if part.casefold() in name.casefold()
    }
    for order in ("-count", "count"):
        assert changes.page(order=order, offset=0, limit=200) == sorted(want.items(), key=ORDERS[order])


@given(now=counts, before=counts)
def test_what_rises_is_found_by_its_share(now: dict[str, int], before: dict[str, int]) -> None:
    present, baseline = ranked(now), ranked(before)
    found = rising(present, baseline, limit=1000)
    total = (present.total, baseline.total)
    for rise in found:
        assert (rise.count, rise.baseline) == (now[rise.name], before.get(rise.name, 0))
        assert rise.count / total[0] > rise.baseline / total[1] or rise.score < 1e-3
    assert [rise.score for rise in found] == sorted((rise.score for rise in found), reverse=True)
    assert found[:3] == rising(present, baseline, limit=3)
    many = rising(present, baseline, limit=1000, least_ratio=2)
    assert many == [rise for rise in found if rise.count >= 2 * rise.baseline * total[0] / total[1]]
    for without in found[:1]:
        assert rising(present, baseline, limit=1000, excluded=[without.name]) == found[1:]


def test_a_hundred_thousand_names_take_steps_and_little_memory() -> None:
    chance = random.Random(7)
    counts = {f"word{chance.randrange(10**9)}": int(chance.paretovariate(1)) for _ in range(100_000)}
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    raw = {name.encode(): count for name, count in counts.items()}
    found = Ranking.of(raw, as_of=0.0, step=step)
    assert not raw, "what was given is taken apart, not kept"
    assert found.page(order="-count", offset=0, limit=100_000) == plainly(counts, "-count")
    assert found.page(order="name", offset=50_000, limit=10) == plainly(counts, "name")[50_000:50_010]
    assert steps >= 10
    assert found.size_bytes < 50 * len(counts)


def test_a_step_may_end_it() -> None:
    def step() -> None:
        raise InterruptedError

    counts = {f"{number}".encode(): 1 for number in range(10_000)}
    with pytest.raises(InterruptedError):
        Ranking.of(counts, as_of=0.0, step=step)
