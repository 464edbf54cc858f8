"""An answer is given again while it is fresh: always for a moment, longer under load, and never for long."""

from __future__ import annotations

import asyncio
import gzip
import sys
from typing import Any

import msgspec
import pytest
from starlette.types import Message, Receive, Scope, Send

from api import answer_cache
from api.answer_cache import REMEMBERED_SECONDS, AnswerCache
from api.freshness import HALF_SECONDS, MOMENT_SECONDS, SAVED_SECONDS
from api.memory import Memory
from tests.fakes import FakeClock

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Route:
    """The application behind: answers with what `counts` holds, and when."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.counts: dict[str, int] = {}
        self.status = 200
        self.runs = 0
        self.as_of: float | None = None  # when it was read, if not just now
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.runs += 1
        body = msgspec.json.encode({"items": self.counts, "as_of": self.as_of or self.clock.now})
        await self.let_go.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"content-type", b"x")]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def route(clock: FakeClock) -> Route:
    return Route(clock)


async def _ask(app: AnswerCache, query: str = "", **headers: str) -> tuple[int, dict[str, str], Any]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("a GET has no body")

    await app(
        {
            "type": "http",
            "method": "GET",
            "path": "/v1/types",
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        },
        receive,
        send,
    )
    start, end = sent
    given = {name.decode(): value.decode() for name, value in start["headers"]}
    body = decoded(given.get("content-encoding"), end["body"])
    return start["status"], given, msgspec.json.decode(body) if body else None


def decoded(encoding: str | None, body: bytes) -> bytes:
    """A body as it was before it was compressed."""
    if encoding == "gzip":
        return gzip.decompress(body)
    return zstd.decompress(body) if encoding == "zstd" else body


async def _age(app: AnswerCache, clock: FakeClock) -> float:
    return clock.now - float((await _ask(app))[2]["as_of"])


async def test_who_asks_now_and_then_gets_what_is_new_at_once(route: Route, clock: FakeClock) -> None:
    app = AnswerCache(route, memory=Memory(2**20), clock=route.clock)
    for _ in range(100):
        assert await _age(app, clock) == 0
        clock.now += MOMENT_SECONDS * 1.01


async def test_under_load_the_route_runs_a_few_times_a_second_and_no_answer_is_older_than_it_may_be(
    route: Route, clock: FakeClock
) -> None:
    app = AnswerCache(route, memory=Memory(2**20), clock=route.clock)
    began, ages = clock.now, []
    while clock.now < began + 2:
        ages.append(await _age(app, clock))
        clock.now += 0.1 * SAVED_SECONDS
    assert route.runs <= 2 / HALF_SECONDS + 2
    assert max(ages) <= HALF_SECONDS


async def test_after_a_burst_what_is_new_shows_soon(route: Route, clock: FakeClock) -> None:
    app = AnswerCache(route, memory=Memory(2**20), clock=route.clock)
    burst = 20
    for _ in range(burst):
        await _ask(app)
    clock.now += (burst + 1) * SAVED_SECONDS
    assert await _age(app, clock) == 0


async def test_many_who_ask_at_once_cost_one_run(route: Route) -> None:
    app = AnswerCache(route, memory=Memory(2**20), clock=route.clock)
    route.let_go.clear()
    asking = [asyncio.create_task(_ask(app)) for _ in range(1000)]
    while not route.runs:
        await asyncio.sleep(0)
    route.let_go.set()
    assert {status for status, _, _ in await asyncio.gather(*asking)} == {200}
    assert route.runs == 1


async def test_another_question_has_another_answer(route: Route) -> None:
    app = AnswerCache(route, memory=Memory(2**20), clock=route.clock)
    await asyncio.gather(_ask(app), _ask(app, "limit=1"), _ask(app, accept="text/csv"))
    assert route.runs == 3


async def test_an_error_is_sent_to_all_who_asked_and_is_not_kept(route: Route) -> None:
    app = AnswerCache(route, memory=Memory(2**20), clock=route.clock)
    route.status = 503
    route.let_go.clear()
    asking = [asyncio.create_task(_ask(app)) for _ in range(10)]
    while not route.runs:
        await asyncio.sleep(0)
    route.let_go.set()
    assert [status for status, _, _ in await asyncio.gather(*asking)] == [503] * 10
    route.status = 200
    assert (await _ask(app))[0] == 200


async def test_one_who_gives_up_does_not_hold_up_the_others(route: Route) -> None:
    app = AnswerCache(route, memory=Memory(2**20), clock=route.clock)
    route.let_go.clear()
    first, second = asyncio.create_task(_ask(app)), asyncio.create_task(_ask(app))
    while not route.runs:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    route.let_go.set()
    assert (await second)[0] == 200


async def test_what_was_asked_for_once_is_not_held_for_long(route: Route, clock: FakeClock) -> None:
    memory = Memory(2**20)
    app = AnswerCache(route, memory=memory, clock=route.clock)
    for at in range(50):
        await _ask(app, f"limit={at}")
        clock.now += REMEMBERED_SECONDS / 10
    assert 1 < len(app._answers) <= 11
    clock.now += 2 * REMEMBERED_SECONDS
    await _ask(app)
    assert len(app._answers) == 1
    assert memory.held_bytes < 10_000


async def test_however_many_are_asked_for_they_are_held_in_a_bound(route: Route, clock: FakeClock) -> None:
    route.counts = {f"word{at}": at for at in range(1000)}
    memory = Memory(2**20)
    app = AnswerCache(route, memory=memory, clock=route.clock)
    for at in range(500):
        await _ask(app, f"limit={at}", accept_encoding=("", "gzip", "zstd")[at % 3])
        assert memory.held_bytes <= memory.most_bytes
    assert len(app._answers) > 10
    assert memory.held_bytes > memory.most_bytes / 2


@pytest.mark.parametrize("changed", [False, True])
async def test_304_as_long_as_the_counts_are_the_same_whenever_they_were_read(
    route: Route, clock: FakeClock, changed: bool
) -> None:
    app = AnswerCache(route, memory=Memory(2**20), clock=route.clock)
    route.counts = {'"as_of":1': 5}
    etag = (await _ask(app))[1]["etag"]
    clock.now += 60
    if changed:
        route.counts = {'"as_of":2': 5}
    for given in (etag, f'"other", {etag}', etag.removeprefix("W/")):
        status, headers, body = await _ask(app, if_none_match=given)
        assert (status, body is None) == ((200, False) if changed else (304, True))
        assert (headers["etag"] == etag) is not changed


async def test_any_answer_matches_a_star(route: Route) -> None:
    assert (await _ask(AnswerCache(route, memory=Memory(2**20), clock=route.clock), if_none_match="*"))[0] == 304


# Encodings, and large bodies.


@pytest.fixture
def large(route: Route) -> Route:
    route.counts = {f"word{at}": at for at in range(1000)}
    return route


async def test_each_gets_the_encoding_that_it_likes_and_the_route_runs_once(large: Route) -> None:
    app = AnswerCache(large, memory=Memory(2**20), clock=large.clock)
    plain = await _ask(app)
    for encoding in ("gzip", "zstd"):
        for _ in range(3):
            status, headers, body = await _ask(app, accept_encoding=encoding)
            assert (status, headers["content-encoding"], body) == (200, encoding, plain[2])
            assert headers["etag"] == plain[1]["etag"]
    assert large.runs == 1


async def test_what_comes_out_the_same_is_not_compressed_again(large: Route, clock: FakeClock) -> None:
    app = AnswerCache(large, memory=Memory(2**20), clock=large.clock)
    large.as_of = 1.0
    compressed = []
    for at in range(3):
        await asyncio.gather(*(_ask(app, accept_encoding="gzip") for _ in range(10)))
        (answer,) = app._answers.values()
        compressed.append(answer.encoded["gzip"].result())
        clock.now += 1
        assert large.runs == at + 1
    assert compressed[0] is compressed[1] is compressed[2]
    large.counts["new"] = 1
    assert "new" in (await _ask(app, accept_encoding="gzip"))[2]["items"]


async def test_one_who_takes_a_large_answer_too_slowly_is_given_up(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_cache, "SEND_SECONDS", 0.01)
    monkeypatch.setattr(answer_cache, "LEAST_BYTES_A_SECOND", 1e12)
    route.counts = {f"word{at}": at for at in range(50_000)}
    memory = Memory(2**24)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > 2:
            await asyncio.Event().wait()

    async def receive() -> Message:
        raise AssertionError("a GET has no body")

    scope = {"type": "http", "method": "GET", "path": "/v1/types", "query_string": b"", "headers": []}
    await asyncio.wait_for(AnswerCache(route, memory=memory, clock=route.clock)(scope, receive, send), 30)
    assert [message["type"] for message in sent] == ["http.response.start"] + 2 * ["http.response.body"]
    assert all(message["more_body"] for message in sent[1:]), "so that the server closes the connection"
