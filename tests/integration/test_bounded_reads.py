"""Nothing that is asked holds Redis for long, however much was counted.

What decides is the work that one round trip asks for: a pipeline holds Redis as long as one command that did all of it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest
from redis.asyncio import Connection, Redis

from api.app import create_app
from tally.clock import SystemClock
from tally.keys import Keys, all_time_key, window_key, words_of
from tally.settings import Settings
from tally.store.sums import NAMES_AT_ONCE
from tests.server import Server

KEYS = Keys()

MINUTE, HOUR, DAY = 60, 3600, 86_400

#: Now, as the api is told.
NOW = 20_000 * DAY - 1

TYPES, WORDS = 10_000, 200_000

#: How many types have words of their own, and how many of these.
APART, TYPE_WORDS = 10, 10_000

#: How many windows of each length there are.
KEPT = {MINUTE: 360, HOUR: 336, DAY: 304}

#: What is asked, heavy by names, by windows or by both.
QUESTIONS = [
    "/events/CountByEventType",
    "/events/CountWords",
    "/events/CountWords?limit=1000",
    "/v1/words?limit=10000&order=name",
    "/v1/types?window=40w",
    "/v1/words?window=40w&q=9",
    "/v1/words?window=3d&compare=previous&order=change",
    "/v1/types:series?window=5h&step=1m",
    "/v1/types:series?window=40w&step=1d",
    "/v1/types:series?window=40w&step=1d&" + "&".join(f"name=type{at}" for at in range(50)),
    "/v1/words:series?window=13d&step=1h&" + "&".join(f"name=word{at}" for at in range(50)),
    "/v1/words:trending?window=1d",
    "/v1/words?limit=10000&type=type1&type=type2",
    "/v1/words?window=40w&" + "&".join(f"type=type{at}" for at in range(1, 11)),
    "/v1/words:series?window=13d&step=1h&type=type1&type=type2&" + "&".join(f"name=word{at}" for at in range(50)),
    "/v1/types?word=word1",
    "/v1/types?window=40w&" + "&".join(f"word=word{at}" for at in range(1, 21)),
    "/v1/types:series?window=40w&step=1d&word=word1&" + "&".join(f"name=type{at}" for at in range(1, 11)),
    "/v1/words/word1?type=type1",
    "/v1/types/type1",
    "/v1/words/word1",
    "/v1/stats",
    "/v1/rejected?limit=1000",
]

FILL = """
local flat = {}
for at = 1, ARGV[2] do
  flat[#flat + 1] = ARGV[1] .. at
  flat[#flat + 1] = at
  if #flat == 4000 or at == tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], unpack(flat))
    flat = {}
  end
end
"""


@pytest.fixture
async def filled(redis: Redis) -> Any:
    """A Redis with large hashes of all time, and a thousand windows of which some are large."""
    client: Any = redis

    await client.eval(FILL, 1, KEYS.types, "type", TYPES)
    await client.eval(FILL, 1, KEYS.words, "word", WORDS)
    await client.zadd(KEYS.top, {f"word{at}": at for at in range(WORDS - 1000, WORDS)})
    for seconds, number in KEPT.items():
        starts = [NOW // seconds * seconds - at * seconds for at in range(number)]
        await client.zadd(KEYS.windows(seconds), {str(start): start for start in starts})
        await client.zadd(KEYS.floors, {str(seconds): starts[-1]})
        pipeline = client.pipeline(transaction=False)
        for at, start in enumerate(starts):
            large = at % 100 == 7
            pipeline.eval(FILL, 1, KEYS.window_types(seconds, start), "type", TYPES if large else 40)
            pipeline.eval(FILL, 1, KEYS.window_words(seconds, start), "word", 20_000 if large else 50)
            for number in range(1, APART + 1):
                words = TYPE_WORDS if large and number == 1 else 30
                pipeline.eval(FILL, 1, window_key(KEYS, words_of(number), seconds, start), "word", words)
        await pipeline.execute()
    for number in range(1, APART + 1):
        await client.hset(KEYS.types_numbers, f"type{number}", f"{number}:1")
        await client.eval(FILL, 1, all_time_key(KEYS, words_of(number)), "word", TYPE_WORDS)
    folds = {str(NOW // DAY * DAY - at * DAY): at for at in range(300)}
    await client.hset(KEYS.folds, mapping={"number": 300, **folds})
    pipeline = client.pipeline(transaction=False)
    for _ in range(1000):
        pipeline.xadd(KEYS.rejected, {"line": "x" * 1024, "reason": "not JSON", "source": "s", "rejected_ms": 1})
    await pipeline.execute()
    await client.hset(KEYS.totals, mapping={"events": 10**8, "words": 10**9, "lines": 10**8, "bytes": 10**10})
    return client


class OneMoment(SystemClock):
    """It is always the same time of day. How long something was ago is as one likes."""

    passed_seconds = 0.0

    def time(self) -> float:
        return float(NOW)

    def monotonic(self) -> float:
        return super().monotonic() + self.passed_seconds


@pytest.fixture
async def api(server: Server, filled: Any) -> Any:
    """What asks the application every question, each of which it has to read anew."""
    clock = OneMoment()
    app = create_app(Settings(redis_url=server.url, words_by_type=str(APART)), clock=clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=120) as client,
    ):

        async def ask() -> None:
            for question in QUESTIONS:
                await filled.hincrby(KEYS.totals, "events", 1)
                clock.passed_seconds += 1000
                answer = await client.get(question)
                assert answer.status_code == 200, (question, answer.text)

        yield ask


def values_in(reply: Any) -> int:
    """Return how many values a reply has."""
    if isinstance(reply, dict):
        return sum(values_in(each) + 1 for each in reply.values())
    return sum(map(values_in, reply)) if isinstance(reply, (list, tuple, set)) else 1


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """Each round trip from now on: how many values its replies have, and what was sent."""
    found: list[list[Any]] = []
    present: dict[int, list[Any]] = {}
    send, read = Connection.send_packed_command, Connection.read_response

    async def sent(self: Any, command: Any, *arguments: Any, **options: Any) -> None:
        present[id(self)] = [0, b"".join(command) if isinstance(command, list) else command]
        found.append(present[id(self)])
        await send(self, command, *arguments, **options)

    async def was_read(self: Any, *arguments: Any, **options: Any) -> Any:
        reply = await read(self, *arguments, **options)
        present[id(self)][0] += values_in(reply)
        return reply

    monkeypatch.setattr(Connection, "send_packed_command", sent)
    monkeypatch.setattr(Connection, "read_response", was_read)
    return found


@pytest.mark.slow
async def test_no_round_trip_asks_for_more_than_some_thousand_names(api: Any, trips: list[list[Any]]) -> None:
    await api()
    most, sent = max(trips, key=lambda trip: trip[0])
    assert len(trips) > 500
    # A name and its count, and HSCAN tells some more than it is asked for.
    assert NAMES_AT_ONCE < most < 2.5 * NAMES_AT_ONCE, sent[:500]
    assert max(len(sent) for _, sent in trips) < 64 * 1024


@pytest.mark.slow
async def test_no_command_takes_much_longer_than_two_thousand_names(api: Any, filled: Any) -> None:
    """By the server's own figures. A machine that is busy makes some commands slow, but not always the same."""
    await filled.eval(FILL, 1, "known", "name", NAMES_AT_ONCE)
    fastest: dict[tuple[bytes, ...], int] = {}
    await filled.config_set("slowlog-log-slower-than", 0)
    await filled.config_set("slowlog-max-len", 100_000)
    try:
        for _ in range(8):
            await filled.slowlog_reset()
            await api()
            for _ in range(20):
                await filled.hgetall("known")
            for entry in await filled.slowlog_get(100_000):
                command = tuple(entry["command"].split()[:4])
                # HINCRBY of the test itself, and what a script calls, are in it, too: no harm.
                fastest[command] = min(entry["duration"], fastest.get(command, 10**9))
            bound = 20 * max(100, fastest.pop((b"HGETALL", b"known")))
            slow = {command: micros for command, micros in fastest.items() if micros > bound}
            if not slow:
                break
    finally:
        await filled.config_set("slowlog-log-slower-than", 10_000)
        await filled.slowlog_reset()
    assert Counter(command[0] for command in fastest)[b"HSCAN"] > 100
    assert not slow, bound
