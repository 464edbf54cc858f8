"""Counts that were made one way are not mixed with others: the stored layout, on the real server."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as blocking_redis
from redis.asyncio import Redis

from api.app import create_app
from tally.deltas import ALL_TIME, Part, Place, chunks_of
from tally.keys import Keys
from tally.layout import Layout, LayoutRefused
from tally.settings import Settings
from tally.store import Block, LayoutChanged, WindowStore, connect
from tally.store.acceptance import Acceptance
from tally.store.acceptances import Acceptances
from tally.store.blocks import PendingBlock, Settled
from tally.store.deltas import NextChunk
from tally.store.idempotent import Body
from tally.store.layouts import LayoutStore, checks
from tally.store.lua import WritingScript
from tally.store.permissions import ADMINS, AGGREGATORS, DEAD_LETTERS, INGESTORS
from tally.store.reads import CountReader
from tally.store.shards import Shards, check_home
from tally.store.windows import FOLD_FROM_START
from tests.processes import Process, run, running
from tests.server import Server
from tests.stores import AllStores, in_minutes
from tests.waiting import wait_until

KEYS = Keys()

#: Of a day in the past, so that no clock matters.
DAY = 1_600_000_000 // 86_400 * 86_400

OTHER_LENGTHS = "300x24,3600x336,86400x400"


def _layouts(client: Redis, **settings: Any) -> LayoutStore:
    return LayoutStore(client, keys=KEYS, settings=Settings(**settings))


def _blocks(client: Redis, **settings: Any) -> AllStores:
    return AllStores(client, keys=KEYS, settings=Settings(**settings))


def _events(*times: int) -> bytes:
    return b"".join(b'{"event_type":"a","data":"Lorem ipsum","timestamp":%d}\n' % each for each in times)


async def _count(client: Redis, types: Mapping[int, int], **settings: Any) -> None:
    """Count one block: so many events in the window of the shortest length that begins then."""
    store = _blocks(client, **settings)
    await store.create_group()
    await client.xadd(KEYS.stream, {"lines": b"x"})
    (entry,) = await store.read(consumer="c", count=1, block_ms=None)
    counts = in_minutes({start: ({"a": number}, {}) for start, number in types.items()})
    await store.count(consumer="c", entries=[entry], counts=counts)


def _changes(server: Server) -> int:
    with server.client() as client:
        return int(client.info("persistence")["rdb_changes_since_last_save"])


# Stored and compared.


async def test_the_first_one_stores_it_and_an_equal_one_writes_nothing(server: Server, redis: Redis) -> None:
    await _layouts(redis).ensure()
    stored = await _layouts(redis).read()
    assert {name: text for name, text in stored.fields.items() if name != "since"} == Layout.of(Settings()).fields
    assert int(stored.fields["since"]) > 1_600_000_000
    before = _changes(server)
    await _layouts(redis, max_words=5).ensure()
    await _layouts(redis, windows=" 60x360, 3600x336,86400x400").ensure()
    assert _changes(server) == before


async def test_how_many_windows_are_kept_may_differ_and_is_renewed(redis: Redis) -> None:
    await _layouts(redis).ensure()
    await _layouts(redis, windows="60x1000,3600x336,86400x400").ensure()
    lengths = (await _layouts(redis).read()).window_lengths
    assert lengths is not None
    assert [length.kept for length in lengths] == [1000, 336, 400]
    await _count(redis, {DAY: 1})  # one that keeps fewer is not refused


async def test_another_one_is_refused_and_nothing_is_written(server: Server, redis: Redis) -> None:
    await _layouts(redis).ensure()
    before = _changes(server)
    with pytest.raises(LayoutRefused, match=r"TALLY_WINDOWS was lengths of 60,3600,86400 s, and here it is .* 300,"):
        await _layouts(redis, windows=OTHER_LENGTHS, fold_case=True).ensure()
    with pytest.raises(LayoutRefused, match="TALLY_FOLD_CASE was false, and here it is true"):
        await _layouts(redis, fold_case=True).ensure()
    assert _changes(server) == before


async def test_counts_without_a_layout_are_taken_for_ours(redis: Redis) -> None:
    await redis.hset(KEYS.totals, "events", 7)
    await _layouts(redis, min_word_length=3).ensure()
    assert (await _layouts(redis).read()).fields["min_word_length"] == "3"
    assert await redis.hget(KEYS.totals, "events") == b"7"


async def test_what_an_ingestor_stored_is_completed(redis: Redis) -> None:
    await _blocks(redis).append(source="s", blocks=[Block(0, 2, b"x")])
    assert set((await _layouts(redis).read()).fields) == {"format", "since"}
    await _layouts(redis, fold_case=True).ensure()
    assert (await _layouts(redis).read()).fields["fold_case"] == "true"


async def test_a_full_redis_keeps_nobody_from_starting(durable_server: Server) -> None:
    connection = connect(durable_server.url, timeout_seconds=30)
    try:
        with durable_server.client() as client:
            client.set("much", "x" * 1_000_000)
            client.config_set("maxmemory", "1mb")
            with pytest.raises(blocking_redis.exceptions.OutOfMemoryError):
                client.set("anything", "at all")
        for kept in ("60x360", "60x360", "60x400"):  # stored, equal, renewed
            await _layouts(connection, windows=f"{kept},3600x336,86400x400").ensure()
        assert (await _layouts(connection).read()).fields["windows"].startswith("60x400,")
        accepting = Acceptance(connection, keys=KEYS, settings=Settings(fold_case=True))
        assert [each.variable for each in await accepting.accept()] == ["TALLY_FOLD_CASE"]
    finally:
        await connection.aclose()


# Compared in every script that writes.

_Write = Callable[[Redis], Coroutine[Any, Any, Any]]


_CHUNKS = list(chunks_of([], totals={}, samples=()))


def _windows(client: Redis) -> WindowStore:
    return WindowStore(client, keys=KEYS, settings=Settings())


INGESTORS_WRITES: dict[str, _Write] = {
    "append": lambda client: _blocks(client).append(source="s", blocks=[Block(0, 2, b"x")]),
    "append_once": lambda client: _blocks(client).append_once(source="s", bodies=[Body("k", "d", 60_000, [b"x"])]),
    "reconcile_backlog": lambda client: _blocks(client).reconcile_backlog(),
    "renew_sources": lambda client: _blocks(client).renew_sources(["s"]),
    "remove_consumer": lambda client: _blocks(client).remove_consumer(consumer="c"),
}
AGGREGATORS_WRITES: dict[str, _Write] = {
    "stage": lambda client: _blocks(client).stage(name="n", first=0, chunks=_CHUNKS),
    "settle": lambda client: _blocks(client).settle(
        consumer="c", blocks=[PendingBlock("1-1", 1, None)], name="n", chunks=_CHUNKS
    ),
    "apply": lambda client: _blocks(client).apply(NextChunk(KEYS.delta("n"), 1, b"[]")),
    "claim": lambda client: _blocks(client).claim(consumer="c", cursor="0-0", count=10),
    "renew_pending": lambda client: _blocks(client).renew_pending(consumer="c", ids=["1-1"]),
    "retry": lambda client: _blocks(client).retry(consumer="c", entry_id="1-1", deliveries=2),
    "dead_letter": lambda client: _blocks(client).dead_letter(consumer="c", entry_id="1-1"),
    "fold": lambda client: _windows(client).fold(level=2, start=DAY, cursor=FOLD_FROM_START),
    "drop_windows": lambda client: _windows(client).drop(level=1, starts=[DAY]),
}


@pytest.mark.parametrize("write", [*INGESTORS_WRITES, *AGGREGATORS_WRITES])
async def test_every_script_that_writes_refuses_another_format(server: Server, redis: Redis, write: str) -> None:
    await _count(redis, {DAY: 1})
    await redis.hset(KEYS.layout, "format", "3")
    await redis.hset(KEYS.layout, "digest", "that of the other format")
    before = _changes(server)
    with pytest.raises(LayoutRefused, match=r"data of format 3, and this program knows format 2: use the Tally that"):
        await (INGESTORS_WRITES | AGGREGATORS_WRITES)[write](redis)
    assert _changes(server) == before


@pytest.mark.parametrize("script", sorted({*INGESTORS, *AGGREGATORS, *DEAD_LETTERS, *ADMINS} - {"ensure_layout"}))
async def test_no_script_that_writes_is_without_the_check(server: Server, redis: Redis, script: str) -> None:
    """Whatever it is given: it looks at the format before anything else."""
    await redis.hset(KEYS.layout, "format", "3")
    before = _changes(server)
    with pytest.raises(LayoutRefused):
        await WritingScript(script).run(redis, ["any"], {}, ["thing"], layout=checks(KEYS, Settings()).format)
    assert _changes(server) == before


@pytest.mark.parametrize("write", AGGREGATORS_WRITES)
async def test_every_script_of_an_aggregator_refuses_other_settings(server: Server, redis: Redis, write: str) -> None:
    await _count(redis, {DAY: 1}, fold_case=True)
    before = _changes(server)
    with pytest.raises(LayoutChanged):
        await AGGREGATORS_WRITES[write](redis)
    assert _changes(server) == before


@pytest.mark.parametrize("write", INGESTORS_WRITES)
async def test_an_ingestor_need_not_have_the_aggregators_settings(redis: Redis, write: str) -> None:
    await _count(redis, {DAY: 1}, fold_case=True)
    await INGESTORS_WRITES[write](redis)


async def test_the_next_batch_after_a_flush_stores_it_again(redis: Redis) -> None:
    await _layouts(redis, fold_case=True).ensure()
    await redis.flushall()
    await _count(redis, {DAY: 1}, fold_case=True)
    stored = (await _layouts(redis).read()).fields
    assert {name: text for name, text in stored.items() if name != "since"} == Layout.of(
        Settings(fold_case=True)
    ).fields


# The services.


def test_an_aggregator_with_other_settings_ends_with_a_sentence(server: Server, tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_bytes(_events(DAY))
    url = {"TALLY_REDIS_URL": server.url}
    first = Process("aggregator", "--drain", log=tmp_path / "first.log", **url)
    ingestor = Process("ingestor", str(tmp_path / "events.ndjson"), log=tmp_path / "ingestor.log", **url)
    second = Process("aggregator", log=tmp_path / "second.log", **url, TALLY_WORD_PATTERN="[a-z]+")
    with running(first):
        assert first.wait() == 0, first.log()
    with running(ingestor, second), server.client() as client:
        assert ingestor.wait() == 0, ingestor.log()
        assert second.wait() == 2, second.log()
        assert "TALLY_WORD_PATTERN was" in second.log()
        assert "and here it is [a-z]+" in second.log()
        assert "Traceback" not in second.log()
        assert client.xlen(KEYS.stream) == 1  # nothing was counted


def test_after_a_flush_everything_goes_on_and_the_layout_is_there_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(_events(DAY))
    url = {"TALLY_REDIS_URL": server.url}
    ingestor = Process("ingestor", f"tail:{path}", log=tmp_path / "ingestor.log", **url)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **url, TALLY_FOLD_CASE="true")
    with running(ingestor, aggregator), server.client() as client:
        wait_until(lambda: client.hget(KEYS.totals, "events") == "1", what="the first event is counted")
        client.flushall()
        with path.open("ab") as file:
            file.write(_events(DAY + 60))
        wait_until(lambda: client.hget(KEYS.totals, "events") == "2", what="all is counted again")
        assert client.hget(KEYS.layout, "fold_case") == "true"
        assert client.hget(KEYS.words, "lorem") == "2"
        assert aggregator.stop() == 0, aggregator.log()
        assert ingestor.stop() == 0, ingestor.log()


def test_a_running_aggregator_ends_when_other_settings_are_accepted(server: Server, tmp_path: Path) -> None:
    url = {"TALLY_REDIS_URL": server.url}
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **url)
    accept = Process("tally", "layout", "--accept", log=tmp_path / "accept.log", **url, TALLY_FOLD_CASE="true")
    with running(aggregator), server.client() as client:
        wait_until(lambda: bool(client.hget(KEYS.layout, "digest")), what="the layout is stored")
        with running(accept):
            assert accept.wait() == 0, accept.log()
        assert "Accepted: TALLY_FOLD_CASE was false, and from now on it is true." in accept.log()
        assert aggregator.wait() == 2, aggregator.log()  # without an event that would wake it
        assert "TALLY_FOLD_CASE was true, and here it is false" in aggregator.log()
        assert "Traceback" not in aggregator.log()


@pytest.mark.parametrize(
    "arguments", [("ingestor", "demo:?count=5"), ("aggregator",), ("tally", "status"), ("tally", "layout")]
)
def test_a_newer_format_is_refused_by_every_command(server: Server, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with server.client() as client:
        client.hset(KEYS.layout, mapping={"format": "3"})
        process = Process(*arguments, log=tmp_path / "log", TALLY_REDIS_URL=server.url)
        with running(process):
            assert process.wait() == 2, process.log()
        assert "Redis holds data of format 3, and this program knows format 2" in process.log()
        assert "Traceback" not in process.log()
        assert client.keys() == [KEYS.layout]


def test_a_running_ingestor_ends_when_the_format_changes(server: Server, tmp_path: Path) -> None:
    ingestor = Process("ingestor", "demo:?rate=100", log=tmp_path / "log", TALLY_REDIS_URL=server.url)
    with running(ingestor), server.client() as client:
        wait_until(lambda: bool(client.xlen(KEYS.stream)), what="something is appended")
        client.hset(KEYS.layout, "format", "3")
        assert ingestor.wait() == 2, ingestor.log()
        assert "data of format 3" in ingestor.log()


# The api.


@pytest.fixture
async def api(server: Server, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    """An api with the default settings, whatever is counted."""
    app = create_app(Settings(redis_url=server.url), redis=redis)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api") as client:
        yield client


async def test_the_api_answers_from_the_windows_that_are_counted(redis: Redis, api: httpx.AsyncClient) -> None:
    """Of lengths that it was not given; it found nothing in those that it looked for, and said nothing of it."""
    await _layouts(redis, windows=OTHER_LENGTHS).ensure()
    await _count(redis, {DAY: 1, DAY + 300: 2, DAY + 3600: 4}, windows=OTHER_LENGTHS)
    span = {"from": DAY, "to": DAY + 360}
    answer = (await api.get("/v1/types", params=span)).json()
    assert (answer["total"], answer["from"], answer["to"]) == (3, DAY, DAY + 600)
    assert (await api.get("/v1/types:series", params=span | {"step": "300s"})).json()["series"][0]["counts"] == [1, 2]


async def test_the_api_asks_for_words_in_the_form_in_which_they_are_counted(
    redis: Redis, api: httpx.AsyncClient
) -> None:
    await _layouts(redis, normalize_words=False).ensure()
    await redis.hset(KEYS.words, "e\u0301", 3)
    assert (await api.get("/v1/words:lookup", params={"name": "e\u0301"})).json()["count"] == 3


@pytest.mark.parametrize(
    "path",
    ["/events/CountByEventType", "/events/CountWords", "/v1/types?window=1h", "/v1/stats", "/v1/words", "/readyz"],
)
async def test_the_api_says_that_it_does_not_know_the_format(redis: Redis, api: httpx.AsyncClient, path: str) -> None:
    await redis.hset(KEYS.layout, "format", "3")
    answer = await api.get(path)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Redis holds data of format 3" in answer.json()["detail"]


# Accepted.


async def test_what_is_accepted_is_remembered_with_its_time(redis: Redis) -> None:
    await _layouts(redis).ensure()
    accepting = Acceptance(redis, keys=KEYS, settings=Settings(fold_case=True, min_word_length=2))
    differences = await accepting.accept()
    assert [(each.variable, each.stored, each.here) for each in differences] == [
        ("TALLY_FOLD_CASE", "false", "true"),
        ("TALLY_MIN_WORD_LENGTH", "1", "2"),
    ]
    await _layouts(redis, fold_case=True, min_word_length=2).ensure()
    with pytest.raises(LayoutRefused):
        await _layouts(redis).ensure()
    assert await accepting.accept() == []
    (change,) = await accepting.history()
    assert change.changes == {"fold_case": ("false", "true"), "min_word_length": ("1", "2")}
    assert abs(change.at - (await redis.time())[0]) < 600
    await Acceptance(redis, keys=KEYS, settings=Settings()).accept()
    assert [each.changes["fold_case"] for each in await accepting.history()] == [("true", "false"), ("false", "true")]


async def test_the_history_is_bounded(redis: Redis) -> None:
    for number in range(1, 105):
        await Acceptance(redis, keys=KEYS, settings=Settings(min_word_length=number)).accept()
    changes = await Acceptance(redis, keys=KEYS, settings=Settings()).history()
    assert len(changes) == 100
    assert changes[0].changes == {"min_word_length": ("103", "104")}


async def test_longer_windows_lack_nothing_after_a_shorter_length_is_another(redis: Redis) -> None:
    await _layouts(redis).ensure()
    await _count(redis, {DAY: 1, DAY + 60: 2, DAY + 3660: 4})
    await Acceptance(redis, keys=KEYS, settings=Settings(windows=OTHER_LENGTHS)).accept()
    # The second hour goes on; late events, too.
    await _count(redis, {DAY + 3900: 8, DAY + 3600: 16, DAY: 32}, windows=OTHER_LENGTHS)
    reader = CountReader(redis, keys=KEYS, settings=Settings())
    for start, end, events in [(DAY, DAY + 3600, 35), (DAY + 3600, DAY + 7200, 28), (DAY, DAY + 86_400, 63)]:
        found, counts = await reader.sum_range("types", start, end)
        assert (found.start, found.end, counts) == (start, end, {b"a": events})


async def test_windows_of_a_new_length_are_not_taken_for_whole_where_they_are_not(redis: Redis) -> None:
    await _layouts(redis).ensure()
    await _count(redis, {DAY: 1, DAY + 660: 2})
    await Acceptance(redis, keys=KEYS, settings=Settings(windows=OTHER_LENGTHS)).accept()
    await _count(redis, {DAY + 600: 4, DAY + 900: 8}, windows=OTHER_LENGTHS)
    reader = CountReader(redis, keys=KEYS, settings=Settings(windows=OTHER_LENGTHS))
    # The one from 600 on lacks the two of before: an answer about it is one about the hour.
    found, counts = await reader.sum_range("types", DAY + 600, DAY + 900)
    assert (found.start, found.end, counts) == (DAY, DAY + 3600, {b"a": 15})
    found, counts = await reader.sum_range("types", DAY + 900, DAY + 1200)
    assert (found.start, found.end, counts) == (DAY + 900, DAY + 1200, {b"a": 8})


async def test_what_was_in_no_window_is_missed_by_none_of_the_next_layout(redis: Redis) -> None:
    await _layouts(redis).ensure()
    await _count(redis, {DAY + 660: 1})
    await Acceptance(redis, keys=KEYS, settings=Settings(windows="5400x100")).accept()
    await _count(redis, {DAY: 2}, windows="5400x100")  # at any time before DAY + 5400
    assert not await redis.exists(KEYS.windows(5400))
    await Acceptance(redis, keys=KEYS, settings=Settings(windows="60x360,3600x336")).accept()
    await _count(redis, {DAY + 3660: 4, DAY + 7260: 8}, windows="60x360,3600x336")
    reader = CountReader(redis, keys=KEYS, settings=Settings())
    # The hour from 3600 on may lack what came before 5400.
    found, counts = await reader.sum_range("types", DAY + 3600, DAY + 10_800)
    assert (found.start, found.end, counts) == (DAY + 7200, DAY + 10_800, {b"a": 8})


async def test_an_acceptance_that_was_cut_off_is_finished_by_the_next_one(redis: Redis) -> None:
    await _layouts(redis, windows="60x360,3600x336,86400x400").ensure()
    await _count(redis, {DAY: 1, DAY + 3660: 2})
    settings = Settings(windows="60x2880,86400x400")
    accepting = Acceptance(redis, keys=KEYS, settings=settings)
    assert await accepting._replace(await _layouts(redis).read(), Layout.of(settings)) == "accepted"
    assert await redis.hgetall(KEYS.window_types(86_400, DAY)) == {}
    assert await accepting.accept() == []
    assert await redis.hgetall(KEYS.window_types(86_400, DAY)) == {b"a": b"3"}
    assert not await redis.exists(KEYS.folding(3600), KEYS.window_types(3600, DAY), KEYS.window_types(3600, DAY + 3600))
    assert await accepting.leftovers() == {}


async def test_leftovers_are_dropped_when_asked_for(redis: Redis) -> None:
    await _layouts(redis).ensure()
    await _count(redis, {DAY + 60 * minute: 1 for minute in range(250)})
    accepting = Acceptance(redis, keys=KEYS, settings=Settings(windows=OTHER_LENGTHS))
    assert await accepting.leftovers() == {}
    await accepting.accept()
    assert await accepting.leftovers() == {60: 250}
    assert await accepting.drop_leftovers() == {60: 250}
    assert await accepting.leftovers() == {}
    assert await redis.keys(KEYS.window_types(60, 0).removesuffix("0") + "*") == []
    assert not await redis.exists(KEYS.windows(60))
    reader = CountReader(redis, keys=KEYS, settings=Settings(windows=OTHER_LENGTHS))
    assert (await reader.sum_range("types", DAY, DAY + 86_400))[1] == {b"a": 250}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("60x360,3600x336,86400x400", "60x2880,86400x400", id="a length in between goes"),
        pytest.param("60x360,3600x336,86400x400", "3600x336,86400x400", id="the shortest goes, hours are copies now"),
        pytest.param("3600x336,86400x400", "60x360,3600x336,86400x400", id="hours are copies no longer"),
        pytest.param("60x360,3600x336", "60x360,3600x336,86400x400", id="days are added up of the hours there are"),
        pytest.param("60x2880,86400x400", "60x360,3600x336,86400x400", id="hours come in between"),
        pytest.param("3600x336", "3600x336,86400x400", id="one length becomes two"),
        pytest.param("60x360,3600x336,86400x400", "300x24,3600x336,86400x400", id="copies of another length"),
        pytest.param("60x360,3600x336,86400x400", "60x360,3600x336,86400x10", id="only fewer are kept"),
    ],
)
async def test_days_are_exact_whatever_lengths_are_accepted_and_whatever_comes_later(
    redis: Redis, before: str, after: str
) -> None:
    await _layouts(redis, windows=before).ensure()
    newest = DAY + 5 * 86_400 + 7 * 3600
    times = {DAY: 1, DAY + 3660: 2, DAY + 86_400 + 3600: 4, newest - 3600: 8, newest: 16}
    unit = Settings(windows=before).window_lengths[0]
    await _count(redis, {unit.start_of(at): number for at, number in times.items()}, windows=before)
    settings = Settings(windows=after)
    await Acceptance(redis, keys=KEYS, settings=settings).accept()
    late = {newest + 60: 32, newest - 120: 64, newest - 7200: 128, DAY + 3600: 256, DAY + 86_400: 512}
    unit = settings.window_lengths[0]
    counted: Counter[int] = Counter()
    for at, number in late.items():
        counted[unit.start_of(at)] += number
    await _count(redis, counted, windows=after)
    reader = CountReader(redis, keys=KEYS, settings=settings)
    by_day: Counter[int] = Counter()
    for at, number in [*times.items(), *late.items()]:
        by_day[at // 86_400 * 86_400] += number
    for day, events in by_day.items():
        found, counts = await reader.sum_range("types", day, day + 86_400)
        assert (found.start, found.end, counts) == (day, day + 86_400, {b"a": events})
    found, counts = await reader.sum_range("types", DAY, newest + 86_400)
    assert sum(counts.values()) == sum(by_day.values())


async def test_what_is_settled_is_applied_before_another_layout_holds(redis: Redis) -> None:
    await _layouts(redis).ensure()
    store = _blocks(redis)
    await store.create_group()
    await redis.xadd(KEYS.stream, {"lines": b"x"})
    (entry,) = await store.read(consumer="c", count=1, block_ms=None)
    part = Part("types", (Place(1, DAY), Place(2, DAY), ALL_TIME), ["a"], [3])
    chunks = list(chunks_of([part], totals={"events": 3, "blocks": 1}, samples=()))
    assert await store.stage(name="n", first=0, chunks=chunks) == "staged"
    assert isinstance(await store.settle(consumer="c", blocks=[entry.pending], name="n", chunks=chunks), Settled)
    await Acceptance(redis, keys=KEYS, settings=Settings(windows="3600x336,86400x400", fold_case=True)).accept()
    assert not await redis.exists(KEYS.deltas)
    assert await redis.hgetall(KEYS.types) == {b"a": b"3"}
    assert await redis.hgetall(KEYS.window_types(86_400, DAY)) == {b"a": b"3"}


async def test_of_the_format_before_all_but_windows_is_carried_over(server: Server, redis: Redis) -> None:
    await _layouts(redis).ensure()
    await _count(redis, {DAY: 1, DAY + 60: 2})
    # As it was then: other marks, and hours that held only what was rolled up.
    await redis.hset(KEYS.layout, mapping={"format": "1", "digest": "0" * 32})
    await redis.zadd(KEYS.rolled(60), {str(DAY): DAY})
    await redis.zadd(KEYS.dropped, {"60": DAY})
    await redis.hset(KEYS.window_types(3600, DAY), "a", 1)
    await redis.xadd(KEYS.stream, {"lines": _events(DAY + 120)})
    before = _changes(server)
    with pytest.raises(LayoutRefused, match="Run `tally layout --accept`"):
        await _layouts(redis).ensure()
    with pytest.raises(LayoutRefused, match="format 1"):
        await _blocks(redis).reconcile_backlog()
    assert _changes(server) == before

    accepting = Acceptance(redis, keys=KEYS, settings=Settings())
    (difference,) = [each for each in await accepting.accept() if "format" in each.variable]
    assert (difference.stored, difference.here) == ("1", "2")
    await _layouts(redis).ensure()
    assert not await redis.exists(KEYS.rolled(60), KEYS.dropped, KEYS.windows(60), KEYS.windows(3600))
    assert await redis.hgetall(KEYS.types) == {b"a": b"3"}
    assert await redis.xlen(KEYS.stream) == 1
    reader = CountReader(redis, keys=KEYS, settings=Settings())
    assert (await reader.sum_range("types", DAY, DAY + 86_400))[1] == {}
    await accepting.drop_leftovers()
    assert await redis.keys(KEYS.window_types(60, 0).removesuffix("0") + "*") == []
    # The hour in which that was lacks what was before, so answers begin with the next one.
    await _count(redis, {DAY + 60: 4, DAY + 180: 8, DAY + 3600: 16})
    found, counts = await reader.sum_range("types", DAY, DAY + 3660)
    assert (found.start, found.end, counts) == (DAY + 3600, DAY + 3660, {b"a": 16})


# Over what sources are spread.


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("others", [1, 8])
async def test_where_there_are_shards_their_number_is_stored_and_another_is_refused(
    redis: Redis, counts: bool, others: int
) -> None:
    settings = Settings(shards=4)
    shards = Shards.over(redis, settings)
    await check_home(shards, settings=settings, counts=counts)
    await check_home(shards, settings=settings, counts=True)
    await check_home(shards, settings=settings, counts=False)
    stored = await _layouts(redis).read()
    assert (stored.fields["shards"], stored.fields["stripe_bytes"]) == ("4", "983040")
    assert stored.digest == Layout.of(settings).digest, "that of aggregators, though an ingestor was first"
    other = Settings(shards=others)
    store = AllStores(redis, keys=KEYS, settings=other)
    for refused in (
        check_home(Shards.over(redis, other), settings=other, counts=counts) if others > 1 else store.check_start(),
        store.ensure_layout(),
        CountReader(redis, keys=KEYS, settings=other).totals(),
        Acceptance(redis, keys=KEYS, settings=other).accept(),
    ):
        with pytest.raises(LayoutRefused, match=f"TALLY_SHARDS was 4, and here it is {others}"):
            await refused
    assert await _layouts(redis).read() == stored


@pytest.mark.parametrize("whole", [True, False])
async def test_what_one_shard_holds_is_not_spread_afterwards(redis: Redis, whole: bool) -> None:
    if whole:
        await _layouts(redis).ensure()
    else:  # as an ingestor's first block stores it
        await redis.hset(KEYS.layout, "format", Layout.of(Settings()).of_format["format"])
    settings = Settings(shards=4)
    with pytest.raises(LayoutRefused, match="TALLY_SHARDS was 1, and here it is 4"):
        await check_home(Shards.over(redis, settings), settings=settings, counts=False)
    with pytest.raises(LayoutRefused, match="TALLY_SHARDS was 1, and here it is 4"):
        await check_home(Shards.over(redis, settings), settings=settings, counts=True)


@pytest.mark.parametrize("other", [{"shards": 8}, {"shards": 4, "stripe_bytes": 1024}])
async def test_each_script_compares_over_what_sources_are_spread(redis: Redis, other: dict[str, Any]) -> None:
    """As by a service that was asleep when all was flushed and begun anew with others."""
    settings = Settings(shards=4)
    first = Shards.over(redis, settings)[0]
    store = AllStores(redis, keys=first.keys, settings=settings)
    block = Block(start=0, end=2, lines=b"x\n")
    await store.append(source="file:a", blocks=[block])
    assert await redis.hget(first.keys.layout, "shards") == b"4"
    asleep = AllStores(redis, keys=first.keys, settings=Settings(**other))
    with pytest.raises(LayoutChanged):
        await asleep.append(source="file:b", blocks=[block])
    with pytest.raises(LayoutRefused):
        await asleep.ensure_layout()
    assert await redis.xlen(first.keys.stream) == 1


def test_the_command_tells_where_shards_are(server: Server) -> None:
    assert "{11} in 4310, {13} in 12436" in _run(server, TALLY_SHARDS="2")
    assert json.loads(_run(server, "--json"))["shards"] == [{"tag": 0, "slot": 13_907}]
    assert "hash tags" not in _run(server)


async def test_the_command_does_not_advise_to_accept_other_shards(server: Server, redis: Redis) -> None:
    settings = Settings(shards=3)
    await check_home(Shards.over(redis, settings), settings=settings, counts=True)
    shown = _run(server)
    assert "TALLY_SHARDS=3" in shown
    assert "  TALLY_SHARDS = 1\nThat cannot be accepted" in shown
    assert "--accept" not in shown
    assert "hash tags" not in _run(server, TALLY_SHARDS="4")


@pytest.mark.parametrize("number", [2, 16])
async def test_another_layout_is_accepted_for_all_shards(redis: Redis, number: int) -> None:
    """Of 2 none has the layout of all, of 16 one has."""
    before, after = Settings(shards=number), Settings(shards=number, windows=OTHER_LENGTHS, fold_case=True)
    shards = Shards.over(redis, before)
    await check_home(shards, settings=before, counts=True)
    for shard in shards:
        store = AllStores(redis, keys=shard.keys, settings=before)
        await store.ensure_layout()
        await store.create_group()
        await redis.xadd(shard.keys.stream, {"lines": b"x"})
        (entry,) = await store.read(consumer="c", count=1, block_ms=None)
        await store.count(
            consumer="c", entries=[entry], counts=in_minutes({DAY: ({"a": 1}, {}), DAY + 60: ({"a": 2}, {})})
        )
    acceptances = Acceptances(shards, settings=after)
    assert {each.variable for each in await acceptances.accept()} == {"TALLY_WINDOWS", "TALLY_FOLD_CASE"}
    assert await acceptances.accept() == []
    for shard in shards:
        await AllStores(redis, keys=shard.keys, settings=after).ensure_layout()
        with pytest.raises(LayoutRefused, match="TALLY_FOLD_CASE was true"):
            await AllStores(redis, keys=shard.keys, settings=before).ensure_layout()
    await check_home(shards, settings=after, counts=True)
    assert len(await acceptances.history()) == 1
    assert await acceptances.leftovers() == await acceptances.drop_leftovers() == {60: 2 * number}
    assert await acceptances.leftovers() == {}


# The command.


def _run(server: Server, *arguments: str, **variables: str) -> str:
    """What the command prints."""
    done = run("tally", "layout", *arguments, env={"TALLY_REDIS_URL": server.url, **variables})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_shows_accepts_and_drops(server: Server, tmp_path: Path) -> None:
    assert "Nothing is stored yet" in _run(server)
    assert json.loads(_run(server, "--json"))["stored"] is None
    with server.client() as client:
        assert client.keys() == []  # looking writes nothing
    url = {"TALLY_REDIS_URL": server.url}
    (tmp_path / "events.ndjson").write_bytes(_events(DAY, DAY + 60))
    for arguments in (["ingestor", str(tmp_path / "events.ndjson")], ["aggregator", "--drain"]):
        process = Process(*arguments, log=tmp_path / "log", **url)
        with running(process):
            assert process.wait() == 0, process.log()
    shown = _run(server, TALLY_WINDOWS=OTHER_LENGTHS)
    assert "TALLY_WINDOWS=60x360,3600x336,86400x400" in shown
    assert (
        "Set otherwise here; an aggregator with these settings is refused:\n  TALLY_WINDOWS = lengths of 300," in shown
    )
    shown = _run(server, "--accept", TALLY_WINDOWS=OTHER_LENGTHS)
    assert "2 windows of 60 s are of no more use; `tally layout --drop` frees their memory." in shown
    found = json.loads(_run(server, "--drop", "--json", TALLY_WINDOWS=OTHER_LENGTHS))
    assert found["stored"]["windows"] == OTHER_LENGTHS
    assert found["dropped"] == {"60": 2}
    assert found["history"][0]["changes"] == {"windows": ["60x360,3600x336,86400x400", OTHER_LENGTHS]}


def _is_stored(tmp_path: Path) -> bool:
    (tmp_path / "layout.log").unlink(missing_ok=True)
    look = Process("tally", "layout", log=tmp_path / "layout.log", TALLY_DATA_DIR=str(tmp_path / "data"))
    with running(look):
        return look.wait() == 0 and "How events are counted" in look.log()


@pytest.mark.slow
def test_up_ends_with_the_sentence_and_keeps_the_data(tmp_path: Path) -> None:
    arguments = ["up", "--source", str(tmp_path / "events.ndjson"), "--data", str(tmp_path / "data")]
    (tmp_path / "events.ndjson").write_bytes(_events(DAY))
    first = Process("tally", *arguments, log=tmp_path / "first.log", TALLY_HTTP_PORT="0")
    with running(first):
        wait_until(lambda: _is_stored(tmp_path), what="the aggregator of tally up has stored the layout")
        first.send(signal.SIGINT)
        assert first.wait() == 0, first.log()
    second = Process("tally", *arguments, log=tmp_path / "second.log", TALLY_HTTP_PORT="0", TALLY_FOLD_CASE="true")
    with running(second):
        assert second.wait() != 0, second.log()
    assert "TALLY_FOLD_CASE was false, and here it is true" in second.log()
    assert "Traceback" not in second.log()
    way_on = Process(
        "tally",
        "layout",
        "--accept",
        log=tmp_path / "way_on.log",
        TALLY_DATA_DIR=str(tmp_path / "data"),
        TALLY_FOLD_CASE="true",
    )
    with running(way_on):
        assert way_on.wait() == 0, way_on.log()
    assert "from now on it is true" in way_on.log(), "it needs no tally up, which would end again"
    with running(second):
        wait_until(lambda: "Tally is counting" in second.log(), what="tally up runs with what was accepted")
        wait_until(lambda: _is_stored(tmp_path), what="its server answers")
