"""Words by type through the real scripts, with windows that are folded, and through services: as a plain count says."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from aggregator.service import run as aggregate
from tally.clock import SYSTEM
from tally.generator import Generator, GeneratorSpec
from tally.selections import TypesOf, WordsOf
from tally.settings import Settings
from tally.store.reads import as_text
from tally.store.shards import Shards
from tests.effort import seeds
from tests.oracle import Expected
from tests.server import Server
from tests.sharded import Sharded, asked

MINUTE, HOUR, DAY = 60, 3600, 86_400

#: A round day, so that hours and days begin where one expects them.
EPOCH = 20_000 * DAY

TYPES, WORDS = ("error", "login", "third", "rest"), ("timeout", "foo", "bar", "rare")


@dataclass(frozen=True)
class Event:
    at: int
    type: str
    words: tuple[str, ...]

    @property
    def line(self) -> bytes:
        return json.dumps({"event_type": self.type, "data": " ".join(self.words), "timestamp": self.at}).encode()


@pytest.mark.parametrize("shards", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", seeds(range(1), range(8)))
async def test_every_time_range_equals_an_independent_count(
    redis: Redis, server: Server, monkeypatch: pytest.MonkeyPatch, shards: int, seed: int
) -> None:
    """Some days of events, of which some come late, and whose hours are folded into days meanwhile."""
    monkeypatch.setattr("tally.store.windows.FOLD_NAMES", 3)
    settings = Settings(
        redis_url=server.url, windows="60x240,3600x48,86400x30", shards=shards, words_by_type="error,login,third"
    )
    sharded = Sharded(redis, settings, now=float(EPOCH))
    await sharded.begin()
    chance = random.Random(seed)
    events: list[Event] = []
    for _ in range(100):
        sharded.now += chance.choice([1, 30, 600, 1800, 3600, 7200, 20_000])
        some = [
            Event(
                int(sharded.now) - chance.choice([0, 0, 0, 1, 60, 300, HOUR, 20_000, DAY, 4 * DAY]),
                chance.choice(TYPES),
                tuple(chance.choices(WORDS, weights=(9, 5, 3, 0.3), k=chance.randrange(4))),
            )
            for _ in range(chance.randrange(1, 12))
        ]
        events += some
        await sharded.spread([event.line for event in some], chance)
        if chance.random() < 0.3:
            await chance.choice(sharded.shards).move(chance.randrange(5))
    newest = int(sharded.now) // MINUTE * MINUTE
    exact = 0
    for _ in range(30):
        since = chance.choice([EPOCH - 4 * DAY, newest - 2 * DAY, newest - 2 * HOUR])
        start = chance.randrange(since, newest) // MINUTE * MINUTE
        end = start + chance.choice([60, 600, HOUR, 3 * HOUR, DAY, 2 * DAY, 50 * DAY])
        types = tuple(sorted(chance.sample(TYPES[:3], chance.randrange(1, 4))))
        found, counts = await sharded.reader.sum_range(WordsOf(types), start, end)
        inside = [event for event in events if found.start <= event.at < found.end]
        want = Counter(word for event in inside if event.type in types for word in event.words)
        assert as_text(counts) == want, f"{types} in [{start}, {end}) as [{found.start}, {found.end})"
        words = tuple(sorted(chance.sample(WORDS, chance.randrange(1, 3))))
        found, by_word = await sharded.reader.range_by_word(TypesOf(words), start, end)
        want = Counter()
        for event in inside:
            want[event.type] += sum(map(event.words.count, words))
        assert Counter(as_text(by_word.counts)) == Counter({type_: want[type_] for type_ in TYPES[:3]})  # zeros aside
        assert (by_word.elsewhere, by_word.hidden) == (want["rest"], {})
        exact += (found.start, found.end) == (start, end)
        # A grid of days is made of the same windows.
        days = range(start // DAY * DAY, start // DAY * DAY + 3 * DAY, DAY)
        windows, counted = await sharded.reader.counts_in(
            WordsOf(types),
            words,
            lambda windows, days=days: (each for at in days for each in windows.time_range(at, at + DAY).windows),
        )
        for at in days:
            cell = windows.time_range(at, at + DAY)
            of_types = [event for event in events if event.type in types and cell.start <= event.at < cell.end]
            rows = [counted[window] for window in cell.windows] or [[0] * len(words)]
            assert [sum(column) for column in zip(*rows, strict=True)] == [
                sum(event.words.count(word) for event in of_types) for word in words
            ]
    assert exact


@pytest.mark.parametrize("shards", [1, 2])
async def test_lines_that_services_count_are_answered_by_type(redis: Redis, server: Server, shards: int) -> None:
    lines = b"".join(Generator(GeneratorSpec(count=3000, seed=shards)).lines())
    want = Expected.of(lines.split(b"\n"))
    apart = sorted(want.types)[:2]
    settings = Settings(redis_url=server.url, words_by_type=",".join(apart), shards=shards)
    parts = [b"\n".join(lines.split(b"\n")[shard::shards]) for shard in range(shards)]
    for shard, part in zip(Shards.over(redis, settings), parts, strict=True):
        await redis.xadd(shard.keys.stream, {"lines": part})
    await aggregate(settings, asyncio.Event(), drain=True)
    async with asked(settings, redis, SYSTEM) as client:
        for query in ({}, {"window": "1h"}):
            for types in ([apart[0]], apart):
                answer = (await client.get("/v1/words", params={**query, "type": types, "limit": 1000})).json()
                words = sum((want.by_type[type_] for type_ in types), Counter[str]())
                assert {item["name"]: item["count"] for item in answer["items"]} == words
                assert answer["total"] == words.total()
            (word, count), *_ = want.words.most_common(1)
            answer = (await client.get("/v1/types", params={**query, "word": word})).json()
            assert {item["name"]: item["count"] for item in answer["items"]} == {
                type_: want.by_type[type_][word] for type_ in apart
            }
            assert answer["total"] == count
        stats = (await client.get("/v1/stats")).json()
        assert stats["words_by_type"] == {"types": 2, "most": 2, "names": apart}
