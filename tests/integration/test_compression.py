"""What is sent is small for who accepts that, and the same in every encoding."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.filling import KEYS, fill
from tests.integration.test_query_api import api
from tests.server import Server

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstd.decompress}

#: Of counts and of pages, each over a KiB.
PATHS = ["/events/CountWords", "/v1/words?limit=1000", "/v1/words?format=csv&limit=1000", "/", "/docs", "/openapi.json"]


@pytest.fixture(scope="module")
def shared_api(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with api(shared_server, tmp_path_factory.mktemp("api")) as client:
        yield client


@pytest.fixture
def client(server: Server, shared_api: httpx.Client) -> httpx.Client:
    """A client that says nothing of encodings, with 20,000 words counted."""
    with server.client() as redis:
        fill(redis, {KEYS.words: ((f"word{number}", number + 1) for number in range(20_000))})
        redis.zadd(KEYS.top, {f"word{number}": number + 1 for number in range(19_000, 20_000)})
    shared_api.headers["Accept-Encoding"] = ""
    return shared_api


def raw(
    client: httpx.Client, path: str, encoding: str, method: str = "GET", **headers: str
) -> tuple[httpx.Response, bytes]:
    """An answer, and its body as it came."""
    with client.stream(method, path, headers={"Accept-Encoding": encoding, **headers}) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("encoding", DECOMPRESS)
def test_an_answer_is_the_same_in_every_encoding(client: httpx.Client, path: str, encoding: str) -> None:
    plain, body = raw(client, path, "identity")
    answer, small = raw(client, path, encoding)
    assert (answer.status_code, answer.headers["content-encoding"]) == (200, encoding)
    assert "content-encoding" not in plain.headers
    assert DECOMPRESS[encoding](small) == body
    assert len(small) < 0.7 * len(body)
    assert (int(answer.headers["content-length"]), int(plain.headers["content-length"])) == (len(small), len(body))
    for each in (plain, answer):
        assert "accept-encoding" in each.headers["vary"].lower()
        assert each.headers["content-type"] == plain.headers["content-type"]
    head, nothing = raw(client, path, encoding, "HEAD")
    assert (nothing, head.headers["content-length"]) == (b"", answer.headers["content-length"])
    assert head.headers["content-encoding"] == encoding


@pytest.mark.parametrize("path", ["/events/CountWords", "/v1/words?limit=1000", "/static/main.js", "/static/page.css"])
def test_a_tag_stands_for_an_answer_in_every_encoding(client: httpx.Client, path: str) -> None:
    tags = [raw(client, path, encoding)[0].headers["etag"] for encoding in ("identity", *DECOMPRESS)]
    assert len({tag.removeprefix("W/") for tag in tags}) == 1
    assert all(tag.startswith("W/") for tag in tags[1:]), "of other bytes"
    for tag in tags:
        for encoding in ("identity", *DECOMPRESS):
            answer, body = raw(client, path, encoding, **{"If-None-Match": tag})
            assert (answer.status_code, body) == (304, b"")
            assert "content-encoding" not in answer.headers
            assert "accept-encoding" in answer.headers["vary"].lower()


def test_the_page_and_its_assets_come_small(client: httpx.Client) -> None:
    assets = re.findall(r'(?:src|href)="([^"#:]+)"', client.get("/").text)
    assert assets
    for path in ("/", *(str(client.base_url.join(asset).path) for asset in assets)):
        plain, body = raw(client, path, "identity")
        _, small = raw(client, path, "gzip, deflate, br, zstd")
        if len(body) > 1024 and not plain.headers["content-type"].startswith("image/png"):
            assert len(small) < 0.7 * len(body), path


@pytest.mark.parametrize("path", ["/v1/words?limit=3", "/healthz", "/v1/words?limit=0", "/static/nowhere.js"])
def test_what_is_small_and_what_is_an_error_is_sent_as_it_is(client: httpx.Client, path: str) -> None:
    assert "content-encoding" not in raw(client, path, "gzip, zstd")[0].headers


def test_a_part_of_an_asset_is_a_part_of_it_as_it_is(client: httpx.Client) -> None:
    whole = client.get("/static/page.css").content
    answer, part = raw(client, "/static/page.css", "gzip, zstd", Range="bytes=10-19")
    assert (answer.status_code, part) == (206, whole[10:20])


def test_the_live_feed_is_neither_compressed_nor_held_back(client: httpx.Client) -> None:
    with client.stream("GET", "/v1/live", headers={"Accept-Encoding": "gzip, zstd"}) as answer:
        assert "content-encoding" not in answer.headers
        assert any(line.startswith("event: ") for line in answer.iter_lines())
