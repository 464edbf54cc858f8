"""The index at /v1 names all there is, at addresses where it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from tally.settings import Settings
from tests.server import Server

#: What never ends, and what needs to be told what.
NOT_ASKED = {"/v1/live"}


@pytest.fixture(params=["", "/tally"])
async def client(request: pytest.FixtureRequest, server: Server, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(redis_url=server.url, root_path=request.param), redis=redis)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test", params={}) as client,
    ):
        client.headers["x-below"] = request.param
        yield client


async def test_the_index_has_every_path_and_each_is_there(client: httpx.AsyncClient) -> None:
    root = client.headers.pop("x-below")
    answer = await client.get(f"{root}/v1")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    described = (await client.get(found["openapi"])).json()["paths"]
    assert [each["href"] for each in found["endpoints"]] == [root + path for path in described]
    for each, operations in zip(found["endpoints"], described.values(), strict=True):
        assert each["methods"] == [method.upper() for method in operations]
        if "GET" in each["methods"] and each["href"].removeprefix(root) not in NOT_ASKED:
            # Without what it needs: a name that was never counted, or a parameter that is missing.
            status = (await client.get(each["href"].replace("{name}", "nowhere"))).status_code
            assert status in (200, 404, 422), each
            problem = (await client.get(each["href"].replace("{name}", "nowhere"))).json() if status == 404 else {}
            assert problem.get("type", "") != f"{root}/problems/no-such-path", each
    links = dict(re.findall(r'<([^>]+)>; rel="([^"]+)"', answer.headers["link"]))
    assert set(links.values()) == {"service-desc", "service-doc", "status"}
    for address in links:
        assert (await client.get(address)).status_code == 200, address


async def test_the_index_is_an_answer_as_others(client: httpx.AsyncClient) -> None:
    root = client.headers.pop("x-below")
    answer = await client.get(f"{root}/v1")
    same = await client.get(f"{root}/v1", headers={"If-None-Match": answer.headers["etag"]})
    assert same.status_code == 304
    assert (await client.get(f"{root}/v1?x=1")).status_code == 422
    assert (await client.get(f"{root}/v1", headers={"Accept": "text/csv"})).status_code == 406
    assert (await client.post(f"{root}/v1")).status_code == 405
