"""The live feed asks Redis while somebody watches, and for a while longer; then not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from fastapi.sse import ServerSentEvent

from api.live import EVERY_SECONDS, MOST_WORDS, Live
from api.watched import LINGER_SECONDS, Selection
from tally.store.counting import Counting
from tally.store.status import Backlog
from tally.windows import WindowLength
from tests.fakes import FakeClock


class Counts:
    """What the feed asks, and how often it did."""

    several = False

    def __init__(self) -> None:
        self.reader = self
        self.asked = 0
        self.events = 0
        self.words = {"a": 1}

    async def totals(self) -> dict[str, int]:
        self.asked += 1
        self.events += 10
        return {"events": self.events}

    async def counting(self) -> Counting:
        return Counting((WindowLength(60, 360),), normalize_words=True, fold_case=False, words_by_type=None)

    async def count_each(self, _: str, names: Sequence[str]) -> list[int]:
        return [self.events if name == "foo" else 0 for name in names]

    async def size(self, _: str) -> int:
        return 1

    async def types(self) -> dict[str, int]:
        return {"foo": self.events}

    async def top_words(self) -> dict[str, int]:
        return self.words

    async def backlog(self, _: dict[str, int]) -> Backlog:
        return Backlog(blocks=0, settled_blocks=0, bytes=0, lines=0, oldest_seconds=None, full=False, bulk_full=False)

    async def aggregators(self) -> list[Any]:
        return []

    async def dead_letters(self) -> int:
        return 0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
async def live(counts: Counts, clock: FakeClock) -> AsyncIterator[Live]:
    live = Live(counts, clock=clock)  # type: ignore[arg-type]
    live.open()
    yield live
    await live.close()


async def until_it_rests(counts: Counts) -> int:
    """Let it run until it asks no more; how often it asked. Its clock is moved by its own waits alone."""
    asked = -1
    while asked != counts.asked:
        asked = counts.asked
        for _ in range(100):
            await asyncio.sleep(0)
    return asked


async def first_event(feed: AsyncIterator[ServerSentEvent]) -> tuple[str | None, Any]:
    async for event in feed:
        if event.event is not None:
            return event.event, msgspec.json.decode(event.raw_data or "")
    raise AssertionError("it ended")


async def test_nobody_watches_so_nothing_is_asked(live: Live, counts: Counts) -> None:
    assert await until_it_rests(counts) == 0


async def test_it_goes_on_for_a_while_behind_the_last_watcher(live: Live, counts: Counts, clock: FakeClock) -> None:
    for _ in range(2):  # again when somebody comes back, with what is of then
        feed = live.watch(None)
        event, data = await first_event(feed)
        assert (event, data["types"]) == ("snapshot", {"foo": counts.events})
        await feed.aclose()  # type: ignore[attr-defined]
        before, left_at = counts.asked, clock.now
        asked = await until_it_rests(counts) - before
        assert asked == pytest.approx(LINGER_SECONDS / EVERY_SECONDS, abs=1)
        assert clock.now - left_at == pytest.approx(LINGER_SECONDS, abs=EVERY_SECONDS)


async def test_rates_are_known_a_while_after_they_were_asked_for(live: Live, counts: Counts, clock: FakeClock) -> None:
    assert set(live.rates().values()) == {None}
    while clock.now < 1011:
        await asyncio.sleep(0)
    assert live.rates() == {"1": 10.0, "10": 10.0, "60": None}
    await until_it_rests(counts)
    assert set(live.rates().values()) == {None}, "what was known then is old"


async def test_a_watcher_keeps_it_asking(live: Live, counts: Counts) -> None:
    feed = live.watch(None)
    await first_event(feed)
    while counts.asked < 3 * LINGER_SECONDS / EVERY_SECONDS:
        await asyncio.sleep(0)
    await feed.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("before", "now", "event"),
    [
        ({"a": 1, "b": 9}, {"a": 1}, "snapshot"),
        ({"a": 1}, {"a": 2, "b": 1}, "tick"),
        ({f"w{at}": 5 for at in range(MOST_WORDS)}, {f"w{at + 1}": 5 for at in range(MOST_WORDS)}, "tick"),
        (
            {f"w{at}": 5 + (not at) for at in range(MOST_WORDS)},
            {f"w{at + 1}": 5 for at in range(MOST_WORDS)},
            "snapshot",
        ),
    ],
    ids=["gone", "more", "pushed out", "gone from a full list"],
)
async def test_a_name_that_was_forgotten_is_taken_from_watchers(
    live: Live, counts: Counts, before: dict[str, int], now: dict[str, int], event: str
) -> None:
    counts.words = before
    feed = live.watch(None)
    await first_event(feed)
    counts.words = now
    told, data = await first_event(feed)
    while not data["words"]:
        told, data = await first_event(feed)
    assert told == event
    if event == "snapshot":
        assert data["words"] == now
        later = live.watch(None)
        assert (await first_event(later))[1]["words"] == now
        await later.aclose()  # type: ignore[attr-defined]
    await feed.aclose()  # type: ignore[attr-defined]


async def test_only_who_narrows_the_figures_is_told_of_a_selection(live: Live) -> None:
    feeds = [live.watch(None), live.watch(None, Selection(("foo",))), live.watch(None, Selection(("bar",)))]
    for feed in feeds:
        await first_event(feed)  # the snapshot, which may be from before that was read
    for _ in range(3):
        plain, foo, bar = [(await first_event(feed))[1] for feed in feeds]
    assert "selected" not in plain
    assert foo["selected"] == {
        "unit": "events",
        "count": foo["totals"]["events"],
        "per_second": {"1": 10.0, "10": None, "60": None},
    }
    assert (bar["selected"]["count"], bar["selected"]["per_second"]["1"]) == (0, 0.0)
    for feed in feeds:
        await feed.aclose()  # type: ignore[attr-defined]
