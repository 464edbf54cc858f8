"""The api on a real server: all counts, errors that tell, health, the page."""

from __future__ import annotations

import asyncio
import html
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from tally.keys import Keys
from tally.log_events import REDIS_REFUSES
from tally.settings import Settings
from tally.store import connect
from tally.web import problem_types
from tests.processes import Process, running
from tests.server import Server, free_port
from tests.stores import AllStores, in_minutes
from tests.waiting import wait_until, wait_until_async

KEYS = Keys()
TYPES, WORDS = "/events/CountByEventType", "/events/CountWords"


@asynccontextmanager
async def _api(url: str, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application itself, without a network between; with these settings besides."""
    app = create_app(Settings(redis_url=url, **given))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tally") as client,
    ):
        yield client


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with _api(server.url) as client:
        yield client


async def _count(redis: Redis, types: dict[str, int], words: dict[str, int]) -> None:
    """Count this as an aggregator does."""
    store = AllStores(redis, keys=KEYS, settings=Settings())
    await store.create_group()
    await redis.xadd(KEYS.stream, {"lines": b"x"})
    entries = await store.read(consumer="a", count=1, block_ms=None)
    await store.count(consumer="a", entries=entries, counts=in_minutes({0: (types, words)}))


async def _count_at(server: Server, types: dict[str, int], words: dict[str, int]) -> None:
    redis = connect(server.url, timeout_seconds=30)
    await _count(redis, types, words)
    await redis.aclose()


@pytest.mark.parametrize("shards", [1, 3])
async def test_an_api_answers_about_its_own_namespace(server: Server, redis: Redis, shards: int) -> None:
    await _count(redis, {"foo": 2}, {})
    async with _api(server.url, namespace="web-shop", shards=shards) as client:
        assert (await client.get(TYPES)).json() == {}
        found = (await client.get("/v1/stats")).json()
        assert (found["namespace"], found["totals"]["events"]) == ("web-shop", 0)
        page = (await client.get("/")).text
        assert "<title>web-shop – Tally</title>" in page
        assert "web-shop</bdi>" in page
    async with _api(server.url) as client:
        assert (await client.get("/v1/stats")).json()["namespace"] == "tally"
        assert "<title>Tally</title>" in (await client.get("/")).text, "the usual one goes without saying"


def _assert_problem(response: httpx.Response, status: int, title: str | None = None) -> dict[str, Any]:
    """It is problem details with this status; its members."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    type_ = problem_types.ALL[body["type"].removeprefix(problem_types.PATH)]
    assert (body["status"], body["title"]) == (status, type_.title) == (type_.status, title or type_.title)
    return body


def _assert_unavailable(response: httpx.Response) -> None:
    body = _assert_problem(response, 503, "Redis is unavailable")
    assert body["detail"]
    assert int(response.headers["retry-after"]) >= 1


# Counts.


async def test_an_empty_store_is_empty_objects(client: httpx.AsyncClient) -> None:
    for path in (TYPES, WORDS):
        response = await client.get(path)
        assert (response.status_code, response.json()) == (200, {})
        assert response.headers["content-type"] == "application/json"


async def test_counts_come_as_plain_objects_the_most_frequent_first(client: httpx.AsyncClient, redis: Redis) -> None:
    await _count(redis, {"bar": 1, "foo": 3, "baz": 3}, {"lorem": 2, "ipsum": 10, "dolor": 2, "amet": 1})
    types, words = (await client.get(TYPES)).json(), (await client.get(WORDS)).json()
    assert list(types.items()) == [("baz", 3), ("foo", 3), ("bar", 1)]
    assert list(words.items()) == [("ipsum", 10), ("dolor", 2), ("lorem", 2), ("amet", 1)]


@pytest.mark.parametrize(
    ("path", "other_spelling"), [(TYPES, "/events/countByEventType"), (WORDS, "/events/countWords")]
)
async def test_both_spellings_give_the_same(
    client: httpx.AsyncClient, redis: Redis, path: str, other_spelling: str
) -> None:
    await _count(redis, {"foo": 3}, {"lorem": 2})
    assert (await client.get(path)).json() == (await client.get(other_spelling)).json() != {}


async def test_names_come_back_as_they_went_in(client: httpx.AsyncClient, redis: Redis) -> None:
    names = ['quo"te', "back\\slash", "größe", "日本", "\U0001f600", "", " ", "\x00\n\x7f", "__proto__", "</script>"]
    await _count(redis, dict.fromkeys(names, 1), dict.fromkeys(names, 2))
    assert (await client.get(TYPES)).json() == dict.fromkeys(names, 1)
    assert (await client.get(WORDS)).json() == dict.fromkeys(names, 2)


async def test_counts_over_53_bits_are_exact(client: httpx.AsyncClient, redis: Redis) -> None:
    for times in (2**53, 1):
        await _count(redis, {"foo": times}, {})
    assert (await client.get(TYPES)).text == '{"foo":9007199254740993}'


@pytest.mark.slow
async def test_a_hundred_thousand_words_come_complete_and_in_slices(client: httpx.AsyncClient, redis: Redis) -> None:
    words = {f"word{at}": at % 1000 + 1 for at in range(100_000)}
    await redis.hset(KEYS.words, items=[each for pair in words.items() for each in pair])
    await redis.config_resetstat()
    response = await client.get(WORDS)
    found = response.json()
    assert found == words
    assert list(found.items()) == sorted(words.items(), key=lambda each: (-each[1], each[0]))
    stats: dict[str, Any] = await redis.info("commandstats")
    assert stats["cmdstat_hscan"]["calls"] >= 20, "no single command reads it all"
    assert not {"cmdstat_hgetall", "cmdstat_hkeys", "cmdstat_hvals", "cmdstat_eval", "cmdstat_evalsha"} & set(stats)


async def test_what_is_counted_later_is_there_at_the_next_question(client: httpx.AsyncClient, redis: Redis) -> None:
    for times in range(1, 6):
        await _count(redis, {"foo": 1}, {"a": 2})

        async def shows(path: str, expected: dict[str, int]) -> bool:
            return bool((await client.get(path)).json() == expected)

        for path, expected in ((TYPES, {"foo": times}), (WORDS, {"a": 2 * times})):
            await wait_until_async(
                lambda path=path, expected=expected: shows(path, expected),  # type: ignore[misc]
                what=f"{path} shows {expected}",
                seconds=5,
            )


@pytest.mark.slow
async def test_a_thousand_who_ask_at_once_cost_redis_a_few_reads(client: httpx.AsyncClient, redis: Redis) -> None:
    await _count(redis, {"foo": 1}, {f"word{at}": 1 for at in range(6000)})
    await redis.config_resetstat()
    responses = await asyncio.gather(*(client.get(WORDS) for _ in range(1000)))
    assert {len(response.json()) for response in responses[::50]} == {6000}
    assert {response.content for response in responses} == {responses[0].content}
    stats: dict[str, Any] = await redis.info("commandstats")
    slices = -(-6000 // 1000)
    assert stats["cmdstat_hscan"]["calls"] <= 5 * slices


# Redis unavailable.


@pytest.mark.parametrize("path", [TYPES, WORDS, "/readyz"])
async def test_an_unavailable_redis_is_a_503_and_it_recovers_by_itself(durable_server: Server, path: str) -> None:
    await _count_at(durable_server, {"foo": 3}, {"lorem": 2})
    async with _api(durable_server.url) as client:
        before = await client.get(path)
        assert before.status_code == 200
        durable_server.kill()

        async def answers(status: int) -> bool:
            return (await client.get(path)).status_code == status

        await wait_until_async(lambda: answers(503), what="it says that Redis is unavailable")
        for _ in range(3):
            _assert_unavailable(await client.get(path))
        assert (await client.get("/healthz")).json() == {"status": "ok"}

        await asyncio.to_thread(durable_server.start)
        await wait_until_async(lambda: answers(200), what="it has found Redis again")
        assert (await client.get(path)).content == before.content


async def test_it_starts_without_redis_and_finds_it_when_it_comes(tmp_path: Path) -> None:
    server = Server(tmp_path)
    async with _api(server.url) as client:
        for path in (TYPES, WORDS, "/readyz"):
            _assert_unavailable(await client.get(path))
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/")).status_code == 200
        await asyncio.to_thread(server.start)
        try:
            for path in (TYPES, WORDS, "/readyz"):
                assert (await client.get(path)).status_code == 200
        finally:
            server.kill()


async def test_no_stranger_is_told_where_redis_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(tmp_path)  # never started
    for where in (server.url, "redis://secret-host.invalid:6379/0", "unix:///run/secret.sock"):
        told = r"127\.0\.0\.1|secret|6379|" + str(server.port)
        app = create_app(Settings(redis_url=where))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tally") as client,
        ):
            for path in (WORDS, "/v1/types", "/v1/stats", "/readyz"):
                response = await client.get(path)
                _assert_unavailable(response)
                assert not re.search(told, response.text), path
            feed = app.state.live.watch(None)
            heard = ""
            while "Redis is unavailable" not in heard:
                event = await anext(feed)
                heard += event.raw_data or ""
            assert not re.search(told, heard)
            await feed.aclose()
        said = capsys.readouterr()
        assert re.search(told, said.out + said.err), "the log says where"


async def test_a_host_that_cannot_be_is_a_503_too() -> None:
    async with _api("redis://nowhere.invalid:6379/0") as client:
        _assert_unavailable(await client.get(WORDS))


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("//weak:word@", "Redis does not allow the user of TALLY_REDIS_URL"),
        ("//weak:wrong@", "Redis refuses the password or the user"),
        ("/99", "Redis does not have the database"),
    ],
    ids=["no permission", "a wrong password", "no such database"],
)
async def test_what_redis_refuses_for_good_is_a_503_that_says_why(
    durable_server: Server, where: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with durable_server.client() as redis:
        redis.execute_command("ACL", "SETUSER", "weak", "on", ">word", "~*", "+client")
    scheme, host, database = durable_server.url.replace("//", "/").split("/")
    url = f"{scheme}{where}{host}/{database}" if "@" in where else f"{scheme}//{host}{where}"
    async with _api(url) as client:
        for path in (TYPES, WORDS, "/readyz", "/v1/stats"):
            assert says in _assert_problem(await client.get(path), 503, "Redis refuses")["detail"]
    said = capsys.readouterr()
    assert (said.out + said.err).count(REDIS_REFUSES) == 1, "and not at every request"
    assert "request failed" not in said.out + said.err


# Health.


async def test_ready_when_redis_answers_and_can_be_written_to(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


async def test_the_readiness_check_leaves_nothing_behind(client: httpx.AsyncClient, redis: Redis) -> None:
    await client.get("/readyz")
    assert set(await redis.keys("*")) <= {KEYS.probe.encode()}
    assert await redis.pttl(KEYS.probe) <= 1000


async def test_not_ready_on_a_read_only_replica_but_counts_are_read(durable_server: Server) -> None:
    await _count_at(durable_server, {"foo": 3}, {})
    async with _api(durable_server.url) as client:
        with durable_server.client() as redis:
            redis.replicaof("127.0.0.1", free_port())
            body = _assert_problem(await client.get("/readyz"), 503, "Redis is unavailable")
            assert "replica" in body["detail"].lower()
            assert (await client.get(TYPES)).json() == {"foo": 3}
            redis.replicaof("NO", "ONE")
            assert (await client.get("/readyz")).status_code == 200


async def test_not_ready_when_redis_is_out_of_memory_but_counts_are_read(durable_server: Server) -> None:
    await _count_at(durable_server, {"foo": 3}, {})
    async with _api(durable_server.url) as client:
        with durable_server.client() as redis:
            redis.config_set("maxmemory", "1")
            response = await client.get("/readyz")
            _assert_unavailable(response)
            assert "maxmemory" in response.json()["detail"]
            # Room for a key, and none for a block, which is where a Redis that is full of counts stays.
            redis.config_set("maxmemory", redis.info("memory")["used_memory"] + 1_000_000)
            response = await client.get("/readyz")
            _assert_unavailable(response)
            assert response.json()["detail"].startswith("Redis is full: it uses")
            assert (await client.get(TYPES)).json() == {"foo": 3}
            redis.config_set("maxmemory", "0")
            assert (await client.get("/readyz")).status_code == 200


# Errors, documentation, the page.


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/events",
        "/events/",
        "/events/countwords",
        "/events/CountWords/",
        "/static/nowhere.js",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
    ],
)
async def test_what_is_not_there_is_a_404(client: httpx.AsyncClient, path: str) -> None:
    body = _assert_problem(await client.get(path), 404, "There is nothing at this path")
    assert {TYPES, WORDS, "/v1/types", "/v1/types:lookup", "/readyz"} <= set(body["paths"]), "it tells what there is"


async def test_another_method_is_a_405_that_names_the_right_one(client: httpx.AsyncClient) -> None:
    for path in (TYPES, "/v1/types", "/v1/live", "/healthz", "/"):
        response = await client.delete(path)
        _assert_problem(response, 405)
        assert response.headers["allow"] == "GET, HEAD, OPTIONS", path


@pytest.mark.parametrize(
    "path",
    [
        TYPES,
        "/v1/types",
        "/v1/types/foo",
        "/v1/live",
        "/healthz",
        "/",
        "/openapi.json",
        "/problems/no-such-path",
        "/static/main.js",
        "/favicon.ico",
    ],
)
async def test_options_tells_which_methods_a_path_takes(client: httpx.AsyncClient, path: str) -> None:
    response = await client.options(path)
    assert (response.status_code, response.headers["allow"], response.content) == (204, "GET, HEAD, OPTIONS", b"")


async def test_options_of_what_is_not_there_is_a_404(client: httpx.AsyncClient) -> None:
    _assert_problem(await client.options("/nowhere"), 404)


async def test_every_problem_has_a_page_that_its_type_names(client: httpx.AsyncClient) -> None:
    for type_ in problem_types.ALL.values():
        page = await client.get(type_.path)
        assert page.status_code == 200, type_.name
        assert page.headers["content-type"].startswith("text/html")
        for text in (type_.title, type_.meaning, type_.remedy):
            assert html.escape(text, quote=False) in page.text, type_.name
    _assert_problem(await client.get("/problems/none"), 404)


@pytest.mark.parametrize("path", ["/", "/events", "/events/", TYPES, "/v1/types", "/nowhere", "/healthz"])
async def test_who_sends_events_to_the_api_is_told_where_they_are_taken(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(path, content='{"event_type": "a", "data": "b"}')
    _assert_problem(response, 405)
    assert "tally up" in response.json()["detail"]
    assert "POST to http://127.0.0.1:9000/events" in response.json()["detail"]
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_openapi_lists_the_routes_and_all_that_it_refers_to(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json")
    document = response.json()
    assert {TYPES, WORDS, "/healthz", "/readyz"} <= set(document["paths"])
    assert not {"/events/countWords", "/events/countByEventType"} & set(document["paths"]), "one spelling is enough"
    for path in (TYPES, WORDS):
        answers = document["paths"][path]["get"]["responses"]
        assert "application/problem+json" in answers["503"]["content"]
        assert answers["200"]["content"]["application/json"]["schema"]["additionalProperties"]["type"] == "integer"
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', response.text):
        found: Any = document
        for part in reference.split("/"):
            found = found[part]


@pytest.mark.parametrize("path", ["/", "/static/index.html"])
async def test_the_page_and_all_that_it_asks_for_are_served(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(path)
    assert page.headers["content-type"].startswith("text/html")
    kinds = set()
    for asset in re.findall(r'(?:src|href)="([^"#:]+)"', page.text):
        response = await client.get(page.url.join(asset))
        assert response.status_code == 200, asset
        kinds.add(response.headers["content-type"].partition(";")[0])
    assert {"text/css", "text/javascript"} <= kinds


async def test_the_icon_is_where_a_browser_looks_for_it(client: httpx.AsyncClient) -> None:
    response = await client.get("/favicon.ico")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/x-icon")
    assert response.content[:4] == b"\0\0\1\0", "an .ico"
    assert b"\x89PNG" in response.content


async def test_the_page_asks_nobody_else_for_anything(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


# As a process.


def test_a_process_answers_over_http_survives_its_redis_and_ends_in_order(
    durable_server: Server, tmp_path: Path
) -> None:
    asyncio.run(_count_at(durable_server, {"foo": 3}, {"lorem": 2}))
    port = free_port()
    process = Process(
        "api",
        log=tmp_path / "api.log",
        TALLY_REDIS_URL=durable_server.url,
        TALLY_HTTP_PORT=str(port),
        TALLY_LOG_FORMAT="json",
    )
    with running(process), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:

        def status(path: str) -> int:
            try:
                return http.get(path).status_code
            except httpx.TransportError:
                assert process.exit_code is None, process.log()
                return 0

        wait_until(lambda: status("/readyz") == 200, what="it is ready")
        assert http.get(TYPES).json() == {"foo": 3}
        assert http.get("/events/countWords").json() == {"lorem": 2}
        assert http.get("/").headers["content-type"].startswith("text/html")
        assert "server" not in http.get("/healthz").headers

        durable_server.kill()
        wait_until(lambda: status(WORDS) == 503, what="it says that Redis is unavailable")
        _assert_unavailable(http.get(WORDS))
        assert status("/healthz") == 200
        durable_server.start()
        wait_until(lambda: status(WORDS) == 200, what="it has found Redis again")
        assert http.get(WORDS).json() == {"lorem": 2}

        second = Process("api", log=tmp_path / "second.log", TALLY_HTTP_PORT=str(port))
        with running(second):
            assert second.wait(30) == 1
        assert f"cannot listen on 127.0.0.1 port {port}" in second.log()
        assert "Traceback" not in second.log()

        process.send(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "Traceback" not in process.log()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_answers_head_too(client: httpx.AsyncClient, path: str) -> None:
    """As uptime checkers ask."""
    answer = await client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
