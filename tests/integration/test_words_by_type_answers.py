"""Words by type as the api answers them: of tables that were written here, compared with a count of the same events."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from redis.asyncio import Redis

from tally.keys import OTHER, Table, all_time_key, window_key, words_of
from tally.settings import Settings
from tally.store.layouts import LayoutStore
from tally.store.shards import Shards
from tests.effort import seeds
from tests.fakes import FakeClock
from tests.server import Server
from tests.sharded import asked

MINUTE, HOUR = 60, 3600

#: A round hour, and now.
EPOCH = 20_000 * 86_400
NOW = EPOCH + 5 * HOUR + 90

SINCE = EPOCH + 7

Params = dict[str, Any]

TYPES, WORDS = ("error", "login", "a:b", "*"), ("timeout", "foo", "bar", "Ünïcode", "lorem", "rare")


@dataclass(frozen=True)
class Event:
    at: int
    type: str
    words: tuple[str, ...]
    shard: int = 0


class Tables:
    """Writes events into the tables of shards, as aggregators do: where one has no room, under `__other__`."""

    def __init__(self, redis: Redis, settings: Settings, numbers: Sequence[dict[str, int]]) -> None:
        self.redis: Any = redis
        self.settings = settings
        self.shards = Shards.over(redis, settings)
        self.numbers = numbers  # of each shard
        self.events: list[Event] = []
        self.clock = FakeClock(float(NOW))

    async def begin(self) -> None:
        for shard, numbers in zip(self.shards, self.numbers, strict=True):
            await LayoutStore(shard.redis, keys=shard.keys, settings=self.settings).ensure()
            if numbers:
                since = {type_: f"{number}:{SINCE + number}" for type_, number in numbers.items()}
                await self.redis.hset(shard.keys.types_numbers, mapping=since)
        home = self.shards.home
        await LayoutStore(home.redis, keys=home.keys, settings=self.settings).ensure()

    async def write(self, events: Iterable[Event], *, most_words: int = 1000) -> None:
        events = list(events)
        self.events += events
        for shard, numbers in zip(self.shards, self.numbers, strict=True):
            keys, tables = shard.keys, dict[str, Counter[str]]()
            for event in (event for event in events if event.shard == shard.index):
                starts = [(seconds, event.at // seconds * seconds) for seconds in (MINUTE, HOUR)]
                for table, names in [
                    (Table("types"), (event.type,)),
                    (Table("words"), event.words),
                    *([(words_of(numbers[event.type]), event.words)] if event.type in numbers else []),
                ]:
                    places = [all_time_key(keys, table), *(window_key(keys, table, *start) for start in starts)]
                    for key in places:
                        counts = tables.setdefault(key, Counter())
                        for name in names:
                            room = name in counts or len(counts - Counter({OTHER: 1})) < most_words
                            counts[name if room or "@" not in key else OTHER] += 1
                for seconds, start in starts:
                    await self.redis.zadd(keys.windows(seconds), {str(start): start})
            pipeline = self.redis.pipeline(transaction=False)
            for key, counts in tables.items():
                for name, count in counts.items():
                    pipeline.hincrby(key, name, count)
            pipeline.hincrby(keys.totals, "events", len(events))
            pipeline.hincrby(keys.totals, "words", sum(len(event.words) for event in events))
            await pipeline.execute()
            top = await self.redis.hgetall(keys.words)
            if top:
                await self.redis.zadd(keys.top, {name: int(count) for name, count in top.items()})

    def words(self, chosen: Callable[[Event], bool]) -> Counter[str]:
        return Counter(word for event in self.events if chosen(event) for word in event.words)

    def types(self, words: Iterable[str], chosen: Callable[[Event], bool]) -> Counter[str]:
        found: Counter[str] = Counter()
        for event in filter(chosen, self.events):
            if times := sum(map(event.words.count, words)):
                found[event.type] += times
        return found


def some_events(chance: random.Random, number: int, *, shards: int = 1) -> list[Event]:
    return [
        Event(
            chance.randrange(EPOCH, NOW),
            chance.choice(TYPES),
            tuple(chance.choices(WORDS, weights=(20, 10, 5, 5, 3, 0.3), k=chance.randrange(4))),
            chance.randrange(shards),
        )
        for _ in range(number)
    ]


@asynccontextmanager
async def answering(
    redis: Redis, url: str, numbers: Sequence[dict[str, int]], **variables: Any
) -> AsyncIterator[tuple[Tables, httpx.AsyncClient]]:
    variables.setdefault("words_by_type", "2")
    settings = Settings(redis_url=url, windows="60x1000,3600x100", shards=len(numbers), **variables)
    tables = Tables(redis, settings, numbers)
    await tables.begin()
    async with asked(settings, redis, tables.clock) as client:
        yield tables, client


def items(answer: httpx.Response) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    return {item["name"]: item["count"] for item in answer.json()["items"]}


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("seed", seeds(range(1), range(6)))
async def test_every_answer_equals_an_independent_count(redis: Redis, server: Server, shards: int, seed: int) -> None:
    chance = random.Random(seed)
    numbers = [
        {type_: number for number, type_ in enumerate(chance.sample(("error", "a:b"), 2), 1)} for _ in range(shards)
    ]
    async with answering(redis, server.url, numbers) as (tables, client):
        await tables.write(some_events(chance, 400, shards=shards))
        ranges: list[tuple[Params, int, int]] = [
            ({}, EPOCH, NOW),
            ({"window": "1h"}, (NOW - HOUR) // MINUTE * MINUTE, NOW),
            ({"from": EPOCH + 600, "to": EPOCH + 7200 + 120}, EPOCH + 600, EPOCH + 7200 + 120),
        ]
        for query, start, end in ranges:

            def in_range(event: Event, start: int = start, end: int = end) -> bool:
                return start <= event.at < end

            for types in (["error"], ["a:b"], ["a:b", "error"]):
                want = tables.words(lambda event, types=types: in_range(event) and event.type in types)  # type: ignore[misc]
                answer = await client.get("/v1/words", params={**query, "type": types, "limit": 1000})
                assert items(answer) == dict(want)
                found = answer.json()
                assert (found["total"], found["distinct"]) == (want.total(), len(want))
                assert found["since"] == SINCE + max(each[type_] for each in numbers for type_ in types)
                assert {item["at_most"] - item["count"] for item in found["items"]} <= {0}
                assert "elsewhere" not in found
                answer = await client.post(
                    "/v1/words:lookup", params={**query, "type": types}, json={"names": [*WORDS, "never"]}
                )
                assert items(answer) == {name: want[name] for name in (*WORDS, "never")}
                assert (answer.json()["total"], answer.json()["since"]) == (found["total"], found["since"])
            for words in (["timeout"], ["rare", "foo"]):
                want = tables.types(words, in_range)
                answer = await client.get("/v1/types", params={**query, "word": words})
                assert items(answer) == {name: count for name, count in want.items() if name in ("error", "a:b")}
                found = answer.json()
                assert found["elsewhere"] == found["other"] == want["login"] + want["*"]
                assert (found["total"], found["since"]) == (want.total(), None)
                answer = await client.post(
                    "/v1/types:lookup", params={**query, "word": words}, json={"names": [*TYPES, "never"]}
                )
                assert items(answer) == {
                    name: want[name] if name in ("error", "a:b") else 0 for name in (*TYPES, "never")
                }
                hidden = [item["at_most"] - item["count"] for item in answer.json()["items"]]
                assert hidden == [0, found["elsewhere"], 0, found["elsewhere"], 0]
        await one_name_and_series(tables, client)


async def one_name_and_series(tables: Tables, client: httpx.AsyncClient) -> None:
    """Each count of a grid is that of its cell, and one name's figures are its own."""
    grid: Params = {"from": EPOCH, "to": EPOCH + 6 * HOUR, "step": "30m"}
    starts = range(EPOCH, EPOCH + 6 * HOUR, 1800)

    def cells(of: Callable[[Callable[[Event], bool]], Counter[str]], name: str) -> list[int]:
        return [of(lambda event, at=at: at <= event.at < at + 1800)[name] for at in starts]  # type: ignore[misc]

    def words(chosen: Callable[[Event], bool]) -> Counter[str]:
        return tables.words(lambda event: event.type == "error" and chosen(event))

    def types(chosen: Callable[[Event], bool]) -> Counter[str]:
        found = tables.types(["timeout", "bar"], chosen)
        return found + Counter({"": found.total()})

    names = ["timeout", "Ünïcode"]
    asked_for: Params = {**grid, "type": "error", "name": names}
    series = (await client.get("/v1/words:series", params=asked_for)).json()
    assert [each["counts"] for each in series["series"]] == [cells(words, name) for name in names]
    asked_for = {**grid, "word": ["timeout", "bar"]}
    series = (await client.get("/v1/types:series", params={**asked_for, "name": ["a:b", "error"]})).json()
    assert [each["counts"] for each in series["series"]] == [cells(types, name) for name in ("a:b", "error")]
    series = (await client.get("/v1/types:series", params=asked_for)).json()  # in all events
    assert series["series"] == [{"name": None, "counts": cells(types, "")}]

    all_words = words(lambda _: True)
    one = (await client.get("/v1/words/timeout", params={**grid, "type": "error"})).json()
    assert (one["count"], one["at_most"], one["rank"]) == (all_words["timeout"], all_words["timeout"], 1)
    assert one["share"] == pytest.approx(all_words["timeout"] / all_words.total(), abs=1e-5)
    assert one["series"]["counts"] == cells(words, "timeout")
    at = [event.at for event in tables.events if event.type == "error" and "timeout" in event.words]
    assert (one["first"]["from"], one["last"]["from"]) == (min(at) // MINUTE * MINUTE, max(at) // MINUTE * MINUTE)
    one = (await client.get("/v1/types:lookup", params={**grid, "name": "a:b", "word": ["timeout", "bar"]})).json()
    assert one["count"] == types(lambda _: True)["a:b"]
    assert one["series"]["counts"] == cells(types, "a:b")
    assert one["elsewhere"] == sum(types(lambda _: True)[name] for name in ("login", "*"))


async def test_a_word_that_is_trending_or_compared_in_a_type_is_so_by_its_own_past(
    redis: Redis, server: Server
) -> None:
    async with answering(redis, server.url, [{"error": 1}]) as (tables, client):
        past = [Event(NOW - 1200 - 30 * at, "error", ("foo", "foo", "timeout")) for at in range(20)]
        present = [Event(NOW - 300 - at, "error", ("timeout", "timeout", "timeout", "foo")) for at in range(20)]
        others = [Event(NOW - 300 - at, "login", ("foo",) * 9) for at in range(20)]
        await tables.write([*past, *present, *others])
        trending = (await client.get("/v1/words:trending", params={"window": "15m", "type": "error"})).json()
        assert [(item["name"], item["count"]) for item in trending["items"]] == [("timeout", 60)]
        # Of all words it is the other way round.
        (first, *_) = (await client.get("/v1/words:trending?window=15m")).json()["items"]
        assert first["name"] == "foo"
        params = {"window": "15m", "type": "error", "compare": "previous", "order": "-change"}
        compared = (await client.get("/v1/words", params=params)).json()["items"]
        assert [(item["name"], item["present"], item["previous"]) for item in compared] == [
            ("timeout", 60, 20),
            ("foo", 20, 40),
        ]
        trending = (await client.get("/v1/types:trending", params={"window": "15m", "word": "timeout"})).json()
        assert trending["present"]["total"] == 60
        assert trending["since"] is None


async def test_what_had_no_room_in_a_table_is_a_bound(redis: Redis, server: Server) -> None:
    async with answering(redis, server.url, [{"error": 1}]) as (tables, client):
        await tables.write(
            [
                *[Event(EPOCH + at, "error", ("foo", "bar")) for at in range(10)],
                *[Event(EPOCH + at, "error", ("timeout", "rare")) for at in range(3)],
            ],
            most_words=2,
        )
        found = (await client.get("/v1/words?type=error")).json()
        assert [(item["name"], item["count"], item["at_most"]) for item in found["items"]] == [
            ("bar", 10, 10),
            ("foo", 10, 10),
        ]
        assert (found["other"], found["total"]) == (6, 26)
        # Of a time range nobody looks in which window it had no place.
        found = (await client.get("/v1/words", params={"type": "error", "from": EPOCH, "to": EPOCH + HOUR})).json()
        assert [item["at_most"] for item in found["items"]] == [16, 16]
        queries: list[Params] = [{}, {"from": EPOCH, "to": EPOCH + HOUR}]
        for query in queries:
            found = (await client.get("/v1/types", params={"word": "timeout", **query})).json()
            assert [(item["name"], item["count"], item["at_most"]) for item in found["items"]] == [("error", 0, 6)]
            assert found["elsewhere"] == 3
            found = (await client.get("/v1/types", params={"word": "foo", **query})).json()
            assert [(item["name"], item["count"], item["at_most"]) for item in found["items"]] == [("error", 10, 10)]
            # What had no room is looked up as it is listed, of all time or not.
            answer = await client.post("/v1/words:lookup", params={"type": "error", **query}, json={"names": [OTHER]})
            assert answer.json()["items"] == [{"name": OTHER, "count": 6, "share": ANY, "at_most": 6}]
        rows = (await client.get("/v1/types?word=timeout&format=csv")).text.splitlines()
        assert rows[:2] == ["name,count,share,at_most", "error,0,0.0,6"]


async def test_a_type_that_one_shard_does_not_count_apart_has_counts_that_are_bounds(
    redis: Redis, server: Server
) -> None:
    """The first to come get numbers, and these may be others in each shard."""
    async with answering(redis, server.url, [{"error": 1}, {"login": 1}]) as (tables, client):
        await tables.write([Event(EPOCH, type_, ("foo",), shard) for type_ in ("error", "login") for shard in (0, 1)])
        found = (await client.get("/v1/words?type=error")).json()
        assert [(item["name"], item["count"], item["at_most"]) for item in found["items"]] == [("foo", 1, None)]
        found = (await client.get("/v1/types?word=foo")).json()
        assert [(item["name"], item["count"], item["at_most"]) for item in found["items"]] == [
            ("error", 1, 2),
            ("login", 1, 2),
        ]
        assert found["elsewhere"] == 2


async def test_words_are_asked_in_any_spelling_of_the_form_in_which_they_are_counted(
    redis: Redis, server: Server
) -> None:
    async with answering(redis, server.url, [{"error": 1}], fold_case=True) as (tables, client):
        await tables.write([Event(EPOCH, "error", ("ünïcode", "strasse"))])
        for spelled in ("Ünïcode", "U\u0308ni\u0308code", "ÜNÏCODE", "Straße"):
            assert items(await client.get("/v1/types", params={"word": spelled})) == {"error": 1}, spelled
            assert (await client.get(f"/v1/words/{spelled}", params={"type": "error"})).json()["count"] == 1


async def test_a_number_that_was_just_given_is_known_at_once(redis: Redis, server: Server) -> None:
    async with answering(redis, server.url, [{}]) as (tables, client):
        await tables.write([Event(EPOCH, "error", ("foo",))])
        assert (await client.get("/v1/words?type=error")).status_code == 404
        numbers: Any = tables.numbers
        numbers[0]["error"] = 1
        await tables.begin()
        await tables.write([Event(EPOCH, "error", ("foo", "bar"))])
        assert items(await client.get("/v1/words?type=error")) == {"foo": 1, "bar": 1}


async def test_a_type_that_has_lost_its_number_is_no_longer_told_of(redis: Redis, server: Server) -> None:
    """Nothing is counted meanwhile: what was read before would else be as true as it was."""
    async with answering(redis, server.url, [{"error": 1, "login": 2}]) as (tables, client):
        await tables.write([Event(EPOCH, "error", ("foo",)), Event(EPOCH, "login", ("foo",))])
        assert items(await client.get("/v1/types?word=foo")) == {"error": 1, "login": 1}
        await tables.redis.hdel(tables.shards[0].keys.types_numbers, "login")
        tables.clock.now += 60
        found = await client.get("/v1/types?word=foo")
        assert (items(found), found.json()["elsewhere"]) == ({"error": 1}, 1)
        assert (await client.get("/v1/words?type=login")).status_code == 404
