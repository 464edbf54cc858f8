"""Names that are listed by what they are: over the api, with words of which not all are read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tally.keys import TOP_WORDS
from tests.integration.test_query_api import api, count
from tests.server import Server

#: How often each is counted: more than are kept as the most frequent ones.
WORDS = {"the": 50, "The": 40, "Straße": 30, "STRASSE": 20, "err.1": 0} | {
    f"w{number}": 1 for number in range(TOP_WORDS)
}


def event(type_: str, data: str) -> bytes:
    return json.dumps({"event_type": type_, "data": data}).encode()


@pytest.fixture(scope="module")
def client(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with api(shared_server, tmp_path_factory.mktemp("filters")) as client:
        with shared_server.client() as redis:
            redis.flushall()
        words = " ".join(f"{word} " * times for word, times in WORDS.items())
        count(shared_server, b"\n".join([event("error.500", words), event("Error.404", ""), event("größe", "")]))
        yield client


def answer(client: httpx.Client, query: str, kind: str = "words") -> tuple[list[str], Any]:
    found = client.get(f"/v1/{kind}?{query}")
    assert found.status_code == 200, found.text
    return [item["name"] for item in found.json()["items"]], found.json()


def test_beginnings_and_parts_are_alike_in_case(client: httpx.Client) -> None:
    for asked in ("prefix=TH", "prefix=th", "q=HE", "q=he"):
        assert answer(client, asked)[0] == ["the", "The"], asked
    for asked in ("prefix=STRAS", "prefix=straß", "q=rass", "q=RASSE"):
        assert answer(client, asked)[0] == ["Straße", "STRASSE"], asked


def test_names_are_left_out_and_totals_are_those_of_all(client: httpx.Client) -> None:
    every, whole = answer(client, "limit=10")
    for when in ("", "window=1h&"):
        names, found = answer(client, f"{when}limit=2&exclude=the&exclude=w7&exclude=never&exclude=__other__")
        assert names == ["The", "Straße"]
        assert (found["total"], found["distinct"]) == (whole["total"], whole["distinct"])
        assert found["matched"] == whole["distinct"] - 2
        assert found["items"][0]["share"] == whole["items"][1]["share"]
    assert answer(client, "limit=9&exclude=the")[0] == every[1:]
    assert answer(client, "limit=3&offset=1&exclude=the")[0] == every[2:5]
    # Of more than are kept as the most frequent ones all are read.
    assert len(answer(client, "limit=2000&exclude=the&order=-count")[0]) == whole["distinct"] - 1
    names, found = answer(client, "limit=2&exclude=w1&prefix=w1&order=name")
    assert (names, found["matched"]) == (["w10", "w100"], 110)
    rows = csv.DictReader(io.StringIO(client.get("/v1/types?exclude=error.500&format=csv&order=name").text))
    assert [row["name"] for row in rows] == ["Error.404", "größe"]


def test_the_same_name_may_be_left_out_twice(client: httpx.Client) -> None:
    assert answer(client, "limit=1&exclude=the&exclude=the")[1]["matched"] == len(WORDS) - 2


@pytest.mark.parametrize(
    ("regex", "want"),
    [
        (r"^err", ["error.500"]),
        (r"(?i)^err", ["Error.404", "error.500"]),
        (r"\.\d{3}$", ["Error.404", "error.500"]),
        (r"r.ß", ["größe"]),
        (r"^\pL+$", ["größe"]),
        (r"^.$", []),
    ],
)
def test_a_regular_expression_is_searched_for_in_names(client: httpx.Client, regex: str, want: list[str]) -> None:
    found = client.get("/v1/types", params={"regex": regex, "order": "name"}).json()
    assert [item["name"] for item in found["items"]] == want
    assert found["matched"] == len(want)


def test_all_filters_must_be_passed(client: httpx.Client) -> None:
    query = {"regex": "[05]$", "prefix": "w1", "q": "5", "exclude": ["w150", "w15"]}
    found = client.get("/v1/words", params=query | {"order": "name"}).json()
    assert [item["name"] for item in found["items"]] == [
        "w105",
        "w115",
        "w125",
        "w135",
        "w145",
        "w155",
        "w165",
        "w175",
        "w185",
        "w195",
    ]


@pytest.mark.parametrize("regex", ["(", r"(a)\1", "a(?!b)", "(a{99}){99}", "x" * 257])
def test_what_is_no_regular_expression_is_told(client: httpx.Client, regex: str) -> None:
    found = client.get("/v1/words", params={"regex": regex, "limit": 0})
    assert found.status_code == 422
    errors = {error["parameter"]: error["detail"] for error in found.json()["errors"]}
    assert errors.keys() == {"regex", "limit"}
    assert len(regex) > 256 or "regular expression of RE2" in errors["regex"]


@pytest.mark.parametrize("regex", ["(a*)*b", "(w+w+)+x", "^(([w0-9])+.)+[A-Z]([a-z])+$"])
def test_one_that_is_catastrophic_elsewhere_is_answered(client: httpx.Client, regex: str) -> None:
    assert client.get("/v1/words", params={"regex": regex}).json()["matched"] == 0


def test_pages_that_a_cursor_leads_through_are_filtered_as_the_first_one(client: httpx.Client) -> None:
    query: dict[str, Any] = {"prefix": "W1", "regex": "[05]$", "exclude": ["w15", "w100"], "order": "name"}
    whole = [item["name"] for item in client.get("/v1/words", params=query | {"limit": 1000}).json()["items"]]
    found: list[str] = []
    asked: dict[str, Any] = query | {"cursor": "*", "limit": 5}
    while asked["cursor"]:
        page = client.get("/v1/words", params=asked).json()
        found += [item["name"] for item in page["items"]]
        asked = {"cursor": page["next"], "limit": 5}
    assert found == whole
    assert "w105" in whole
    assert "w100" not in whole
    text = client.get("/v1/words", params=query | {"format": "csv"}).text
    assert [row["name"] for row in csv.DictReader(io.StringIO(text))] == whole
