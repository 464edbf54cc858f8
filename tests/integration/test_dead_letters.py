"""What could not be counted: it is listed, counted after all, or dropped, each letter once whatever comes between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

import tally.store.dead_letters
from aggregator.decoding import Decoder
from tally.cli.dead_letters import letters_of_available
from tally.deltas import ALL_TIME, Part, chunks_of
from tally.keys import Keys
from tally.refused import Refused
from tally.settings import Settings
from tally.store import Block, StoreUnavailable, connect
from tally.store.blocks import Settled
from tally.store.dead_letters import DeadLetter, DeadLetterStore
from tally.store.deltas import MAX_DELTA_BYTES
from tests.server import Server
from tests.stores import AllStores

KEYS = Keys()

#: A block of three lines, of which one is garbage.
LINES = b'{"event_type":"a","data":"x x"}\ngarbage\n{"event_type":"b","data":"y"}'


class Shard:
    """One shard with dead letters, and who looks after them."""

    def __init__(self, redis: Redis) -> None:
        self.redis: Any = redis

    def store(self, **settings: Any) -> AllStores:
        return AllStores(self.redis, keys=KEYS, settings=Settings(max_deliveries=1, **settings))

    def letters(self, **settings: Any) -> DeadLetterStore:
        return DeadLetterStore(self.redis, keys=KEYS, settings=Settings(**settings))

    async def dead_block(self, fields: Mapping[str, bytes | str] | None = None) -> DeadLetter:
        """A block of ours that is a dead letter, or one of another client with these fields."""
        store = self.store()
        await store.ensure_layout()
        await store.create_group()
        if fields is None:
            source = f"file:/{await self.redis.incr('test:sources')}"
            await store.append(source=source, blocks=[Block(0, len(LINES) + 1, LINES)])
        else:
            await self.redis.xadd(KEYS.stream, fields)
        (entry,) = await store.read(consumer="c", count=1, block_ms=None)
        assert await store.dead_letter(consumer="c", entry_id=entry.id) == "moved"
        return (await self.all())[-1]

    async def dead_chunk(self, *, body: bytes | None = None, **settings: Any) -> DeadLetter:
        """A chunk that is a dead letter: of one `x`, or with this body, which nobody can read."""
        store = self.store(**settings)
        await store.ensure_layout()
        await store.create_group()
        await self.redis.xadd(KEYS.stream, {"lines": b"x"})
        entries = await store.read(consumer="c", count=1, block_ms=None)
        (good,) = chunks_of([Part("words", (ALL_TIME,), ["x"], [1])], totals={"words": 1}, samples=())
        name = str(await self.redis.incr("test:names"))
        assert await store.stage(name=name, first=0, chunks=[good]) == "staged"
        outcome = await store.settle(consumer="c", blocks=[each.pending for each in entries], name=name, chunks=[good])
        assert isinstance(outcome, Settled)
        await self.redis.lset(KEYS.delta(name), 1, b"\xc1" if body is None else body)
        chunk = await store.next_chunk()
        assert chunk is not None
        assert (await store.apply(chunk)).word == "poison"
        letter = (await self.all())[-1]
        if body is None:  # as after an upgrade, to a program that can read it
            letter = await self.replace(letter, {"body": good.body})
        return letter

    async def replace(self, letter: DeadLetter, fields: Mapping[str, bytes]) -> DeadLetter:
        """Put another letter in its place, under its ID, with these fields otherwise."""
        held = await self.redis.xrange(KEYS.dead_letters)
        await self.redis.delete(KEYS.dead_letters)
        for id_, values in held:
            changed = {name: fields.get(name.decode(), value) for name, value in values.items()}
            await self.redis.xadd(KEYS.dead_letters, changed if id_.decode() == letter.id else values, id=id_)
        found = await self.letters().find(letter.id)
        assert found is not None
        return found

    async def all(self) -> list[DeadLetter]:
        return [letter async for letter in self.letters().all()]

    async def count_all(self) -> None:
        """Count what waits in the stream as it would have been when it was appended."""
        store = self.store()
        entries = await store.read(consumer="c", count=100, block_ms=None)
        counts = Decoder(Settings()).count(entries)
        assert isinstance(await store.count(consumer="c", entries=entries, counts=counts), Settled)

    async def hash(self, key: str) -> dict[str, int]:
        return {name.decode(): int(value) for name, value in (await self.redis.hgetall(key)).items()}

    async def waiting(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in await self.redis.xrange(KEYS.stream)]

    async def stored(self) -> dict[bytes, bytes]:
        """All keys as they are stored."""
        return {key: await self.redis.dump(key) for key in await self.redis.keys("tally:*")}

    async def check_backlog(self) -> None:
        """What waits is what the figures say, and nothing was lost unnoticed."""
        lost = (await self.hash(KEYS.totals)).get("lost", 0)
        kept = await self.redis.hmget(KEYS.backlog, "blocks", "bytes")
        ours = [fields[b"lines"] for fields in await self.waiting() if b"appended_ms" in fields]
        assert [int(each or 0) for each in kept] == [len(ours), sum(map(len, ours))]
        assert await self.store().reconcile_backlog() == 0
        assert (await self.hash(KEYS.totals)).get("lost", 0) == lost


@pytest.fixture
async def shard(redis: Redis) -> Shard:
    return Shard(redis)


@pytest.fixture
async def durable(durable_redis: Redis) -> Shard:
    return Shard(durable_redis)


# A block.


async def test_a_block_is_counted_after_all_and_once_however_often_it_is_retried(shard: Shard) -> None:
    letter = await shard.dead_block()
    ((_, dead),) = await shard.redis.xrange(KEYS.dead_letters)
    letters = shard.letters()
    word, block_id = await letters.retry(letter)
    assert word == "appended"
    assert await shard.redis.xrange(KEYS.stream) == [
        (block_id.encode(), {name: dead[name] for name in (b"lines", b"source", b"appended_ms")})
    ]
    await shard.check_backlog()
    # As after a lost answer; and when it is counted.
    for _ in range(2):
        assert await letters.retry(letter) == ("gone", "")
        assert await letters.drop(letter) == "gone"
        if await shard.waiting():
            await shard.count_all()
    assert (await shard.all(), await shard.waiting()) == ([], [])
    assert await shard.hash(KEYS.types) == {"a": 1, "b": 1}
    totals = await shard.hash(KEYS.totals)
    assert (totals["events"], totals["rejected"], totals["blocks"], "lost" in totals) == (2, 1, 1, False)
    assert await shard.store().position(letter.source or "") == len(LINES) + 1, "its source goes on where it was"
    await shard.check_backlog()


async def test_a_block_of_another_client_is_counted_in_the_window_in_which_it_came(shard: Shard) -> None:
    long_ago = 1_600_000_000_000
    store = shard.store()
    await store.ensure_layout()
    await store.create_group()
    fields = {"lines": '{"event_type":"a","data":"x"}', **{f"field {at}": "" for at in range(4000)}}
    await shard.redis.xadd(KEYS.stream, fields, id=f"{long_ago}-7")
    await store.read(consumer="c", count=1, block_ms=None)
    assert await store.dead_letter(consumer="c", entry_id=f"{long_ago}-7") == "moved"
    (letter,) = await shard.all()
    assert (letter.block_id, letter.source, letter.lines, letter.deliveries) == (f"{long_ago}-7", None, 1, 1)
    assert (await shard.letters().retry(letter))[0] == "appended"
    await shard.check_backlog()
    await shard.count_all()
    assert await shard.hash(KEYS.window_types(60, long_ago // 60_000 * 60)) == {"a": 1}
    await shard.check_backlog()


async def test_an_entry_without_lines_is_no_more_than_it_was(shard: Shard) -> None:
    letter = await shard.dead_block({"event": "x"})
    assert (letter.kind, letter.lines, letter.bytes) == ("block", 0, 0)
    assert (await shard.letters().retry(letter))[0] == "appended"
    assert await shard.waiting() == [{b"source": b""}]
    await shard.check_backlog()
    await shard.count_all()
    assert (await shard.hash(KEYS.totals))["rejected"] == 1


@pytest.mark.parametrize("limits", [{"max_backlog_blocks": 1}, {"max_backlog_bytes": 1024}], ids=["blocks", "bytes"])
async def test_a_block_stays_where_it_is_while_the_backlog_is_full(shard: Shard, limits: dict[str, int]) -> None:
    letter = await shard.dead_block()
    waits = Block(0, 2000, b"x" * 1999)
    await shard.store().append(source="file:/waits", blocks=[waits])
    before = await shard.waiting()
    assert await shard.letters(**limits).retry(letter) == ("full", "")
    assert (await shard.waiting(), await shard.all()) == (before, [letter])
    await shard.count_all()
    assert (await shard.letters(**limits).retry(letter))[0] == "appended"


# A chunk.


async def test_a_chunk_is_applied_after_all_and_once_however_often_it_is_retried(shard: Shard) -> None:
    letter = await shard.dead_chunk()
    assert (letter.kind, letter.blocks, letter.lengths, letter.lines) == ("chunk", 1, "60,3600,86400", None)
    letters, store = shard.letters(), shard.store()
    assert await letters.retry(letter) == ("settled", "2")
    assert await letters.retry(letter) == ("gone", "")
    backlog = await shard.hash(KEYS.backlog)
    assert (backlog["settled_blocks"], backlog["delta_bytes"] > 0) == (1, True), "it waits, and is seen to wait"
    await store.apply_all()
    assert await letters.retry(letter) == ("gone", "")
    assert await shard.hash(KEYS.words) == {"x": 1}
    assert await shard.hash(KEYS.totals) == {"words": 1}
    assert await shard.all() == []
    backlog = await shard.hash(KEYS.backlog)
    assert {name: backlog[name] for name in ("settled", "applied", "settled_blocks", "delta_bytes")} == {
        "settled": 2,
        "applied": 2,
        "settled_blocks": 0,
        "delta_bytes": 0,
    }


async def test_a_chunk_that_still_cannot_be_read_is_a_dead_letter_again(shard: Shard) -> None:
    letter = await shard.dead_chunk(body=b"\xc1")
    assert await shard.letters().retry(letter) == ("settled", "2")
    await shard.store().apply_all()
    (again,) = await shard.all()
    assert again.id != letter.id
    assert (again.kind, again.blocks, again.chunk, again.lengths) == ("chunk", 1, 2, letter.lengths)
    assert (await shard.hash(KEYS.words), await shard.hash(KEYS.totals)) == ({}, {})
    assert (await shard.letters().content(again.id) or {})[b"body"] == b"\xc1"


async def test_a_chunk_for_other_windows_goes_into_none(shard: Shard) -> None:
    """Its places are levels: the first one would be another length now."""
    letter = await shard.dead_chunk()
    await shard.redis.hset(KEYS.layout, "windows", "300x10,3600x10,86400x10")
    before = await shard.stored()
    assert await shard.letters().retry(letter) == ("windows", "")
    assert await shard.stored() == before
    await shard.redis.hset(KEYS.layout, "windows", "60x1,3600x2,86400x3")  # as many as somebody likes
    assert (await shard.letters().retry(letter))[0] == "settled"


async def test_a_chunk_waits_for_room_among_those_that_are_settled(shard: Shard) -> None:
    letter = await shard.dead_chunk()
    await shard.redis.hset(KEYS.backlog, "delta_bytes", MAX_DELTA_BYTES)
    await shard.redis.rpush(KEYS.deltas, "{}")
    before = await shard.stored()
    assert await shard.letters().retry(letter) == ("full", "")
    assert await shard.stored() == before


async def test_what_another_client_says_of_a_chunk_keeps_nobody_from_counting_it(shard: Shard) -> None:
    letter = await shard.replace(await shard.dead_chunk(), {"blocks": b"1e999", "appended_ms": b"1e999"})
    assert (await shard.letters().retry(letter))[0] == "settled"
    await shard.store().apply_all()
    assert (await shard.hash(KEYS.words), await shard.all()) == ({"x": 1}, [])


# Dropped.


async def test_a_block_that_is_dropped_is_counted_as_lost_once(shard: Shard) -> None:
    letter, other = await shard.dead_block(), await shard.dead_block()
    letters = shard.letters()
    assert [await letters.drop(letter) for _ in range(2)] == ["dropped", "gone"]
    assert await letters.retry(letter) == ("gone", "")
    assert (await shard.hash(KEYS.totals), await shard.all()) == ({"lost": 1}, [other])
    await shard.check_backlog()


async def test_a_chunk_that_is_dropped_is_no_lost_block(shard: Shard) -> None:
    letter = await shard.dead_chunk()
    assert await shard.letters().drop(letter) == "dropped"
    assert (await shard.hash(KEYS.totals), await shard.all()) == ({}, [])


# Only what was looked at, and once.


async def test_of_all_who_look_after_a_letter_at_the_same_time_one_moves_it(shard: Shard) -> None:
    blocks, chunk = [await shard.dead_block() for _ in range(5)], await shard.dead_chunk()
    letters = [shard.letters() for _ in range(4)]
    calls = [each.retry(letter) for letter in [*blocks, chunk] for each in letters[:3]]
    drops = [letters[3].drop(letter) for letter in [*blocks, chunk]]
    answers = await asyncio.gather(*calls, *drops)
    words = [answer if isinstance(answer, str) else answer[0] for answer in answers]
    assert Counter(words)["gone"] == len(words) - 6
    dropped = (await shard.hash(KEYS.totals)).get("lost", 0)
    assert len(await shard.waiting()) + dropped == 5
    assert await shard.all() == []
    await shard.check_backlog()


async def test_another_letter_under_the_same_id_is_not_touched(shard: Shard) -> None:
    """As after a fail-over to a replica that lacked the newest ones."""
    block = await shard.dead_block()
    await shard.replace(block, {"lines": b"other lines"})
    before = await shard.stored()
    letters = shard.letters()
    assert (await letters.drop(block), (await letters.retry(block))[0]) == ("changed", "changed")
    assert await shard.stored() == before
    await shard.redis.delete(KEYS.dead_letters)
    chunk = await shard.dead_chunk()
    await shard.replace(chunk, {"body": b"another body"})
    before = await shard.stored()
    assert (await letters.drop(chunk), (await letters.retry(chunk))[0]) == ("changed", "changed")
    assert await shard.stored() == before


async def test_what_another_client_has_put_there_can_be_dropped_alone(shard: Shard) -> None:
    await shard.store().ensure_layout()
    await shard.redis.xadd(KEYS.dead_letters, {"lines": b"\xff", "source": "x" * 5000})
    (letter,) = await shard.all()
    assert (letter.kind, letter.block_id, letter.lines, letter.source) == ("unknown", None, 1, "x" * 1000)
    assert (await shard.letters().retry(letter), await shard.waiting()) == (("changed", ""), [])
    assert await shard.letters().drop(letter) == "dropped"
    assert (await shard.hash(KEYS.totals), await shard.all()) == ({}, [])


async def test_the_last_id_that_there_can_be_is_told_as_well(shard: Shard) -> None:
    last = f"{2**64 - 1}-{2**64 - 1}"
    await shard.redis.xadd(KEYS.dead_letters, {"lines": b"x"}, id=last)
    assert [letter.id for letter in await shard.all()] == [last]


async def test_all_are_told_of_however_many_and_large_they_are(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally.store.dead_letters, "LETTERS_AT_ONCE", 3)
    monkeypatch.setattr(tally.store.dead_letters, "BYTES_AT_ONCE", 1000)
    sizes = [0, 1, 5000, 5000, 1, 2, 3, 4, 0]
    for size in sizes:
        await shard.dead_block({"lines": b"x\n" * (size // 2) + b"x" * (size % 2)})
    assert [letter.bytes for letter in await shard.all()] == sizes
    assert [letter.lines for letter in await shard.all()] == [0, 1, 2501, 2501, 1, 2, 2, 3, 0]
    assert await shard.letters().find("1-1") is None
    assert await shard.letters().content("1-1") is None


# Whatever Redis is like.


async def test_the_letters_of_shards_that_can_be_asked_are_told(shard: Shard) -> None:
    letter = await shard.dead_block()
    away = connect("redis://127.0.0.1:1/0", timeout_seconds=5)
    stores = [DeadLetterStore(away, keys=Keys(3), settings=Settings()), shard.letters()]
    try:
        found, problems = await letters_of_available(stores)
        assert (found, len(problems)) == ([letter], 1)
        assert problems[0].startswith("shard 0 cannot be asked: ConnectionError")
        with pytest.raises(StoreUnavailable):
            await letters_of_available(stores[:1])
    finally:
        await away.aclose()


async def test_a_full_redis_takes_letters_back_for_they_are_in_it_already(
    durable: Shard, durable_server: Server
) -> None:
    """Or what fills it could not be counted, nor dropped."""
    block, chunk, useless = await durable.dead_block(), await durable.dead_chunk(), await durable.dead_block()
    with durable_server.client() as client:
        client.set("much", "x" * 1_000_000)
        client.config_set("maxmemory", "1mb")
        with pytest.raises(OutOfMemoryError):
            client.set("anything", "at all")
    assert len(await durable.all()) == 3
    letters = durable.letters()
    assert (await letters.retry(block))[0] == "appended"
    assert (await letters.retry(chunk))[0] == "settled"
    assert await letters.drop(useless) == "dropped"
    await durable.store().apply_all()
    await durable.count_all()
    assert await durable.hash(KEYS.words) == {"x": 3, "y": 1}
    assert await durable.all() == []
    await durable.check_backlog()


@pytest.mark.parametrize(
    ("key", "of_chunk"),
    [(KEYS.stream, False), (KEYS.backlog, False), (KEYS.totals, False), (KEYS.deltas, True), (KEYS.backlog, True)],
)
async def test_a_key_of_another_type_loses_no_letter(shard: Shard, key: str, of_chunk: bool) -> None:
    letter = await (shard.dead_chunk() if of_chunk else shard.dead_block())
    await shard.redis.set(key, "mine")
    before = await shard.stored()
    with pytest.raises(StoreUnavailable, match="another client has written it"):
        await shard.letters().retry(letter)
    assert await shard.stored() == before


async def test_a_block_that_cannot_be_counted_as_lost_is_not_dropped(shard: Shard) -> None:
    letter = await shard.dead_block()
    await shard.redis.hset(KEYS.totals, "lost", "few")
    with pytest.raises(StoreUnavailable, match="another client has written it"):
        await shard.letters().drop(letter)
    assert await shard.all() == [letter]


@pytest.mark.parametrize("command", ["xadd", "xdel", "hset", "rpush", "hincrby"])
async def test_nobody_begins_who_may_not_go_on_to_the_end(shard: Shard, server: Server, command: str) -> None:
    letter = await shard.dead_block()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "less", "on", ">secret", "~tally:*", "+@all", f"-{command}")
    less = connect(server.url.replace("redis://", "redis://less:secret@"), timeout_seconds=30)
    try:
        letters = DeadLetterStore(less, keys=KEYS, settings=Settings())
        with pytest.raises(Refused, match=f"to run {command.upper()}; which rules"):
            await letters.check_permissions()
        if command in ("xadd", "xdel", "hset"):  # even if the right is taken away just then, nothing is lost or doubled
            with pytest.raises(Refused):
                await letters.retry(letter)
            assert (await shard.all(), await shard.waiting()) == ([letter], [])
    finally:
        await less.aclose()
        with server.client() as client:
            client.execute_command("ACL", "DELUSER", "less")
