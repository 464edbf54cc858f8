"""Answers about time ranges equal an independent count of the same events, whatever order they came in."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from api.moments import read_duration
from tally.keys import Keys
from tally.settings import Settings
from tally.store import connect
from tally.store.reads import CountReader, as_text
from tally.store.shards import Shard
from tests.effort import seeds
from tests.fakes import FakeClock
from tests.server import Server
from tests.sharded import OneShard

MINUTE, HOUR, DAY = 60, 3600, 86_400

#: A round day, so that hours and days begin where one expects them.
EPOCH = 20_000 * DAY


class Pipeline:
    """Counts events through the real scripts, with the clock in our hands."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.settings = settings
        self.clock = FakeClock(float(EPOCH))
        keys = Keys()
        self._shard = OneShard(Shard(0, keys, redis), settings)
        self.reader = CountReader(redis, keys=keys, settings=settings)

    @property
    def now(self) -> float:
        return self.clock.now

    @now.setter
    def now(self, seconds: float) -> None:
        self.clock.now = seconds

    async def count(self, lines: list[bytes]) -> None:
        """Count these lines as one block that arrives now."""
        await self._shard.count(lines, now=self.now)

    async def move(self, steps: int = 1_000_000) -> None:
        """Fold and drop what is behind its floor as an aggregator does; with `steps`, so much of it."""
        await self._shard.move(steps)


@pytest.fixture
def pipeline(redis: Redis, server: Server) -> Pipeline:
    return Pipeline(redis, Settings(redis_url=server.url, windows="60x240,3600x72,86400x30"))


def event(type_: str, at: float | None, data: str = "x") -> bytes:
    time = "" if at is None else f', "timestamp": {at}'
    return f'{{"event_type": "{type_}", "data": "{data}"{time}}}'.encode()


@pytest.mark.parametrize("seed", seeds(range(2), range(20)))
async def test_every_time_range_equals_an_independent_count(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Some days of events: in order, late by minutes, hours or days, without a timestamp, in the future."""
    monkeypatch.setattr("tally.store.windows.FOLD_NAMES", 2)
    chance = random.Random(seed)
    events: list[tuple[int, str]] = []  # (when it counts, its type)
    for _ in range(150):
        pipeline.now += chance.choice([1, 30, 600, 1800, 3600, 7200, 20_000])
        lines = []
        for _ in range(chance.randrange(1, 12)):
            type_ = chance.choice("abcdef")
            kind = chance.randrange(10)
            if kind < 6:
                at = pipeline.now - chance.choice([0, 0, 1, 59, 60, 300])
            elif kind < 8:
                at = pipeline.now - chance.choice([3600, 7200, 20_000, DAY, 4 * DAY])
            elif kind == 8:
                at = None
            else:
                at = pipeline.now + chance.choice([30, 3599, 3601, 10 * DAY])
            lines.append(event(type_, None if at is None else round(at, chance.choice([0, 3])) if at % 1 else int(at)))
            counts_at = pipeline.now if at is None or at > pipeline.now + HOUR else at
            events.append((int(max(0.0, counts_at)), type_))
        await pipeline.count(lines)
        if chance.random() < 0.3:
            await pipeline.move(chance.randrange(5))
    newest = max(at for at, _ in events)
    asked = [(newest - back, newest - back + length) for back, length in [(60, 120), (900, 960), (7200, 7260)]]
    for _ in range(60):
        start = chance.randrange(EPOCH - 4 * DAY, newest)
        asked.append((start, start + chance.choice([60, 600, 3600, 3 * HOUR, DAY, 2 * DAY])))
    for start, end in asked:
        found, counts = await pipeline.reader.sum_range("types", start, end)
        assert found.start <= start
        assert found.end >= end
        want = Counter(type_ for at, type_ in events if found.start <= at < found.end)
        assert as_text(counts) == want, f"[{start}, {end}) as [{found.start}, {found.end})"


async def test_a_time_range_is_answered_to_the_minute_where_minutes_are_kept_and_by_the_hour_before(
    pipeline: Pipeline,
) -> None:
    for minute in range(10 * 60):
        pipeline.now = EPOCH + minute * MINUTE + 30
        await pipeline.count([event("a", int(pipeline.now))])
    await pipeline.move()
    found, counts = await pipeline.reader.sum_range(
        "types", EPOCH + 9 * HOUR + 7 * MINUTE, EPOCH + 9 * HOUR + 9 * MINUTE
    )
    assert (found.end - found.start, counts.get(b"a", 0)) == (2 * MINUTE, 2)
    found, counts = await pipeline.reader.sum_range(
        "types", EPOCH + 2 * HOUR + 7 * MINUTE, EPOCH + 2 * HOUR + 9 * MINUTE
    )
    assert (found.start, found.end, counts.get(b"a", 0)) == (EPOCH + 2 * HOUR, EPOCH + 3 * HOUR, 60)
    # From an hour whose minutes are dropped into the midst of one of which a part is left.
    found, counts = await pipeline.reader.sum_range(
        "types", EPOCH + 5 * HOUR + 50 * MINUTE, EPOCH + 6 * HOUR + 5 * MINUTE
    )
    assert counts.get(b"a", 0) == (found.end - found.start) // MINUTE


async def test_minutes_and_hours_are_kept_by_span_and_days_by_number(pipeline: Pipeline) -> None:
    """Behind an idle gap old minutes are gone, though fewer than are kept came since; a day stays however old it is."""
    pipeline.now = EPOCH + 4 * HOUR
    await pipeline.count([event("a", EPOCH + minute * MINUTE) for minute in range(180)])
    found, _ = await pipeline.reader.sum_range("types", EPOCH + 61 * MINUTE, EPOCH + 62 * MINUTE)
    assert found.end - found.start == MINUTE
    pipeline.now = EPOCH + 8 * HOUR
    await pipeline.count([event("a", EPOCH + 8 * HOUR)])
    await pipeline.move()
    found, counts = await pipeline.reader.sum_range("types", EPOCH + 61 * MINUTE, EPOCH + 62 * MINUTE)
    assert (found.start, found.end, counts) == (EPOCH + HOUR, EPOCH + 2 * HOUR, {b"a": 60})
    pipeline.now = EPOCH + 300 * DAY
    await pipeline.count([event("a", EPOCH + 300 * DAY)])
    await pipeline.move()
    found, counts = await pipeline.reader.sum_range("types", EPOCH + 61 * MINUTE, EPOCH + 62 * MINUTE)
    assert (found.start, found.end, counts) == (EPOCH, EPOCH + DAY, {b"a": 181})


async def test_answers_are_exact_while_history_is_counted_and_folded(
    pipeline: Pipeline, redis: Redis, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something is folded or dropped between any two reads, and a reader neither misses a count nor has it twice."""
    monkeypatch.setattr("tally.store.windows.FOLD_NAMES", 2)
    events: list[tuple[int, str]] = []
    names = "abcdefgh"
    counted = asyncio.Event()

    async def history() -> None:
        for hour in range(250):
            at = EPOCH + hour * HOUR
            pipeline.now = at
            some = [(at + 60 * minute, name) for minute, name in enumerate(names)]
            await pipeline.count([event(name, when) for when, name in some])
            events.extend(some)
            await pipeline.move()
        counted.set()

    answers = 0
    counting = asyncio.create_task(history())
    other = connect(server.url, timeout_seconds=30)
    reader = CountReader(other, keys=Keys(), settings=pipeline.settings)
    while not counted.is_set() and not counting.done():
        before = list(events)
        found, counts = await reader.sum_range("types", EPOCH, EPOCH + 11 * DAY)
        assert (found.start, found.end) == (EPOCH, EPOCH + 11 * DAY)
        had = Counter(name for _, name in before)
        # What was counted meanwhile may be there in part: a batch more than `events` has.
        most = Counter(name for _, name in events) + Counter(names)
        assert had <= Counter(as_text(counts)) <= most
        answers += 1
    await counting
    assert answers > 10
    assert as_text((await reader.sum_range("types", EPOCH, EPOCH + 11 * DAY))[1]) == dict.fromkeys(names, 250)
    await other.aclose()


@pytest.mark.parametrize("seed", seeds(range(1), range(10)))
async def test_time_ranges_stay_exact_when_more_windows_are_kept_than_before(
    pipeline: Pipeline, redis: Redis, server: Server, seed: int
) -> None:
    """Those that were dropped by then are not taken for empty ones, nor those that late events bring back for whole."""
    chance = random.Random(seed)
    longer = Pipeline(redis, Settings(redis_url=server.url, windows="60x600,3600x200,86400x60"))
    events: list[int] = []
    for step in range(150):
        present = pipeline if step < 120 else longer
        longer.now = pipeline.now = pipeline.now + chance.choice([60, 600, 3600, 7200])
        at = [int(present.now) - chance.choice([0, 60, 3600, 7200, DAY, 3 * DAY]) for _ in range(5)]
        await present.count([event("a", each) for each in at])
        events += at
        await present.move()
    for _ in range(150):
        start = chance.randrange(EPOCH - 3 * DAY, int(longer.now))
        end = start + chance.choice([MINUTE, HOUR, DAY, 3 * DAY])
        found, counts = await longer.reader.sum_range("types", start, end)
        want = sum(found.start <= each < found.end for each in events)
        assert counts.get(b"a", 0) == want, f"[{start}, {end}) as [{found.start}, {found.end})"


async def test_windows_stay_in_bounds(pipeline: Pipeline, redis: Redis) -> None:
    for day in range(60):
        pipeline.now = EPOCH + (day + 1) * DAY
        await pipeline.count([event("a", EPOCH + day * DAY + minute * 97 * MINUTE) for minute in range(14)])
        await pipeline.move()
    client: Any = redis
    minutes, hours, days = [await client.zcard(Keys().windows(seconds)) for seconds in (60, 3600, 86_400)]
    # By span: those of the last 240 minutes and 72 hours. By number: what is in no hour any more.
    assert (minutes, hours, days) == (3, 42, 30)
    hashes = await client.keys("tally:{0}:types:*")
    assert len(hashes) == minutes + hours + days, "what is dropped leaves no hash behind"
    assert await client.hlen(Keys().folds) <= 30 + 1, "nor what is known of folds"


async def test_the_api_answers_time_ranges_compared_with_the_one_before(server: Server, redis: Redis) -> None:
    settings = Settings(redis_url=server.url)
    pipeline = Pipeline(redis, settings)
    pipeline.now = EPOCH + DAY
    older = [event("a", EPOCH + 10), event("b", EPOCH + 70)]
    newer = [event("a", EPOCH + 130, "lorem ipsum"), event("a", EPOCH + 150), event("c", EPOCH + 239)]
    await pipeline.count(older + newer)
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        answer = (await client.get(f"/v1/types?from={EPOCH + 120}&to={EPOCH + 240}&compare=previous")).json()
        assert answer["items"] == [
            {"name": "a", "count": 2, "share": 0.666667, "present": 2, "previous": 1, "change": 1},
            {"name": "c", "count": 1, "share": 0.333333, "present": 1, "previous": 0, "change": 1},
        ]
        assert (answer["total"], answer["distinct"], answer["from"], answer["to"]) == (3, 2, EPOCH + 120, EPOCH + 240)
        assert answer["comparison"] == {
            "present": {"from": EPOCH + 120, "to": EPOCH + 240, "total": 3},
            "previous": {"from": EPOCH, "to": EPOCH + 120, "total": 2},
        }
        answer = (await client.get(f"/v1/words?from={EPOCH}&to={EPOCH + 240}&q=OR&order=name")).json()
        assert [item["name"] for item in answer["items"]] == ["lorem"]
        series = (await client.get(f"/v1/types:series?name=a&name=b&from={EPOCH}&to={EPOCH + 300}&step=1m")).json()
        assert [row["counts"] for row in series["series"]] == [[1, 0, 2, 0, 0], [0, 1, 0, 0, 0]]
        everything = (await client.get(f"/v1/types:series?from={EPOCH}&to={EPOCH + 300}&step=1m")).json()
        assert (series["total"], everything["total"]) == (4, 5)
        assert everything["series"] == [{"name": None, "counts": [1, 1, 2, 1, 0]}]
        one = (await client.get("/v1/types/a")).json()
        assert (one["count"], one["rank"]) == (3, 1)
        assert (one["first"], one["last"]) == (
            {"from": EPOCH, "to": EPOCH + 60, "total": 1},
            {"from": EPOCH + 120, "to": EPOCH + 180, "total": 2},
        )


@asynccontextmanager
async def asked_at(settings: Settings, now: float) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, for which it is then."""
    app = create_app(settings, clock=FakeClock(now))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        yield client


async def count_steadily(pipeline: Pipeline, *, until: int, days: int = 3) -> None:
    """Two events a minute, folded as they become old; the minute that is going on has the first of them."""
    for at in range(until // MINUTE * MINUTE - days * DAY, until, HOUR):
        pipeline.now = at + HOUR
        minutes = range(at, min(at + HOUR, until), MINUTE)
        await pipeline.count([event("steady", minute + second) for minute in minutes for second in (0, 58)])
        await pipeline.move()
    pipeline.now = float(until)
    await pipeline.count([event("steady", until)])
    await pipeline.move()


@pytest.mark.parametrize("minute", [0, 1, 37, 59])
async def test_what_is_steady_does_not_change_whatever_is_compared_and_when(
    redis: Redis, server: Server, minute: int
) -> None:
    settings = Settings(redis_url=server.url)
    current = EPOCH + 14 * HOUR + minute * MINUTE
    await count_steadily(Pipeline(redis, settings), until=current)
    for second in (0, 1, 29, 59):
        now = current + second
        async with asked_at(settings, now) as client:
            asked = {
                **{f"window={window}": window for window in ("1m", "15m", "100m", "350m", "6h", "12h", "24h")},
                f"from={now - 20 * MINUTE}": "20m",
                f"from={now - 10 * HOUR}&to={now - 2 * HOUR}": "8h",
                f"from={now - DAY}&to={now + DAY}": "24h",
            }
            for query, length in asked.items():
                answer = (await client.get(f"/v1/types?{query}&compare=previous")).json()
                present, previous = answer["comparison"]["present"], answer["comparison"]["previous"]
                said = f"{query} at second {second}: {answer}"
                assert present["to"] - present["from"] == previous["to"] - previous["from"], said
                assert present["to"] - present["from"] >= read_duration(length), said
                assert previous["to"] == present["from"] < present["to"] <= now, said
                assert present["total"] == previous["total"] == (present["to"] - present["from"]) // 30, said
                (item,) = answer["items"]
                assert (item["present"], item["previous"], item["change"]) == (present["total"], present["total"], 0)
                plain = (await client.get(f"/v1/types?{query}")).json()
                assert answer["items"] == [item | each for each in plain["items"]], "the counts are the same"
                assert {name: answer[name] for name in ("from", "to", "total")} == {
                    name: plain[name] for name in ("from", "to", "total")
                }
            plain = (await client.get("/v1/types?window=1m")).json()
            assert (plain["to"], plain["total"]) == (current + MINUTE, 3), "it has what was counted a second ago"


async def test_where_nothing_can_be_compared_no_change_is_told(redis: Redis, server: Server) -> None:
    settings = Settings(redis_url=server.url, windows="60x120,3600x48,86400x3")
    pipeline = Pipeline(redis, settings)
    await count_steadily(pipeline, until=EPOCH + DAY + 30 * MINUTE, days=5)
    now = EPOCH + DAY + 30 * MINUTE + 10
    async with asked_at(settings, now) as client:
        for query in (f"from={now - 9}", f"from={now + 60}&to={now + 600}", "window=3d", f"from={now - 4 * DAY}"):
            answer = (await client.get(f"/v1/types?{query}&compare=previous&order=-change")).json()
            assert answer["comparison"] is None, query
            for item in answer["items"]:
                assert (item["present"], item["previous"], item["change"]) == (None, None, None), query
            rows = (await client.get(f"/v1/types?{query}&compare=previous&format=csv")).text.splitlines()
            assert rows[0] == "name,count,share,present,previous,change"
            assert all(row.endswith(",,,") for row in rows[1:])
        assert (await client.get("/v1/types?window=1d&compare=previous")).json()["items"][0]["change"] == 0


async def test_ordered_by_change_names_are_there_that_fell_to_nothing(pipeline: Pipeline, server: Server) -> None:
    now = EPOCH + 10 * MINUTE + 20
    before, over, current = now - 2 * MINUTE, now - MINUTE, now
    counts = {
        "gone": {before: 5},
        "back just now": {before: 4, current: 1},
        "fell": {before: 3, over: 1},
        "steady": {before: 2, over: 2},
        "new": {over: 3},
        "newest": {current: 7},
    }
    pipeline.now = now
    await pipeline.count(
        [event(name, at) for name, when in counts.items() for at, times in when.items() for _ in range(times)]
    )
    changes = {"gone": -5, "back just now": -4, "fell": -2, "newest": 0, "steady": 0, "new": 3}
    async with asked_at(pipeline.settings, now) as client:

        async def ask(order: str, more: str = "") -> Any:
            return (await client.get(f"/v1/types?window=1m&compare=previous&order={order}{more}")).json()

        rising = await ask("change")
        assert [(item["name"], item["change"]) for item in rising["items"]] == list(changes.items())
        assert rising["items"][0] == {
            "name": "gone",
            "count": 0,
            "share": 0.0,
            "present": 0,
            "previous": 5,
            "change": -5,
        }
        assert {item["name"]: item["count"] for item in rising["items"]} == {
            name: sum(times for at, times in when.items() if at >= over) for name, when in counts.items()
        }
        assert (rising["matched"], rising["distinct"], rising["total"]) == (6, 5, 14)
        falling = [item["name"] for item in (await ask("-change"))["items"]]
        assert falling == ["new", "newest", "steady", "fell", "back just now", "gone"]
        page = await ask("-change", "&limit=2&offset=4")
        assert ([item["name"] for item in page["items"]], page["matched"]) == (["back just now", "gone"], 6)
        found = await ask("change", "&q=ON")
        assert ([item["name"] for item in found["items"]], found["matched"]) == (["gone"], 1)
        assert "gone" not in [item["name"] for item in (await ask("-count"))["items"]]


@pytest.mark.parametrize("minute", [0, 37, 59])
async def test_no_window_is_both_now_and_the_past_of_what_is_trending(
    redis: Redis, server: Server, minute: int
) -> None:
    settings = Settings(redis_url=server.url)
    current = EPOCH + 14 * HOUR + minute * MINUTE
    await count_steadily(Pipeline(redis, settings), until=current)
    began = current - 3 * DAY
    async with asked_at(settings, current + 20) as client:
        for window in ("1m", "15m", "100m", "350m", "6h", "12h", "24h", "2d", "1w"):
            answer = (await client.get(f"/v1/types:trending?window={window}")).json()
            start, end, since = answer["present"]["from"], answer["present"]["to"], answer["baseline"]["from"]
            assert since < answer["baseline"]["to"] == start, window
            assert start <= current + 20 - read_duration(window), window
            assert end == current + MINUTE, window
            # Two events a minute, and one so far in the current one.
            assert answer["present"]["total"] == (current - max(began, start)) // 30 + 1, window
            assert answer["baseline"]["total"] == max(0, start - max(began, since)) // 30, window
            assert answer["items"] == [], window
