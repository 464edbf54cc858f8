"""What waits, and what was lost: both are known exactly, whatever anybody does to the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from aggregator.counts import Counts
from aggregator.worker import Worker
from ingestor.source_appender import SourceAppender
from ingestor.sources.base import NotReplayable
from tally.keys import Keys
from tally.settings import Settings
from tally.store import Block, Entry, WindowStore, connect
from tally.store.aggregator import CLAIM_FROM_START
from tally.store.blocks import Missing, Settled
from tally.store.dead_letters import DeadLetterStore
from tally.store.idempotent import Body
from tally.store.reads import CountReader
from tests.effort import examples
from tests.server import Server
from tests.stores import AllStores
from tests.waiting import wait_until_async

KEYS = Keys()


class Shard:
    """One shard, and what is asked about it."""

    def __init__(self, redis: Redis) -> None:
        self.redis: Any = redis
        self.store = AllStores(redis, keys=KEYS, settings=Settings(claim_idle_seconds=0.1, max_deliveries=1))
        self._position = 0

    async def append(self, *sizes: int) -> None:
        """Append blocks of so many bytes."""
        blocks = []
        for size in sizes:
            blocks.append(Block(self._position, self._position + size + 1, b"x" * size))
            self._position += size + 1
        outcomes = await self.store.append(source="s", blocks=blocks)
        assert {each.outcome for each in outcomes} == {"appended"}

    async def add(self, size: int) -> None:
        """Add an entry as another client does."""
        await self.redis.xadd(KEYS.stream, {"lines": b"x" * size})

    async def read(self, number: int, *, consumer: str = "a") -> list[Entry]:
        return await self.store.read(consumer=consumer, count=number, block_ms=None)

    async def count(self, entries: Sequence[Entry]) -> Settled | Missing:
        if not entries:
            return Settled(0)
        return await self.store.count(consumer="a", entries=entries, counts=Counts())

    async def backlog(self) -> tuple[int, int]:
        """Blocks and bytes, as they are kept."""
        blocks, bytes_ = await self.redis.hmget(KEYS.backlog, "blocks", "bytes")
        return int(blocks or 0), int(bytes_ or 0)

    async def lost(self) -> int:
        return int(await self.redis.hget(KEYS.totals, "lost") or 0)


@pytest.fixture
async def shard(redis: Redis) -> Shard:
    shard = Shard(redis)
    await shard.store.create_group()
    return shard


async def test_the_backlog_is_what_was_appended_and_is_not_counted(shard: Shard) -> None:
    await shard.append(10, 20)
    await shard.add(1000)
    await shard.store.append_once(source="h", bodies=[Body("key", "digest", 60_000, [b"x" * 7, b"y" * 8])])
    assert await shard.backlog() == (4, 45)
    first, second, others, *body = await shard.read(10)
    await shard.count([first])
    assert await shard.backlog() == (3, 35)
    await shard.count([others])
    assert await shard.backlog() == (3, 35), "what others add is not in it"
    assert await shard.store.dead_letter(consumer="a", entry_id=second.id) == "moved"
    assert await shard.backlog() == (2, 15)
    await shard.count(body)
    assert (await shard.backlog(), await shard.store.reconcile_backlog(), await shard.lost()) == ((0, 0), 0, 0)


async def _trim(shard: Shard) -> None:
    await shard.redis.xtrim(KEYS.stream, maxlen=2, approximate=False)


async def _delete(shard: Shard) -> None:
    ids = [id_ for id_, _ in await shard.redis.xrange(KEYS.stream)]
    await shard.redis.xdel(KEYS.stream, *ids[:3])


@pytest.mark.parametrize("delivered", [0, 1, 5], ids=["none delivered", "one delivered", "all delivered"])
@pytest.mark.parametrize("removed", [_trim, _delete])
async def test_blocks_that_somebody_deletes_are_lost_whether_they_were_delivered_or_not(
    shard: Shard, delivered: int, removed: Any
) -> None:
    await shard.append(1, 2, 4, 8, 16)
    if delivered:
        await shard.read(delivered, consumer="dead")
    await removed(shard)
    assert await shard.store.reconcile_backlog() == 3
    assert await shard.store.reconcile_backlog() == 0, "they are counted as that once"
    for entry_id, _ in await shard.store.pending(consumer="dead", count=10):
        await shard.store.retry(consumer="dead", entry_id=entry_id, deliveries=2)
    await shard.count(await shard.read(10))
    assert await shard.store.reconcile_backlog() == 0
    assert (await shard.lost(), (await shard.backlog())[0]) == (3, 2 if delivered == 5 else 0)


async def test_an_aggregator_finds_what_was_lost(shard: Shard) -> None:
    await shard.append(1, 2, 4)
    await shard.redis.xtrim(KEYS.stream, maxlen=1, approximate=False)
    settings = Settings()
    worker = Worker(
        store=shard.store,
        windows=WindowStore(shard.redis, keys=KEYS, settings=settings),
        settings=settings,
        consumer="a",
        stop=asyncio.Event(),
        drain=True,
    )
    await asyncio.wait_for(worker.run(), 60)
    assert (await shard.lost(), await shard.backlog(), worker.done.batches) == (2, (0, 0), 1)


async def test_after_a_loss_what_is_left_is_added_up(shard: Shard) -> None:
    await shard.append(1, 2, 4, 8, 16)
    await shard.add(1000)
    await shard.add(1000)
    ids = [id_ for id_, _ in await shard.redis.xrange(KEYS.stream)]
    await shard.redis.xdel(KEYS.stream, ids[1], ids[3], ids[5])
    assert await shard.store.reconcile_backlog() == 3
    assert await shard.backlog() == (3, 21)


async def test_what_is_appended_and_counted_while_it_is_added_up_is_in_the_sum(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shard.append(*[100] * 40)
    held = await shard.read(30)
    await shard.redis.xdel(KEYS.stream, held[0].id)
    monkeypatch.setattr("tally.store.stream.RECONCILE_BYTES", 1000)  # ten of them at a time
    store, run = shard.store, 0
    audit = store.reconcile_backlog()

    async def meanwhile() -> None:
        """Count one that is in the sum already, and one that is not; append another."""
        await shard.count([held[2], held[29]])
        await shard.append(7)

    original = store._redis.execute_command

    async def execute_command(command: str, *arguments: Any, **options: Any) -> Any:
        nonlocal run
        run += command == "EVALSHA"
        reply = await original(command, *arguments, **options)
        if command == "EVALSHA" and run == 2:
            await meanwhile()
        return reply

    monkeypatch.setattr(store._redis, "execute_command", execute_command)
    assert await audit == 1
    assert run > 5
    assert await shard.backlog() == (38, 3707)


async def test_a_block_that_is_deleted_while_it_is_counted_is_not_lost(shard: Shard) -> None:
    """It was read, so its counts are right. When it was taken for lost in between, it is no more."""
    await shard.append(1, 2, 4, 8)
    first, second, third = await shard.read(3)
    await shard.redis.xdel(KEYS.stream, first.id)
    await shard.count([first])
    assert (await shard.store.reconcile_backlog(), await shard.backlog()) == (0, (3, 14))
    await shard.redis.xdel(KEYS.stream, second.id)
    assert (await shard.store.reconcile_backlog(), await shard.lost()) == (1, 1)
    await shard.count([second, third])
    assert (await shard.store.reconcile_backlog(), await shard.lost(), await shard.backlog()) == (0, 0, (1, 8))


async def test_a_stream_that_is_deleted_whole_has_lost_what_waited_in_it(shard: Shard) -> None:
    await shard.append(1, 2, 4)
    await shard.count(await shard.read(1))
    for again in (False, True):
        await shard.redis.delete(KEYS.stream)
        if again:
            await shard.append(5, 6)
        assert await shard.store.create_group()
        assert await shard.lost() == (5 if again else 2)
        assert await shard.backlog() == ((2, 11) if again else (0, 0))
        await shard.append(8, 9, 10)
    assert (await shard.store.reconcile_backlog(), await shard.lost(), await shard.backlog()) == (0, 5, (5, 38))


@pytest.mark.parametrize("counted", [0, 1])
async def test_a_source_finds_out_by_itself_that_the_stream_was_emptied(shard: Shard, counted: int) -> None:
    await shard.append(1, 2)
    await shard.count((await shard.read(2))[:counted])
    await shard.redis.delete(KEYS.stream)
    await shard.append(4)
    assert (await shard.lost(), await shard.backlog()) == (2 - counted, (1, 4))


async def test_a_flush_is_a_new_beginning(shard: Shard) -> None:
    await shard.append(1, 2, 4)
    await shard.count(await shard.read(2))
    await shard.redis.flushall()
    shard._position = 0
    await shard.append(8)
    await shard.store.create_group()
    assert (await shard.store.reconcile_backlog(), await shard.lost(), await shard.backlog()) == (0, 0, (1, 8))


async def test_a_stream_of_which_nobody_keeps_account_has_lost_nothing(shard: Shard) -> None:
    await shard.append(1, 2, 4)
    await shard.count(await shard.read(2))
    await shard.redis.delete(KEYS.backlog)
    assert (await shard.store.reconcile_backlog(), await shard.lost()) == (0, 0)
    await shard.append(8)
    await shard.count(await shard.read(10))
    await shard.append(16)
    assert (await shard.store.reconcile_backlog(), await shard.lost(), await shard.backlog()) == (0, 0, (1, 16))


async def test_an_audit_of_what_nobody_touched_writes_nothing(shard: Shard) -> None:
    await shard.append(1, 2)
    await shard.store.reconcile_backlog()
    before = (await shard.redis.info("persistence"))["rdb_changes_since_last_save"]
    for _ in range(3):
        assert await shard.store.reconcile_backlog() == 0
    assert (await shard.redis.info("persistence"))["rdb_changes_since_last_save"] == before


async def _rewritten(redis: Any) -> bool:
    about = await redis.info("persistence")
    return not about["aof_rewrite_in_progress"] and not about["aof_rewrite_scheduled"]


@pytest.mark.parametrize("rewritten", [False, True])
async def test_accounts_are_right_after_a_restart_of_the_server(durable_server: Server, rewritten: bool) -> None:
    redis: Any = connect(durable_server.url, timeout_seconds=30)
    shard = Shard(redis)
    await shard.store.create_group()
    await shard.append(*[100] * 20)
    await shard.count(await shard.read(15))
    ids = [id_ for id_, _ in await redis.xrange(KEYS.stream)]
    await redis.xdel(KEYS.stream, ids[1])
    assert await shard.store.reconcile_backlog() == 1
    await redis.xdel(KEYS.stream, ids[3])
    if rewritten:
        await redis.bgrewriteaof()
        await wait_until_async(partial(_rewritten, redis), what="the append-only file is written anew")
    await redis.aclose()
    durable_server.stop()
    durable_server.start()
    redis = connect(durable_server.url, timeout_seconds=30)
    shard = Shard(redis)
    assert await shard.store.reconcile_backlog() == 1
    assert (await shard.lost(), await shard.backlog()) == (2, (3, 300))
    await redis.aclose()


# Anything, in any order.

_steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(1, 50), min_size=1, max_size=4)),
        st.tuples(st.just("add"), st.integers(1, 50)),
        st.tuples(st.just("read"), st.integers(1, 4)),
        st.tuples(st.just("count"), st.integers(1, 4)),
        st.tuples(st.just("dead_letter"), st.integers(0, 3)),
        st.tuples(st.just("retry_dead_letter"), st.integers(0, 3)),
        st.tuples(st.just("drop_dead_letter"), st.integers(0, 3)),
        st.tuples(st.just("claim"), st.just(0)),
        st.tuples(st.just("trim"), st.integers(0, 6)),
        st.tuples(st.just("delete"), st.integers(0, 6)),
        st.tuples(st.just("reconcile"), st.just(0)),
    ),
    min_size=1,
    max_size=40,
)


@examples(20, 300)
@given(steps=_steps)
async def test_whatever_is_done_to_the_stream_what_waits_and_what_is_lost_is_known(
    redis: Redis, steps: list[tuple[str, Any]]
) -> None:
    await redis.flushdb()
    shard = Shard(redis)
    await shard.store.create_group()
    held: dict[str, Entry] = {}
    deleted: set[str] = set()
    dealt_with: set[str] = set()  # counted, or a dead letter
    dropped = 0
    letters = DeadLetterStore(redis, keys=KEYS, settings=Settings())
    for step, argument in steps:
        ids = [id_.decode() for id_, _ in await shard.redis.xrange(KEYS.stream)]
        if step == "append":
            await shard.append(*argument)
        elif step == "add":
            await shard.add(argument)
        elif step == "read":
            held |= {entry.id: entry for entry in await shard.read(argument)}
        elif step == "count" and held:
            entries = [held.pop(entry_id) for entry_id in list(held)[:argument]]
            if isinstance(await shard.count(entries), Settled):
                dealt_with |= {entry.id for entry in entries}
        elif step == "dead_letter" and argument < len(held):
            entry_id = list(held)[argument]
            if await shard.store.dead_letter(consumer="a", entry_id=entry_id) == "moved":
                dealt_with.add(entry_id)
                del held[entry_id]
        elif step in ("retry_dead_letter", "drop_dead_letter"):
            there = [letter async for letter in letters.all()]
            if argument < len(there) and step == "retry_dead_letter":
                assert (await letters.retry(there[argument]))[0] == "appended"
            elif argument < len(there):
                assert await letters.drop(there[argument]) == "dropped"
                dropped += 1
        elif step == "claim":
            await shard.store.claim(consumer="b", cursor=CLAIM_FROM_START, count=100)
        elif step == "trim":
            await shard.redis.xtrim(KEYS.stream, maxlen=argument, approximate=False)
            deleted |= set(ids[: max(0, len(ids) - argument)])
        elif step == "delete" and argument < len(ids):
            await shard.redis.xdel(KEYS.stream, ids[argument])
            deleted.add(ids[argument])
        elif step == "reconcile":
            await shard.store.reconcile_backlog()
    await shard.store.reconcile_backlog()
    waiting = [len(fields[b"lines"]) for _, fields in await shard.redis.xrange(KEYS.stream) if b"source" in fields]
    assert await shard.backlog() == (len(waiting), sum(waiting))
    assert await shard.lost() == len(deleted - dealt_with) + dropped


# Bounded, in blocks and in bytes.


def _limited(redis: Redis, **limits: Any) -> AllStores:
    return AllStores(redis, keys=KEYS, settings=Settings(**limits))


async def _append_to(store: AllStores, *sizes: int, bulk: bool = False) -> list[str]:
    """What becomes of blocks of so many bytes, each of a source of its own."""
    return [
        (await store.append(source=f"s{size}", blocks=[Block(0, size + 1, b"x" * size)], bulk=bulk))[0].outcome
        for size in sizes
    ]


async def test_the_stream_is_full_when_it_holds_so_many_bytes(shard: Shard) -> None:
    store = _limited(shard.redis, max_backlog_bytes=1024)
    assert await _append_to(store, 1000, 23) == ["appended"] * 2
    assert await store.has_room()
    assert await _append_to(store, 5000, 1) == ["appended", "full"], "it goes over by a block at the most"
    assert not await store.has_room()
    body = Body("key", "digest", 60_000, [b"x"])
    assert await store.append_once(source="h", bodies=[body]) == ["full"]
    first, second, third = await shard.read(10)
    await shard.count([first])
    assert not await store.has_room()
    await shard.count([third])
    assert await store.has_room()
    assert await store.append_once(source="h", bodies=[body]) == ["appended"]
    assert await _append_to(store, 1) == ["appended"]
    await shard.count([second])


async def test_what_others_add_takes_room_in_blocks_and_not_in_bytes(shard: Shard) -> None:
    store = _limited(shard.redis, max_backlog_bytes=1024, max_backlog_blocks=3)
    await shard.add(5000)
    await shard.add(5000)
    assert await _append_to(store, 1, 2) == ["appended", "full"]


async def test_a_block_larger_than_all_there_may_be_goes_alone(shard: Shard) -> None:
    store = _limited(shard.redis, max_backlog_bytes=1024)
    assert await _append_to(store, 5000, 1) == ["appended", "full"]


async def test_a_source_that_is_read_in_bulk_leaves_room_for_live_ones_in_bytes_and_in_blocks(shard: Shard) -> None:
    by_bytes = _limited(shard.redis, bulk_backlog_bytes=1024, max_backlog_bytes=4096)
    assert await _append_to(by_bytes, 1000, 24, 1, bulk=True) == ["appended", "appended", "full"]
    assert (await by_bytes.has_room(bulk=True), await by_bytes.has_room()) == (False, True)
    assert await _append_to(by_bytes, 3000) == ["appended"]
    assert await _append_to(by_bytes, 1) == ["appended"]
    by_blocks = _limited(shard.redis, max_backlog_blocks=9)
    assert await _append_to(by_blocks, 2, 3, bulk=True) == ["appended", "full"], "half of them, rounded up"
    assert (await by_blocks.has_room(bulk=True), await by_blocks.has_room()) == (False, True)
    assert await _append_to(by_blocks, 4, 5, 6, 7, 8) == ["appended"] * 4 + ["full"]


@pytest.mark.parametrize(("bulk", "all_", "limit"), [(1024, 4096, 1024), (8192, 4096, 4096)])
def test_bulk_never_finds_room_where_live_sources_find_none(bulk: int, all_: int, limit: int) -> None:
    settings = Settings(bulk_backlog_bytes=bulk, max_backlog_bytes=all_, max_backlog_blocks=1)
    assert settings.backlog_limits(bulk=True) == (1, limit)
    assert settings.backlog_limits(bulk=False) == (1, all_)


async def test_for_whom_the_stream_is_full_is_told(shard: Shard) -> None:
    reader = CountReader(shard.redis, keys=KEYS, settings=Settings())
    store = _limited(shard.redis, bulk_backlog_bytes=1024, max_backlog_bytes=2048)

    async def full() -> tuple[bool, bool]:
        found = await reader.backlog(await reader.totals())
        return found.bulk_full, found.full

    assert await _append_to(store, 1024, bulk=True) == ["appended"]
    assert await full() == (False, False), "nothing was refused"
    assert await _append_to(store, 1, bulk=True) == ["full"]
    assert await full() == (True, False)
    assert await _append_to(store, 1025) == ["appended"]
    assert await full() == (True, False), "a live source does not undo it"
    assert await _append_to(store, 2) == ["full"]
    assert await full() == (True, True)
    await shard.count(await shard.read(1))
    assert await full() == (True, False)
    assert await _append_to(store, 1, bulk=True) == ["full"]
    await shard.count(await shard.read(1))
    assert await full() == (False, False)


async def test_whether_sources_are_read_is_told_without_knowing_their_limits(shard: Shard) -> None:
    reader = CountReader(shard.redis, keys=KEYS, settings=Settings())
    store = _limited(shard.redis, max_backlog_bytes=1024)

    async def backlog() -> tuple[int, int, bool]:
        found = await reader.backlog(await reader.totals())
        return found.blocks, found.bytes, found.full

    assert await _append_to(store, 1000, 100) == ["appended"] * 2
    assert await backlog() == (2, 1100, False), "nothing was refused"
    assert await _append_to(store, 1) == ["full"]
    assert await backlog() == (2, 1100, True)
    assert await _append_to(_limited(shard.redis, max_backlog_bytes=2048), 2) == ["appended"]
    assert await backlog() == (3, 1102, False), "a source was restarted with another limit"
    assert await _append_to(store, 1) == ["full"]
    await shard.count(await shard.read(1))
    assert await backlog() == (2, 102, False)
    await shard.count(await shard.read(2))
    assert await backlog() == (0, 0, False)


async def test_a_full_redis_says_that_the_stream_is_full_and_looks_for_lost_blocks(durable_server: Server) -> None:
    redis: Any = connect(durable_server.url, timeout_seconds=30)
    store = _limited(redis, max_backlog_bytes=1024)
    await store.create_group()
    assert await _append_to(store, 2000) == ["appended"]
    await _append_to(_limited(redis), 2_000_000, 1000)
    await redis.config_set("maxmemory", "1mb")
    with pytest.raises(OutOfMemoryError):
        await redis.set("anything", "at all")
    assert await _append_to(store, 1) == ["full"], "though that cannot be noted"
    oldest = await store.oldest()
    assert oldest is not None
    await redis.xdel(KEYS.stream, oldest.id)
    assert await store.reconcile_backlog() == 1
    assert [int(each) for each in await redis.hmget(KEYS.backlog, "blocks", "bytes")] == [2, 2_001_000]
    await redis.aclose()


class _Lines(NotReplayable):
    """Some lines, and then the end."""

    label = "lines"
    finite = True

    def __init__(self, *lines: bytes) -> None:
        self._lines = lines

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        for line in self._lines:
            yield line


async def test_a_source_that_waits_for_room_finds_that_blocks_were_deleted(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No aggregator runs that would find it."""
    monkeypatch.setattr("ingestor.lane.FULL_RECONCILE_SECONDS", 0.1)
    settings = Settings(max_backlog_bytes=1024, max_block_bytes=1024)
    store = AllStores(shard.redis, keys=KEYS, settings=settings)
    lines = _Lines(*(b"%0600d\n" % number for number in range(3)))
    appending = asyncio.create_task(SourceAppender(lines, store=store, settings=settings, stop=asyncio.Event()).run())

    async def is_full() -> bool:
        return not await store.has_room()

    await wait_until_async(is_full, what="the stream is full")
    oldest = await store.oldest()
    assert oldest is not None
    await shard.redis.xdel(KEYS.stream, oldest.id)
    await asyncio.wait_for(appending, 60)
    assert (await shard.lost(), await shard.backlog()) == (1, (2, 1200))
