"""Two ingestors at the same moment, on two machines, each with another file at the same path, which begins alike."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ingestor.fingerprints import Fingerprint, path_text
from ingestor.source_appender import SourceAppender
from ingestor.sources.base import Lookup
from ingestor.sources.files import File, FileName
from tally.settings import Settings
from tally.shards import shard_of
from tally.store import Append, Block, IngestorStore, Known
from tally.store.ingestor_stores import IngestorStores, ingestor_store
from tally.store.shards import Shards
from tests.server import Server
from tests.stream import Stream


class OnItsMachine(File):
    """A file that is at `path` on its machine, and somewhere else on this one, where there are two such machines."""

    def __init__(self, here: Path, *, path: Path, opened: asyncio.Barrier) -> None:
        super().__init__(here)
        self._here, self._there = f"file:{here}#", f"file:{path}#"
        self._opened: asyncio.Barrier | None = opened

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        async def ask_there(*, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> Mapping[str, Known]:
            stored = await ask(names=list(map(self._to_there, names)), beginnings=list(map(self._to_there, beginnings)))
            return {self._to_here(name): replace(known, name=self._to_here(name)) for name, known in stored.items()}

        known = await super().known_as(ask_there, never=list(map(self._to_here, never)))
        if self._opened is not None:
            await self._opened.wait()  # both know that nothing was appended yet
            self._opened = None
        return replace(known, name=self._to_there(known.name))

    def _to_there(self, name: str) -> str:
        return name.replace(self._here, self._there)

    def _to_here(self, name: str) -> str:
        return name.replace(self._there, self._here)


def lines(event_type: str, count: int) -> list[bytes]:
    return [b'{"event_type": "%s", "data": "%05d"}\n' % (event_type.encode(), at) for at in range(count)]


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    "block_bytes", [1024, *(pytest.param(each, marks=pytest.mark.slow) for each in (4096, 1_000_000))]
)
@pytest.mark.parametrize("others", [300, 299, 10, 900], ids=["as long", "a line shorter", "shorter", "longer"])
async def test_each_line_of_both_is_appended_once(
    server: Server, redis: Redis, tmp_path: Path, others: int, block_bytes: int, shards: int
) -> None:
    beginning = lines("begins", 60)
    written = [beginning + lines("a", 300), beginning + lines("b", others)]
    settings = Settings(max_block_bytes=block_bytes, max_blocks_in_flight=2, shards=shards, stripe_bytes=3000)
    store = ingestor_store(Shards.over(redis, settings), settings=settings)
    opened = asyncio.Barrier(2)
    appenders = []
    for number, content in enumerate(written):
        here = tmp_path / f"machine{number}"
        here.write_bytes(b"".join(content))
        file = OnItsMachine(here, path=tmp_path / "events.ndjson", opened=opened)
        appenders.append(SourceAppender(file, store=store, settings=settings, stop=asyncio.Event()))
    await asyncio.gather(*(appender.run() for appender in appenders))
    stream = Stream(server.port, shards=shards)
    assert stream.difference(written[0] + written[1]) == ([], [])
    assert sorted(stream.positions().values()) == sorted(sum(map(len, content)) for content in written)
    stream.close()


class Held(IngestorStore):
    """A shard into which an ingestor appends only after another one has done something."""

    after: asyncio.Event | None = None
    reached: asyncio.Event | None = None

    async def append(self, *, source: str, blocks: Sequence[Block], bulk: bool = False) -> list[Append]:
        if self.reached is not None:
            self.reached.set()
        if self.after is not None:
            await self.after.wait()
        return await super().append(source=source, blocks=blocks, bulk=bulk)


@pytest.mark.parametrize("stripe_bytes", [3000, 3100, 3500])
async def test_one_that_is_behind_within_the_first_stripe_appends_to_no_other_before_it_knows_that(
    server: Server, redis: Redis, tmp_path: Path, stripe_bytes: int
) -> None:
    """Whatever it has of that stripe ends before what the other one has there, and so looks like its own retry."""
    beginning = lines("begins", 60)
    written = [beginning + lines("a" * 500, 30), beginning + lines("b", 300)]
    settings = Settings(max_block_bytes=1024, shards=3, stripe_bytes=stripe_bytes)
    is_over, is_told = asyncio.Event(), asyncio.Event()  # its first stripe; and that the other one has found out
    opened = asyncio.Barrier(2)
    appenders = []
    for number, content in enumerate(written):
        here = tmp_path / f"machine{number}"
        here.write_bytes(b"".join(content))
        file = OnItsMachine(here, path=tmp_path / "events.ndjson", opened=opened)
        shards = [Held(shard.redis, keys=shard.keys, settings=settings) for shard in Shards.over(redis, settings)]
        name = str(FileName(path_text(tmp_path / "events.ndjson"), Fingerprint.of(b"".join(content)[:1024])))
        first = shard_of(name, len(shards))
        for index, shard in enumerate(shards):
            if number == 1:
                shard.after = is_over
                shard.reached = is_told if index != first else None
            elif index != first:
                shard.after, shard.reached = is_told, is_over
        store = IngestorStores(shards, settings=settings)
        appenders.append(SourceAppender(file, store=store, settings=settings, stop=asyncio.Event()))
    await asyncio.gather(*(appender.run() for appender in appenders))
    stream = Stream(server.port, shards=3)
    assert stream.difference(written[0] + written[1]) == ([], [])
    stream.close()
