"""A list that is read page by page is the list as it was: on a real server, while counting goes on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from api.cursors import Place
from api.params import DEFAULT_ITEMS
from tally.keys import OTHER
from tests.filling import KEYS, fill, fill_windows
from tests.integration.test_query_api import api, count
from tests.server import Server

#: A minute long ago, so that no window ends while a test runs, and the one before it.
MINUTE = 1_700_000_040 // 60 * 60
RANGE = f"from={MINUTE}&to={MINUTE + 60}"

WORDS = {f"w{number * 2_654_435_761 % 2**32:x}": 1 + 3000 // (number + 1) for number in range(1500)}
BEFORE = {f"w{number * 2_654_435_761 % 2**32:x}": 1 + number % 7 for number in range(1000, 1800)}


@pytest.fixture(scope="module")
def shared_api(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with api(shared_server, tmp_path_factory.mktemp("cursors")) as client:
        yield client


@pytest.fixture
def client(server: Server, shared_api: httpx.Client) -> httpx.Client:
    """A client of an api on an empty server."""
    return shared_api


@pytest.fixture
def filled(server: Server, client: httpx.Client) -> httpx.Client:
    with server.client() as redis:
        fill(redis, {KEYS.words: {**WORDS, OTHER: 99}.items(), KEYS.types: [("foo", 3), ("bar", 1)]})
        fill_windows(redis, {MINUTE - 60: [*BEFORE.items(), (OTHER, 5)], MINUTE: [*WORDS.items(), (OTHER, 7)]})
    return client


def events(types: dict[str, int]) -> bytes:
    lines = [{"event_type": name, "data": "x"} for name, number in types.items() for _ in range(number)]
    return b"\n".join(json.dumps(line).encode() for line in lines)


def pages(client: httpx.Client, question: str) -> Iterator[httpx.Response]:
    """Yield the answer to a question and those after it, as their links say."""
    address: str | None = question
    while address is not None:
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        yield answer
        link = answer.links.get("next")
        address = None if link is None else urljoin(str(answer.url), link["url"])


def items(answers: list[httpx.Response]) -> list[dict[str, Any]]:
    return [item for answer in answers for item in answer.json()["items"]]


@pytest.mark.parametrize("begin", ["cursor=*&", ""])
def test_pages_of_a_live_list_neither_repeat_nor_skip(server: Server, client: httpx.Client, begin: str) -> None:
    """With each page what stood last becomes first, and something new comes: pages by offset would go wrong."""
    types = {f"type{at:02}": 1 + at for at in range(30)}
    count(server, events(types))
    found, by_offset = [], []
    for number, answer in enumerate(pages(client, f"/v1/types?{begin}limit=7")):
        found.append(answer)
        by_offset += [item["name"] for item in client.get(f"/v1/types?limit=7&offset={7 * number}").json()["items"]]
        count(server, events({f"type{3 * number:02}": 100, f"type{3 * number + 1:02}": 100, f"new{number}": 50}))
    ranked = sorted(types.items(), key=lambda each: -each[1])
    assert [(item["name"], item["count"]) for item in items(found)] == ranked
    assert [len(answer.json()["items"]) for answer in found] == [7, 7, 7, 7, 2]
    assert sum(item["count"] for item in items(found)) == found[0].json()["total"]
    assert {(answer.json()["total"], answer.json()["as_of"]) for answer in found} == {
        (found[0].json()["total"], found[0].json()["as_of"])
    }
    assert [answer.json()["next"] is None for answer in found] == [False] * 4 + [True]
    assert len(set(by_offset)) < len(by_offset), "a list that does not change shows nothing"
    again = items(list(pages(client, "/v1/types?cursor=*")))
    assert {item["name"] for item in again} > {name for name, _ in ranked}


def test_a_first_page_for_which_not_all_names_are_read_leads_nowhere(server: Server, filled: httpx.Client) -> None:
    with server.client() as redis:
        redis.zadd(KEYS.top, dict(sorted(WORDS.items(), key=lambda each: -each[1])[:1000]))
    first = filled.get("/v1/words?limit=3")
    assert "next" not in first.json()
    assert "next" not in first.links
    begun = filled.get("/v1/words?limit=3&cursor=*")
    assert [item["name"] for item in begun.json()["items"]] == [item["name"] for item in first.json()["items"]]
    assert "next" in begun.links
    assert filled.get("/v1/types").json()["next"] is None, "it has all there are"
    assert "next" not in filled.get("/v1/types?limit=1&offset=0").json(), "who counts places goes on so"


@pytest.mark.parametrize(
    "question",
    [
        "order=-count",
        "order=count",
        "order=name",
        "order=-name",
        "q=A1",
        "prefix=w1&order=count",
        "regex=[0-9]$&exclude=w0&exclude=w9e3779b1",
        f"{RANGE}&compare=previous",
        f"{RANGE}&compare=previous&order=-change",
        f"{RANGE}&compare=previous&order=change&q=7",
    ],
)
def test_all_pages_together_are_the_whole_table(filled: httpx.Client, question: str) -> None:
    whole = [json.loads(line) for line in filled.get(f"/v1/words?format=ndjson&{question}").text.splitlines()]
    assert len(whole) > 30
    limit = len(whole) // 4
    named = whole[:-1] if whole[-1]["name"] == OTHER else whole
    assert items(list(pages(filled, f"/v1/words?cursor=*&limit={limit}&{question}"))) == named
    found = list(pages(filled, f"/v1/words?format=csv&cursor=*&limit={limit + 1}&{question}"))
    rows = [row for answer in found for row in csv.DictReader(io.StringIO(answer.text))]
    assert [(row["name"], int(row["count"])) for row in rows] == [(row["name"], row["count"]) for row in whole]
    assert all("attachment" in answer.headers["content-disposition"] for answer in found)


def test_next_goes_on_alone_or_beside_what_was_asked_for(filled: httpx.Client) -> None:
    asked: dict[str, Any] = {"q": "a", "exclude": ["wa", "wb"], "order": "name", "limit": 10}
    whole = [item["name"] for item in filled.get("/v1/words", params=asked | {"limit": 1000}).json()["items"]]
    first = filled.get("/v1/words", params=asked | {"cursor": "*"}).json()
    assert [item["name"] for item in first["items"]] == whole[:10]
    for second in (
        filled.get("/v1/words", params={"cursor": first["next"]}),
        filled.get("/v1/words", params=asked | {"cursor": first["next"]}),
    ):
        assert [item["name"] for item in second.json()["items"]] == whole[10:20]
    longer = filled.get("/v1/words", params={"cursor": first["next"], "limit": 3, "format": "ndjson"})
    assert [json.loads(line)["name"] for line in longer.text.splitlines()] == whole[10:13]
    third = filled.get(urljoin(str(longer.url), longer.links["next"]["url"]))
    assert [json.loads(line)["name"] for line in third.text.splitlines()] == whole[13:16], "with the same limit"
    assert len(filled.get("/v1/words?cursor=*").json()["items"]) == DEFAULT_ITEMS
    assert len(filled.get("/v1/words?cursor=*&format=csv").text.splitlines()) == 1 + DEFAULT_ITEMS


def test_a_list_that_did_not_change_is_begun_in_the_same_place(filled: httpx.Client) -> None:
    first = filled.get("/v1/words?cursor=*&limit=5")
    same = filled.get("/v1/words?cursor=*&limit=5", headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.headers["link"]) == (304, first.headers["link"])
    second = filled.head("/v1/words", params={"cursor": first.json()["next"]})
    assert (second.status_code, second.content) == (200, b"")
    assert 'rel="next"' in second.headers["link"]


def wrong(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [error["parameter"] for error in answer.json()["errors"]]


def test_a_cursor_that_leads_nowhere_is_told_apart(filled: httpx.Client) -> None:
    cursor = filled.get("/v1/words?cursor=*&limit=5&q=a").json()["next"]
    assert wrong(filled.get("/v1/words", params={"cursor": cursor[:-1]})) == ["cursor"]
    assert wrong(filled.get("/v1/words", params={"cursor": "x" + cursor[1:]})) == ["cursor"]
    assert wrong(filled.get("/v1/words", params={"cursor": "AAAAAAAAAAAA"})) == ["cursor"]
    assert wrong(filled.get("/v1/words", params={"cursor": "a b"})) == ["cursor"]
    assert wrong(filled.get("/v1/types", params={"cursor": cursor})) == ["cursor"]
    assert wrong(filled.get("/v1/words", params={"cursor": cursor, "q": "b"})) == ["q"]
    assert wrong(filled.get("/v1/words", params={"cursor": cursor, "window": "1h", "order": "name"})) == [
        *("window", "order")
    ]
    assert wrong(filled.get("/v1/words", params={"cursor": cursor, "offset": 5})) == ["offset"]
    assert wrong(filled.get("/v1/words", params={"cursor": "*", "offset": 5})) == ["offset"]
    assert filled.get("/v1/words", params={"cursor": cursor, "q": "a"}).status_code == 200


def test_a_cursor_of_another_api_says_to_begin_again(server: Server, filled: httpx.Client, tmp_path: Path) -> None:
    cursor = filled.get("/v1/words?cursor=*&limit=5").json()["next"]
    with api(server, tmp_path) as other:
        answer = other.get("/v1/words", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["type"]) == (410, "/problems/cursor-gone")
        assert "another api" in answer.json()["detail"]
        assert "cursor=*" in answer.json()["detail"]
        assert "cursor=*" in other.get(answer.json()["type"]).text
    place = Place.of(cursor)
    never = Place(place.life, place.number + 1000, place.kind, 0, 5).cursor()
    answer = filled.get("/v1/words", params={"cursor": never})
    assert (answer.status_code, "others needed its memory" in answer.json()["detail"]) == (410, True)
    beyond = filled.get("/v1/words", params={"cursor": Place(place.life, place.number, "words", 10**9, 5).cursor()})
    assert (beyond.status_code, beyond.json()["items"], beyond.json()["next"]) == (200, [], None)


def test_links_are_below_the_path_of_a_proxy(server: Server, filled: httpx.Client, tmp_path: Path) -> None:
    with api(server, tmp_path, TALLY_ROOT_PATH="/tally") as behind:
        found = list(pages(behind, "/tally/v1/words?cursor=*&limit=1000"))
        assert [answer.url.path for answer in found] == ["/tally/v1/words"] * 2
        assert len(items(found)) == len(WORDS)
