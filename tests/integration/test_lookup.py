"""Several names at once, by POST: what is answered, and which bodies are refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import ANY

import httpx
import pytest

from tests.integration.test_query_api import api, count
from tests.server import Server

ORIGIN = "https://dashboard.example"

EVENTS = [("foo", "lorem ipsum lorem"), ("foo", "caf\u00e9"), ("bar", "lorem"), ("a/b ..\n", "x")]


@pytest.fixture(scope="module")
def client(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with api(shared_server, tmp_path_factory.mktemp("lookup"), TALLY_CORS_ORIGINS=ORIGIN) as client:
        with shared_server.client() as redis:
            redis.flushall()
        count(shared_server, b"\n".join(json.dumps({"event_type": t, "data": d}).encode() for t, d in EVENTS))
        yield client


def asked(client: httpx.Client, kind: str, names: list[str], query: str = "") -> Any:
    answer = client.post(f"/v1/{kind}:lookup{query}", json={"names": names})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_names_are_answered_in_the_order_in_which_they_were_asked_for(client: httpx.Client) -> None:
    found = asked(client, "types", ["bar", "never", "foo", "a/b ..\n", "bar", ""])
    assert [(item["name"], item["count"]) for item in found["items"]] == [
        ("bar", 1), ("never", 0), ("foo", 2), ("a/b ..\n", 1), ("bar", 1), ("", 0)
    ]  # fmt: skip
    assert [item["share"] for item in found["items"]] == [0.25, 0, 0.5, 0.25, 0.25, 0]
    assert (found["total"], found["from"], found["to"]) == (4, None, None)
    assert asked(client, "types", [])["items"] == []


def test_a_word_is_looked_up_in_the_form_in_which_it_is_counted(client: httpx.Client) -> None:
    found = asked(client, "words", ["cafe\u0301", "lorem", "Lorem"])
    assert [(item["name"], item["count"]) for item in found["items"]] == [("caf\u00e9", 1), ("lorem", 3), ("Lorem", 0)]
    assert found["total"] == client.get("/v1/words").json()["total"]


@pytest.mark.parametrize("query", ["?window=1h", "?from=now-1h&to=now", "?from=2020-01-01"])
def test_a_time_range_is_that_of_the_list(client: httpx.Client, query: str) -> None:
    listed = client.get(f"/v1/words{query}").json()
    found = asked(client, "words", [item["name"] for item in listed["items"]] + ["never"], query)
    assert found["items"] == [*listed["items"], {"name": "never", "count": 0, "share": 0}]
    assert [found[name] for name in ("from", "to", "total")] == [listed[name] for name in ("from", "to", "total")]


def test_it_comes_in_every_form_of_a_list(client: httpx.Client) -> None:
    names = {"names": ["foo", "never"]}
    rows = list(csv.reader(io.StringIO(client.post("/v1/types:lookup?format=csv", json=names).text)))
    assert rows == [["name", "count", "share"], ["foo", "2", "0.5"], ["never", "0", "0.0"]]
    lines = client.post("/v1/types:lookup", json=names, headers={"Accept": "application/x-ndjson"}).text.splitlines()
    assert [json.loads(line)["count"] for line in lines] == [2, 0]
    assert client.post("/v1/types:lookup", json=names, headers={"Accept": "text/html"}).status_code == 406


def test_as_many_as_may_be_are_answered(client: httpx.Client) -> None:
    names = [f"w{number}" for number in range(999)] + ["lorem"]
    assert [item["count"] for item in asked(client, "words", names)["items"]] == [0] * 999 + [3]


def test_what_is_counted_meanwhile_is_told_at_once_and_nothing_is_kept(
    client: httpx.Client, shared_server: Server
) -> None:
    first = client.post("/v1/types:lookup", json={"names": ["new"]}, headers={"If-None-Match": "*"})
    assert first.json()["items"][0]["count"] == 0
    assert "etag" not in first.headers
    count(shared_server, b'{"event_type": "new", "data": ""}')
    assert asked(client, "types", ["new"])["items"][0]["count"] == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"", {}, 400, "malformed-body"),
        (b'{"names": ["foo"', {}, 400, "malformed-body"),
        (b'{"names": ["\xff"]}', {}, 400, "malformed-body"),
        (b'{"names": ["\\ud800"]}', {}, 400, "malformed-body"),
        (b'["foo"]', {}, 422, "names"),
        (b'{"names": "foo"}', {}, 422, "names"),
        (b'{"names": ["foo", 7]}', {}, 422, "names"),
        (b'{"names": null}', {}, 422, "names"),
        (b"{}", {}, 422, "names"),
        (b'{"names": [], "windw": "15m"}', {}, 422, "windw"),
        (json.dumps({"names": ["x"] * 1001}).encode(), {}, 422, "names"),
        (json.dumps({"names": ["x" * 4097]}).encode(), {}, 422, "names"),
        (json.dumps({"names": ["x" * 4000] * 300}).encode(), {}, 413, "body-too-large"),
        (b'{"names": []}', {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported-body"),
        (b'{"names": []}', {"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported-body"),
        (b'{"names": []}', {"Content-Encoding": "gzip"}, 415, "unsupported-body"),
        (b'{"names": []}', {"Content-Type": ""}, 415, "unsupported-body"),
    ],
)
def test_what_is_no_such_body_is_told(
    client: httpx.Client, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    answer = client.post("/v1/words:lookup", content=body, headers={"Content-Type": "application/json"} | headers)
    assert answer.status_code == status, answer.text
    if status == 422:
        assert [error["parameter"] for error in answer.json()["errors"]] == [said]
    else:
        assert answer.json()["type"] == f"/problems/{said}"
        assert client.get(answer.json()["type"]).status_code == 200
    assert (answer.headers.get("accept") == "application/json") is (status == 415)


@pytest.mark.parametrize("content_type", ["application/json", 'Application/JSON; charset="UTF-8"'])
def test_json_is_taken_however_it_is_named(client: httpx.Client, content_type: str) -> None:
    answer = client.post("/v1/words:lookup", content=b'{"names": ["x"]}', headers={"Content-Type": content_type})
    assert answer.json()["items"] == [{"name": "x", "count": 1, "share": ANY}]


def test_wrong_parameters_are_told(client: httpx.Client) -> None:
    answer = client.post("/v1/words:lookup?window=3x&name=foo", json={"names": []})
    assert sorted(error["parameter"] for error in answer.json()["errors"]) == ["name", "window"]


def test_the_methods_of_a_path_are_those_that_it_takes(client: httpx.Client) -> None:
    for path in ("/v1/types:lookup", "/v1/words:lookup"):
        assert client.options(path).headers["allow"] == "GET, HEAD, OPTIONS, POST"
        for method in ("PUT", "PATCH", "DELETE"):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST"), method
    elsewhere = client.post("/v1/words", json={"names": []})
    assert (elsewhere.status_code, elsewhere.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert elsewhere.json()["type"] == "/problems/api-takes-no-events"
    assert client.get("/v1/types:lookup?name=foo").json()["count"] == 2


def test_a_page_of_another_site_may_ask_only_if_its_origin_is_allowed(client: httpx.Client) -> None:
    names = {"names": ["foo"]}
    refused = client.post("/v1/types:lookup", json=names, headers={"Origin": "https://evil.example"})
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/cross-site-request")
    assert client.post("/v1/types:lookup", json=names, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    allowed = client.options("/v1/types:lookup", headers={"Origin": ORIGIN, **preflight})
    assert allowed.status_code == 200
    assert "POST" in allowed.headers["access-control-allow-methods"]
    answer = client.post("/v1/types:lookup", json=names, headers={"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"})
    assert answer.json()["items"][0]["count"] == 2
    assert answer.headers["access-control-allow-origin"] == ORIGIN
