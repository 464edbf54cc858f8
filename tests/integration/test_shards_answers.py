"""Answers over several shards on one server equal an independent count, and those of one shard with the same lines."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from tally.keys import OTHER, TOP_WORDS
from tally.ranges import TimeRange, Windows
from tally.settings import Settings
from tally.store import StoreUnavailable, connect
from tally.store.merged_reads import MergedReader
from tally.store.reads import CountReader, as_text
from tally.store.shards import Shard, Shards
from tally.store.status import Names
from tests.answers import questions, without_moments
from tests.effort import seeds
from tests.oracle import words_of
from tests.server import Server
from tests.sharded import Sharded, asked
from tests.waiting import wait_until_async

MINUTE, HOUR, DAY = 60, 3600, 86_400

#: A round day, so that hours and days begin where one expects them.
EPOCH = 20_000 * DAY

WINDOWS = "60x240,3600x72,86400x30"


def event(type_: str, at: float | None, data: str = "x") -> bytes:
    time = {} if at is None else {"timestamp": at}
    return json.dumps({"event_type": type_, "data": data, **time}).encode()


@pytest.fixture
async def sharded(redis: Redis, server: Server) -> Sharded:
    found = Sharded(redis, Settings(redis_url=server.url, windows=WINDOWS, shards=3), now=float(EPOCH))
    await found.begin()
    return found


@pytest.fixture
async def other_database(server: Server) -> AsyncIterator[Redis]:
    """Where another layout may be, on the same server."""
    client = connect(f"{server.url.rstrip('/')}/1", timeout_seconds=30)
    yield client
    await client.aclose()


# Time ranges.


@pytest.mark.parametrize("seed", seeds(range(1), range(8)))
async def test_every_time_range_equals_an_independent_count(
    sharded: Sharded, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Some days of events, of which shards get different ones: one is behind, one has years that others have not."""
    monkeypatch.setattr("tally.store.windows.FOLD_NAMES", 2)
    chance = random.Random(seed)
    events: list[tuple[int, str]] = []  # (when it counts, its type)
    for _ in range(150):
        sharded.now += chance.choice([1, 30, 600, 1800, 3600, 7200, 20_000])
        shard = chance.choice([0, 0, 0, 1, 1, 2])
        lines = []
        for _ in range(chance.randrange(1, 12)):
            type_ = chance.choice("abcdef")
            at = sharded.now - chance.choice([0, 0, 1, 59, 60, 300, 3600, 20_000, DAY, 4 * DAY])
            if shard == 1:
                at -= chance.choice([0, 5 * HOUR])
            if shard == 2 and chance.random() < 0.2:
                at -= chance.choice([20, 200, 2000]) * DAY
            lines.append(event(type_, int(at)))
            events.append((int(at), type_))
        await sharded.count(lines, shard=shard)
        if chance.random() < 0.3:
            await sharded.shards[chance.randrange(3)].move(chance.randrange(5))
    newest = max(at for at, _ in events)
    minute = newest // MINUTE * MINUTE
    ranges = [(minute - back, minute - back + length) for back, length in [(60, 120), (900, 960), (7200, 7260)]]
    for _ in range(60):
        start = chance.randrange(EPOCH - 4 * DAY, newest) // MINUTE * MINUTE
        ranges.append((start, start + chance.choice([60, 600, 3600, 3 * HOUR, DAY, 2 * DAY, 50 * DAY])))
    exact = 0
    for start, end in ranges:
        found, counts = await sharded.reader.sum_range("types", start, end)
        want = Counter(type_ for at, type_ in events if found.start <= at < found.end)
        assert as_text(counts) == want, f"[{start}, {end}) as [{found.start}, {found.end})"
        exact += (found.start, found.end) == (start, end)
        # Where all shards reach back, no more is answered than the shortest length that they all keep makes of it.
        wider = [await shard_range(shard.reader, start, end) for shard in each_alone(sharded)]
        assert found.start <= start or found.start == max(each.start for each in wider)
        assert found.end >= end or found.end == found.start
    assert exact
    await one_name_and_series(sharded, events, chance)


class Alone:
    """One of the shards as if there were no others."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader


def each_alone(sharded: Sharded) -> Iterator[Alone]:
    for reader in sharded.reader._readers:
        yield Alone(reader)


async def shard_range(reader: Any, start: int, end: int) -> TimeRange:
    found: TimeRange = (await reader.windows()).time_range(start, end)
    return found


async def one_name_and_series(sharded: Sharded, events: list[tuple[int, str]], chance: random.Random) -> None:
    """Each count of a grid is that of its cell, and a name's windows are where it was counted."""
    newest = max(at for at, _ in events)
    for _ in range(20):
        names = chance.choice([["a"], ["b", "c"], [], ["never"]])
        start = chance.randrange(newest - 3 * DAY, newest) // DAY * DAY

        def cells(windows: Windows, start: int = start) -> list[TimeRange]:
            return [windows.time_range(at, at + DAY) for at in range(start, start + 3 * DAY, DAY)]

        windows, counted = await sharded.reader.counts_in(
            "types", names, lambda windows: (window for cell in cells(windows) for window in cell.windows)
        )
        for cell in cells(windows):
            rows = [counted[window] for window in cell.windows]
            found = [sum(column) for column in zip(*rows, strict=True)] or [0] * max(1, len(names))
            inside = [type_ for at, type_ in events if cell.start <= at < cell.end]
            assert found == ([inside.count(name) for name in names] if names else [len(inside)])


async def test_a_range_that_one_shard_no_longer_covers_is_cut_off_for_all(sharded: Sharded) -> None:
    sharded.now = EPOCH + 100 * DAY
    for shard in range(3):
        await sharded.count([event("a", EPOCH + 10 * DAY), event("a", sharded.now)], shard=shard)
    # The second one gets so many days that it drops the first.
    await sharded.count([event("b", EPOCH + (60 + day) * DAY) for day in range(31)], shard=1)
    await sharded.move()
    found, counts = await sharded.reader.sum_range("types", EPOCH, EPOCH + 101 * DAY)
    assert found.start > EPOCH + 10 * DAY
    assert (found.end, counts) == (EPOCH + 101 * DAY, {b"a": 3, b"b": (found.start == EPOCH + 60 * DAY) * 31 or 30})
    windows = await sharded.reader.windows()
    assert not windows.has(EPOCH + 10 * DAY, EPOCH + 11 * DAY)
    assert windows.has(found.start, found.end)


async def test_a_range_is_as_fine_as_the_shard_that_keeps_the_least_of_it(sharded: Sharded) -> None:
    now = EPOCH + DAY
    sharded.now = now
    await sharded.count([event("a", now - 6 * HOUR), event("a", now - 6 * HOUR + 60)], shard=0)
    found, counts = await sharded.reader.sum_range("types", now - 6 * HOUR, now - 6 * HOUR + 60)
    assert (found.end - found.start, counts) == (60, {b"a": 1}), "those without any keep all"
    await sharded.count([event("a", now)], shard=2)  # of which minutes are kept for four hours
    found, counts = await sharded.reader.sum_range("types", now - 6 * HOUR, now - 6 * HOUR + 60)
    assert (found.end - found.start, counts) == (HOUR, {b"a": 2})


async def test_answers_are_exact_while_all_shards_count_history_and_fold_it(
    sharded: Sharded, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something is folded or dropped in some shard between any two reads."""
    monkeypatch.setattr("tally.store.windows.FOLD_NAMES", 2)
    events: list[tuple[int, str]] = []
    names = "abcdefgh"
    counted = asyncio.Event()

    async def history(shard: int) -> None:
        for hour in range(150):
            some = [(EPOCH + hour * HOUR + 60 * minute, name) for minute, name in enumerate(names)]
            await sharded.count([event(name, when) for when, name in some], shard=shard)
            events.extend(some)
            await sharded.shards[shard].move()

    async def all_history() -> None:
        await asyncio.gather(*(history(shard) for shard in range(3)))
        counted.set()

    counting = asyncio.create_task(all_history())
    other = connect(server.url, timeout_seconds=30)
    reader = MergedReader(Shards.over(other, sharded.settings), settings=sharded.settings)
    answers = 0

    def days(windows: Windows) -> list[TimeRange]:
        return [windows.time_range(at, at + DAY) for at in range(EPOCH, EPOCH + 7 * DAY, DAY)]

    while not counted.is_set() and not counting.done():
        before = Counter(name for _, name in events)
        found, counts = await reader.sum_range("types", EPOCH, EPOCH + 7 * DAY)
        assert (found.start, found.end) == (EPOCH, EPOCH + 7 * DAY)
        # What was counted meanwhile may be there in part: in each shard a batch more than `events` has.
        most = Counter(name for _, name in events) + Counter(names * 3)
        assert before <= Counter(as_text(counts)) <= most
        before = Counter(name for _, name in events)
        windows, counted_in = await reader.counts_in(
            "types", ["a", "h"], lambda windows: (window for day in days(windows) for window in day.windows)
        )
        rows = [counted_in[window] for day in days(windows) for window in day.windows]
        sums = dict(zip("ah", (sum(column) for column in zip(*rows, strict=True)), strict=False))
        most = Counter(name for _, name in events) + Counter(names * 3)
        for name, count in sums.items():
            assert before[name] <= count <= most[name]
        answers += 1
    await counting
    assert answers > 5
    assert as_text((await reader.sum_range("types", EPOCH, EPOCH + 7 * DAY))[1]) == dict.fromkeys(names, 450)
    await other.aclose()


# The whole api.


@pytest.mark.parametrize("shards", [3, *(pytest.param(each, marks=pytest.mark.slow) for each in (2, 4, 8, 16))])
@pytest.mark.parametrize("seed", seeds(range(1), range(3)))
async def test_whatever_is_asked_of_several_shards_is_answered_as_by_one(
    redis: Redis, other_database: Redis, server: Server, monkeypatch: pytest.MonkeyPatch, shards: int, seed: int
) -> None:
    monkeypatch.setattr("tally.store.windows.FOLD_NAMES", 3)
    chance = random.Random(seed)
    common = Settings(redis_url=server.url, windows="60x240,3600x72,86400x300")
    many = Sharded(redis, common.model_copy(update={"shards": shards}), now=float(EPOCH))
    one = Sharded(other_database, common, now=float(EPOCH))
    await many.begin()
    words = [f"w{number}" for number in range(60)]
    types: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for _ in range(60):
        one.now = many.now = many.now + chance.choice([1, 30, 600, 3600, 20_000])
        lines = []
        for _ in range(chance.randrange(1, 20)):
            at = int(many.now) - chance.choice([0, 0, 0, 60, 300, 3600, DAY, 9 * DAY])
            type_, data = chance.choice("abcdefg"), " ".join(chance.choices(words, k=chance.randrange(6)))
            types[type_] += 1
            counted.update(words_of(data))
            lines.append(event(type_, at, data))
        if chance.random() < 0.3:
            lines.append(b"no event")
        await many.spread(lines, chance)
        await one.count(lines, shard=0)
        await many.shards[chance.randrange(shards)].move(chance.randrange(4))
    one.now = many.now = many.now + 60
    for shard in range(shards):  # so that all of them reach back as far as the one does
        await many.count([event("now", many.now)], shard=shard)
        await one.count([event("now", many.now)], shard=0)
    types["now"] += shards
    counted["x"] += shards
    await many.move()
    await one.move()

    paths = questions(int(many.now))
    async with (
        asked(many.settings, redis, many.clock) as several,
        asked(one.settings, other_database, one.clock) as alone,
    ):
        for path in paths:
            answers = await several.get(path), await alone.get(path)
            found, want = map(without_moments, answers)
            assert found == want, path
        assert (await several.get("/events/CountByEventType")).json() == types
        assert (await several.get("/events/CountWords")).json() == counted
        for item in (await several.get("/v1/words?limit=1000")).json()["items"]:
            assert item["at_most"] == item["count"] == counted[item["name"]]
        samples = (await several.get("/v1/rejected?limit=1000")).json()
        want = (await alone.get("/v1/rejected?limit=1000")).json()
        assert (
            samples["total"] == want["total"] == len(samples["items"]) == len({each["id"] for each in samples["items"]})
        )
        assert [each["rejected_at"] for each in samples["items"]] == sorted(
            (each["rejected_at"] for each in samples["items"]), reverse=True
        )
        assert len((await several.get("/v1/rejected?limit=2")).json()["items"]) == min(2, want["total"])
        found, want = (await several.get("/v1/stats")).json(), (await alone.get("/v1/stats")).json()
        for field in ("events", "words", "rejected", "padded", "lost", "lines"):
            assert found["totals"][field] == want["totals"][field]
        assert (
            (found["distinct_types"], found["distinct_words"])
            == (len(types), len(counted))
            == (
                want["distinct_types"],
                want["distinct_words"],
            )
        )
        assert (found["distinct_types_at_most"], found["distinct_words_at_most"]) == (len(types), len(counted))
        assert [each["shard"] for each in found["shards"]] == list(range(shards))
        assert not {"shards", "distinct_words_at_most"} & want.keys()
        assert (await several.get("/readyz")).status_code == 200


async def test_the_live_feed_tells_of_all_shards(sharded: Sharded, redis: Redis) -> None:
    for shard in range(3):
        await sharded.count([event("a", None, "lorem ipsum")] * (shard + 1), shard=shard)
    app = create_app(sharded.settings, redis=redis)
    async with app.router.lifespan_context(app):
        feed = app.state.live.watch(None)
        data: Any = None
        async for found in feed:
            if found.event is not None:
                data = json.loads(found.raw_data)
                break
        await feed.aclose()
    assert (data["totals"]["events"], data["types"], data["words"]) == (6, {"a": 6}, {"lorem": 6, "ipsum": 6})


# The most frequent words.


async def put(sharded: Sharded, shard: int, words: dict[str, int]) -> None:
    """Count each of these words so often."""
    await sharded.count(
        [event("t", EPOCH, " ".join(" ".join([word] * times) for word, times in words.items()))], shard=shard
    )


def reads_of_all(sharded: Sharded, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note of what all names are read."""
    found: list[str] = []
    add_up = MergedReader.sum_all

    async def noted(self: MergedReader, kind: Any, **given: Any) -> Any:
        found.append(kind)
        return await add_up(self, kind, **given)

    monkeypatch.setattr(MergedReader, "sum_all", noted)
    monkeypatch.setattr("tally.store.merged_reads.FEW_NAMES", 0)
    monkeypatch.setattr("api.cached_counts.MOST_UNITED", 0)
    return found


async def test_of_many_words_the_first_are_told_without_reading_the_others(
    sharded: Sharded, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    want: Counter[str] = Counter()
    for shard in range(3):
        words = {f"often{number}": 20 + number for number in range(50)}
        words |= {f"seldom{shard}-{number}": 1 for number in range(TOP_WORDS + 500)} | {f"both{shard}": 30}
        await put(sharded, shard, words)
        want.update(words)
    read = reads_of_all(sharded, monkeypatch)
    async with asked(sharded.settings, redis, sharded.clock) as client:
        answer = (await client.get("/v1/words?limit=53")).json()
        ranked = sorted(want.items(), key=lambda each: (-each[1], each[0]))
        assert [(item["name"], item["count"]) for item in answer["items"]] == ranked[:53]
        assert (answer["total"], read) == (want.total(), [])
        assert answer["distinct"] <= len(want) <= answer["distinct_at_most"]
        assert (await client.get("/v1/words/often7")).json()["rank"] == 43
        answer = (await client.get("/v1/words?limit=3&exclude=often48&exclude=seldom1-7&exclude=no")).json()
        assert [item["name"] for item in answer["items"]] == ["often49", "often47", "often46"]
        assert answer["distinct"] - answer["matched"] == 2
        assert read == []
        # Of the rest not enough is certain.
        answer = (await client.get("/v1/words?limit=54")).json()
        assert [(item["name"], item["count"]) for item in answer["items"]] == ranked[:54]
        assert (answer["distinct"], answer["distinct_at_most"], read) == (len(want), len(want), ["words"])
        await put(sharded, 0, {"new": 1, "often1": 1})
        sharded.now += 100
        answer = (await client.get("/v1/words?limit=10")).json()
        assert (answer["distinct"], answer["distinct_at_most"], read) == (len(want), len(want) + 1, ["words"])
    assert list(await sharded.reader.top_words()) != []


async def test_where_the_first_cannot_be_told_for_certain_all_are_read(
    sharded: Sharded, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that is just not among the first of any shard is the first of all."""
    want: Counter[str] = Counter()
    for shard in range(3):
        words = {f"w{shard}-{number}": 10 for number in range(TOP_WORDS)} | {"sleeper": 9}
        await put(sharded, shard, words)
        want.update(words)
    assert await sharded.reader.top_words() == {}
    read = reads_of_all(sharded, monkeypatch)
    async with asked(sharded.settings, redis, sharded.clock) as client:
        answer = (await client.get("/v1/words?limit=1")).json()
        assert [(item["name"], item["count"]) for item in answer["items"]] == [("sleeper", 27)]
        assert read == ["words"]
        assert (await client.get("/v1/words/sleeper")).json()["rank"] == 1
        assert (await client.get("/events/CountWords?limit=1")).json() == {"sleeper": 27}


async def test_what_is_counted_between_two_reads_does_not_make_a_word_certain(
    sharded: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that no shard had among its first becomes the first of all while they are read."""
    for shard in range(3):
        await put(sharded, shard, {f"w{shard}-{number}": 3 for number in range(TOP_WORDS)} | {"often": 4})
    assert list(await sharded.reader.top_words()) == ["often"]
    counts_of = CountReader.counts_of
    counting = asyncio.Lock()

    async def count_first(self: CountReader, kind: Any, names: Any) -> Any:
        async with counting:
            if await sharded.reader.count_of("words", "sudden") == 0:
                for shard in range(3):
                    await put(sharded, shard, {"sudden": 5})
        return await counts_of(self, kind, names)

    monkeypatch.setattr(CountReader, "counts_of", count_first)
    assert await sharded.reader.top_words() == {}
    assert await sharded.reader.top_words() == {"sudden": 15, "often": 12}


async def test_distinct_names_are_a_union_or_between_two_bounds(
    sharded: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shard, words in enumerate(["a b c", "b c d e", "e f"]):
        await sharded.count([event("t", EPOCH, words)], shard=shard)
    assert await sharded.reader.names("words") == Names(6, 6, 0)
    assert await sharded.reader.names("types") == Names(1, 1, 0)
    monkeypatch.setattr("tally.store.merged_reads.FEW_NAMES", 0)
    reader = MergedReader(sharded.over, settings=sharded.settings)
    assert await reader.names("words") == Names(4, 9, 0), "as many as the shard with the most, or as all have"
    assert len(await reader.words()) == 6
    assert await reader.names("words") == Names(6, 6, 0)
    await sharded.count([event("t", EPOCH, "a g h")], shard=2)
    assert await reader.names("words") == Names(6, 9, 0)
    await reader.words()
    assert await reader.names("words") == Names(8, 8, 0)
    await sharded.shards[0].redis.delete(sharded.shards[0].keys.words)
    assert await reader.names("words") == Names(5, 9, 0), "what was known of it is no longer so"


@pytest.fixture
async def dropped_in_between(sharded: Sharded, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the last shard drop its minutes when it is read for the first time; return what was asked of it then.

    Each shard has two events at the first two minutes of a day.
    """
    sharded.now = EPOCH + DAY + 5 * HOUR
    for shard in range(3):
        await sharded.count([event("a", EPOCH + DAY), event("a", EPOCH + DAY + 60)], shard=shard)
    dropped: list[str] = []

    def dropping_first(name: str) -> Any:
        read = getattr(CountReader, name)

        async def drop_first(self: CountReader, *given: Any, **named: Any) -> Any:
            if self is sharded.reader._readers[2] and not dropped:
                dropped.append(name)
                await sharded.count([event("b", sharded.now)], shard=2)
                await sharded.move()
            return await read(self, *given, **named)

        return drop_first

    for name in ("sum_range", "counts_in"):
        monkeypatch.setattr(CountReader, name, dropping_first(name))
    return dropped


async def test_a_shard_whose_windows_are_dropped_while_they_are_read_is_not_read_otherwise_than_the_others(
    sharded: Sharded, dropped_in_between: list[str]
) -> None:
    start = EPOCH + DAY
    found, counts = await sharded.reader.sum_range("types", start, start + 60)
    assert (found.start, found.end, dropped_in_between) == (start, start + HOUR, ["sum_range"])
    assert counts == {b"a": 6}


async def test_a_grid_is_of_one_width_when_windows_are_dropped_while_they_are_read(
    sharded: Sharded, dropped_in_between: list[str]
) -> None:
    start = EPOCH + DAY
    windows, counted = await sharded.reader.counts_in(
        "types", ["a"], lambda windows: windows.time_range(start, start + 60).windows
    )
    cell = windows.time_range(start, start + 60)
    assert (cell.start, cell.end, dropped_in_between) == (start, start + HOUR, ["counts_in"])
    assert sum(counted[window][0] for window in cell.windows) == 6


async def test_how_many_words_there_are_is_known_soon(
    sharded: Sharded, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are read beside what is answered, now and then while there are new ones."""
    for shard, words in enumerate(["a b c", "b c d e", "e f"]):
        await sharded.count([event("t", EPOCH, words)], shard=shard)
    read = reads_of_all(sharded, monkeypatch)
    monkeypatch.setattr("api.cached_counts.MOST_UNITED", 9)
    async with asked(sharded.settings, redis, sharded.clock) as client:

        async def distinct() -> tuple[int, int]:
            answer = (await client.get("/v1/words?limit=1")).json()
            return answer["distinct"], answer["distinct_at_most"]

        async def is_known() -> bool:
            sharded.now += 1
            return await distinct() == (6, 6)

        assert await distinct() == (4, 9)
        await wait_until_async(is_known, what="they are all read")
        assert read == ["words"]
        await sharded.count([event("t", EPOCH, "g")], shard=0)
        sharded.now += 1
        assert await distinct() == (6, 7), "not again so soon"
        sharded.now += 60
        await sharded.count([event("t", EPOCH, "f g")], shard=0)

        async def is_known_again() -> bool:
            sharded.now += 1
            return await distinct() == (7, 7)

        await wait_until_async(is_known_again, what="they are all read again")
        assert read == ["words"] * 2
        await sharded.count([event("t", EPOCH, "h i j")], shard=0)
        sharded.now += 100
        assert await distinct() == (8, 10), "there may be more than are read for that"
        sharded.now += 100
        assert await distinct() == (8, 10)
        assert read == ["words"] * 2


# Bounds.


async def test_a_name_that_is_under_other_in_some_shard_has_a_lower_bound_and_an_upper_one(
    redis: Redis, server: Server
) -> None:
    settings = Settings(redis_url=server.url, shards=3, max_words=3, max_types=3)
    sharded = Sharded(redis, settings, now=float(EPOCH))
    await sharded.begin()
    await put(sharded, 0, {"a": 5, "b": 4, "c": 3})
    await put(sharded, 0, {"d": 7, "e": 1})  # for which there is no room
    await put(sharded, 1, {"a": 1, "d": 2})
    await put(sharded, 2, {"d": 1})
    async with asked(settings, redis, sharded.clock) as client:
        answer = (await client.get("/v1/words")).json()
        found = {item["name"]: (item["count"], item["at_most"]) for item in answer["items"]}
        assert found == {"a": (6, 6), "b": (4, 4), "c": (3, 3), "d": (3, 11)}
        assert (answer["total"], answer["other"], answer["distinct"]) == (24, 8, 4)
        one = (await client.get("/v1/words/d")).json()
        assert (one["count"], one["at_most"]) == (3, 11), "and 10 is what it came to"
        one = (await client.get("/v1/words/a")).json()
        assert (one["count"], one["at_most"]) == (6, 6)
        assert (await client.get("/v1/words/e")).status_code == 404
        rows = (await client.get("/v1/words?format=csv&order=name")).text.splitlines()
        assert rows[0] == "name,count,share,at_most"
        assert rows[-2].startswith("d,3,")
        assert rows[-2].endswith(",11")
        assert rows[-1].startswith(f"{OTHER},8,")
        assert rows[-1].endswith(",8"), "which is exact"
        in_range = (await client.get(f"/v1/words?from={EPOCH}&to={EPOCH + 60}")).json()
        for item in in_range["items"]:
            assert item["count"] <= item["at_most"]
        everything = (await client.get("/events/CountWords")).json()
        assert everything == {OTHER: 8, "a": 6, "b": 4, "c": 3, "d": 3}


async def test_a_table_that_is_made_while_it_is_sent_has_bounds(redis: Redis, server: Server) -> None:
    words = [f"w{at}" for at in range(12_000)]
    sharded = Sharded(redis, Settings(redis_url=server.url, shards=3, max_words=11_000), now=float(EPOCH))
    await sharded.begin()
    for shard, part in enumerate((words[:6000], words, words[6000:])):
        await sharded.count([event("a", None, " ".join(part))], shard=shard)
    async with asked(sharded.settings, redis, sharded.clock) as client:
        answer = await client.get("/v1/words?format=ndjson")
        assert "content-length" not in answer.headers
        *rows, rest = map(json.loads, answer.text.splitlines())
        total = (await client.get("/v1/words?limit=1")).json()["total"]
    assert {row["name"] for row in rows} == set(words)
    assert (rest["name"], rest["count"], rest["at_most"]) == (OTHER, 1000, 1000)
    assert sum(row["count"] for row in rows) + rest["count"] == total == 24_000
    assert all(row["count"] <= 2 <= row["at_most"] for row in rows)


# What is not there.


async def test_one_shard_that_is_unavailable_is_503_and_the_log_says_which(sharded: Sharded, redis: Redis) -> None:
    await sharded.count([event("a", None)], shard=0)
    dead = connect("redis://127.0.0.1:1/0", timeout_seconds=5)
    shards = Shards([*sharded.over[:2], Shard(2, sharded.over[2].keys, dead)])
    shards.home = sharded.over.home
    reader = MergedReader(shards, settings=sharded.settings)
    with pytest.raises(StoreUnavailable, match="shard 2: ConnectionError") as raised:
        await reader.totals()
    assert "127.0.0.1" not in raised.value.public
    with pytest.raises(StoreUnavailable, match="shard 2"):
        await reader.sum_range("types", EPOCH, EPOCH + 60)
    app = create_app(sharded.settings, redis=redis)
    monkey = pytest.MonkeyPatch()
    monkey.setattr("api.app.Shards.over", lambda *_: shards)
    try:
        app = create_app(sharded.settings, redis=redis)
    finally:
        monkey.undo()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for path in ("/v1/types", "/v1/types?window=1h", "/v1/words?limit=1", "/v1/stats", "/v1/rejected", "/readyz"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/redis-unavailable"), path
    await dead.aclose()


async def test_what_was_counted_in_other_shards_is_refused(sharded: Sharded, redis: Redis, server: Server) -> None:
    await sharded.count([event("a", None)], shard=0)
    for shards in (1, 4):
        settings = Settings(redis_url=server.url, windows=WINDOWS, shards=shards)
        async with asked(settings, redis, sharded.clock) as client:
            for path in ("/v1/types", "/v1/stats", "/readyz"):
                answer = await client.get(path)
                assert answer.status_code == 503, (shards, path, answer.text)
                assert "TALLY_SHARDS was 3" in answer.text
