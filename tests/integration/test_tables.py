"""Tables with all rows: CSV and NDJSON of any number of names, made while they are sent."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import socket
import sys
from collections.abc import Iterator

import httpx
import pytest

from api.params import DEFAULT_ITEMS, MOST_ITEMS
from api.work import MOST_TABLES
from tally.keys import OTHER
from tests.filling import KEYS, fill, fill_windows
from tests.integration.test_query_api import api
from tests.server import Server
from tests.waiting import wait_until

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Names with what a table must not be put off by, and many more.
WORDS = {"=1+1": 90_000, "a,b": 80_000, 'say "x"': 70_000, "naïve": 60_000} | {
    f"w{number * 2_654_435_761 % 2**32:x}": 1 + 50_000 // (number + 1) for number in range(4 * MOST_ITEMS)
}
UNDER_OTHER = 12_345
TOTAL = sum(WORDS.values()) + UNDER_OTHER

RANKED = sorted(WORDS.items(), key=lambda each: (-each[1], each[0].encode()))

#: A minute long ago, so that no window ends while a test runs, and the one before it.
MINUTE = 1_700_000_040 // 60 * 60
RANGE = {"from": str(MINUTE), "to": str(MINUTE + 60)}


@pytest.fixture(scope="module")
def client(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with shared_server.client() as redis:
        redis.flushall()
        fill(redis, {KEYS.words: {**WORDS, OTHER: UNDER_OTHER}.items(), KEYS.types: [("foo", 3), ("bar", 1)]})
        fill_windows(redis, {MINUTE - 60: [("a", 5), (OTHER, 2)], MINUTE: [("a", 1), ("b", 3), (OTHER, 7)]})
    with api(shared_server, tmp_path_factory.mktemp("tables")) as client:
        yield client


def table(answer: httpx.Response) -> list[tuple[str, int]]:
    """The rows of a CSV with names and counts; what protects spreadsheets is taken away again."""
    assert answer.status_code == 200, answer.text
    rows = csv.DictReader(io.StringIO(answer.text, newline=""))
    return [(row["name"].removeprefix("'"), int(row["count"])) for row in rows]


def test_a_table_has_all_names_and_its_counts_add_up_to_the_total(client: httpx.Client) -> None:
    answer = client.get("/v1/words?format=csv")
    rows = table(answer)
    assert rows == [*RANKED, (OTHER, UNDER_OTHER)]
    assert sum(count for _, count in rows) == TOTAL == client.get("/v1/words?limit=1").json()["total"]
    assert "\r\n'=1+1,90000," in answer.text, "a spreadsheet takes it for no formula"
    lines = client.get("/v1/words", headers={"Accept": "application/x-ndjson"}).text.splitlines()
    assert [(row["name"], row["count"]) for row in map(json.loads, lines)] == rows
    shares = [json.loads(line)["share"] for line in lines]
    assert sum(shares) == pytest.approx(1, abs=0.05), "which are rounded"


def test_a_limit_is_one_in_every_form_and_json_has_one_by_itself(client: httpx.Client) -> None:
    assert table(client.get("/v1/words?format=csv&limit=5")) == RANKED[:5]
    assert len(client.get("/v1/words").json()["items"]) == DEFAULT_ITEMS
    assert client.get(f"/v1/words?format=csv&limit={MOST_ITEMS + 1}").status_code == 422


@pytest.mark.parametrize(
    ("query", "want"),
    [
        ("order=count", [*sorted(RANKED, key=lambda each: (each[1], each[0].encode())), (OTHER, UNDER_OTHER)]),
        ("order=-name", [*sorted(RANKED, key=lambda each: each[0].encode(), reverse=True), (OTHER, UNDER_OTHER)]),
        ("offset=40001", [*RANKED[40_001:], (OTHER, UNDER_OTHER)]),
        ("offset=25000&q=W", [each for each in RANKED if "w" in each[0]][25_000:]),
        ("prefix=w1", [each for each in RANKED if each[0].startswith("w1")]),
    ],
)
def test_orders_filters_and_offset_hold_for_all_rows(
    client: httpx.Client, query: str, want: list[tuple[str, int]]
) -> None:
    """Where names are left out, what has no name of its own is, too: nobody knows whether it would be."""
    assert table(client.get(f"/v1/words?format=csv&{query}")) == want


def test_a_table_of_a_comparison_compares_what_has_no_name_of_its_own(client: httpx.Client) -> None:
    answer = client.get("/v1/words", params=RANGE | {"format": "ndjson", "compare": "previous", "order": "-change"})
    assert [json.loads(line) for line in answer.text.splitlines()] == [
        {"name": "b", "count": 3, "share": 0.272727, "present": 3, "previous": 0, "change": 3},
        {"name": "a", "count": 1, "share": 0.090909, "present": 1, "previous": 5, "change": -4},
        {"name": OTHER, "count": 7, "share": 0.636364, "present": 7, "previous": 2, "change": 5},
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/words?format=csv", r"tally-words-until-\d{8}T\d{6}Z\.csv"),
        ("/v1/types?format=ndjson", r"tally-types-until-\d{8}T\d{6}Z\.ndjson"),
        (f"/v1/words?format=csv&from={MINUTE}&to={MINUTE + 60}", r"tally-words-20231114T221400Z-20231114T221500Z\.csv"),
        ("/v1/types:series?format=csv&window=5m&name=%2Fetc%2Fpasswd", r"tally-types-series-_etc_passwd-.*Z-.*Z\.csv"),
        ("/v1/types:trending?format=csv", r"tally-types-trending-.*Z-.*Z\.csv"),
        ("/v1/rejected?format=csv", r"tally-rejected-until-.*Z\.csv"),
    ],
)
def test_a_table_is_saved_under_a_name_that_says_what_it_is(client: httpx.Client, path: str, name: str) -> None:
    for answer in (client.get(path), client.head(path)):
        disposition = answer.headers["content-disposition"]
        assert re.fullmatch(f'attachment; filename="{name}"', disposition), disposition
    json_of_it = re.sub("format=(csv|ndjson)", "format=json", path)
    assert "content-disposition" not in client.get(json_of_it).headers


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_table_is_compressed_while_it_is_made(client: httpx.Client, encoding: str) -> None:
    with client.stream("GET", "/v1/words?format=csv", headers={"Accept-Encoding": encoding}) as answer:
        body = b"".join(answer.iter_raw())
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == (encoding, "Accept, Accept-Encoding")
    plain = client.get("/v1/words?format=csv", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(body) < len(plain.content) / 2
    assert (gzip if encoding == "gzip" else zstd).decompress(body) == plain.content
    assert plain.headers["etag"] == answer.headers["etag"]


def test_the_same_table_is_not_sent_again_and_another_one_is(client: httpx.Client, shared_server: Server) -> None:
    etag = client.get("/v1/words?format=csv").headers["etag"]
    unchanged = client.get("/v1/words?format=csv", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
    assert client.get("/v1/words?format=ndjson", headers={"If-None-Match": etag}).status_code == 200
    with shared_server.client() as redis:
        redis.hincrby(KEYS.words, "naïve", 1)
        redis.hincrby(KEYS.totals, "events", 1)
    try:
        wait_until(
            lambda: client.get("/v1/words?format=csv", headers={"If-None-Match": etag}).status_code == 200,
            what="it is seen that something was counted",
        )
    finally:
        with shared_server.client() as redis:
            redis.hincrby(KEYS.words, "naïve", -1)
            redis.hincrby(KEYS.totals, "events", 1)


def test_head_gives_the_headers_of_a_table_and_the_connection_goes_on(client: httpx.Client) -> None:
    answer = client.head("/v1/words?format=csv")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == client.get("/v1/words?format=csv").headers["etag"]
    assert client.get("/healthz").json() == {"status": "ok"}


def test_clients_that_leave_give_their_places_back(client: httpx.Client) -> None:
    """More of them than tables may be sent at once: nobody after them waits for one."""
    head = b"GET /v1/words?format=csv HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: identity\r\n\r\n"
    for _ in range(MOST_TABLES + 8):
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(head)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
    assert len(table(client.get("/v1/words?format=csv"))) == len(WORDS) + 1
