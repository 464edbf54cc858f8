"""Answers without the shards that cannot be asked: only where that is allowed, and never taken for whole ones."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from tally.settings import Settings
from tally.shards import HOME_TAG, tags
from tally.store import connect
from tally.store.available import LEFT_OUT_SECONDS, AvailableShards
from tally.store.layouts import LayoutStore
from tally.store.shards import Shards
from tests.fakes import FakeClock
from tests.integration.test_shards_answers import EPOCH, event
from tests.server import Server
from tests.sharded import Sharded, asked
from tests.waiting import wait_until_async

PATHS = (
    "/v1/types",
    "/v1/words?limit=2",
    "/v1/types?window=1h",
    "/v1/types:series",
    "/v1/types:trending",
    "/v1/words/lorem",
    "/v1/types:lookup?name=a",
    "/v1/words?type=a",
    "/v1/words?type=far",
    "/v1/words/lorem?type=a",
    "/v1/words:series?type=a&name=lorem",
    "/v1/types?word=lorem",
    "/v1/types:trending?word=far",
)


@pytest.fixture
async def frail(tmp_path: Path) -> AsyncIterator[Server]:
    """A server of the test's own, which has one of the shards."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.process.send(signal.SIGCONT)
    server.kill()


def spread(monkeypatch: pytest.MonkeyPatch, redis: Redis, frail: Server, server: Server, *, away: int) -> Sharded:
    """Return three shards, one of which is on the frail server."""
    settings = Settings(redis_url=server.url, shards=3, redis_timeout_seconds=2, words_by_type="a,far")
    other = connect(frail.url, timeout_seconds=2)
    tag = tags(3)[away]
    monkeypatch.setattr(Shards, "over", lambda *_: Shards.by(lambda each: other if each == tag else redis, settings))
    return Sharded(redis, settings, now=float(EPOCH))


def partial(path: str, more: str = "") -> str:
    return f"{path}{'&' if '?' in path else '?'}partial=true{more}"


@pytest.mark.parametrize("away", [0, tags(3).index(HOME_TAG)])
async def test_what_hangs_is_left_out_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, redis: Redis, server: Server, frail: Server, away: int
) -> None:
    sharded = spread(monkeypatch, redis, frail, server, away=away)
    await sharded.begin()
    for shard in range(3):
        await sharded.count([event("a", None, "lorem ipsum")] * (shard + 1), shard=shard)
    await sharded.count([event("far", None, "far")], shard=away)
    async with asked(sharded.settings, redis, sharded.clock) as client:
        whole = {path: await client.get(partial(path)) for path in PATHS}
        for path, answer in whole.items():
            again = (await client.get(path)).json()
            own = ("as_of", "next")  # the moment, and the cursor of a list with another question
            assert answer.json() == again | {name: answer.json()[name] for name in own if name in again}
            assert "missing_shards" not in answer.json()
            assert "tally-missing-shards" not in answer.headers
        assert whole["/v1/words/lorem"].json()["at_most"] == 6
        frail.process.send(signal.SIGSTOP)
        sharded.now += 100
        found = {path: await client.get(partial(path)) for path in PATHS}
        for path, answer in found.items():
            assert (answer.status_code, answer.json()["missing_shards"]) == (200, [away]), path
            assert answer.headers["tally-missing-shards"] == str(away)
            assert answer.headers["etag"] != whole[path].headers["etag"]
        rest = 6 - (away + 1)
        for path in ("/v1/types", "/v1/types?window=1h"):
            answer = found[path].json()
            assert [(item["name"], item["count"], item["at_most"]) for item in answer["items"]] == [("a", rest, None)]
            assert (answer["total"], answer["distinct"], answer["distinct_at_most"]) == (rest, 1, None)
        assert found["/v1/types:series"].json()["total"] == rest
        one = found["/v1/words/lorem"].json()
        assert (one["count"], one["at_most"], one["rank"]) == (rest, None, 2)
        answer = found["/v1/words?type=a"].json()
        assert [(item["name"], item["count"], item["at_most"]) for item in answer["items"]] == [
            ("ipsum", rest, None),
            ("lorem", rest, None),
        ]
        answer = found["/v1/words?type=far"].json()
        assert (answer["items"], answer["total"], answer["since"]) == ([], 0, None)
        answer = found["/v1/types?word=lorem"].json()
        assert [(item["name"], item["count"], item["at_most"]) for item in answer["items"]] == [("a", rest, None)]
        unknown = (await client.get("/v1/words/far?partial=true")).json()
        assert (unknown["count"], unknown["rank"], unknown["missing_shards"]) == (0, None, [away])
        assert (await client.get("/v1/types")).status_code == 503
        assert (await client.get("/v1/types?partial=false")).status_code == 503
        assert (await client.get("/events/CountWords?partial=true")).status_code == 422
        frail.process.send(signal.SIGCONT)

        async def is_whole() -> bool:
            sharded.now += 1
            return "missing_shards" not in (await client.get("/v1/types?partial=true")).json()

        await wait_until_async(is_whole, what="the shard is asked again")
        answer = (await client.get("/v1/types")).json()
        assert {item["name"]: item["count"] for item in answer["items"]} == {"a": 6, "far": 1}


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_a_table_with_the_same_rows_is_another_answer(
    monkeypatch: pytest.MonkeyPatch, redis: Redis, server: Server, frail: Server, form: str
) -> None:
    """Nothing was counted in the shard that is missing: that cannot be seen in the rows."""
    sharded = spread(monkeypatch, redis, frail, server, away=1)
    await sharded.begin()
    await sharded.count([event("a", None)], shard=0)
    question = partial("/v1/types:series", f"&from={EPOCH - 60}&to={EPOCH + 60}&step=1m&format={form}")
    async with asked(sharded.settings, redis, sharded.clock) as client:
        whole = await client.get(question)
        assert "tally-missing-shards" not in whole.headers
        frail.kill()
        sharded.now += 100
        part = await client.get(question, headers={"If-None-Match": whole.headers["etag"]})
        assert (part.status_code, part.text, part.headers["tally-missing-shards"]) == (200, whole.text, "1")
        same = await client.get(question, headers={"If-None-Match": part.headers["etag"]})
        assert (same.status_code, same.headers["tally-missing-shards"]) == (304, "1")


async def test_a_list_in_part_stays_one_page_by_page(
    monkeypatch: pytest.MonkeyPatch, redis: Redis, server: Server, frail: Server
) -> None:
    sharded = spread(monkeypatch, redis, frail, server, away=1)
    await sharded.begin()
    for shard in range(3):
        await sharded.count([event(f"{type_}{shard}", None) for type_ in "abc"], shard=shard)
    async with asked(sharded.settings, redis, sharded.clock) as client:
        whole = (await client.get("/v1/types?cursor=*&limit=5&order=name")).json()
        frail.process.send(signal.SIGSTOP)
        sharded.now += 10
        first = await client.get("/v1/types?cursor=*&limit=4&order=name&partial=true")
        assert [item["name"] for item in first.json()["items"]] == ["a0", "a2", "b0", "b2"]
        rest = await client.get(f"/v1/types?cursor={whole['next']}&partial=true")
        assert rest.status_code == 422, "it was begun without it"
        frail.process.send(signal.SIGCONT)

        async def is_whole() -> bool:
            sharded.now += 1
            return "missing_shards" not in (await client.get("/v1/types?partial=true")).json()

        await wait_until_async(is_whole, what="the shard is asked again")
        second = await client.get(first.links["next"]["url"])
        assert [(item["name"], item["at_most"]) for item in second.json()["items"]] == [("c0", None), ("c2", None)]
        assert (second.json()["missing_shards"], second.json()["distinct_at_most"]) == ([1], None)
        assert (second.headers["tally-missing-shards"], second.json()["next"]) == ("1", None)
        rest = await client.get(f"/v1/types?cursor={whole['next']}")
        found = [(item["name"], item["at_most"]) for item in whole["items"] + rest.json()["items"]]
        assert found == [(f"{type_}{shard}", 1) for type_ in "abc" for shard in range(3)]
        assert "missing_shards" not in rest.json()


async def test_without_any_shard_there_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, redis: Redis, server: Server, frail: Server
) -> None:
    settings = Settings(redis_url=frail.url, shards=3, words_by_type="a,far")
    only = connect(frail.url, timeout_seconds=2)
    sharded = Sharded(only, settings, now=float(EPOCH))
    await sharded.begin()
    async with asked(settings, only, sharded.clock) as client:
        assert (await client.get("/v1/types?partial=true")).status_code == 200
        frail.kill()
        sharded.now += 100
        for path in PATHS:
            answer = await client.get(partial(path))
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/redis-unavailable"), path
    await only.aclose()


async def test_with_one_shard_it_changes_nothing(redis: Redis, server: Server) -> None:
    sharded = Sharded(redis, Settings(redis_url=server.url, words_by_type="a,far"), now=float(EPOCH))
    await sharded.begin()
    await sharded.count([event("a", None, "lorem"), event("far", None, "far")], shard=0)
    async with asked(sharded.settings, redis, sharded.clock) as client:
        for path in PATHS:
            answer, with_it = await client.get(path), await client.get(partial(path))
            assert with_it.status_code == 200
            assert with_it.headers["etag"] == answer.headers["etag"], path


async def test_one_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch, redis: Redis, server: Server) -> None:
    settings, clock = Settings(redis_url=server.url, shards=3, redis_timeout_seconds=1), FakeClock(0.0)
    shards = Shards.over(redis, settings)
    read, answers, asked_of_it = LayoutStore.read, asyncio.Event(), 0

    async def read_or_hang(self: LayoutStore) -> object:
        nonlocal asked_of_it
        if self._keys == shards[1].keys:
            asked_of_it += 1
            await answers.wait()
        return await read(self)

    monkeypatch.setattr(LayoutStore, "read", read_or_hang)
    available = AvailableShards(shards, settings=settings, clock=clock)
    both = await asyncio.gather(available.find(), available.find())
    assert [[shard.index for shard in found] for found in both] == [[0, 2]] * 2
    assert asked_of_it == 1
    monkeypatch.setattr(available, "_timeout_seconds", 600)
    for _ in range(3):
        async with asyncio.timeout(60):
            assert len(await available.find()) == 2
    assert asked_of_it == 2, "it is asked beside what is answered, once at a time"
    answers.set()

    async def is_there() -> bool:
        return await available.find() is shards

    await wait_until_async(is_there, what="it is back")
    answers.clear()
    monkeypatch.setattr(available, "_timeout_seconds", 0.01)
    assert len(await available.find()) == 2
    clock.now += LEFT_OUT_SECONDS
    monkeypatch.setattr(available, "_timeout_seconds", 600)
    finding = asyncio.create_task(available.find())
    await wait_until_async(lambda: asyncio.sleep(0, asked_of_it >= 4), what="it is asked again")
    answers.set()
    assert await finding is shards, "nobody knows what it does after a while: it is waited for"


async def test_who_is_refused_is_told_so(redis: Redis, server: Server) -> None:
    """What is wrong with a shard that answers is no reason to leave it out."""
    sharded = Sharded(redis, Settings(redis_url=server.url, shards=3), now=float(EPOCH))
    await sharded.begin()
    settings = Settings(redis_url=server.url, shards=4)
    async with asked(settings, redis, sharded.clock) as client:
        answer = await client.get("/v1/types?partial=true")
        assert (answer.status_code, "TALLY_SHARDS was 3" in answer.text) == (503, True)


async def test_what_is_missing_is_logged_in_one_line_and_once(redis: Redis, frail: Server) -> None:
    """All three are on that server, and so is the layout of all, which is in one of them."""
    settings = Settings(redis_url=frail.url, shards=3)
    other, clock = connect(frail.url, timeout_seconds=30), FakeClock()
    available = AvailableShards(
        Shards.by(lambda tag: redis if tag == tags(3)[1] else other, settings), settings=settings, clock=clock
    )
    with capture_logs() as logs:
        assert len(await available.find()) == 3
        frail.kill()
        for _ in range(5):
            assert [shard.index for shard in await available.find()] == [1]
            clock.now += 2 * LEFT_OUT_SECONDS
        frail.start()

        async def are_back() -> bool:
            clock.now += 2 * LEFT_OUT_SECONDS
            return len(await available.find()) == 3

        await wait_until_async(are_back, what="they are back")
        await other.aclose()
    told = [(line["event"], sorted(line["shards"])) for line in logs]
    assert told == [("shards cannot be asked", [0, 2]), ("shards can be asked again", [0, 2])]
