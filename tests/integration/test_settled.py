"""A batch that is settled and not applied, or in part, as readers see it: it waits, and answers may have some of it."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis

from aggregator.decoding import Decoder
from aggregator.parts import parts_of
from api.app import create_app
from tally.clock import SystemClock
from tally.deltas import chunks_of
from tally.keys import Keys
from tally.settings import Settings
from tally.store import Block, PipelineStore
from tally.store.blocks import Settled
from tally.store.reads import CountReader, as_text
from tests.server import Server
from tests.stores import AllStores

KEYS = Keys()

#: So many that a batch has several chunks for each window.
WORDS = [f"word{at}" for at in range(6000)]


class Batch:
    """Two blocks of lines with many words, which are settled."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.redis: Any = redis
        self.store = AllStores(redis, keys=KEYS, settings=settings)
        self.settings = settings
        self.bytes = 0
        self.chunks = 0

    async def settle(self) -> None:
        """Append two blocks, and have their counts settled."""
        await self.store.create_group()
        half = len(WORDS) // 2
        texts = [" ".join(words) for words in (WORDS[:half], WORDS[half:])]
        lines = [f'{{"event_type": "a", "data": "{text}"}}'.encode() for text in texts]
        source = f"file:/{uuid4().hex}#1-f"
        await self.store.append(source=source, blocks=[Block(at, at + 1, line) for at, line in enumerate(lines)])
        entries = await self.store.read(consumer="a", count=2, block_ms=None)
        counts = Decoder(self.settings).count(entries)
        totals = {"events": 2, "words": len(WORDS), "lines": 2, "bytes": counts.bytes, "blocks": 2}
        chunks = list(chunks_of(parts_of(counts, self.settings.window_lengths), totals=totals, samples=()))
        name = uuid4().hex
        assert await self.store.stage(name=name, first=0, chunks=chunks) == "staged"
        pending = [entry.pending for entry in entries]
        settled = await self.store.settle(consumer="a", blocks=pending, name=name, chunks=chunks)
        assert isinstance(settled, Settled)
        self.bytes, self.chunks = sum(map(len, lines)), len(chunks)

    async def apply(self) -> None:
        """Apply the next chunk."""
        chunk = await self.store.next_chunk()
        assert chunk is not None
        assert (await self.store.apply(chunk)).word == "applied"


@pytest.fixture
def batch(redis: Redis, settings: Settings) -> Batch:
    return Batch(redis, settings)


async def test_what_is_settled_waits_until_all_of_it_is_applied(batch: Batch, settings: Settings) -> None:
    reader = CountReader(batch.redis, keys=KEYS, settings=settings)
    pipeline = PipelineStore(batch.redis, keys=KEYS, settings=settings)
    await batch.settle()
    await batch.store.append(source="file:/other#1-f", blocks=[Block(0, 6, b"xxxxx")])
    while await batch.store.next_chunk() is not None:
        backlog = await reader.backlog(await reader.totals())
        assert (backlog.blocks, backlog.settled_blocks, backlog.bytes) == (3, 2, batch.bytes + 5)
        assert backlog.oldest_seconds is not None
        assert backlog.lines >= 3
        assert await pipeline.backlog() == 3
        await batch.apply()
    backlog = await reader.backlog(await reader.totals())
    assert (backlog.blocks, backlog.settled_blocks, backlog.bytes, await pipeline.backlog()) == (1, 0, 5, 1)


async def test_the_oldest_block_is_told_when_all_of_them_are_settled(batch: Batch, settings: Settings) -> None:
    reader = CountReader(batch.redis, keys=KEYS, settings=settings)
    await batch.settle()
    await batch.redis.hset(KEYS.totals, mapping={"lines": 10, "bytes": 1000})
    backlog = await reader.backlog(await reader.totals())
    assert (backlog.blocks, backlog.settled_blocks) == (2, 2)
    assert backlog.oldest_seconds is not None
    assert backlog.lines >= batch.bytes // 100, "as many as so many bytes were on average"


class Later(SystemClock):
    """A clock by which much time passes between two questions."""

    passed_seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.passed_seconds


async def test_answers_have_what_is_applied_and_shares_of_it(batch: Batch, server: Server) -> None:
    """The totals come last. Until then they are behind the counts, and nothing that is read is told from them alone."""
    clock = Later()
    app = create_app(Settings(redis_url=server.url), clock=clock)
    seen: list[tuple[int, int, int]] = []
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):

        async def ask(path: str) -> Any:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            return answer.json()

        for _ in range(2):
            await batch.settle()
            for _ in range(batch.chunks):
                await batch.apply()
                clock.passed_seconds += 1000
                recent, ever = await ask("/v1/words?window=1h"), await ask("/v1/words")
                types = await ask("/v1/types")
                top = await ask("/v1/words?limit=1000&order=-count")
                for answer in (recent, ever, types, top):
                    assert sum(item["share"] for item in answer["items"]) <= 1.01
                    assert sum(item["count"] for item in answer["items"]) <= answer["total"]
                counted = sum((await ask("/events/CountWords")).values())
                assert ever["total"] <= counted, "of the top words alone it is known that there are at least so many"
                seen.append((recent["total"], counted, (await ask("/v1/stats"))["totals"]["words"]))
    assert seen == sorted(seen), "counts only grow"
    assert seen[-1] == (2 * len(WORDS),) * 3
    assert any(0 < recent < len(WORDS) for recent, _, _ in seen), "an answer may have a part of a batch"
    assert all(told <= counted for _, counted, told in seen)
    assert len({ever for _, ever, _ in seen}) > 4, "each chunk that is applied shows"


async def test_all_of_a_batch_is_there_once_it_is_applied(batch: Batch, settings: Settings) -> None:
    reader = CountReader(batch.redis, keys=KEYS, settings=settings)
    await batch.settle()
    before = (await batch.store.progress()).applied
    _, version_before = await reader.version()
    await batch.store.apply_all()
    _, version = await reader.version()
    assert (await batch.store.progress()).applied - before == batch.chunks
    assert version != version_before
    assert await reader.words() == dict(sorted(Counter(WORDS).items()))
    found, counts = await reader.sum_range("words", 0, 2**32)
    assert as_text(counts) == Counter(WORDS)
    assert found.end >= 2**32
