"""What the api says of words by type where it cannot tell them, and of how many types it can."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from tally.settings import Settings
from tests.fakes import FakeClock
from tests.integration.test_words_by_type_answers import EPOCH, NOW, Event, answering
from tests.server import Server
from tests.sharded import asked


@pytest.mark.parametrize(
    ("query", "type_", "sentence"),
    [
        ("words?type=never", "never-counted", "'never' is not among the types"),
        ("words?type=error&type=never", "never-counted", "'never' is not among the types"),
        ("words?type=login", "words-not-by-type", "from its next event on"),
        ("words:series?type=login&name=foo", "words-not-by-type", "'login' has no words of its own"),
        ("words:trending?type=login", "words-not-by-type", "'login' has no words of its own"),
        ("words:lookup?type=login&name=foo", "words-not-by-type", "'login' has no words of its own"),
        ("words/bar?type=error", "never-counted", "'bar' is not among the words of 'error'"),
        ("types?word=never", "never-counted", "'never' is not among the words"),
        ("types/login?word=foo", "words-not-by-type", "'login' has no words of its own"),
        ("types:series?word=foo&name=login", "words-not-by-type", "'login' has no words of its own"),
        ("types/error?word=bar", "never-counted", "'error' is not among the types that have 'bar' in their words"),
    ],
)
async def test_what_cannot_be_told_is_said(redis: Redis, server: Server, query: str, type_: str, sentence: str) -> None:
    async with answering(redis, server.url, [{"error": 1}]) as (tables, client):
        await tables.write([Event(EPOCH, "error", ("foo",)), Event(EPOCH, "login", ("foo", "bar"))])
        answer = await client.get(f"/v1/{query}")
        assert (answer.status_code, answer.json()["type"]) == (404, f"/problems/{type_}")
        assert sentence in answer.json()["detail"]


async def test_where_nothing_is_counted_by_type_it_is_said_what_to_set(redis: Redis, server: Server) -> None:
    async with answering(redis, server.url, [{}], words_by_type="") as (tables, client):
        await tables.write([Event(EPOCH, "error", ("foo",))])
        for query in ("words?type=error", "types?word=foo", "words:trending?type=never", "types/error?word=foo"):
            answer = await client.get(f"/v1/{query}")
            assert (answer.status_code, answer.json()["type"]) == (404, "/problems/words-not-by-type")
            assert "set TALLY_WORDS_BY_TYPE" in answer.json()["detail"]


async def test_named_types_are_those_that_are_told(redis: Redis, server: Server) -> None:
    async with answering(redis, server.url, [{"error": 1}], words_by_type="error,a:b") as (tables, client):
        await tables.write([Event(EPOCH, "error", ("foo",)), Event(EPOCH, "login", ("foo",)), Event(EPOCH, "a:b", ())])
        detail = (await client.get("/v1/words?type=login")).json()["detail"]
        assert detail == "'login' has no words of its own: TALLY_WORDS_BY_TYPE names other types. Add it to them"
        detail = (await client.get("/v1/words?type=a:b")).json()["detail"]
        assert detail.startswith("'a:b' has no words of its own: its words are counted by type from its next event on")


@pytest.mark.parametrize(
    ("most", "sentence"),
    [("2", "from its next event on"), ("1", "TALLY_WORDS_BY_TYPE is 1: so many other types came first")],
)
async def test_only_where_there_is_no_room_others_came_first(
    redis: Redis, server: Server, most: str, sentence: str
) -> None:
    async with answering(redis, server.url, [{"error": 1}], words_by_type=most) as (tables, client):
        await tables.write([Event(EPOCH, "error", ("foo",)), Event(EPOCH, "login", ("foo",))])
        assert sentence in (await client.get("/v1/words?type=login")).json()["detail"]


async def test_the_status_tells_how_many_types_have_words_of_their_own(redis: Redis, server: Server) -> None:
    cases: list[tuple[list[dict[str, int]], str, dict[str, Any] | None]] = [
        ([{}], "", None),
        ([{"error": 1}], "2", {"types": 1, "most": 2, "names": None}),
        ([{"error": 1}, {"error": 2, "login": 1}], "login,error", {"types": 2, "most": 2, "names": ["error", "login"]}),
    ]
    for numbers, words_by_type, want in cases:
        await redis.flushall()
        async with answering(redis, server.url, numbers, words_by_type=words_by_type) as (tables, client):
            await tables.write([])
            assert (await client.get("/v1/stats")).json()["words_by_type"] == want


async def test_names_that_are_too_many_to_be_stored_are_known_to_those_who_have_them_set(
    redis: Redis, server: Server
) -> None:
    names = ",".join(f"type-number-{at}" for at in range(100))
    async with answering(redis, server.url, [{}], words_by_type=names) as (tables, client):
        await tables.write([Event(EPOCH, "login", ("foo",))])
        assert (await client.get("/v1/stats")).json()["words_by_type"]["most"] == 100
        # Another api has no such setting.
        async with asked(Settings(redis_url=server.url), redis, FakeClock(float(NOW))) as other:
            stats = (await other.get("/v1/stats")).json()
            assert stats["words_by_type"] == {"types": 0, "most": None, "names": None}
            assert (await other.get("/v1/words?type=login")).json()["type"] == "/problems/words-not-by-type"


async def test_filters_are_checked_as_all_parameters_are(redis: Redis, server: Server) -> None:
    async with answering(redis, server.url, [{"error": 1}]) as (tables, client):
        await tables.write([Event(EPOCH, "error", ("foo",))])
        for query, parameter in [
            ("words?type=error&type=error", "type"),
            ("words?" + "&".join(f"type=t{at}" for at in range(21)), "type"),
            ("types?word=a&word=a", "word"),
            ("types?type=error", "type"),
            ("words?word=foo", "word"),
            ("words?type=error&window=15m&window=1h", "window"),
        ]:
            answer = await client.get(f"/v1/{query}")
            assert answer.status_code == 422, query
            assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]
