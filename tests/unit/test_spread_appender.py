"""How a source that cannot be read again ends, when several shards have taken parts of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from ingestor import source_appender, spread_appender
from ingestor.ending import Incomplete
from ingestor.log_events import LINES_LOST, LINES_NOT_TAKEN, SOURCE_ENDED
from ingestor.source_appender import SourceAppender
from ingestor.spread_appender import SpreadAppender, new_appender
from tally.refused import Refused
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import Append, Block
from tally.store.idempotent import Body, OnceWord
from tests.fakes import FakeClock, FakeLog
from tests.metrics import Change, value
from tests.unit.appending import Lines, Store


class Shard(Store):
    """One of several: it takes no bodies."""

    refuses = False

    @property
    def shards(self) -> tuple[Shard, ...]:
        return (self,)

    async def append(self, *, source: str, blocks: Sequence[Block], bulk: bool = False) -> list[Append]:
        if self.refuses:
            raise Refused("it may not")
        return await super().append(source=source, blocks=blocks, bulk=bulk)

    async def append_once(self, *, source: str, bodies: Sequence[Body]) -> list[OnceWord]:
        raise NotImplementedError


class Shards(Shard):
    """All of them. What is asked of a source that cannot be read again is asked of one."""

    def __init__(self) -> None:
        super().__init__()
        self.all = (Shard(), Shard(), Shard())

    @property
    def shards(self) -> tuple[Shard, ...]:
        return self.all

    @property
    def lines(self) -> list[bytes]:
        return sorted(line for shard in self.all for block in shard.blocks for line in block.split(b"\n"))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> FakeLog:
    log = FakeLog()
    for module in (source_appender, spread_appender):
        monkeypatch.setattr(module, "get_logger", lambda: log)
    return log


LINES = [b"line %d" % at for at in range(10)]


def appender_of(source: Lines, store: Shards, stop: asyncio.Event | None = None) -> SpreadAppender:
    settings = Settings(shards=3, stripe_bytes=64, max_block_bytes=1024)
    appender = new_appender(source, store=store, settings=settings, stop=stop or asyncio.Event(), clock=FakeClock())
    assert isinstance(appender, SpreadAppender)
    return appender


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


async def give_each(source: Lines, store: Shards, lines: Sequence[bytes]) -> None:
    for line in lines:
        source.give(line + b"\n")
        await until(lambda line=line: line in store.lines)  # type: ignore[misc]


async def test_a_source_with_one_shard_or_that_can_be_read_again_has_one_appender() -> None:
    for source, store in ((Lines(replayable=False), Shard()), (Lines(replayable=True), Shards())):
        appender = new_appender(source, store=store, settings=Settings(), stop=asyncio.Event())
        assert isinstance(appender, SourceAppender)


async def test_all_shards_take_of_it_and_forget_it_when_it_has_ended(log: FakeLog) -> None:
    source, store = Lines(replayable=False, finite=True), Shards()
    appender = appender_of(source, store)
    running = asyncio.create_task(appender.run())
    await give_each(source, store, LINES)
    await give_each(source, store, [line + b" again, and it is long enough to fill a stripe or two" for line in LINES])
    source.give(b"no end", b"")
    await asyncio.wait_for(running, 10)
    assert len(store.lines) == appender.appended_lines == 21
    assert all(shard.blocks for shard in store.all)
    assert [shard.forgotten for shard in store.all] == [["lines#1"]] * 3
    assert log.events.count(SOURCE_ENDED) == 3


async def test_what_is_wrong_with_the_source_is_raised_once_when_all_of_it_is_appended(log: FakeLog) -> None:
    source, store = Lines(replayable=False), Shards()
    running = asyncio.create_task(appender_of(source, store).run())
    source.give(b"\n".join(LINES) + b"\nno end", Failure("broken"))
    with pytest.raises(Failure, match=r"^broken$"):
        await asyncio.wait_for(running, 10)
    assert store.lines == sorted([*LINES, b"no end"])


async def test_a_shard_that_refuses_ends_it_and_the_others_append_what_was_read(log: FakeLog) -> None:
    source, store = Lines(replayable=False), Shards()
    running = asyncio.create_task(appender_of(source, store).run())
    await give_each(source, store, LINES[:1])
    for shard in store.all:
        shard.refuses = not shard.blocks
    more = [line + b" of those that come later" for line in LINES]
    for line in more:
        source.give(line + b"\n")
        for _ in range(20):
            await asyncio.sleep(0)
    with pytest.raises(Refused, match="it may not"):
        await asyncio.wait_for(running, 10)
    assert store.lines[0] == LINES[0]


async def test_after_a_stop_what_one_shard_does_not_take_is_lost_and_that_is_said(log: FakeLog) -> None:
    source, store, stop = Lines(replayable=False), Shards(), asyncio.Event()
    running = asyncio.create_task(appender_of(source, store, stop).run())
    await give_each(source, store, LINES)
    for shard in store.all:
        shard.unavailable = True
    lost = Change("tally_ingestor_lost_bytes_total", source="lines")
    source.give(b"lost\n")
    await until(lambda: any("redis" in event for event in log.events))
    assert value("tally_ingestor_buffered_bytes", source="lines") == 5
    stop.set()
    with pytest.raises(Incomplete, match=r"^5 bytes of it are lost"):
        await asyncio.wait_for(running, 10)
    assert store.lines == LINES
    assert sum(fields["lost_bytes"] for fields in log.fields(LINES_NOT_TAKEN)) == lost.so_far == 5
    assert log.fields(LINES_LOST) == []
