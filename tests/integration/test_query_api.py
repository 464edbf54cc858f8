"""The query API as a client sees it: a real process on a real server."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import quote

import httpx
import pytest

from aggregator.service import run as aggregate
from tally.generator import Generator, GeneratorSpec
from tally.keys import Keys
from tally.log_events import LISTENING, REDIS_AVAILABLE_AGAIN, REDIS_UNAVAILABLE
from tally.settings import Settings
from tests.oracle import Expected
from tests.processes import Process, run, running
from tests.server import Server, free_port
from tests.waiting import wait_until

KEYS = Keys()


@contextmanager
def api(server: Server, folder: Path, **variables: str) -> Iterator[httpx.Client]:
    """A client of an api process of its own."""
    port = free_port()
    process = Process("api", log=folder / "api.log", TALLY_REDIS_URL=server.url, TALLY_HTTP_PORT=str(port), **variables)
    with running(process), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        def answers() -> bool:
            try:
                return client.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers, what="the api answers")
        yield client
    assert "Traceback" not in process.log()


def count(server: Server, lines: bytes, **variables: Any) -> None:
    """Have these lines counted, as one block."""
    with server.client() as client:
        client.xadd(KEYS.stream, {"lines": lines})
    asyncio.run(aggregate(Settings(redis_url=server.url, **variables), asyncio.Event(), drain=True))


@pytest.fixture(scope="module")
def shared_api(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One api process for the tests that need no settings of their own."""
    with api(shared_server, tmp_path_factory.mktemp("api")) as client:
        yield client


def lines_of_now() -> bytes:
    """Return 3,000 lines of this moment. Made when they are needed, because some tests ask for the last minutes."""
    return b"".join(Generator(GeneratorSpec(count=3000, seed=1)).lines())


@pytest.fixture
def events() -> bytes:
    """The lines that `client` has counted."""
    return lines_of_now()


@pytest.fixture
def client(server: Server, shared_api: httpx.Client, events: bytes) -> httpx.Client:
    """A client of it, with these lines counted."""
    count(server, events)
    return shared_api


def test_ranking_equals_an_independent_count_in_every_form(client: httpx.Client, events: bytes) -> None:
    want = Expected.of(events.split(b"\n"))
    for kind, counts in (("types", want.types), ("words", want.words)):
        ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        answer = client.get(f"/v1/{kind}", params={"limit": 10_000}).json()
        assert [(item["name"], item["count"]) for item in answer["items"]] == ranked
        assert (answer["total"], answer["distinct"]) == (counts.total(), len(counts))
        assert sum(item["share"] for item in answer["items"]) == pytest.approx(1, abs=1e-3)
        rows = list(csv.DictReader(io.StringIO(client.get(f"/v1/{kind}?format=csv&limit=10000").text)))
        assert [(row["name"], int(row["count"])) for row in rows] == ranked
        text = client.get(f"/v1/{kind}?limit=10000", headers={"Accept": "application/x-ndjson"}).text
        assert [json.loads(line)["name"] for line in text.splitlines()] == [name for name, _ in ranked]
        window = client.get(f"/v1/{kind}?window=15m&limit=10000").json()
        assert [(item["name"], item["count"]) for item in window["items"]] == ranked


def test_pages_filters_and_orders(client: httpx.Client) -> None:
    def names(**params: Any) -> list[str]:
        return [item["name"] for item in client.get("/v1/words", params=params).json()["items"]]

    everything = names()
    assert names(limit=5) + names(limit=5, offset=5) == everything[:10]
    assert names(prefix="do") == [name for name in everything if name.startswith("do")]
    assert names(q="OR") == [name for name in everything if "or" in name]
    assert names(order="name") == sorted(everything)
    assert set(names(order="count")[:3]) <= set(everything[-10:])
    assert client.get("/v1/words?q=dolor").json()["matched"] == 2
    assert client.get("/v1/words?offset=100000").json()["items"] == []


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("types?window=3x", ["window"]),
        ("types?windw=3m", ["windw"]),
        ("types?from=yesterday", ["from"]),
        ("types?to=5", ["from"]),
        ("types?from=10&to=5", ["from"]),
        ("types?window=1m&from=5", ["window"]),
        ("types?compare=previous", ["compare"]),
        ("types?order=-change", ["order"]),
        ("types?limit=0", ["limit"]),
        ("types?limit=10001", ["limit"]),
        ("types?format=xml", ["format"]),
        ("types?from=2026-11-23T14:00:00", ["from"]),
        ("types?from=2026-02-30", ["from"]),
        ("types?from=now-1h&to=now-2h", ["from"]),
        ("types?from=now", ["from"]),
        ("types?from=now-1h&to=now%2B1h", ["to"]),
        ("words:series", ["name"]),
        ("types:series?step=7s", ["step"]),
        ("types:series?window=2w&step=1m", ["step"]),
        ("types:trending?window=0m", ["window"]),
        ("rejected?limit=x", ["limit"]),
        ("stats?verbose=1", ["verbose"]),
        ("types?limit=2&limit=3", ["limit"]),
        ("types?from=5&to=60&to=120", ["to"]),
        ("live?x=1", ["x"]),
        ("types:lookup", ["name"]),
        ("types:lookup?name=a&name=b", ["name"]),
        ("types?windw=1m&limit=0&from=yesterday", ["from", "limit", "windw"]),
        ("types?limit=0&order=name&order=count&offset=x", ["limit", "offset", "order"]),
        ("types?window=1m&from=5&order=change", ["order", "window"]),
        ("types:series?name=foo&name=bar&name=foo", ["name"]),
        ("types?window=1m&from=5&limit=0", ["limit", "window"]),
        ("types?from=10&to=5&order=change&offset=x", ["from", "offset", "order"]),
        ("types?from=9999999999&windw=1m", ["from", "windw"]),
        # What is there and cannot be read is not missed by the others.
        ("types?from=yesterday&to=5", ["from"]),
        ("types?window=3x&compare=previous", ["window"]),
        ("types?window=3x&order=change&compare=next", ["compare", "window"]),
        ("types?window=3x&from=5", ["window"]),
        ("words:series?name=foo&window=1m&from=5&step=x", ["step", "window"]),
    ],
)
def test_all_wrong_parameters_are_named(client: httpx.Client, query: str, parameters: list[str]) -> None:
    answer = client.get(f"/v1/{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["title"]) == ("/problems/invalid-parameters", "Parameters are wrong")
    assert sorted(each["parameter"] for each in problem["errors"]) == parameters
    for each in problem["errors"]:
        assert each["detail"]
        assert f"{each['parameter']}: {each['detail']}" in problem["detail"]


def test_who_asks_for_what_there_is_not_is_told_what_there_is(client: httpx.Client) -> None:
    for query, known in (
        ("types?sort=name", "order"),
        ("words?word=a", "type"),
        ("types:trending?order=name", "window"),
    ):
        assert known in client.get(f"/v1/{query}").json()["errors"][0]["detail"]
    assert "begin with cursor=*" in client.get("/v1/types?cursor=next").json()["detail"]


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("application/json, text/csv;q=0.1", "application/json"),
        ("application/json;q=0.1, text/csv; q=0.5", "text/csv"),
        ("text/csv;q=0, */*", "application/json"),
        ("text/*, application/json;q=0.9", "text/csv"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("application/jsonl, */*;q=0.8", "application/x-ndjson"),
        ("application/x-ndjson;q=high, text/csv;q=0.2", "text/csv"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        (";q=1,,", "application/json"),
        ("application/*", "application/json"),
    ],
)
def test_the_form_is_the_one_that_accept_likes_best(shared_api: httpx.Client, accept: str, given: str) -> None:
    answer = shared_api.get("/v1/types", headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == given
    assert answer.headers["vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("accept", ["application/vnd.text/csv+x", "text/html", "audio/*"])
def test_a_form_that_there_is_not_is_a_406_that_names_those_there_are(shared_api: httpx.Client, accept: str) -> None:
    tables = ["application/json", "text/csv", "application/x-ndjson"]
    for path, forms in {"/v1/types": tables, "/v1/stats": tables[:1], "/v1/rejected": tables}.items():
        answer = shared_api.get(path, headers={"Accept": accept})
        assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable"), path
        assert answer.json()["media_types"] == forms
        assert shared_api.get(path, headers={"Accept": f"{accept}, */*;q=0.1"}).status_code == 200, path
    assert shared_api.get("/v1/types?format=csv", headers={"Accept": accept}).status_code == 200
    for path in ("/events/CountWords", "/healthz"):
        assert shared_api.get(path, headers={"Accept": accept}).status_code == 200, "these answer whatever is asked"


def test_the_live_feed_comes_as_what_it_is(shared_api: httpx.Client) -> None:
    answer = shared_api.get("/v1/live", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["media_types"]) == (406, ["text/event-stream"])
    head = shared_api.head("/v1/live", headers={"Accept": "text/event-stream"})
    assert (head.status_code, head.content) == (200, b""), "without waiting for what changes"
    assert head.headers["content-type"].partition(";")[0] == "text/event-stream"


def test_accept_may_come_in_several_headers(shared_api: httpx.Client) -> None:
    accepts = [("Accept", "text/csv"), ("Accept", "application/json")]
    for headers in (accepts, accepts[:1], accepts[1:], accepts[::-1]):
        # One right after the other: what is given to one must not be given again to who likes another form best.
        answer = shared_api.get("/v1/types", headers=httpx.Headers(headers))
        wanted = "text/csv" if headers == accepts[:1] else "application/json"
        assert answer.headers["content-type"].partition(";")[0] == wanted


@pytest.mark.parametrize("path", ["/v1/types?limit=2", "/v1/stats", "/events/CountWords", "/v1/types?limit=0", "/v1/n"])
def test_head_answers_like_get_without_a_body(client: httpx.Client, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if get.is_success and path != "/v1/stats":  # of which something always changes
        assert head.headers["etag"] == get.headers["etag"]
        assert client.head(path, headers={"If-None-Match": get.headers["etag"]}).status_code == 304


def test_a_plus_that_was_not_escaped_is_one(client: httpx.Client) -> None:
    # Of the last hours, of which minutes are kept.
    moment = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:00")
    escaped = client.get(f"/v1/types?from={moment}%2B02:00&to={moment}.5%2B01:00").json()
    assert escaped["to"] - escaped["from"] == 3660
    assert client.get(f"/v1/types?from={moment}+02:00&to={moment}.5+01:00").json() == escaped | {"as_of": ANY}
    assert client.get("/v1/types?from=2026-11-23+14:00").status_code == 422, "that has no offset"


def test_a_time_range_is_the_same_in_whatever_form_its_ends_are_written(client: httpx.Client) -> None:
    now = datetime.now(UTC)
    day, next_day = (now + timedelta(days=days) for days in (-1, 1))
    midnight = "%Y-%m-%dT00:00:00Z"
    want = client.get(f"/v1/types?from={day.strftime(midnight)}&to={next_day.strftime(midnight)}").json()
    by_date = client.get(f"/v1/types?from={day:%Y-%m-%d}&to={next_day:%Y-%m-%d}").json()
    assert by_date == want | {"as_of": ANY}
    counted = client.get("/v1/types").json()["total"]
    assert want["total"] == counted > 0
    for query in ("from=now-1h", "from=now-1h&to=now", f"from=now-1h&to={next_day:%Y-%m-%d}"):
        answer = client.get(f"/v1/types:series?step=1m&{query}").json()
        assert answer["from"] <= now.timestamp() - 3600 < answer["from"] + 60, query
        assert answer["total"] == counted, query


def test_a_leap_second_is_a_time_of_the_day_that_it_ends(client: httpx.Client) -> None:
    answer = client.get("/v1/types?from=2016-12-31T23:59:60Z&to=2017-01-01T00:00:00Z").json()
    assert (answer["from"], answer["to"]) == (1483142400, 1483228800), "of so long ago there are days alone"
    assert client.get("/v1/types?from=2016-12-31T23:58:60Z").status_code == 422


def test_an_answer_that_the_client_has_is_not_sent_again(client: httpx.Client, server: Server) -> None:
    first = client.get("/v1/types")
    again = client.get("/v1/types", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    count(server, b'{"event_type": "new", "data": ""}')
    later = client.get("/v1/types", headers={"If-None-Match": first.headers["etag"]})
    assert later.status_code == 200
    assert "new" in [item["name"] for item in later.json()["items"]]


@pytest.mark.parametrize("path", ["/events/CountByEventType", "/events/CountWords"])
def test_a_name_that_is_called_like_a_field_of_ours_is_counted_on(
    client: httpx.Client, server: Server, path: str
) -> None:
    line = b'{"event_type": "as_of", "data": "as_of"}'
    count(server, line)
    first = client.get(path)
    count(server, line)
    later = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (first.json()["as_of"], later.status_code) == (1, 200)
    assert later.json()["as_of"] == 2


def test_one_name(client: httpx.Client, events: bytes) -> None:
    want = Expected.of(events.split(b"\n"))
    answer = client.get("/v1/types/foo?window=1h").json()
    assert answer["count"] == want.types["foo"]
    assert sum(answer["series"]["counts"]) == want.types["foo"]
    assert answer["rank"] == 1 + sum(each > want.types["foo"] for each in want.types.values())
    for window in (answer["first"], answer["last"]):
        assert window["to"] - window["from"] == 60
        assert 0 < window["total"] <= want.types["foo"]
    assert answer["series"]["total"] == want.types["foo"]
    missing = client.get("/v1/types/never")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


def test_names_from_events_come_back_as_they_are(client: httpx.Client, server: Server) -> None:
    hostile = [
        "<img src=x onerror=alert(1)>",
        "a/b?c#d",
        "=HYPERLINK(1)",
        "‮right to left",
        "x" * 256,
        "naïve",
        "%2F",
        " ",
        "",
        "a\nb",
        "foo\n",
        "\n",
        "\n=1+1",
        "\0=1+1",
        "\uff1d1+1",
        ".",
        "..",
    ]
    lines = [json.dumps({"event_type": name, "data": ""}).encode() for name in hostile]
    count(server, b"\n".join(lines))
    names = [item["name"] for item in client.get("/v1/types").json()["items"]]
    assert set(hostile) <= set(names)
    for name in hostile:
        by_query = client.get("/v1/types:lookup", params={"name": name}).json()
        assert (by_query["name"], by_query["count"]) == (name, 1)
        if name not in ("", ".", ".."):  # in a path the client takes them for folders
            by_path = client.get(f"/v1/types/{quote(name, safe='')}").json()
            assert (by_path["name"], by_path["count"]) == (name, 1)
    assert client.get("/v1/types/").status_code == 404, "a slash alone means nothing"
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/types?format=csv").text)))
    formulas = {"=HYPERLINK(1)", "\n=1+1", "\0=1+1", "\uff1d1+1"}
    assert {f"'{name}" for name in formulas} <= {row["name"] for row in rows}, "no spreadsheet takes them for formulas"


def table(answer: httpx.Response) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.text)))


def test_a_word_is_found_in_whichever_form_it_is_asked_for(client: httpx.Client, server: Server) -> None:
    parts, whole = "re\u0301sume\u0301", "r\u00e9sum\u00e9"
    count(server, json.dumps({"event_type": parts, "data": f"{parts} {whole}"}, ensure_ascii=False).encode())
    for asked in (parts, whole):
        answer = client.get(f"/v1/words/{quote(asked)}").json()
        assert (answer["name"], answer["count"], sum(answer["series"]["counts"])) == (whole, 2, 2)
        for part in ({"prefix": asked[:3]}, {"q": asked[1:].upper()}):
            items = client.get("/v1/words", params=part).json()["items"]
            assert [(each["name"], each["count"]) for each in items] == [(whole, 2)], part
        answer = client.get("/v1/words:series", params={"name": [asked, "lorem"]}).json()
        assert (answer["series"][0]["name"], sum(answer["series"][0]["counts"])) == (whole, 2)
    assert client.get(f"/v1/types/{quote(parts)}").json()["count"] == 1
    assert client.get(f"/v1/types/{quote(whole)}").status_code == 404
    both = {"name": [parts, whole]}
    twice = client.get("/v1/words:series", params=both)
    assert (twice.status_code, [each["parameter"] for each in twice.json()["errors"]]) == (422, ["name"])
    assert client.get("/v1/types:series", params=both).status_code == 200


def test_a_word_is_asked_for_as_it_is_where_that_is_set(server: Server, tmp_path: Path) -> None:
    parts = "re\u0301sume\u0301"
    with server.client() as redis:
        redis.hset(KEYS.words, parts, 1)
    with api(server, tmp_path, TALLY_NORMALIZE_WORDS="false") as client:
        assert client.get(f"/v1/words/{quote(parts)}").json()["name"] == parts


def test_a_series_comes_as_a_row_a_cell_and_name_whatever_the_names_are(client: httpx.Client, server: Server) -> None:
    names = ["time", "=1+1", "count", "never"]
    count(server, b"\n".join(json.dumps({"event_type": name, "data": ""}).encode() for name in names[:3]))
    query = {"window": "5m", "step": "1m", "name": names}
    series = client.get("/v1/types:series", params=query).json()
    want = [
        (at, row["name"], row["counts"][cell])
        for cell, at in enumerate(series["starts_at"])
        for row in series["series"]
    ]
    assert [row[1] for row in want[:4]] == names
    assert sum(row[2] for row in want) == 3
    heading, *rows = table(client.get("/v1/types:series", params=query | {"format": "csv"}))
    assert heading == ["starts_at", "name", "count"]
    assert [(int(at), name.removeprefix("'"), int(counted)) for at, name, counted in rows] == want
    assert "'=1+1" in [name for _, name, _ in rows], "no spreadsheet takes it for a formula"
    lines = client.get("/v1/types:series", params=query | {"format": "ndjson"}).text.splitlines()
    assert [tuple(json.loads(line).values()) for line in lines] == want
    heading, *rows = table(client.get("/v1/types:series?window=5m&step=5m&format=csv"))
    assert (heading, {name for _, name, _ in rows}) == (["starts_at", "name", "count"], {""}), "all events have no name"


def test_a_list_without_rows_has_its_columns(server: Server, shared_api: httpx.Client) -> None:
    for path, columns in {
        "/v1/types": ["name", "count", "share"],
        "/v1/words?window=5m": ["name", "count", "share"],
        "/v1/words:trending": ["name", "count", "baseline", "expected", "ratio", "score"],
        "/v1/rejected": ["id", "rejected_at", "line", "reason", "class", "source"],
    }.items():
        assert table(shared_api.get(path, headers={"Accept": "text/csv"})) == [columns], path


def test_status_and_rejected(client: httpx.Client, server: Server, events: bytes) -> None:
    want = Expected.of(events.split(b"\n"))
    before = time.time()
    status = client.get("/v1/stats").json()
    totals = status["totals"]
    assert (totals["events"], totals["rejected"], totals["words"]) == (want.events, want.rejected, want.words.total())
    assert (status["backlog"]["blocks"], status["dead_letters"], status["distinct_types"]) == (0, 0, 6)
    assert status["aggregators_alive"] == len(status["aggregators"]) == 0
    assert before - 1 <= status["as_of"] <= time.time(), "it is when it was read"
    told = json.loads(run("tally", "status", "--json", env={"TALLY_REDIS_URL": server.url}).stdout)
    told.pop("busiest_sources")  # which /v1/sources has
    assert set(status) - {"events_per_second"} == set(told), "the same things have the same names"
    assert all(status[name] == told[name] for name in set(told) - {"as_of"})
    rejected = client.get("/v1/rejected?limit=5").json()
    assert (len(rejected["items"]), rejected["total"]) == (5, want.rejected)
    assert all(item["reason"] for item in rejected["items"])
    by_reason = rejected["by_reason"]
    assert by_reason == status["rejected_by_reason"]
    assert sum(by_reason.values()) == want.rejected
    assert by_reason["not_json"] > 0
    assert by_reason["unknown"] == 0


def test_lines_that_were_rejected_without_a_reason_are_of_an_unknown_one(client: httpx.Client, server: Server) -> None:
    before = client.get("/v1/stats").json()
    with server.client() as redis:
        redis.hincrby(KEYS.totals, "rejected", 3)  # as a version does that knows no reasons
    want = before["totals"]["rejected"] + 3
    wait_until(lambda: client.get("/v1/stats").json()["totals"]["rejected"] == want, what="it is read anew")
    by_reason = client.get("/v1/stats").json()["rejected_by_reason"]
    assert by_reason == before["rejected_by_reason"] | {"unknown": 3}
    shown = run("tally", "status", env={"TALLY_REDIS_URL": server.url}).stdout
    assert any(line.split() == ["│", "unknown", "│", "3", "│"] for line in shown.splitlines()), shown


def test_trending_finds_what_rises_and_not_what_is_merely_frequent(server: Server, tmp_path: Path) -> None:
    now = int(time.time())
    past = [f'{{"event_type": "steady", "data": "common", "timestamp": {now - 1800}}}'] * 4000
    past += [f'{{"event_type": "steady", "data": "outage", "timestamp": {now - 1800}}}']
    present = [f'{{"event_type": "steady", "data": "common", "timestamp": {now}}}'] * 1000
    present += [f'{{"event_type": "rising", "data": "outage", "timestamp": {now}}}'] * 30
    present += [f'{{"event_type": "steady", "data": "once", "timestamp": {now}}}']
    count(server, "\n".join(past + present).encode())
    with api(server, tmp_path) as client:
        types, words = (client.get(f"/v1/{kind}:trending?window=15m").json() for kind in ("types", "words"))
        few = client.get("/v1/words:trending?window=15m&least_ratio=200").json()
        kept = client.get("/v1/stats").json()["kept"]
    assert kept == {"from": (now - 1800) // 60 * 60, "to": now // 60 * 60 + 60}
    assert [item["name"] for item in types["items"]] == ["rising"]
    assert [item["name"] for item in words["items"]] == ["outage", "once"]
    assert [item["name"] for item in few["items"]] == ["once"], "an outage is 116 times as frequent as before"
    assert words["items"][0]["score"] > 10 * words["items"][1]["score"]
    for answer in (types, words):
        assert (answer["present"]["total"], answer["baseline"]["total"]) == (1031, 4001)
        assert answer["baseline"]["to"] == answer["present"]["from"]


def test_without_a_past_nothing_is_trending_and_the_answer_says_so(client: httpx.Client) -> None:
    for kind in ("types", "words"):
        answer = client.get(f"/v1/{kind}:trending?window=15m").json()
        assert (answer["items"], answer["baseline"]["total"]) == ([], 0)
        assert answer["present"]["total"] > 0


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    """(event, id, data) of a text/event-stream."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}
        else:
            fields = {}


def test_live_feed_tells_what_changed_and_resumes(client: httpx.Client, server: Server) -> None:
    with client.stream("GET", "/v1/live") as answer:
        feed = events_of(answer.iter_lines())
        event, _, data = next(feed)
        assert event == "snapshot"
        while data["totals"]["lines"] != 3000:  # the poller may have asked before they were counted
            event, _, data = next(feed)
        count(server, b'{"event_type": "new", "data": "fresh"}')
        changed: dict[str, int] = {}
        while "new" not in changed:
            event, last_id, data = next(feed)
            assert event == "tick"
            changed |= data["types"]
        assert changed == {"new": 1}, "only what changed is told"
    count(server, b'{"event_type": "new", "data": "fresh"}')
    with client.stream("GET", "/v1/live", headers={"Last-Event-ID": last_id}) as answer:
        for event, _, data in events_of(answer.iter_lines()):
            assert event == "tick", "a watcher that resumes gets what it missed, not everything"
            if data["types"]:
                assert data["types"] == {"new": 2}
                break
    with client.stream("GET", "/v1/live", headers={"Last-Event-ID": "another-life-7"}) as answer:
        assert next(events_of(answer.iter_lines()))[0] == "snapshot"


def test_live_feed_says_that_redis_is_unavailable_and_goes_on(durable_server: Server, tmp_path: Path) -> None:
    with api(durable_server, tmp_path) as client, client.stream("GET", "/v1/live") as answer:
        feed = events_of(answer.iter_lines())
        assert next(feed)[0] == "snapshot"
        durable_server.kill()
        event, data = "", None
        while event != "unavailable":
            event, _, data = next(feed)
        assert data == client.get("/v1/types").json(), "the same problem details"
        assert client.get("/v1/types").status_code == 503
        durable_server.start()
        event = "unavailable"
        while event == "unavailable":
            event, _, _ = next(feed)
        assert event == "snapshot"
        assert client.get("/v1/types").status_code == 200
    said = [line["event"] for line in map(json.loads, (tmp_path / "api.log").read_text().splitlines())]
    # The feed says so, and so does a request that was answered with it.
    of_redis = [event for event, _ in groupby(event for event in said if event.startswith("redis is"))]
    assert of_redis == [REDIS_UNAVAILABLE, REDIS_AVAILABLE_AGAIN]


def test_a_stop_ends_open_feeds_promptly(server: Server, tmp_path: Path) -> None:
    port = free_port()
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_HTTP_PORT": str(port)}
    process = Process("api", log=tmp_path / "log", **variables)
    ended: list[bool] = []
    with running(process):
        wait_until(lambda: LISTENING in process.log(), what="it listens")

        def watch() -> None:
            with httpx.stream("GET", f"http://127.0.0.1:{port}/v1/live", timeout=30) as answer:
                for line in answer.iter_lines():
                    if line.startswith("event:"):
                        watching.set()
            ended.append(True)

        watching = threading.Event()
        watcher = threading.Thread(target=watch)
        watcher.start()
        assert watching.wait(30)
        assert process.stop() == 0
        watcher.join(10)
        assert ended == [True], "the feed ended, it was not cut off"
        assert "Traceback" not in process.log()


def test_a_token_guards_everything_but_health_and_the_page(server: Server, tmp_path: Path) -> None:
    with api(server, tmp_path, TALLY_API_TOKEN="geheim") as client:
        for path in ("/v1/types", "/v1/live", "/events/CountWords", "/openapi.json"):
            refused = client.get(path)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), path
            assert client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
            explained = client.get(refused.json()["type"])
            assert (explained.status_code, "TALLY_API_TOKEN" in explained.text) == (200, True), "without a token, too"
        for path in ("/", "/static/index.html", "/favicon.ico", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200, path
        client.headers["Authorization"] = "Bearer geheim"
        assert client.get("/v1/types").status_code == 200
        assert client.get("/events/CountWords").status_code == 200


@pytest.mark.parametrize("strips", [True, False])
def test_everything_works_under_a_path(server: Server, tmp_path: Path, strips: bool) -> None:
    """Whether the proxy takes its path off or passes it on."""
    prefix = "" if strips else "/tally"
    with api(server, tmp_path, TALLY_ROOT_PATH="/tally") as client:
        for path in ("/", "/static/index.html", "/v1/types", "/v1/words?format=csv", "/events/CountWords"):
            assert client.get(prefix + path).status_code == 200, path
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/tally"}]
        for path, headers, name in (
            ("/v1/types?limit=0", {}, "invalid-parameters"),
            ("/static/nowhere.js", {}, "no-such-path"),
            ("/v1/types", {"Host": "evil.example"}, "host-not-allowed"),
        ):
            type_ = client.get(prefix + path, headers=headers).json()["type"]
            assert type_ == f"/tally/problems/{name}"
            assert client.get(type_.removeprefix("/tally") if strips else type_).status_code == 200, type_
        page = client.get(f"{prefix}/").text
        asked = re.findall(r'(?:src|href)="(/[^"]*)"', page)
        assert all(path.startswith("/tally/") for path in asked), "the page asks for everything under that path"
        for path in asked:
            assert client.get(path.removeprefix("/tally") if strips else path).status_code == 200, path


def test_other_origins_may_read_only_when_named(server: Server, tmp_path: Path) -> None:
    origin = {"Origin": "https://dashboard.example"}
    with api(server, tmp_path) as client:
        assert "access-control-allow-origin" not in client.get("/v1/types", headers=origin).headers
    with api(server, tmp_path, TALLY_CORS_ORIGINS="https://dashboard.example") as client:
        allowed = client.get("/v1/types", headers=origin)
        assert allowed.headers["access-control-allow-origin"] == "https://dashboard.example"


def test_events_answers_take_a_limit(client: httpx.Client) -> None:
    everything = client.get("/events/CountWords").json()
    assert list(client.get("/events/CountWords?limit=3").json().items()) == list(everything.items())[:3]
    assert client.get("/events/CountWords?limit=no").status_code == 422
    assert client.get("/events/CountWords?limit=1&limit=2").status_code == 422
