"""What the api tells of sources: pages of them in any order, tables with all, and how many lines come from each."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from api.cached_counts import CachedCounts
from api.memory import Memory
from api.sources import LINGER_SECONDS, RATE_SECONDS, SAMPLE_SECONDS, Sources
from api.work import Work
from tally.clock import SystemClock
from tally.settings import Settings
from tally.store import StoreUnavailable
from tally.store.source_counts import SourceCount
from tests.fakes import FakeClock
from tests.integration.test_source_counts import BAD, GOOD, Shard


class Later(SystemClock):
    """A clock by which much time passes between two questions."""

    passed_seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.passed_seconds


@pytest.fixture
async def client(redis: Redis, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings.model_copy(update={"max_sources": 4}), redis=redis, clock=Later())
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        yield client


@pytest.fixture
async def counted(redis: Redis, settings: Settings) -> Shard:
    shard = Shard(redis, settings.model_copy(update={"max_sources": 4}))
    for source, good, bad in (("tail:/B.log", 5, 1), ("tail:/a.log", 9, 0), ("-", 1, 3), ("tcp://h:1", 2, 2)):
        await shard.append(f"{source}#1", *[GOOD] * good, *[BAD] * bad)
        await shard.count()
    for number in range(3):
        await shard.append(f"file:/{number}#1", GOOD, BAD)
    await shard.count()
    return shard


async def names(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get("/v1/sources", params=params)
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


async def test_a_list_has_each_source_and_says_what_all_come_to(client: httpx.AsyncClient, counted: Shard) -> None:
    answer = (await client.get("/v1/sources")).json()
    first = answer["items"][0]
    assert {name: first[name] for name in ("name", "lines", "rejected", "rejected_share", "lag_seconds")} == {
        "name": "tail:/a.log",
        "lines": 9,
        "rejected": 0,
        "rejected_share": 0.0,
        "lag_seconds": 0.0,
    }
    assert first["newest_at"] == first["seen_at"] > 1_600_000_000
    assert (answer["distinct"], answer["matched"]) == (4, 4)
    totals = await counted.reader.totals()
    assert (answer["lines"], answer["rejected"]) == (totals["lines"], totals["rejected"]) == (29, 9)
    assert (answer["other"]["name"], answer["other"]["lines"], answer["other"]["rejected"]) == ("__other__", 6, 3)


@pytest.mark.usefixtures("counted")
async def test_they_are_ordered_filtered_and_come_in_pages(client: httpx.AsyncClient) -> None:
    assert await names(client) == ["tail:/a.log", "tail:/B.log", "-", "tcp://h:1"]
    assert await names(client, order="-rejected") == ["-", "tcp://h:1", "tail:/B.log", "tail:/a.log"]
    assert await names(client, order="-share") == ["-", "tcp://h:1", "tail:/B.log", "tail:/a.log"]
    assert await names(client, order="name") == ["-", "tail:/B.log", "tail:/a.log", "tcp://h:1"]
    assert await names(client, order="-name") == ["tcp://h:1", "tail:/a.log", "tail:/B.log", "-"]
    assert await names(client, order="newest") == ["tail:/B.log", "tail:/a.log", "-", "tcp://h:1"]
    assert await names(client, order="-rate") == ["-", "tail:/B.log", "tail:/a.log", "tcp://h:1"], "none is known yet"
    assert await names(client, limit=2, offset=1) == ["tail:/B.log", "-"]
    assert await names(client, prefix="TAIL:") == ["tail:/a.log", "tail:/B.log"]
    assert await names(client, q="b.LOG") == ["tail:/B.log"]
    assert await names(client, prefix="x") == []
    assert (await client.get("/v1/sources", params={"prefix": "tail:", "limit": 1})).json()["matched"] == 2
    assert (await client.get("/v1/sources", params={"order": "size"})).status_code == 422


@pytest.mark.usefixtures("counted")
async def test_a_table_has_all_of_them_and_adds_up(client: httpx.AsyncClient) -> None:
    table = await client.get("/v1/sources", params={"format": "csv"})
    assert 'filename="tally-sources-until-' in table.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["name"] for row in rows] == ["tail:/a.log", "tail:/B.log", "'-", "tcp://h:1", "__other__"]
    assert sum(int(row["lines"]) for row in rows) == 29
    page = await client.get("/v1/sources", params={"format": "csv", "limit": 1})
    assert len(page.text.splitlines()) == 2
    lines = await client.get("/v1/sources", params={"format": "ndjson", "q": "log"})
    assert len(lines.text.splitlines()) == 2, "what is left out is not made one row"


async def test_an_empty_store_has_none(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/sources")).json()
    assert (answer["items"], answer["distinct"], answer["lines"], answer["other"]) == ([], 0, 0, None)


class Counted:
    """A reader whose sources are what a test says."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.is_available = True

    async def source_counts(self) -> list[SourceCount]:
        if not self.is_available:
            raise StoreUnavailable("away")
        return [SourceCount(name, lines, 0, None, None, 0.0) for name, lines in self.lines.items()]

    async def counting(self) -> None: ...


class Asked:
    """Sources that are asked again and again, while time passes."""

    def __init__(self) -> None:
        self.reader, self.clock = Counted(), FakeClock()
        counts = CachedCounts(self.reader, memory=Memory(1 << 20), work=Work(), clock=self.clock)  # type: ignore[arg-type]
        self.sources = Sources(counts, clock=self.clock)

    async def rates(self) -> dict[str, float | None]:
        return {item["name"]: item["lines_per_second"] for item in (await self.sources.now()).items}

    async def passes(self, seconds: float, **lines: int) -> None:
        """Let so much time pass, while so many lines a second come."""
        for _ in range(round(seconds * 2)):
            for name, a_second in lines.items():
                self.reader.lines[name] = self.reader.lines.get(name, 0) + a_second // 2
            self.clock.now += 0.5
            for _ in range(20):
                await asyncio.sleep(0)


async def test_rates_are_known_soon_after_it_was_asked_and_those_of_new_sources_too() -> None:
    asked = Asked()
    await asked.passes(1, a=10, b=4)
    assert await asked.rates() == {"a": None, "b": None}
    await asked.passes(SAMPLE_SECONDS + 1, a=10, b=4)
    assert await asked.rates() == {"a": 10.0, "b": 4.0}
    await asked.passes(2 * RATE_SECONDS, a=20, c=2)
    assert await asked.rates() == {"a": 20.0, "b": 0.0, "c": 2.0}
    await asked.sources.close()


async def test_what_was_noted_long_ago_or_before_data_was_lost_says_nothing() -> None:
    asked = Asked()
    await asked.passes(1, a=10)
    await asked.rates()
    await asked.passes(LINGER_SECONDS * 2, a=10)
    assert await asked.rates() == {"a": None}, "it was not noted any more"
    await asked.passes(SAMPLE_SECONDS + 1, a=10)
    assert await asked.rates() == {"a": 10.0}
    asked.reader.lines = {"a": 6}
    await asked.passes(1)
    assert await asked.rates() == {"a": None}
    asked.reader.is_available = False
    await asked.passes(SAMPLE_SECONDS + 1)
    asked.reader.is_available = True
    await asked.passes(1)
    assert await asked.rates() == {"a": None}
    await asked.sources.close()
