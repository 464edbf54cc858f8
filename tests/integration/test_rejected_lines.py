"""Samples of rejected lines by time and reason, page by page; and how many there were of all time."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aggregator.lines import LineDecoder
from tally.rejections import SENTENCES, reason_of_sentence
from tally.settings import Settings
from tests.filling import KEYS
from tests.integration.test_query_api import api, count
from tests.server import Server

#: Lines, each with the reason for which it is rejected.
LINES: dict[bytes, str] = {
    b"{": "not_json",
    b'{"event_type": 7, "data": ""}': "not_an_event",
    b"\xff": "not_utf8",
    b'{"x":' + b"[" * 4000: "too_deep",
    b"x" * 5000: "too_long",
}

#: Those of the first batch; the second one has 30 before them that are no JSON, of which not all are kept as samples.
FEW = b"\n".join(list(LINES)[:4])


@pytest.fixture(scope="module")
def client(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with api(shared_server, tmp_path_factory.mktemp("rejected")) as client:
        with shared_server.client() as redis:
            redis.flushall()
        count(shared_server, FEW)
        (newest,) = samples(client, "limit=1")["items"]
        while time.time() <= newest["rejected_at"] + 0.002:  # the batches are not of the same millisecond
            time.sleep(0.001)
        count(shared_server, b"{\n" * 30 + FEW)
        yield client


def samples(client: httpx.Client, query: str = "") -> Any:
    answer = client.get(f"/v1/rejected?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("line", list(LINES), ids=list(LINES.values()))
def test_the_sentence_of_a_sample_tells_its_reason(line: bytes) -> None:
    said = LineDecoder(Settings(max_line_bytes=4500)).reason(line)
    assert said is not None
    assert reason_of_sentence(said) == LINES[line]


def test_each_reason_has_a_sentence_of_its_own() -> None:
    assert {reason: reason_of_sentence(said) for reason, said in SENTENCES.items()} == {
        each: each for each in SENTENCES
    }
    assert reason_of_sentence("what another version wrote") == "unknown"


def test_samples_are_chosen_by_their_reason_and_totals_stay_those_of_all_time(client: httpx.Client) -> None:
    every = samples(client, "limit=1000")
    assert len(every["items"]) == 24, "of a batch twenty are kept"
    exact = {"not_json": 32, "not_an_event": 2, "not_utf8": 2, "too_deep": 2}
    for reason, kept in {"not_json": 18, "not_an_event": 2, "too_deep": 2, "too_long": 0, "unknown": 0}.items():
        found = samples(client, f"reason={reason}&limit=1000")
        assert found["items"] == [item for item in every["items"] if item["class"] == reason]
        assert len(found["items"]) == kept
        assert found["total"] == 38
        assert {name: count for name, count in found["by_reason"].items() if count} == exact
        assert "kept" not in found


def test_pages_go_on_where_the_one_before_ended_whatever_comes_in_between(
    client: httpx.Client, shared_server: Server
) -> None:
    every = samples(client, "limit=1000&reason=not_json")["items"]
    found: list[Any] = []
    added: list[Any] = []
    before = ""
    while page := samples(client, f"limit=7&reason=not_json{before}")["items"]:
        found += page
        before = f"&before={page[-1]['id']}"
        with shared_server.client() as redis:
            added.append(redis.xadd("tally:{0}:rejected", {"line": "new", "reason": "not JSON: new", "source": ""}))
    assert found == every
    assert samples(client, "before=1-1")["items"] == [], "nothing is older than what is no longer kept"
    with shared_server.client() as redis:
        redis.xdel("tally:{0}:rejected", *added)


def test_those_of_a_time_range_are_grouped_by_reason(client: httpx.Client) -> None:
    every = samples(client, "limit=1000")["items"]
    second = max(item["rejected_at"] for item in every)
    early = samples(client, f"to={second}&group=reason")
    assert early["items"] == [item for item in every if item["rejected_at"] < second]
    assert early["kept"] | {"by_reason": None} == {
        "from": None,
        "to": second,
        "total": 4,
        "by_reason": None,
        "oldest_at": every[-1]["rejected_at"],
    }
    assert {name: count for name, count in early["kept"]["by_reason"].items() if count} == {
        "not_json": 1,
        "not_an_event": 1,
        "not_utf8": 1,
        "too_deep": 1,
    }
    late = samples(client, f"from={second}&group=reason&reason=not_utf8")
    assert [item["class"] for item in late["items"]] == ["not_utf8"]
    assert (late["kept"]["total"], late["kept"]["by_reason"]["not_json"]) == (20, 17)
    assert samples(client, "window=1h&limit=1000")["items"] == every
    assert samples(client, "from=now-2h&to=now-1h&group=reason")["kept"]["total"] == 0
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/rejected?format=csv&reason=not_an_event").text)))
    assert [row["class"] for row in rows] == ["not_an_event"] * 2


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("reason=none", "reason"), ("before=x", "before"), ("window=1h&to=now", "window"), ("from=5&to=5", "from")],
)
def test_what_cannot_be_asked_is_told(client: httpx.Client, query: str, parameter: str) -> None:
    answer = client.get(f"/v1/rejected?{query}")
    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


def test_what_is_looked_at_has_room_in_the_memory_of_the_api(server: Server, tmp_path: Path) -> None:
    with server.client() as redis:
        pipeline = redis.pipeline(transaction=False)
        for _ in range(10_000):
            pipeline.xadd(KEYS.rejected, {"line": "x", "reason": "not JSON", "source": "a"})
        pipeline.execute()
    with api(server, tmp_path, TALLY_MAX_SNAPSHOT_BYTES=str(32 << 20)) as client:
        assert client.get("/v1/rejected?group=reason").json()["type"] == "/problems/too-much-asked"
        assert len(samples(client, "limit=1000")["items"]) == 1000
        with server.client() as redis:
            redis.xtrim(KEYS.rejected, maxlen=2000)
        assert samples(client, "group=reason")["kept"]["total"] == 2000
