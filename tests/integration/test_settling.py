"""Batches on their way from the stream into the hashes: staged, settled and applied, whatever comes in between."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count as numbers
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

import tally.deltas
import tally.store.deltas
from aggregator.applying import Applier
from aggregator.folding import Folding
from aggregator.pacing import Batch, Pace
from aggregator.settling import Settler
from tally.backoff import Backoff
from tally.clock import SYSTEM
from tally.deltas import ALL_TIME, Chunk, Part, Place, Sample, chunks_of
from tally.keys import GROUP, OTHER, TOP_WORDS, Keys, Kind
from tally.settings import Settings
from tally.store import Block, GroupMissing, StoreUnavailable, WindowStore
from tally.store.blocks import Missing, Oldest, PendingBlock, Settled
from tally.store.deltas import APPLIED_TOGETHER, NextChunk, Progress
from tally.store.windows import FOLD_FROM_START
from tally.telemetry import get_logger
from tests.server import Server
from tests.stores import AllStores, in_minutes
from tests.waiting import wait_until_async

KEYS = Keys()

#: What is in a block.
LINES = b"x" * 500

#: A "minute" of 1 s, an "hour" of 4 s, a "day" of 12 s.
SMALL = "1x8,4x6,12x3"


class Shard:
    """A shard, its stores, and the batches of a test."""

    def __init__(self, redis: Redis) -> None:
        self.redis: Any = redis
        self.names = map(str, numbers())

    def store(self, **settings: Any) -> AllStores:
        return AllStores(self.redis, keys=KEYS, settings=Settings(**settings))

    async def blocks(self, number: int = 1, *, consumer: str = "a") -> list[PendingBlock]:
        """Append blocks and have them read by a consumer."""
        store = self.store()
        await store.create_group()
        source = f"file:/{next(self.names)}#1-f"
        await store.append(source=source, blocks=[Block(at, at + 1, LINES) for at in range(number)])
        return [entry.pending for entry in await store.read(consumer=consumer, count=number, block_ms=None)]

    async def settle(self, chunks: Sequence[Chunk], blocks: int = 1, **settings: Any) -> Settled:
        name, store = next(self.names), self.store(**settings)
        pending = await self.blocks(blocks)
        assert await store.stage(name=name, first=0, chunks=chunks) == "staged"
        outcome = await store.settle(consumer="a", blocks=pending, name=name, chunks=chunks)
        assert isinstance(outcome, Settled)
        return outcome

    async def count(self, parts: Sequence[Part], **settings: Any) -> None:
        await self.settle(list(chunks_of(parts, totals={}, samples=())), **settings)
        await self.store(**settings).apply_all()

    async def hash(self, key: str) -> dict[str, int]:
        return {name.decode(): int(value) for name, value in (await self.redis.hgetall(key)).items()}

    async def backlog(self) -> dict[str, int]:
        """What of the backlog is settled."""
        fields = ["settled_blocks", "settled_bytes", "delta_bytes", "settled", "applied"]
        return dict(zip(fields, (int(each or 0) for each in await self.redis.hmget(KEYS.backlog, fields)), strict=True))

    async def stored(self) -> dict[bytes, bytes]:
        """All keys as they are stored."""
        return {key: await self.redis.dump(key) for key in await self.redis.keys("*")}


@pytest.fixture
async def shard(redis: Redis) -> Shard:
    return Shard(redis)


@pytest.fixture
async def durable(durable_redis: Redis) -> Shard:
    return Shard(durable_redis)


def part(counts: Mapping[str, int], *places: tuple[int, int], kind: Kind = "words") -> Part:
    at = tuple(Place(*place) for place in places) or (ALL_TIME,)
    return Part(kind, at, list(counts), list(counts.values()))


def chunk(counts: Mapping[str, int], *places: tuple[int, int], **totals: int) -> Chunk:
    (only,) = chunks_of([part(counts, *places)], totals=totals, samples=())
    return only


# The gate.


async def test_a_batch_is_counted_once_whatever_is_repeated(shard: Shard) -> None:
    store, chunks = shard.store(), [chunk({"a": 1}), chunk({"b": 2}, events=3)]
    blocks = await shard.blocks(3)
    for _ in range(2):
        assert await store.stage(name="n", first=0, chunks=chunks) == "staged"
    assert await store.stage(name="n", first=1, chunks=chunks[1:]) == "staged"
    assert await store.settle(consumer="a", blocks=blocks, name="n", chunks=chunks) == Settled(number=2)
    ids = frozenset(block.id for block in blocks)
    assert await store.settle(consumer="a", blocks=blocks, name="n", chunks=chunks) == Missing(ids)
    first = await store.next_chunk()
    assert first == NextChunk(KEYS.delta("n"), 1, chunks[0].targets)
    result = await store.apply(first)
    second = NextChunk(KEYS.delta("n"), 2, chunks[1].targets)
    assert (result.word, result.next) == ("applied", second)
    assert (await store.apply(first)).word == "moved", "a call that comes late"
    assert await shard.hash(KEYS.words) == {"a": 1}
    # So does one of stage: the list is as long as it was before the second chunk was staged.
    assert await store.stage(name="n", first=1, chunks=chunks[1:]) == "stale"
    assert (await store.apply(second)).next is None
    assert (await store.apply(second)).word == "moved"
    assert (await store.apply(first)).word == "moved"
    assert await store.next_chunk() is None
    assert await shard.hash(KEYS.words) == {"a": 1, "b": 2}
    assert await shard.hash(KEYS.totals) == {"events": 3}
    assert await shard.redis.exists(KEYS.deltas, KEYS.delta("n")) == 0


async def test_two_who_hold_blocks_settle_their_own(shard: Shard) -> None:
    store, chunks = shard.store(), [chunk({"a": 1})]
    ours, theirs = await shard.blocks(2), await shard.blocks(1, consumer="b")
    await store.stage(name="n", first=0, chunks=chunks)
    before = await shard.stored()
    assert await store.settle(consumer="a", blocks=ours + theirs, name="n", chunks=chunks) == (
        Missing(frozenset({theirs[0].id}))
    )
    del before[KEYS.delta("n").encode()]
    assert await shard.stored() == before, "nothing is written, but that what was staged is gone"
    await store.stage(name="m", first=0, chunks=chunks)
    await store.stage(name="o", first=0, chunks=chunks)
    assert await store.settle(consumer="b", blocks=theirs, name="o", chunks=chunks) == Settled(1)
    assert await store.settle(consumer="a", blocks=ours, name="m", chunks=chunks) == Settled(2)
    await store.apply_all()
    assert await shard.hash(KEYS.words) == {"a": 2}


async def test_blocks_that_are_claimed_in_between_are_counted_by_who_has_them(shard: Shard) -> None:
    store, chunks = shard.store(), [chunk({"a": 1})]
    blocks = await shard.blocks(2)
    await store.stage(name="n", first=0, chunks=chunks)
    await shard.redis.xclaim(KEYS.stream, GROUP, "b", 0, [blocks[1].id])
    assert await store.settle(consumer="a", blocks=blocks, name="n", chunks=chunks) == Missing(
        frozenset({blocks[1].id})
    )
    await store.stage(name="m", first=0, chunks=chunks)
    assert await store.settle(consumer="b", blocks=blocks[1:], name="m", chunks=chunks) == Settled(1)
    assert await shard.redis.xlen(KEYS.stream) == 1, "the other one is still pending"


async def _expired(shard: Shard, chunks: Sequence[Chunk]) -> None:
    store = shard.store()
    await store.stage(name="n", first=0, chunks=chunks)
    await shard.redis.pexpire(KEYS.delta("n"), 1)

    async def is_gone() -> bool:
        return not await shard.redis.exists(KEYS.delta("n"))

    await wait_until_async(is_gone, what="the staged list has expired")


async def _short(shard: Shard, chunks: Sequence[Chunk]) -> None:
    await shard.store().stage(name="n", first=0, chunks=chunks[:1])


async def _never_staged(shard: Shard, chunks: Sequence[Chunk]) -> None:
    pass


async def _settled(shard: Shard, chunks: Sequence[Chunk]) -> None:
    """Under other blocks: its name was used twice."""
    store = shard.store()
    await store.stage(name="n", first=0, chunks=chunks)
    assert await store.settle(consumer="a", blocks=await shard.blocks(), name="n", chunks=chunks) == Settled(2)


@pytest.mark.parametrize("staged", [_expired, _short, _never_staged, _settled])
async def test_a_list_that_is_not_what_was_staged_is_never_settled(shard: Shard, staged: Callable[..., Any]) -> None:
    store, chunks = shard.store(), [chunk({"a": 1}), chunk({"b": 1})]
    blocks = await shard.blocks(2)
    await staged(shard, chunks)
    before = await shard.stored()
    assert await store.settle(consumer="a", blocks=blocks, name="n", chunks=chunks) == "stale"
    assert await shard.stored() == before


async def test_what_follows_on_an_expired_list_is_not_staged(shard: Shard) -> None:
    store, chunks = shard.store(), [chunk({"a": 1}), chunk({"b": 1})]
    await _expired(shard, chunks[:1])
    assert await store.stage(name="n", first=1, chunks=chunks[1:]) == "stale"
    assert await shard.redis.exists(KEYS.delta("n")) == 0


async def test_what_is_staged_expires_until_it_is_settled(shard: Shard) -> None:
    store, chunks = shard.store(), [chunk({"a": 1})]
    blocks = await shard.blocks()
    await store.stage(name="n", first=0, chunks=chunks)
    most_ms = tally.store.deltas.STAGED_SECONDS * 1000
    assert 0 < await shard.redis.pttl(KEYS.delta("n")) <= most_ms
    await store.settle(consumer="a", blocks=blocks, name="n", chunks=chunks)
    assert await shard.redis.pttl(KEYS.delta("n")) == -1


async def test_a_large_batch_is_staged_in_some_calls_and_applied_in_its_order(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally.store.deltas, "STAGE_BYTES", 300)
    monkeypatch.setattr(tally.deltas, "CHUNK_UPDATES", 30)
    counts = {f"word{number}": number for number in range(1, 101)}
    chunks = list(chunks_of([part(counts)], totals={"words": 5050}, samples=()))
    assert len(chunks) == 10
    await shard.settle(chunks)
    await shard.store().apply_all()
    assert await shard.hash(KEYS.words) == counts
    assert await shard.hash(KEYS.totals) == {"words": 5050}


async def test_no_more_is_staged_or_settled_while_too_much_waits(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    store, chunks = shard.store(), [chunk({"a": 1})]
    await store.stage(name="n", first=0, chunks=chunks)
    blocks = await shard.blocks(2)
    monkeypatch.setattr(tally.store.deltas, "MAX_DELTA_BYTES", 1)
    await shard.redis.hset(KEYS.backlog, "delta_bytes", 1)
    assert isinstance(await store.settle(consumer="a", blocks=blocks[:1], name="n", chunks=chunks), Settled), (
        "nothing waits, whatever the figure says"
    )
    await shard.redis.hset(KEYS.backlog, "delta_bytes", 0)
    await store.stage(name="m", first=0, chunks=chunks)
    await shard.redis.hset(KEYS.backlog, "delta_bytes", 1)
    await shard.redis.pexpire(KEYS.delta("m"), 50_000)
    assert await store.settle(consumer="a", blocks=blocks[1:], name="m", chunks=chunks) == "full"
    assert await shard.redis.pttl(KEYS.delta("m")) > 50_000, "it may wait for as long again"
    assert await store.stage(name="o", first=0, chunks=chunks) == "full"
    assert await shard.redis.exists(KEYS.delta("o")) == 0
    await store.apply_all()
    assert isinstance(await store.settle(consumer="a", blocks=blocks[1:], name="m", chunks=chunks), Settled)


async def test_what_is_staged_waits_for_room_and_is_not_staged_again(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is staged and given up would take memory until it expires."""
    await shard.settle([chunk({"a": 1})])  # by another aggregator, and not applied yet

    class Store(AllStores):
        staged = 0

        async def stage(self, **arguments: Any) -> Any:
            self.staged += 1
            word = await super().stage(**arguments)
            monkeypatch.setattr(tally.store.deltas, "MAX_DELTA_BYTES", 1)  # meanwhile there is enough
            return word

    store, stop, log = Store(shard.redis, keys=KEYS, settings=Settings()), asyncio.Event(), get_logger()
    folding = Folding(WindowStore(shard.redis, keys=KEYS, settings=Settings()))
    settler = Settler(
        store=store,
        applier=Applier(store=store, folding=folding, clock=SYSTEM, stop=stop, log=log),
        settings=Settings(),
        consumer="a",
        pace=Pace(claim_idle_seconds=60, max_block_bytes=1000),
        backoff=Backoff(),
        clock=SYSTEM,
        log=log,
    )
    batch = Batch(SYSTEM.monotonic(), await shard.blocks())
    await settler.settle(batch, in_minutes({60: ({"t": 1}, {"b": 1})}))
    assert store.staged == 1
    await store.apply_all()
    assert await shard.hash(KEYS.words) == {"a": 1, "b": 1}
    assert await shard.redis.keys(KEYS.delta("*")) == []


async def test_what_waits_is_not_too_much_where_nothing_does(shard: Shard) -> None:
    await shard.settle([chunk({"a": 1})])
    await shard.redis.hset(KEYS.backlog, "delta_bytes", tally.store.deltas.MAX_DELTA_BYTES)
    assert await shard.store().stage(name="n", first=0, chunks=[chunk({"b": 1})]) == "full"
    await shard.redis.delete(KEYS.deltas)  # somebody has
    await shard.settle([chunk({"b": 1})])
    await shard.store().apply_all()
    assert await shard.hash(KEYS.words) == {"b": 1}
    assert (await shard.backlog())["delta_bytes"] == 0


async def test_without_a_group_nothing_is_settled(shard: Shard) -> None:
    store, chunks = shard.store(), [chunk({"a": 1})]
    await store.stage(name="n", first=0, chunks=chunks)
    with pytest.raises(GroupMissing):
        await store.settle(consumer="a", blocks=[PendingBlock("5-5", -1, None)], name="n", chunks=chunks)
    assert await shard.redis.exists(KEYS.deltas) == 0


async def test_many_who_settle_and_apply_at_once_count_once(shard: Shard) -> None:
    blocks = await shard.blocks(40)
    chance = random.Random(1)
    batches = [[Counter(chance.choices("abcd", k=5)) for _ in range(3)] for _ in blocks]

    async def aggregator() -> int:
        store, settled = shard.store(), 0
        for block, batch in zip(blocks, batches, strict=True):
            name, chunks = next(shard.names), [chunk(counts, events=5) for counts in batch]
            assert await store.stage(name=name, first=0, chunks=chunks) == "staged"
            outcome = await store.settle(consumer="a", blocks=[block], name=name, chunks=chunks)
            settled += isinstance(outcome, Settled)
            if (following := await store.next_chunk()) is not None:
                await store.apply(following)
        return settled

    assert sum(await asyncio.gather(*(aggregator() for _ in range(3)))) == len(blocks)
    await shard.store().apply_all()
    assert await shard.hash(KEYS.words) == sum((counts for batch in batches for counts in batch), Counter())
    assert (await shard.hash(KEYS.totals))["events"] == 40 * 3 * 5
    assert [key for key in await shard.redis.keys("*") if b"deltas" in key] == []


async def test_what_is_settled_outlives_a_killed_server(durable: Shard, durable_server: Server) -> None:
    chunks = [chunk({"a": 1, "b": 2}, (1, 0)), chunk({"a": 1}, (2, 0)), chunk({"a": 1}, events=1)]
    await durable.redis.config_set("appendfsync", "always")
    await durable.settle(chunks, windows=SMALL)
    for left in (2, 1, 0):
        await restarted(durable, durable_server)
        store = durable.store(windows=SMALL)
        following = await store.next_chunk()
        assert following is not None
        assert (await store.apply(following)).word == "applied"
        assert await store.progress() == Progress(settled=3, applied=3 - left)
    await restarted(durable, durable_server)
    assert await durable.store().next_chunk() is None
    assert await durable.hash(KEYS.window_words(1, 0)) == {"a": 1, "b": 2}
    assert await durable.hash(KEYS.window_words(4, 0)) == {"a": 1}
    assert (await durable.hash(KEYS.words), await durable.hash(KEYS.totals)) == ({"a": 1}, {"events": 1})


async def restarted(shard: Shard, server: Server) -> None:
    assert server.kill()
    server.start()
    await shard.redis.connection_pool.disconnect()
    await shard.redis.config_set("appendfsync", "always")


# A full Redis.


async def test_a_full_redis_is_emptied_by_each_step(durable: Shard) -> None:
    settings: dict[str, Any] = {"windows": SMALL}
    store, windows = durable.store(**settings), WindowStore(durable.redis, keys=KEYS, settings=Settings(**settings))
    await durable.count([part({"old": 1}, (1, 0)), part({"old": 1, OTHER: 2}, (2, 0), (0, 0))], **settings)
    blocks = await durable.blocks(3)
    await durable.redis.config_set("maxmemory", "1mb")
    with pytest.raises(OutOfMemoryError):
        await durable.redis.set("anything", "at all")
    chunks = [chunk({"a": 1}, (1, 100)), chunk({"a": 1}, (2, 100), (0, 0)), chunk({}, events=1)]
    assert await store.stage(name="n", first=0, chunks=chunks) == "staged"
    assert isinstance(await store.settle(consumer="a", blocks=blocks, name="n", chunks=chunks), Settled)
    assert (await durable.redis.xlen(KEYS.stream), await store.reconcile_backlog()) == (0, 0)
    await store.apply_all()
    assert await durable.hash(KEYS.window_words(1, 100)) == {"a": 1}
    overdue = await windows.overdue()
    assert (overdue.folds, dict(overdue.drops)) == (((2, 0),), {1: (0,)})
    assert await windows.drop(level=1, starts=[0]) == 1
    assert await windows.fold(level=2, start=0, cursor=FOLD_FROM_START) == ("folded", "", 2)
    assert await durable.hash(KEYS.window_words(12, 0)) == {"old": 1, OTHER: 2}
    assert await durable.redis.exists(KEYS.window_words(1, 0), KEYS.window_words(4, 0)) == 0
    assert await durable.hash(KEYS.totals) == {"events": 1}


# What cannot be applied.


@pytest.mark.parametrize(
    ("targets", "body"),
    [
        pytest.param(None, b"\xc1", id="no MessagePack"),
        pytest.param(None, b"", id="nothing"),
        pytest.param(None, b"\x93\x91\x92\x91\xa1a\x92\x01\x01\x80\x90", id="a count too many"),
        pytest.param(None, b"\x93\x91\x92\x91\xa1a\x91\xff\x80\x90", id="a count under 0"),
        pytest.param(None, b"\x93\x91\x92\x91\xa1a\x91\xcb\x3f\xf8\0\0\0\0\0\0\x80\x90", id="a count of 1.5"),
        pytest.param(None, b"\x93\x91\x92\x91\x91\x01\x91\x01\x80\x90", id="a name that is none"),
        pytest.param(None, b"\x93\x91\x92\x91\xa1a\x91\x01\x81\xa1a\xa1b\x90", id="a total that is none"),
        pytest.param(None, b"\x93\x91\x92\x91\xa1a\x91\x01\x80\x91\x91\xa1a", id="a sample without a reason"),
        pytest.param(b"{", None, id="no JSON"),
        pytest.param(b'[["words",[[9,0]]]]', None, id="a level too many"),
        pytest.param(b'[["words",[[0,0]]],["words",[[0,0]]]]', None, id="a part too many"),
    ],
)
async def test_a_chunk_that_cannot_be_read_is_a_dead_letter_and_the_next_is_applied(
    shard: Shard, targets: bytes | None, body: bytes | None
) -> None:
    good = chunk({"a": 1})
    bad = Chunk(good.targets if targets is None else targets, good.body if body is None else body, 1)
    await shard.settle([good, bad, chunk({"b": 1}, events=1)], blocks=2)
    batch = json.loads(await shard.redis.lindex(KEYS.deltas, 0))
    store = shard.store()
    following, words = await store.next_chunk(), []
    while following is not None:
        result = await store.apply(following)
        words.append(result.word)
        following = result.next
    assert words == ["applied", "poison", "applied"]
    assert (await shard.hash(KEYS.words), await shard.hash(KEYS.totals)) == ({"a": 1, "b": 1}, {"events": 1})
    ((_, dead),) = await shard.redis.xrange(KEYS.dead_letters)
    assert dead == {
        b"targets": bad.targets,
        b"body": bad.body,
        b"chunk": b"2",
        b"blocks": b"2",
        b"lengths": b"60,3600,86400",
        b"appended_ms": str(batch["appended_ms"]).encode(),
    }
    assert await shard.backlog() == {
        "settled_blocks": 0,
        "settled_bytes": 0,
        "delta_bytes": 0,
        "settled": 3,
        "applied": 3,
    }


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEYS.words, "hash"),
        (KEYS.top, "zset"),
        (KEYS.totals, "hash"),
        (KEYS.floors, "zset"),
        (KEYS.rejected, "stream"),
        (KEYS.dead_letters, "stream"),
        (KEYS.windows(1), "zset"),
        (KEYS.windows(12), "zset"),
        (KEYS.window_words(4, 40), "hash"),
        (KEYS.window_words(12, 36), "hash"),
    ],
)
async def test_a_key_of_another_type_stops_applying_until_it_is_mended(shard: Shard, key: str, expected: str) -> None:
    await shard.settle([chunk({"a": 1}, (1, 40), (2, 40), (0, 0), events=1)], windows=SMALL)
    store = shard.store(windows=SMALL)
    kept = await shard.redis.dump(key)
    await shard.redis.set(key, "mine")
    before = await shard.stored()
    following = await store.next_chunk()
    assert following is not None
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=f"{key.replace('{', '.')} is a string and should be a {expected}"):
            await store.apply(following)
    assert await shard.stored() == before
    await shard.redis.delete(key)
    if kept:
        await shard.redis.restore(key, 0, kept)
    assert (await store.apply(following)).word == "applied"
    assert (await shard.hash(KEYS.words), (await shard.hash(KEYS.totals))["events"]) == ({"a": 1}, 1)


async def test_what_is_no_number_under_other_does_not_end_a_script_in_its_middle(shard: Shard) -> None:
    """Nor under a name: what another client has written there is gone, and no chunk is."""
    settings: dict[str, Any] = {"max_words": 1}
    await shard.redis.hset(KEYS.words, mapping={"a": "many", OTHER: "some"})
    await shard.count([part({"a": 2, "b": 3, "c": 4}, (0, 0))], **settings)
    assert await shard.hash(KEYS.words) == {"a": 2, OTHER: 7}
    assert await shard.hash(KEYS.backlog) != {}
    assert await shard.redis.llen(KEYS.deltas) == 0


async def test_a_total_that_is_no_number_stops_applying(shard: Shard) -> None:
    await shard.settle([chunk({"a": 1}, events=1)])
    await shard.redis.hset(KEYS.totals, "events", "many")
    before, following = await shard.stored(), await shard.store().next_chunk()
    assert following is not None
    with pytest.raises(StoreUnavailable, match="events many"):
        await shard.store().apply(following)
    assert await shard.stored() == before


@pytest.mark.parametrize("key", [KEYS.deltas, KEYS.backlog, KEYS.totals])
async def test_a_key_of_another_type_stops_settling(shard: Shard, key: str) -> None:
    store, chunks = shard.store(), [chunk({"a": 1})]
    blocks = await shard.blocks()
    await store.stage(name="n", first=0, chunks=chunks)
    await shard.redis.delete(key)
    await shard.redis.set(key, "mine")
    before = await shard.stored()
    with pytest.raises(StoreUnavailable, match="is a string and should be a"):
        await store.settle(consumer="a", blocks=blocks, name="n", chunks=chunks)
    assert await shard.stored() == before


async def test_a_chunk_of_a_kind_that_only_a_newer_version_knows_waits_for_it(shard: Shard) -> None:
    newer = Chunk(b'[["pairs",[[0,0]]]]', b"\x93\x91\x92\x91\xa1a\x91\x01\x80\x90", 1)
    await shard.settle([newer])
    following = await shard.store().next_chunk()
    assert following is not None
    before = await shard.stored()
    with pytest.raises(StoreUnavailable, match="a newer Tally counts 'pairs'"):
        await shard.store().apply(following)
    assert await shard.stored() == before


async def test_blocks_of_a_list_that_somebody_has_deleted_are_lost(shard: Shard) -> None:
    await shard.settle([chunk({"a": 1}), chunk({"b": 1}, events=2)], blocks=3)
    await shard.settle([chunk({"c": 1}, events=1)])
    first = await shard.store().next_chunk()
    assert first is not None
    await shard.redis.delete(first.list)
    gone = await shard.store().next_chunk()
    assert gone is not None
    result = await shard.store().apply(gone)
    assert result.word == "lost"
    assert (await shard.backlog())["settled_blocks"] == 1
    assert result.next is not None
    assert (await shard.store().apply(result.next)).word == "applied"
    assert await shard.hash(KEYS.words) == {"c": 1}
    assert await shard.hash(KEYS.totals) == {"events": 1, "lost": 3}


# Figures.


async def test_what_is_settled_waits_until_it_is_applied(shard: Shard) -> None:
    store = shard.store(max_backlog_blocks=4)
    chunks = [chunk({"a": 1}), chunk({"b": 1}, blocks=3)]
    await shard.settle(chunks, blocks=3)
    size = sum(each.bytes for each in chunks)
    assert await shard.backlog() == {
        "settled_blocks": 3,
        "settled_bytes": 1500,
        "delta_bytes": size,
        "settled": 2,
        "applied": 0,
    }
    oldest = await store.oldest()
    assert isinstance(oldest, Oldest)
    assert oldest.id is None
    assert await store.progress() == Progress(settled=2, applied=0)
    assert (await store.append(source="s", blocks=[Block(0, 1, b"x")]))[0].outcome == "appended"
    assert (await store.append(source="t", blocks=[Block(0, 1, b"x")]))[0].outcome == "full"
    assert not await store.has_room()
    oldest = await store.oldest()
    assert oldest is not None
    assert oldest.id == await store.last_entry_id()

    following = await store.next_chunk()
    assert following is not None
    following = (await store.apply(following)).next
    assert await shard.backlog() == {
        "settled_blocks": 3,
        "settled_bytes": 1500,
        "delta_bytes": chunks[1].bytes,
        "settled": 2,
        "applied": 1,
    }
    assert await shard.hash(KEYS.totals) == {}, "totals are never ahead of the counts"
    assert following is not None
    await store.apply(following)
    assert await shard.backlog() == {
        "settled_blocks": 0,
        "settled_bytes": 0,
        "delta_bytes": 0,
        "settled": 2,
        "applied": 2,
    }
    assert (await store.append(source="t", blocks=[Block(0, 1, b"x")]))[0].outcome == "appended"
    assert await store.progress() == Progress(settled=2, applied=2)


async def test_the_bytes_of_what_is_settled_count_against_the_limit(shard: Shard) -> None:
    store = shard.store(max_backlog_bytes=1500)
    await shard.settle([chunk({"a": 1})], blocks=2)
    await store.append(source="s", blocks=[Block(0, 1, LINES)])
    assert (await store.append(source="s", blocks=[Block(1, 2, LINES)]))[0].outcome == "full"
    assert not await store.has_room()
    await store.apply_all()
    assert await store.has_room()
    assert (await store.append(source="s", blocks=[Block(1, 2, LINES)]))[0].outcome == "appended"


async def test_the_oldest_is_the_older_of_what_is_settled_and_what_is_not(shard: Shard) -> None:
    chunks = [chunk({"a": 1})]
    (block,) = await shard.blocks()
    store = shard.store()
    await store.stage(name="n", first=0, chunks=chunks)
    long_ago = PendingBlock(block.id, block.backlog_bytes, 1_600_000_000_000)
    await store.settle(consumer="a", blocks=[long_ago], name="n", chunks=chunks)
    await shard.blocks()
    oldest = await store.oldest()
    assert oldest is not None
    assert oldest.waited_seconds > 3600
    await store.apply_all()
    oldest = await store.oldest()
    assert oldest is not None
    assert oldest.waited_seconds < 3600


async def test_what_is_settled_is_not_taken_for_lost(shard: Shard) -> None:
    store = shard.store()
    await shard.settle([chunk({"a": 1}, blocks=3)], blocks=3)
    await shard.blocks(2)
    assert await store.reconcile_backlog() == 0
    await store.apply_all()
    assert await store.reconcile_backlog() == 0
    await shard.redis.xtrim(KEYS.stream, maxlen=1, approximate=False)
    await shard.settle([chunk({"a": 1}, blocks=1)])
    assert await store.reconcile_backlog() == 1
    await shard.redis.delete(KEYS.stream)
    assert await store.reconcile_backlog() == 1
    await store.apply_all()
    assert await shard.hash(KEYS.totals) == {"blocks": 4, "lost": 2}


async def test_figures_that_somebody_has_deleted_hold_nothing_up(shard: Shard) -> None:
    await shard.settle([chunk({"a": 1}), chunk({"b": 1})])
    await shard.redis.delete(KEYS.backlog)
    await shard.store().apply_all()
    await shard.settle([chunk({"a": 1})])
    await shard.store().apply_all()
    assert await shard.hash(KEYS.words) == {"a": 2, "b": 1}
    found = await shard.backlog()
    assert (found["settled_blocks"], found["settled_bytes"], found["delta_bytes"]) == (0, 0, 0)


# What is in the hashes then.


async def test_the_top_words_are_exact_after_each_chunk(shard: Shard) -> None:
    chance, truth = random.Random(1), Counter[str]()
    store = shard.store()
    for _ in range(12):
        counts = Counter({f"w{int(chance.paretovariate(0.2)) % 3000}": chance.randint(1, 5) for _ in range(400)})
        counts[OTHER] = 1_000
        truth.update(counts)
        await shard.settle([chunk(counts)])
        await store.apply_all()
        found = {
            name.decode(): int(count) for name, count in await shard.redis.zrange(KEYS.top, 0, -1, withscores=True)
        }
        del truth[OTHER]
        assert sorted(found.values()) == sorted(truth.values())[-TOP_WORDS:]
        assert all(truth[name] == count for name, count in found.items())
    assert len(truth) > TOP_WORDS


async def test_names_over_the_bounds_are_counted_together(shard: Shard) -> None:
    settings: dict[str, Any] = {"windows": SMALL, "max_words": 3, "max_window_words": 2, "max_types": 1}
    places = ((1, 40), (2, 40), (0, 0))
    await shard.count(
        [part(dict.fromkeys("abcd", 1), *places), part({"x": 1, "y": 2}, *places, kind="types")], **settings
    )
    await shard.count([part({"a": 1, OTHER: 5, "e": 1}, *places)], **settings)
    assert await shard.hash(KEYS.words) == {"a": 2, "b": 1, "c": 1, OTHER: 7}
    for length in (1, 4):
        assert await shard.hash(KEYS.window_words(length, 40)) == {"a": 2, "b": 1, OTHER: 8}
    assert await shard.hash(KEYS.types) == await shard.hash(KEYS.window_types(1, 40)) == {"x": 1, OTHER: 2}


@pytest.mark.parametrize("count", [1, 2**31, 2**52, 2**53 - 1])
async def test_counts_are_exact_whatever_their_size(shard: Shard, count: int) -> None:
    for _ in range(3):
        await shard.count([part({"a": count})])
    assert await shard.hash(KEYS.words) == {"a": 3 * count}


async def test_names_and_samples_are_kept_as_they_are(shard: Shard) -> None:
    names = ["\0", "größe", "\U0001f600", "a b\n", "x" * 60_000, "", "__proto__", "1", "1e5"]
    samples = [Sample(b"\xff\0\xfe", "why \u2026", "file:/a"), Sample(b"", "", "")]
    chunks = list(chunks_of([part(dict.fromkeys(names, 7))], totals={"rejected": 2}, samples=samples))
    await shard.settle(chunks)
    await shard.store().apply_all()
    assert await shard.hash(KEYS.words) == dict.fromkeys(names, 7)
    kept = [fields for _, fields in await shard.redis.xrange(KEYS.rejected)]
    assert [(each[b"line"], each[b"reason"].decode(), each[b"source"]) for each in kept] == [
        (b"\xff\0\xfe", "why \u2026", b"file:/a"),
        (b"", "", b""),
    ]
    assert all(int(each[b"rejected_ms"]) > 1_600_000_000_000 for each in kept)


async def test_of_samples_as_many_are_kept_as_are_set(shard: Shard) -> None:
    samples = [Sample(b"%d" % number, "", "") for number in range(5)]
    await shard.settle(list(chunks_of([], totals={}, samples=samples)), max_rejected_samples=3)
    await shard.store(max_rejected_samples=3).apply_all()
    assert [fields[b"line"] for _, fields in await shard.redis.xrange(KEYS.rejected)] == [b"2", b"3", b"4"]


# Several in one round trip.


async def test_chunks_of_a_batch_are_applied_together_and_what_is_next_is_told(shard: Shard) -> None:
    store = shard.store()
    await shard.settle([chunk({"a": 1}), chunk({"b": 1}), chunk({"c": 1}), chunk({"d": 1}), chunk({"e": 1}, events=5)])
    await shard.settle([chunk({"f": 1}, events=1)])
    first = await store.next_chunk()
    assert first is not None
    assert len(first.behind) == APPLIED_TOGETHER - 1
    evals = await _scripts_run(shard)
    results = await store.apply_together(first)
    assert await _scripts_run(shard) == evals + APPLIED_TOGETHER
    assert [result.word for result in results] == ["applied"] * APPLIED_TOGETHER
    assert list(await shard.hash(KEYS.words)) == ["a", "b", "c"]
    assert await shard.hash(KEYS.totals) == {}
    second = results[-1].next
    assert second is not None
    assert (second.number, len(second.behind)) == (APPLIED_TOGETHER + 1, 1), "those of this batch alone"
    third = (await store.apply_together(second))[-1].next
    assert third == await store.next_chunk()
    assert third is not None
    assert (await store.apply_together(third))[-1].next is None
    assert (await shard.hash(KEYS.totals))["events"] == 6


async def test_of_those_applied_together_none_is_applied_twice(shard: Shard) -> None:
    store = shard.store()
    await shard.settle([chunk({"a": 1}), chunk({"b": 1}), chunk({"c": 1}, events=3)])
    first = await store.next_chunk()
    assert first is not None
    assert (await store.apply(first)).word == "applied"  # by another one, meanwhile
    assert [result.word for result in await store.apply_together(first)] == ["moved", "applied", "applied"]
    assert [result.word for result in await store.apply_together(first)] == ["moved"] * 3
    assert await shard.hash(KEYS.words) == {"a": 1, "b": 1, "c": 1}


async def test_a_chunk_that_cannot_be_read_holds_up_none_that_is_applied_with_it(shard: Shard) -> None:
    store = shard.store()
    poison = Chunk(chunk({"x": 1}).targets, b"\xc1", 1)
    await shard.settle([chunk({"a": 1}), poison, chunk({"c": 1}, events=2)])
    first = await store.next_chunk()
    assert first is not None
    assert [result.word for result in await store.apply_together(first)] == ["applied", "poison", "applied"]
    assert await shard.hash(KEYS.words) == {"a": 1, "c": 1}
    assert await shard.redis.xlen(KEYS.dead_letters) == 1


async def test_a_wrong_type_stops_those_behind_it_too(shard: Shard) -> None:
    store = shard.store(windows=SMALL)
    await shard.settle([chunk({"a": 1}), chunk({"b": 1}, (2, 4)), chunk({"c": 1}, events=3)], windows=SMALL)
    await shard.redis.set(KEYS.window_words(4, 4), "no hash")
    first = await store.next_chunk()
    assert first is not None
    with pytest.raises(StoreUnavailable, match="is a string and should be a hash"):
        await store.apply_together(first)
    assert await shard.hash(KEYS.words) == {"a": 1}
    await shard.redis.delete(KEYS.window_words(4, 4))
    await store.apply_all()
    assert await shard.hash(KEYS.words) == {"a": 1, "c": 1}
    assert await shard.hash(KEYS.window_words(4, 4)) == {"b": 1}


async def _scripts_run(shard: Shard) -> int:
    found = (await shard.redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})
    return int(found["calls"])
