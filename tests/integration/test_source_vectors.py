"""Sources that go on in another store where they were, under the same layout or another one."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from tally.settings import Settings
from tally.shards import shard_of
from tally.store import Block
from tally.store.ingestor import IngestorStore
from tally.store.ingestor_stores import IngestorStores, ingestor_store
from tally.store.merged_reads import reader_of
from tally.store.shards import Shards
from tally.store.source_vectors import Lane, SourceVectors, Vector, exported_sources, import_sources
from tally.stripes import MOVED

NAME = "file:/a#4-0123456789abcdef"
SEEN_MS = 1_700_000_000_000


class Store:
    """A namespace with so many shards, and what an ingestor does in it."""

    def __init__(self, redis: Redis, namespace: str, *, shards: int, stripe_bytes: int = 100) -> None:
        self.settings = Settings(namespace=namespace, shards=shards, stripe_bytes=stripe_bytes)
        self.shards = Shards.over(redis, self.settings)
        self.ingestor: IngestorStore | IngestorStores = ingestor_store(self.shards, settings=self.settings)

    async def append(self, shard: int, start: int, end: int, *, before: str = "", name: str = NAME) -> str:
        block = Block(start, end, b"x", last=f"4-{end:016x}", before=before)
        return (await self.ingestor.shards[shard].append(source=name, blocks=[block]))[0].outcome

    async def exported(self) -> list[SourceVectors]:
        return [each async for each in exported_sources(self.shards, self.settings)]

    async def imports(self, *sources: SourceVectors) -> list[str]:
        return await import_sources(self.shards, self.settings, sources)

    async def known(self, name: str = NAME) -> Any:
        return (await self.ingestor.known(names=[name]))[name]


def vector(*positions: int, stripe_bytes: int = 100) -> Vector:
    lanes = tuple(Lane(each, f"4-{each:016x}" if each else "") for each in positions)
    return Vector(len(positions), stripe_bytes if len(positions) > 1 else None, lanes)


def of(*vectors: Vector, name: str = NAME) -> SourceVectors:
    return SourceVectors(name, SEEN_MS, vectors)


@pytest.mark.parametrize("shards", [1, 3])
async def test_sources_go_on_in_another_store_of_as_many_shards(redis: Redis, shards: int) -> None:
    here, there = Store(redis, "here", shards=shards), Store(redis, "there", shards=shards)
    for at in range(shards):
        shard = (shard_of(NAME, shards) + at) % shards
        assert await here.append(shard, 0, 100 * (at + 1)) == "appended"
    assert await here.append(0, 0, 5, name="tcp://[::1]:9000#0123456789ab") == "appended"
    await here.ingestor.register_sources(["tail:/log#1-1-1-4-0123456789abcdef"])
    exported = await here.exported()
    assert {each.name for each in exported} == {NAME, "tail:/log#1-1-1-4-0123456789abcdef"}, "what can be read again"
    assert await there.imports(*exported) == []
    for name in (each.name for each in exported):
        ours, theirs = await here.known(name), await there.known(name)
        assert (theirs.position, theirs.seen_ms) == (ours.position, ours.seen_ms)
        assert theirs.last.partition(MOVED)[0] == ours.last
    assert (await there.known()).position == 100 * shards
    assert await there.ingestor.known(beginnings=["tail:/log#"]) != {}
    again = {each.name: each for each in await there.exported()}
    assert again[NAME].vectors[-1] == next(each for each in exported if each.name == NAME).vectors[0]


async def test_an_import_may_be_repeated_also_when_a_source_has_gone_on(redis: Redis) -> None:
    there = Store(redis, "there", shards=1)
    assert await there.imports(of(vector(100))) == []
    assert await there.append(0, 100, 200) == "appended"
    assert await there.imports(of(vector(100))) == []
    assert (await there.known()).position == 200
    assert await there.imports(of(vector(300)), of(vector(50), name="file:/b#1-0123456789abcdef")) == [NAME]
    assert (await there.known()).position == 200
    assert (await there.known("file:/b#1-0123456789abcdef")).position == 50


@pytest.mark.parametrize(("shards", "lane"), [(1, 0), (3, shard_of(NAME, 3)), (3, (shard_of(NAME, 3) + 1) % 3)])
async def test_a_source_that_is_stored_already_is_left_alone(redis: Redis, shards: int, lane: int) -> None:
    there = Store(redis, "there", shards=shards)
    assert await there.append(lane, 0, 70) == "appended"
    before = await there.known()
    assert await there.imports(of(vector(100, 200))) == [NAME]
    assert await there.known() == before


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("positions", [(70,), (70, 250), (0, 250), (150, 0, 0, 370)])
@pytest.mark.parametrize("is_empty", [True, False])
async def test_an_ingestor_that_opened_a_source_before_appends_nothing_that_was_imported(
    redis: Redis, shards: int, positions: tuple[int, ...], is_empty: bool
) -> None:
    """It knows nothing of what others had: it is to open the source again."""
    there = Store(redis, "there", shards=shards)
    if is_empty:
        await there.ingestor.register_sources([NAME])
    name = NAME
    old = vector(*positions)
    assert await there.imports(of(old)) == []
    first = shard_of(name, shards)
    known = await there.known()
    assert known.reached == max(positions)
    at_zero = "0-0123456789abcdef"
    for end in sorted({10, *(each for each in positions if each), 400}):
        outcome = await there.append(first, 0, end, before=at_zero)
        has_all = shards == 1 and known.before == () and end <= max(positions)
        assert outcome == "duplicate" if has_all else outcome in ("moved", "duplicate"), end
        if not has_all and outcome == "duplicate":
            assert known.positions[first] > end, "who reads the first stripe sees that another one is further"
    assert (await there.known()) == known


@pytest.mark.parametrize("shards", [1, 3])
async def test_the_status_tells_how_far_a_source_was_that_nothing_was_appended_of_since(
    redis: Redis, shards: int
) -> None:
    there = Store(redis, "there", shards=shards)
    assert await there.imports(of(vector(150, 80, 0, 370))) == []
    status = await reader_of(there.shards, settings=there.settings).status()
    assert [(each.name, each.position) for each in status.sources] == [(NAME, 370)]


@pytest.mark.parametrize("shards", [1, 3])
async def test_what_was_imported_and_is_lost_is_not_gone_on_with(redis: Redis, shards: int) -> None:
    """Not even where no lane had anything of its beginning, so that the position is the one of a new source."""
    there, first = Store(redis, "there", shards=shards), shard_of(NAME, shards)
    positions = [0 if at == shard_of(NAME, 2) else 150 for at in range(2)]
    assert await there.imports(of(vector(*positions))) == []
    known = (await there.known()).stands[first]
    assert (known.position, await there.append(first, 0, 10, before=known.last)) == (0, "appended")
    await redis.flushall()
    assert await there.append(first, 0, 10, before=known.last) == "moved"
    assert await there.append(first, 0, 10, before="0-0123456789abcdef") == "appended"


async def test_what_is_forgotten_is_forgotten_as_a_whole(redis: Redis) -> None:
    there = Store(redis, "there", shards=3)
    assert await there.imports(of(vector(100, 250))) == []
    await there.ingestor.forget_sources([NAME])
    assert await there.ingestor.known(names=[NAME]) == {}
    assert [key async for key in redis.scan_iter(match="there:*sources*")] == []
