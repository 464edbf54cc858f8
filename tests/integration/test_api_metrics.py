"""What the api's /metrics tells: what is counted, exactly, and how the api answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from api.cached_counts import CachedCounts
from api.live import Live
from api.memory import Memory, NoRoom
from api.scraping import Scraping
from api.work import Work
from tally.keys import OTHER, Keys, words_of
from tally.settings import Settings
from tally.store import connect
from tally.store.merged_reads import reader_of
from tally.store.node_memory import memory_of_nodes
from tally.store.shards import Shard, Shards
from tests.fakes import FakeClock
from tests.integration.test_query_api import api, count, lines_of_now
from tests.oracle import Expected
from tests.scraping import Scrape
from tests.server import Server
from tests.sharded import Sharded
from tests.waiting import wait_until

KEYS = Keys()

#: Metrics that are read of Redis.
READ = {"tally_lines_total", "tally_dead_letters", "tally_aggregators", "tally_redis_used_memory_bytes"}


def names(scrape: Scrape) -> set[str]:
    return {line.split()[2] for line in scrape.text.splitlines() if line.startswith("# TYPE ")}


async def scraped(app: Any, **headers: str) -> Scrape:
    """What an application in this process tells."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)


# What is counted.


def test_what_is_counted_is_told_exactly_and_does_not_fall_when_services_start_again(
    server: Server, tmp_path: Path
) -> None:
    lines = lines_of_now()
    want = Expected.of(lines.split(b"\n"))
    count(server, lines)
    told = {"TALLY_METRICS_TOP_TYPES": "2", "TALLY_METRICS_TYPES": "login, ham,"}
    for _ in range(2):
        with api(server, tmp_path, **told) as client:
            scrape = Scrape.of(str(client.base_url))
            for name, number in {
                "tally_lines_total": want.lines,
                "tally_words_total": want.words.total(),
                "tally_lost_blocks_total": 0,
                "tally_dead_letters": 0,
                "tally_backlog_blocks": 0,
                "tally_backlog_oldest_seconds": 0,
                "tally_backlog_full": 0,
                "tally_appends_held": 0,
                "tally_unserved_shards": 1,
            }.items():
                assert name in names(scrape)
                assert scrape.value(name) == number, name
            stats = client.get("/v1/stats").json()
            assert scrape.value("tally_bytes_total") == stats["totals"]["bytes"]
            assert scrape.total("tally_rejected_lines_total") == want.rejected
            for reason, number in stats["rejected_by_reason"].items():
                assert scrape.value("tally_rejected_lines_total", reason=reason) == number
            assert {reason for reason, _ in stats["rejected_by_reason"].items()} == scrape.labels(
                "tally_rejected_lines_total", "reason"
            )
            most = {name for name, _ in want.types.most_common(2)}
            assert scrape.labels("tally_events_total", "type") == most | {"login", "ham"}
            for name in most | {"ham", "login"}:
                assert scrape.value("tally_events_total", type=name) == want.types[name]
            for kind, found in (("types", want.types), ("words", want.words)):
                assert scrape.value("tally_distinct_names", kind=kind) == len(found)
                assert scrape.value("tally_distinct_names_limit", kind=kind) >= 10_000
                assert scrape.value("tally_other_total", kind=kind) == 0
            assert scrape.labels("tally_aggregators", "state") == {"alive", "idle"}
            assert scrape.value("tally_redis_used_memory_bytes", node=f"127.0.0.1:{server.port}") > 1e5
            assert scrape.value("tally_api_snapshot_bytes") > 0


def test_bounds_and_what_goes_over_them_are_told(server: Server, tmp_path: Path) -> None:
    with server.client() as redis:
        redis.hset(KEYS.words, mapping={"a": 1, OTHER: 7})
        redis.hset(KEYS.types, mapping={"a": 1, "b": 1, OTHER: 3})
        redis.hset(KEYS.source_lines, mapping={"one": 1, "two": 1})
        redis.hset(KEYS.types_numbers, mapping={"a": "1:5", "b": "2:5"})
        redis.hset(KEYS.table(words_of(2)), mapping={"a": 1, "b": 1, "c": 1})
        redis.config_set("maxmemory", 10**9)
    try:
        limits = {
            "TALLY_MAX_TYPES": "20",
            "TALLY_MAX_WORDS": "30",
            "TALLY_MAX_SOURCES": "40",
            "TALLY_MAX_TYPE_WORDS": "50",
        }
        with api(server, tmp_path, **limits) as client:
            scrape = Scrape.of(str(client.base_url))
    finally:
        with server.client() as redis:
            redis.config_set("maxmemory", 0)
    assert scrape.value("tally_distinct_names", kind="types") == 2
    assert scrape.value("tally_distinct_names_limit", kind="types") == 20
    assert scrape.value("tally_distinct_names", kind="words") == 1
    assert scrape.value("tally_distinct_names_limit", kind="words") == 30
    assert scrape.value("tally_distinct_names", kind="sources") == 2
    assert scrape.value("tally_distinct_names_limit", kind="sources") == 40
    assert scrape.value("tally_distinct_names", kind="type_words") == 3
    assert scrape.value("tally_distinct_names_limit", kind="type_words") == 50
    assert scrape.value("tally_other_total", kind="types") == 3
    assert scrape.value("tally_other_total", kind="words") == 7
    assert scrape.value("tally_redis_max_memory_bytes", node=f"127.0.0.1:{server.port}") == 10**9


def test_a_source_is_told_by_its_name_as_it_was_given(server: Server, tmp_path: Path) -> None:
    seen = {
        "file:/data/a#b.ndjson#4096-12ab": 1000,
        "tail:/log/x.ndjson#fe00-12-0-64-0f": 3000,
        "tail:/log/x.ndjson#fe00-13-0-64-0f": 2000,
        "tcp://0.0.0.0:9000#0123456789ab": 4000,
        "tcp://0.0.0.0:9000#ba9876543210": 5000,
        "http://127.0.0.1:9001": 6000,
        "-#0123456789ab": 7000,
    }
    with server.client() as redis:
        redis.hset(KEYS.sources, mapping=dict.fromkeys(seen, 1))
        redis.zadd(KEYS.sources_seen, seen)
    with api(server, tmp_path) as client:
        scrape = Scrape.of(str(client.base_url))
    name = "tally_source_last_seen_timestamp_seconds"
    told = {source: scrape.value(name, source=source) for source in scrape.labels(name, "source")}
    assert told == {
        "file:/data/a#b.ndjson": 1,
        "tail:/log/x.ndjson": 3,
        "tcp://0.0.0.0:9000": 5,
        "http://127.0.0.1:9001": 6,
        "-": 7,
    }


def test_while_redis_does_not_answer_the_process_still_tells_of_itself(durable_server: Server, tmp_path: Path) -> None:
    count(durable_server, lines_of_now())
    with api(durable_server, tmp_path) as client:
        url = str(client.base_url)
        before = Scrape.of(url)
        assert names(before) >= READ
        assert before.value("tally_redis_up") == 1
        durable_server.kill()
        wait_until(lambda: not names(Scrape.of(url)) & READ, what="nothing is told that is not known")
        gone = Scrape.of(url)
        assert gone.value("tally_redis_up") == 0
        assert gone.value("process_resident_memory_bytes") > 0
        durable_server.start()
        wait_until(lambda: names(Scrape.of(url)) >= READ, what="it is told again")
        after = Scrape.of(url)
        assert after.value("tally_redis_up") == 1
        assert after.value("tally_lines_total") == before.value("tally_lines_total") > 0


async def test_of_several_shards_sums_are_told_and_of_names_the_most_that_one_has(redis: Redis, server: Server) -> None:
    settings = Settings(redis_url=server.url, shards=3)
    sharded = Sharded(redis, settings, now=1_700_000_000.0)
    await sharded.begin()
    await sharded.count([b'{"event_type":"a","data":"x y z"}', b"garbage"], shard=0)
    await sharded.count([b'{"event_type":"a","data":"v w"}', b'{"event_type":"b","data":""}', b"{}"], shard=2)
    found = await scraped(create_app(settings, redis=redis))
    assert found.value("tally_lines_total") == 5
    assert found.value("tally_events_total", type="a") == 2
    assert found.value("tally_rejected_lines_total", reason="not_json") == 1
    assert found.value("tally_rejected_lines_total", reason="not_an_event") == 1
    assert found.value("tally_distinct_names", kind="words") == 3, "the bound is each shard's"
    assert found.value("tally_distinct_names", kind="types") == 2
    # A test's consumer is in the groups of two of them, and was heard of just now.
    assert found.value("tally_unserved_shards") == 1
    assert found.value("tally_aggregators", state="alive") == 1


async def test_with_one_shard_unavailable_no_part_is_told_for_the_whole(
    redis: Redis, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(redis_url=server.url, shards=3)
    sharded = Sharded(redis, settings, now=1_700_000_000.0)
    await sharded.begin()
    await sharded.count([b'{"event_type":"a","data":"x"}'], shard=0)
    dead = connect("redis://127.0.0.1:1/0", timeout_seconds=5)
    shards = Shards([*sharded.over[:2], Shard(2, sharded.over[2].keys, dead)])
    shards.home = sharded.over.home
    monkeypatch.setattr("api.app.Shards.over", lambda *_: shards)
    found = await scraped(create_app(settings, redis=redis))
    assert not names(found) & READ
    assert found.value("tally_redis_up") == 0
    await dead.aclose()


# When and how Redis is read.


class Slow(CachedCounts):
    """Counts that can be held up, and tell how often they were read."""

    def __init__(self, redis: Redis, settings: Settings, clock: FakeClock) -> None:
        self.shards = Shards.over(redis, settings)
        memory = Memory(1 << 30)
        super().__init__(reader_of(self.shards, settings=settings), memory=memory, work=Work(), clock=clock)
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.reads, self.is_read = 0, asyncio.Event()
        self.no_room = False
        self.fake_clock = clock
        self.scraping = Scraping(self, self.shards, Live(self, clock=clock), [memory], settings=settings)

    async def status(self) -> Any:
        self.reads += 1
        self.is_read.set()
        await self.may_go_on.wait()
        return await super().status()

    async def all_time(self, kind: Any, *, top: int | None = None) -> Any:
        if self.no_room:
            raise NoRoom("no room")
        return await super().all_time(kind, top=top)

    async def scrape(self) -> Scrape:
        return Scrape((await self.scraping.answer(""))[0].decode())


@pytest.fixture
def slow(redis: Redis, settings: Settings) -> Slow:
    return Slow(redis, settings, FakeClock(1_700_000_000.0))


async def test_redis_is_read_once_for_all_who_ask_within_a_second(slow: Slow) -> None:
    slow.may_go_on.clear()
    asking = [asyncio.create_task(slow.scrape()) for _ in range(5)]
    await slow.is_read.wait()
    slow.may_go_on.set()
    assert all(names(each) >= READ for each in await asyncio.gather(*asking))
    await slow.scrape()
    assert slow.reads == 1
    slow.fake_clock.now += 1.0
    await slow.scrape()
    assert slow.reads == 2


async def test_what_takes_too_long_is_left_out_once_and_told_the_next_time(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.scraping.WAIT_SECONDS", 0.01)
    slow.may_go_on.clear()
    assert not names(await slow.scrape()) & READ
    assert not names(await slow.scrape()) & READ
    slow.may_go_on.set()
    monkeypatch.setattr("api.scraping.WAIT_SECONDS", 60)
    assert names(await slow.scrape()) >= READ
    assert slow.reads == 1, "it was not read anew each time, and so never"


async def test_a_bug_in_reading_is_logged_and_hides_nothing_of_the_process(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert names(await slow.scrape()) >= READ
    slow.fake_clock.now += 1.0
    monkeypatch.setattr(slow, "all_time", None)  # which cannot be called
    found = await slow.scrape()
    assert not names(found) & READ, "nor what was read before"
    assert found.value("process_resident_memory_bytes") > 0
    assert "what metrics tell could not be read" in capsys.readouterr().out


async def test_what_is_read_when_the_service_stops_is_called_off(slow: Slow) -> None:
    slow.may_go_on.clear()
    asking = asyncio.create_task(slow.scrape())
    await slow.is_read.wait()
    await slow.scraping.close()
    assert not names(await asking) & READ


async def test_without_room_for_types_all_else_is_told(slow: Slow) -> None:
    slow.no_room = True
    found = await slow.scrape()
    assert names(found) >= READ
    assert not found.labels("tally_events_total", "type")


async def test_a_user_who_may_not_ask_for_a_servers_memory_is_told_all_else(
    redis: Redis, server: Server, settings: Settings
) -> None:
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "few", "reset", "on", ">few", "~*", "+@all", "-info")
    client = connect(server.url.replace("redis://", "redis://few:few@"), timeout_seconds=30)
    try:
        assert len(await memory_of_nodes(Shards.over(redis, settings))) == 1
        assert await memory_of_nodes(Shards.over(client, settings)) == []
        assert names(await scraped(create_app(settings, redis=client))) >= READ - {"tally_redis_used_memory_bytes"}
    finally:
        await client.aclose()
        with server.client() as admin:
            admin.execute_command("ACL", "DELUSER", "few")


# How the api answers.


async def test_requests_are_told_by_their_route_and_never_by_what_stands_in_a_path(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings.model_copy(update={"root_path": "/tally"}), redis=redis)

    async def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("tally.store.reads.CountReader.rejected", fail)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    before = await scraped(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/tally") as client:
        for method, path in (
            *[("GET", "/v1/types/foo"), ("GET", "/v1/types/bar"), ("HEAD", "/v1/types/a%2Fb")],
            *[("GET", "/v1/types"), ("GET", "/v1/types"), ("GET", "/v1/types?limit=x")],
            *[("GET", "/v1/rejected"), ("GET", ""), ("GET", "/static/main.js"), ("GET", "/problems/not-ready")],
            *[("GET", "/nothing/here"), ("POST", "/v1/types"), ("BREW", "/coffee")],
        ):
            await client.request(method, path)
    after = await scraped(app)
    assert "nothing" not in after.text

    def told(route: str, method: str, status: str) -> float:
        name, labels = "tally_api_request_duration_seconds_count", {"route": route, "method": method, "status": status}
        return after.value(name, **labels) - before.value(name, **labels)

    assert told("/v1/types/{name}", "GET", "4xx") == 2
    assert told("/v1/types/{name}", "HEAD", "4xx") == 1
    assert told("/v1/types", "GET", "2xx") == 2, "also what is given again"
    assert told("/v1/types", "GET", "4xx") == 1
    assert told("/v1/types", "POST", "4xx") == 1
    assert told("/v1/rejected", "GET", "5xx") == 1
    assert told("/", "GET", "2xx") == 1
    assert told("/static/{path}", "GET", "2xx") == 1
    assert told("/problems/{name}", "GET", "2xx") == 1
    assert told(OTHER, "GET", "4xx") == 1
    assert told(OTHER, OTHER, "4xx") == 1
    ages = "tally_api_snapshot_age_seconds_count"
    assert after.value(ages) > before.value(ages)


def test_metrics_are_behind_the_token_and_tell_of_those_that_were_wrong(server: Server, tmp_path: Path) -> None:
    with api(server, tmp_path, TALLY_API_TOKEN="geheim") as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            answer = client.get("/metrics", headers=headers)
            assert (answer.status_code, answer.json()["type"]) == (401, "/problems/token-needed")
        answer = client.get("/metrics", headers={"Authorization": "Bearer geheim"})
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert Scrape(answer.text).value("tally_api_refused_tokens_total") == 2
        assert Scrape(answer.text).value("tally_redis_up") == 1
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("accept", ["text/plain;version=x", "application/openmetrics-text;version=1.0.0", "*/*", "a/b"])
async def test_whatever_is_accepted_is_answered(redis: Redis, settings: Settings, accept: str) -> None:
    assert names(await scraped(create_app(settings, redis=redis), Accept=accept))


def test_who_follows_the_live_feed_is_told(server: Server, tmp_path: Path) -> None:
    with api(server, tmp_path) as client:
        url = str(client.base_url)
        with client.stream("GET", "/v1/live") as feed:
            lines = feed.iter_lines()  # whose end would be that of the feed
            next(lines)
            assert Scrape.of(url).value("tally_api_watchers") == 1
        wait_until(lambda: Scrape.of(url).value("tally_api_watchers") == 0, what="nobody follows it")
