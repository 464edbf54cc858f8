"""The scripts about blocks, through the methods that wrap them, on the real server.

Those that settle and apply batches are in test_settling.py, those about windows in test_folding.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from itertools import count as numbers
from typing import Any
from unittest.mock import ANY

import pytest
from redis.asyncio import Redis

from aggregator.counts import Counts
from aggregator.worker import Worker
from tally.backoff import Backoff
from tally.deltas import Sample
from tally.keys import GROUP, OTHER, TOP_WORDS, Keys
from tally.settings import Settings
from tally.store import Append, Block, Entry, GroupMissing, StoreUnavailable, WindowStore
from tally.store.aggregator import CLAIM_FROM_START
from tally.store.blocks import Missing, Settled
from tally.store.reads import CountReader
from tests.effort import seeds
from tests.stores import AllStores, in_minutes
from tests.waiting import wait_until_async

KEYS = Keys()


class Shard:
    """One shard on one of the servers: its stores, and a look at what they wrote."""

    def __init__(self, redis: Redis) -> None:
        self.redis: Any = redis

    def blocks(self, **settings: Any) -> AllStores:
        return AllStores(self.redis, keys=KEYS, settings=Settings(**settings))

    def windows(self, **settings: Any) -> WindowStore:
        return WindowStore(self.redis, keys=KEYS, settings=Settings(**settings))

    async def pending_blocks(self, number: int = 1, *, consumer: str = "a", lines: bytes = b"x") -> list[str]:
        """New blocks, given to a consumer: their entry IDs, the oldest first."""
        store = self.blocks()
        await store.create_group()
        pipeline = self.redis.pipeline(transaction=False)
        for _ in range(number):
            pipeline.xadd(KEYS.stream, {"lines": lines, "source": "s"})
        await pipeline.execute()
        return [entry.id for entry in await store.read(consumer=consumer, count=number, block_ms=None)]

    async def count(self, counts: Counts, **settings: Any) -> Settled | Missing:
        """Count this, as if one new block held it."""
        entries = _held(await self.pending_blocks())
        return await self.blocks(**settings).count(consumer="a", entries=entries, counts=counts)

    async def hash(self, key: str) -> dict[str, int]:
        return {name.decode(): int(value) for name, value in (await self.redis.hgetall(key)).items()}

    async def zset(self, key: str) -> dict[str, float]:
        return {name.decode(): score for name, score in await self.redis.zrange(key, 0, -1, withscores=True)}

    async def entries(self, key: str) -> list[dict[str, bytes]]:
        return [{name.decode(): value for name, value in fields.items()} for _, fields in await self.redis.xrange(key)]

    async def pending(self) -> list[tuple[str, str, int]]:
        """What is pending: entry ID, consumer, deliveries."""
        found = await self.redis.xpending_range(KEYS.stream, GROUP, min="-", max="+", count=100_000)
        return [(each["message_id"].decode(), each["consumer"].decode(), each["times_delivered"]) for each in found]

    async def everything(self) -> dict[bytes, object]:
        """All keys with all that they hold."""
        held: dict[bytes, object] = {}
        for key in sorted(await self.redis.keys("*")):
            kind = await self.redis.type(key)
            if kind == b"hash":
                held[key] = await self.redis.hgetall(key)
            elif kind == b"zset":
                held[key] = await self.redis.zrange(key, 0, -1, withscores=True)
            elif kind == b"stream":
                held[key] = await self.redis.xrange(key)
            else:
                held[key] = await self.redis.get(key)
        return held


@pytest.fixture
async def shard(redis: Redis) -> Shard:
    return Shard(redis)


def _held(ids: Iterable[str]) -> list[Entry]:
    """Blocks with these IDs, as another client adds them."""
    return [Entry(entry_id, b"x", "s") for entry_id in ids]


# append


async def test_append_puts_the_block_and_the_position_down_together(shard: Shard) -> None:
    lines = b'{"a"}\n\x00\xff\r'
    assert await shard.blocks().append(source="s", blocks=[Block(0, 9, lines)]) == [Append("appended", 9)]
    assert await shard.entries(KEYS.stream) == [{"lines": lines, "source": b"s", "appended_ms": ANY}]
    assert await shard.hash(KEYS.sources) == {"s": 9}
    assert await shard.blocks().backlog() == 1


@pytest.mark.parametrize(
    ("block", "outcome", "position"),
    [
        pytest.param((10, 20), "appended", 20, id="the next"),
        pytest.param((10, 11), "appended", 11, id="the next, one byte"),
        pytest.param((0, 10), "duplicate", 10, id="the one before"),
        pytest.param((0, 5), "duplicate", 10, id="a part of it"),
        pytest.param((5, 10), "duplicate", 10, id="its end"),
        pytest.param((5, 15), "moved", 10, id="one that overlaps"),
        pytest.param((11, 20), "moved", 10, id="one that leaves a gap"),
        pytest.param((0, 20), "moved", 10, id="one that holds it"),
    ],
)
async def test_append_takes_only_the_block_that_starts_where_the_source_stands(
    shard: Shard, block: tuple[int, int], outcome: str, position: int
) -> None:
    store = shard.blocks()
    await store.append(source="s", blocks=[Block(0, 10, b"first")])
    (answer,) = await store.append(source="s", blocks=[Block(*block, b"second")])
    assert (answer.outcome, answer.position) == (outcome, position)
    assert await store.position("s") == position
    assert await store.backlog() == (2 if outcome == "appended" else 1)


@pytest.mark.parametrize("at", [2**31 - 1, 2**31, 2**32 + 7, 10**13, 2**53 - 20])
async def test_append_keeps_positions_of_any_size_exactly(shard: Shard, at: int) -> None:
    store = shard.blocks()
    await store.append(source="s", blocks=[Block(0, at, b"so far")])
    answers = await store.append(source="s", blocks=[Block(at, at + 1, b"x"), Block(at + 1, at + 9, b"y")])
    assert answers == [Append("appended", at + 1), Append("appended", at + 9)]
    assert await store.append(source="s", blocks=[Block(at, at + 1, b"x")]) == [Append("duplicate", at + 9)]
    assert await store.append(source="s", blocks=[Block(at + 8, at + 10, b"x")]) == [Append("moved", at + 9)]
    assert await shard.hash(KEYS.sources) == {"s": at + 9}


async def test_append_after_a_block_that_was_refused_refuses_the_rest(shard: Shard) -> None:
    blocks = [Block(0, 1, b"a"), Block(1, 2, b"b"), Block(5, 6, b"c"), Block(6, 7, b"d")]
    answers = await shard.blocks().append(source="s", blocks=blocks)
    assert [answer.outcome for answer in answers] == ["appended", "appended", "moved", "moved"]
    assert [entry["lines"] for entry in await shard.entries(KEYS.stream)] == [b"a", b"b"]


async def test_append_repeated_whole_appends_nothing_twice(shard: Shard) -> None:
    blocks = [Block(at, at + 1, b"%d" % at) for at in range(8)]
    await shard.blocks().append(source="s", blocks=blocks[:5])
    answers = await shard.blocks().append(source="s", blocks=blocks)
    assert [answer.outcome for answer in answers] == ["duplicate"] * 5 + ["appended"] * 3
    assert [entry["lines"] for entry in await shard.entries(KEYS.stream)] == [block.lines for block in blocks]


async def test_append_says_full_at_the_limit_and_goes_on_when_there_is_room(shard: Shard) -> None:
    store = shard.blocks(max_backlog_blocks=2)
    blocks = [Block(at, at + 1, b"x") for at in range(3)]
    assert [answer.outcome for answer in await store.append(source="s", blocks=blocks)] == ["appended"] * 2 + ["full"]
    assert await store.position("s") == 2
    assert await store.append(source="s", blocks=blocks[:2]) == [Append("duplicate", 2)] * 2, "a retry is no new block"
    assert [answer.outcome for answer in await store.append(source="t", blocks=blocks[:1])] == ["full"]

    await store.create_group()
    (entry,) = await store.read(consumer="a", count=1, block_ms=None)
    assert (await store.append(source="s", blocks=blocks[2:]))[0].outcome == "full", "read is not yet counted"
    await store.count(consumer="a", entries=_held([entry.id]), counts=in_minutes())
    assert await store.append(source="s", blocks=blocks[2:]) == [Append("appended", 3)]


async def test_append_stores_the_fingerprint_of_the_last_bytes_with_their_position(shard: Shard) -> None:
    store = shard.blocks(max_backlog_blocks=3)

    async def stored() -> tuple[int, str]:
        known = (await store.known(names=["file:/a#1-f"]))["file:/a#1-f"]
        return known.position, known.last

    first, second = Block(0, 10, b"x", "10-aa"), Block(10, 20, b"y", "20-bb")
    await store.append(source="file:/a#1-f", blocks=[first, second])
    assert await stored() == (20, "20-bb")
    await store.append(source="file:/a#1-f", blocks=[first, second])
    assert await stored() == (20, "20-bb"), "a retry changes nothing"
    await store.append(source="file:/a#1-f", blocks=[Block(15, 25, b"z", "25-cc")])
    assert await stored() == (20, "20-bb"), "what is moved leaves both alone"
    await store.append(source="file:/a#1-f", blocks=[Block(20, 21, b"z", "21-dd"), Block(21, 22, b"z", "22-ee")])
    assert await stored() == (21, "21-dd"), "what is full as well"


async def test_what_goes_on_from_other_bytes_is_not_appended_under_the_same_name(shard: Shard) -> None:
    """Two ingestors, on two machines say, each with a file at the same path that begins alike."""
    store = shard.blocks()
    ours = [Block(0, 10, b"a", "10-aa", "0-00"), Block(10, 20, b"b", "20-ab", "10-aa")]
    await store.append(source="s", blocks=ours[:1])
    theirs = [Block(0, 10, b"x", "10-xx", "0-00"), Block(10, 20, b"y", "20-xy", "10-xx")]
    assert await store.append(source="s", blocks=theirs) == [Append("moved", 10)] * 2
    assert await store.append(source="s", blocks=ours) == [Append("duplicate", 10), Append("appended", 20)]
    # What an older Tally stored has no fingerprint, or one of another length: it is taken for the same.
    assert await store.append(source="s", blocks=[Block(20, 30, b"c", "30-abc", "16-zz")]) == [Append("appended", 30)]
    await shard.redis.hdel(KEYS.sources_last, "s")
    assert await store.append(source="s", blocks=[Block(30, 40, b"d", "40-d", "30-zz")]) == [Append("appended", 40)]


async def test_a_fingerprint_of_another_position_is_none(shard: Shard) -> None:
    """An older Tally moves the position on and knows of no fingerprint."""
    store = shard.blocks()
    await store.append(source="s", blocks=[Block(0, 10, b"x", "10-aa")])
    await shard.redis.hset(KEYS.sources, "s", 11)
    assert (await store.known(names=["s"]))["s"].last == ""


async def test_what_is_known_of_sources_is_asked_by_name_or_by_how_a_name_begins(shard: Shard) -> None:
    store = shard.blocks()
    names = ["tail:/a#1", "tail:/a#2", "tail:/ab#1", "tail:/größe#1", "file:/a#4-f", "file:/a#4-f-2", "-#1"]
    for name in names:
        await store.append(source=name, blocks=[Block(0, 5, b"x", "5-aa")])
    assert await store.known() == {}
    assert sorted(await store.known(names=["file:/a#4-f", "-#1", "nobody"])) == ["-#1", "file:/a#4-f"]
    assert sorted(await store.known(beginnings=["tail:/a#"])) == ["tail:/a#1", "tail:/a#2"]
    assert sorted(await store.known(beginnings=["tail:/gr"])) == ["tail:/größe#1"]
    assert sorted(await store.known(beginnings=["tail:/ab#", "file:/a#"])) == ["file:/a#4-f-2", "tail:/ab#1"]
    assert sorted(await store.known(beginnings=[""])) == sorted(set(names) - {"file:/a#4-f"}), (
        "a file's first name is made again of the file"
    )
    found = (await store.known(names=["tail:/a#1"], beginnings=["tail:/a#1"]))["tail:/a#1"]
    assert (found.position, found.last) == (5, "5-aa")
    assert found.seen_ms is not None
    assert abs(found.seen_ms / 1000 - time.time()) < 600


async def test_thousands_of_sources_are_known_at_once(shard: Shard) -> None:
    names = [f"tail:/{number}#1" for number in range(9001)]
    await shard.redis.hset(KEYS.sources, mapping=dict.fromkeys(names, 7))
    assert {name: each.position for name, each in (await shard.blocks().known(beginnings=["tail:"])).items()} == (
        dict.fromkeys(names, 7)
    )
    assert len(await shard.blocks().known(names=names)) == len(names)


async def test_names_of_before_they_were_listed_are_found(shard: Shard) -> None:
    names = ["tail:/a#1", "-#1", "file:/a#4-f", "file:/a#4-f-2"]
    await shard.redis.hset(KEYS.sources, mapping=dict.fromkeys(names, 7))
    store = shard.blocks()
    await store.append(source="tail:/b#1", blocks=[Block(0, 5, b"x")])
    found = await store.known(beginnings=["tail:", "file:"])
    assert {name: known.position for name, known in found.items()} == {
        "tail:/a#1": 7,
        "tail:/b#1": 5,
        "file:/a#4-f-2": 7,
    }


async def test_what_redis_has_forgotten_is_registered_and_what_it_has_is_left_alone(shard: Shard) -> None:
    store = shard.blocks()
    await store.append(source="tail:/a#1", blocks=[Block(0, 5, b"x", "5-aa")])
    before = (await store.known(names=["tail:/a#1"]))["tail:/a#1"]
    assert await store.register_sources(["tail:/a#1", "tail:/a#2", "tail:/a#3"]) == 2
    found = await store.known(beginnings=["tail:/a#"])
    assert {name: known.position for name, known in found.items()} == {"tail:/a#1": 5, "tail:/a#2": 0, "tail:/a#3": 0}
    assert found["tail:/a#1"] == before
    assert all(known.seen_ms for known in found.values())
    assert await store.append(source="tail:/a#2", blocks=[Block(0, 5, b"x")]) == [Append("appended", 5)]


async def test_sources_stand_each_for_itself_and_can_be_forgotten(shard: Shard) -> None:
    store = shard.blocks()
    await store.append(source="s", blocks=[Block(0, 5, b"x", "5-aa")])
    await store.append(source="größer", blocks=[Block(0, 7, b"x", "7-bb")])
    assert await shard.hash(KEYS.sources) == {"s": 5, "größer": 7}
    assert sorted(await shard.zset(KEYS.sources_seen)) == ["größer", "s"]
    await store.forget_sources(["s"], unseen_since_ms=1)
    await store.forget_sources([])
    assert await shard.hash(KEYS.sources) == {"s": 5, "größer": 7}, "it was appended to since"
    await store.forget_sources(["s"])
    assert await shard.hash(KEYS.sources) == {"größer": 7}
    assert sorted(await shard.zset(KEYS.sources_seen)) == ["größer"]
    assert list(await store.known(names=["s"], beginnings=["s"])) == []
    await store.forget_sources(["größer"], unseen_since_ms=10**15)
    held = await shard.everything()
    assert [key for key in held if b"sources" in key] == [KEYS.sources_names.encode()]
    assert held[KEYS.sources_names.encode()] == [(b"", 0.0)]
    assert await store.append(source="s", blocks=[Block(0, 5, b"x")]) == [Append("appended", 5)]


async def test_what_killed_ingestors_left_behind_is_forgotten_and_no_file(shard: Shard) -> None:
    store = shard.blocks()
    once = ["-#1", "exec:a#1", "file", "http://0.0.0.0:80", "tcp://[::1]:9", "unix:/a", "zz#ü"]
    kept = ["file:/a#4-f", "file:/a#4-f-2", "tail:/a#1", "file:/ü#4-f-3", "tail:/ü#1"]
    for name in (*once, *kept):
        await store.append(source=name, blocks=[Block(0, 5, b"x", "5-aa")])
    await store.forget_left_behind(unseen_since_ms=1)
    assert sorted(await shard.hash(KEYS.sources)) == sorted((*once, *kept)), "they were appended to since"
    await store.forget_left_behind(unseen_since_ms=10**15)
    assert sorted(await shard.hash(KEYS.sources)) == sorted(kept)


async def test_what_was_left_behind_before_names_were_listed_is_forgotten_too(shard: Shard) -> None:
    await shard.redis.hset(KEYS.sources, mapping={"-#1": 7, "file:/a#4-f": 7, "tail:/a#1": 7})
    await shard.blocks().forget_left_behind(unseen_since_ms=10**15)
    assert sorted(await shard.hash(KEYS.sources)) == ["file:/a#4-f", "tail:/a#1"]


async def test_files_that_were_not_opened_for_long_are_forgotten_a_page_at_a_time(shard: Shard) -> None:
    names = [f"{kind}:/{number:04}#4-f" for number in range(1500) for kind in ("file", "tail")]
    await shard.redis.hset(KEYS.sources, mapping=dict.fromkeys(names, 7))
    await shard.redis.zadd(KEYS.sources_seen, {name: at for at, name in enumerate(names)})
    store = shard.blocks()
    await store.renew_sources(["file:/0000#4-f"])
    assert await store.forget_files(unseen_since_ms=2800) == 1399
    left = await shard.hash(KEYS.sources)
    assert sum(name.startswith("tail:") for name in left) == 1500
    assert sorted(name for name in left if name.startswith("file:")) == [
        "file:/0000#4-f",
        *(f"file:/{number}#4-f" for number in range(1400, 1500)),
    ]
    assert set(await shard.zset(KEYS.sources_seen)) == set(left)


async def test_a_file_that_is_registered_is_not_listed(shard: Shard) -> None:
    store = shard.blocks()
    assert await store.register_sources(["file:/a#0-e", "tail:/a#1"]) == 2
    assert sorted(await shard.zset(KEYS.sources_seen)) == ["file:/a#0-e", "tail:/a#1"]
    assert sorted(await store.known(beginnings=["tail:", "file:"])) == ["tail:/a#1"]


async def test_the_status_shows_the_latest_hundred_sources_and_how_many_there_are(shard: Shard) -> None:
    store = shard.blocks()
    names = [f"file:/{number:03}#4-f" for number in range(150)]
    await shard.redis.hset(KEYS.sources, mapping=dict.fromkeys(names, 7))
    await shard.redis.zadd(KEYS.sources_seen, {name: at for at, name in enumerate(names)})
    reader = CountReader(shard.redis, keys=KEYS, settings=Settings())
    found = await reader.status()
    assert found.sources_total == 150
    assert [each.name for each in found.sources] == names[:49:-1]
    assert found.sources[0].appended_at == 0.149
    await store.forget_sources(names[10:])
    await shard.redis.hset(KEYS.sources, "of which no time is known", 3)
    found = await reader.status()
    assert found.sources_total == 11
    assert [each.name for each in found.sources] == [*names[9::-1], "of which no time is known"]
    assert found.sources[-1].appended_at is None


async def test_scripts_that_the_server_forgot_are_sent_again(shard: Shard) -> None:
    for _ in range(2):
        await shard.redis.script_flush()
        answers = await shard.blocks().append(source="s", blocks=[Block(0, 1, b"x"), Block(1, 2, b"y")])
        assert answers[-1].position == 2
    assert await shard.blocks().backlog() == 2
    await shard.redis.script_flush()
    assert isinstance(await shard.count(in_minutes({0: ({"foo": 1}, {})})), Settled)


# count


async def test_count_takes_the_blocks_off_the_stream_and_adds_what_they_hold(shard: Shard) -> None:
    store = shard.blocks()
    ids = await shard.pending_blocks(3)
    counts = in_minutes(
        {60: ({"foo": 2, "bär": 1}, {"lorem": 5}), 120: ({"foo": 4}, {"lorem": 1, "don't": 2})},
        rejected_by_reason=Counter(not_json=3),
        bytes=1000,
        samples=[Sample(b"\xff\x00bad", "not UTF-8", "file:/a")],
    )
    assert isinstance(await store.count(consumer="a", entries=_held(ids), counts=counts), Settled)

    assert await shard.hash(KEYS.types) == {"foo": 6, "bär": 1}
    assert await shard.hash(KEYS.words) == {"lorem": 6, "don't": 2}
    assert await shard.zset(KEYS.top) == {"lorem": 6, "don't": 2}
    assert await shard.hash(KEYS.totals) == {
        "events": 7,
        "words": 8,
        "rejected": 3,
        "rejected:not_json": 3,
        "lines": 10,
        "bytes": 1000,
        "blocks": 3,
    }
    assert await shard.zset(KEYS.windows(60)) == {"60": 60, "120": 120}
    assert await shard.hash(KEYS.window_types(60, 60)) == {"foo": 2, "bär": 1}
    assert await shard.hash(KEYS.window_words(60, 60)) == {"lorem": 5}
    assert await shard.hash(KEYS.window_types(60, 120)) == {"foo": 4}
    assert await shard.hash(KEYS.window_words(60, 120)) == {"lorem": 1, "don't": 2}
    assert await shard.entries(KEYS.rejected) == [
        {"line": b"\xff\x00bad", "reason": b"not UTF-8", "source": b"file:/a", "rejected_ms": ANY}
    ]
    assert await store.backlog() == 0
    assert await shard.pending() == []
    assert await shard.hash(KEYS.window_types(3600, 0)) == {"foo": 6, "bär": 1}
    assert await shard.hash(KEYS.window_words(3600, 0)) == {"lorem": 6, "don't": 2}
    assert await shard.redis.exists(KEYS.windows(86_400)) == 0, "a count is in no third window"


async def test_count_adds_to_what_was_counted_before(shard: Shard) -> None:
    for _ in range(3):
        await shard.count(in_minutes({-60: ({"foo": 2}, {"a": 1})}, bytes=7, rejected_by_reason=Counter(not_json=1)))
    assert await shard.hash(KEYS.types) == {"foo": 6}
    assert await shard.hash(KEYS.window_words(60, -60)) == {"a": 3}
    assert await shard.hash(KEYS.totals) == {
        "events": 6,
        "words": 3,
        "rejected": 3,
        "rejected:not_json": 3,
        "lines": 9,
        "bytes": 21,
        "blocks": 3,
    }


async def test_count_of_blocks_that_hold_nothing_takes_them_off_the_stream(shard: Shard) -> None:
    assert isinstance(await shard.count(in_minutes()), Settled)
    assert await shard.hash(KEYS.totals) == {"blocks": 1}
    assert await shard.blocks().backlog() == 0


async def _counted_by_another(shard: Shard, ids: list[str]) -> set[str]:
    await shard.blocks().count(consumer="a", entries=_held([ids[0], ids[2]]), counts=in_minutes())
    return {ids[0], ids[2]}


async def _moved_to_dead_letters(shard: Shard, ids: list[str]) -> set[str]:
    assert await shard.blocks(max_deliveries=1).dead_letter(consumer="a", entry_id=ids[1]) == "moved"
    return {ids[1]}


async def _never_read(shard: Shard, ids: list[str]) -> set[str]:
    ids.append((await shard.redis.xadd(KEYS.stream, {"lines": b"x"})).decode())
    return {ids[-1]}


async def _unknown(shard: Shard, ids: list[str]) -> set[str]:
    ids.insert(0, "5-5")
    return {"5-5"}


@pytest.mark.parametrize("made_missing", [_counted_by_another, _moved_to_dead_letters, _never_read, _unknown])
async def test_count_names_what_is_no_longer_pending_and_writes_nothing(
    shard: Shard, made_missing: Callable[[Shard, list[str]], Awaitable[set[str]]]
) -> None:
    ids = await shard.pending_blocks(4)
    missing = await made_missing(shard, ids)
    before, pending = await shard.everything(), await shard.pending()
    counts = in_minutes(
        {60: ({"foo": 1}, {"a": 1})}, rejected_by_reason=Counter(not_json=1), bytes=9, samples=[Sample(b"l", "r", "s")]
    )

    refused = await shard.blocks().count(consumer="a", entries=_held(ids), counts=counts)
    assert refused == Missing(ids=frozenset(missing))
    assert (await shard.everything(), await shard.pending()) == (before, pending)

    left = [each for each in ids if each not in missing]
    assert isinstance(await shard.blocks().count(consumer="a", entries=_held(left), counts=counts), Settled)
    assert await shard.hash(KEYS.types) == {"foo": 1}


async def test_count_takes_only_what_is_pending_to_the_one_whoin_minutes(shard: Shard) -> None:
    """An ID may come again with another block, when a replica is promoted whose clock is behind."""
    claimed, ours = await shard.pending_blocks(2, consumer="a")
    await shard.redis.xclaim(KEYS.stream, GROUP, "b", 0, [claimed])
    before, pending = await shard.everything(), await shard.pending()
    store, counts = shard.blocks(), in_minutes({0: ({"foo": 1}, {})})
    refused = await store.count(consumer="a", entries=_held([claimed, ours]), counts=counts)
    assert refused == Missing(ids=frozenset({claimed}))
    assert (await shard.everything(), await shard.pending()) == (before, pending)
    assert isinstance(await store.count(consumer="b", entries=_held([claimed]), counts=counts), Settled)
    assert isinstance(await store.count(consumer="a", entries=_held([ours]), counts=counts), Settled)
    assert (await shard.hash(KEYS.types), await shard.pending()) == ({"foo": 2}, [])


async def test_count_takes_thousands_of_blocks_and_many_thousands_of_names_at_once(shard: Shard) -> None:
    # Lua's unpack takes under 8,000 values; one batch may hold more of everything.
    ids = await shard.pending_blocks(9000)
    types = {f"type {at}": at + 1 for at in range(8200)}
    words = {f"word{at}": 2 for at in range(9100)}
    counts = in_minutes({0: (types, words)}, samples=[Sample(b"%d" % at, "r", "s") for at in range(20)])
    assert isinstance(await shard.blocks().count(consumer="a", entries=_held(ids), counts=counts), Settled)
    assert await shard.hash(KEYS.types) == types
    assert await shard.hash(KEYS.words) == words
    assert await shard.hash(KEYS.window_words(60, 0)) == words
    assert (await shard.hash(KEYS.totals))["blocks"] == len(ids)
    assert (await shard.blocks().backlog(), await shard.pending()) == (0, [])

    again = await shard.blocks().count(consumer="a", entries=_held(ids), counts=counts)
    assert again == Missing(ids=frozenset(ids))


async def test_count_takes_many_windows_at_once(shard: Shard) -> None:
    windows = {at * 60: ({"foo": 1}, {"a": 2}) for at in range(300)}
    assert isinstance(await shard.count(in_minutes(windows)), Settled)
    assert await shard.hash(KEYS.types) == {"foo": 300}
    assert await shard.hash(KEYS.window_types(60, 299 * 60)) == {"foo": 1}


async def test_counts_of_any_size_stay_exact(shard: Shard) -> None:
    large = 2**52 + 1
    for times in (large, 1, 2):
        await shard.count(in_minutes({0: ({"foo": times}, {"a": times})}))
    assert await shard.hash(KEYS.types) == {"foo": large + 3}
    assert await shard.hash(KEYS.window_words(60, 0)) == {"a": large + 3}
    assert (await shard.hash(KEYS.totals))["events"] == large + 3


async def test_names_over_a_bound_count_as_other_and_nothing_is_lost(shard: Shard) -> None:
    bounds = {"max_types": 3, "max_words": 4, "max_window_words": 2}
    names = {f"n{at}": 10 for at in range(6)}
    await shard.count(in_minutes({0: (names, names)}), **bounds)

    for key, limit in (
        (KEYS.types, 3),
        (KEYS.words, 4),
        (KEYS.window_types(60, 0), 3),
        (KEYS.window_words(60, 0), 2),
    ):
        held = await shard.hash(key)
        assert held.pop(OTHER) == 10 * (6 - limit), key
        assert list(held.values()) == [10] * limit, key

    # A name that has its place keeps it; new ones go to the rest; the name of the rest has no place of its own.
    kept = next(name for name in await shard.hash(KEYS.types) if name != OTHER)
    await shard.count(in_minutes({60: ({kept: 1, "new": 2, OTHER: 4}, {})}), **bounds)
    types = await shard.hash(KEYS.types)
    assert (types[kept], types[OTHER], sum(types.values())) == (11, 30 + 6, 67)
    assert await shard.hash(KEYS.window_types(60, 60)) == {kept: 1, "new": 2, OTHER: 4}


async def test_a_bound_that_is_just_reached_sends_nothing_to_other(shard: Shard) -> None:
    names = {"a": 1, "b": 2, "c": 3}
    for _ in range(2):
        await shard.count(in_minutes({0: (names, names)}), max_types=3, max_words=3, max_window_words=3)
    assert await shard.hash(KEYS.types) == await shard.hash(KEYS.window_words(60, 0)) == {"a": 2, "b": 4, "c": 6}


async def test_other_takes_up_no_place_of_the_bound(shard: Shard) -> None:
    await shard.count(in_minutes({0: ({OTHER: 5}, {OTHER: 7})}), max_types=1, max_words=1)
    await shard.count(in_minutes({0: ({"foo": 1}, {"a": 2})}), max_types=1, max_words=1)
    assert await shard.hash(KEYS.types) == {OTHER: 5, "foo": 1}
    assert await shard.hash(KEYS.words) == {OTHER: 7, "a": 2}
    assert await shard.zset(KEYS.top) == {"a": 2}, "the rest is no word"


@pytest.mark.parametrize(("limit", "kept"), [(5, 5), (1, 1), (0, 0), (100, 12)])
async def test_samples_of_rejected_lines_are_capped_the_newest_kept(shard: Shard, limit: int, kept: int) -> None:
    number = numbers()
    for _ in range(4):
        samples = [Sample(b"%d" % next(number), "not JSON: x", "s") for _ in range(3)]
        await shard.count(
            in_minutes(rejected_by_reason=Counter(not_json=3), padded=2, samples=samples), max_rejected_samples=limit
        )
    assert [int(entry["line"]) for entry in await shard.entries(KEYS.rejected)] == list(range(12))[12 - kept :]
    totals = await shard.hash(KEYS.totals)
    assert (totals["rejected"], totals["padded"], totals["lines"]) == (12, 8, 12)


@pytest.mark.parametrize("seed", seeds([1], [2, 3]))
async def test_top_words_are_exactly_the_most_frequent_of_all_time(shard: Shard, seed: int) -> None:
    """Over many random batches with ties: the set has the ranking's counts, and each word's own count."""
    chance = random.Random(seed)
    vocabulary = [f"word{at}" for at in range(3000)]
    weights = [1 / (at + 1) ** chance.uniform(0, 0.5) for at in range(3000)]
    all_words: Counter[str] = Counter()
    for _ in range(12):
        batch = Counter(chance.choices(vocabulary, weights, k=chance.choice([1, 50, 1500])))
        await shard.count(in_minutes({0: ({"foo": 1}, batch)}))
        all_words += batch
        top = await shard.zset(KEYS.top)
        assert sorted(top.values(), reverse=True) == [number for _, number in all_words.most_common(TOP_WORDS)]
        assert all(all_words[word] == number for word, number in top.items())
    assert len(all_words) > TOP_WORDS


# claim


async def _make_idle(shard: Shard, ids: list[str], *, consumer: str, idle_ms: int, deliveries: int = 1) -> None:
    await shard.redis.xclaim(KEYS.stream, GROUP, consumer, 0, ids, idle=idle_ms, retrycount=deliveries, justid=True)


async def test_claim_takes_over_what_was_held_for_too_long_and_leaves_delivery_counts_alone(shard: Shard) -> None:
    ids = await shard.pending_blocks(5, consumer="silent")
    await _make_idle(shard, ids[:3], consumer="silent", idle_ms=50_000, deliveries=3)
    store = shard.blocks(claim_idle_seconds=15)
    assert await store.claim(consumer="b", cursor=CLAIM_FROM_START, count=100) == (CLAIM_FROM_START, 3)
    assert await shard.pending() == [(each, "b", 3) for each in ids[:3]] + [(each, "silent", 1) for each in ids[3:]]
    _, claimed = await store.claim(consumer="c", cursor=CLAIM_FROM_START, count=100)
    assert claimed == 0, "they are fresh now"


@pytest.mark.parametrize(
    ("deliveries", "idle_ms", "claimed"),
    [(1, 5_000, 0), (1, 16_000, 1), (2, 16_000, 0), (2, 31_000, 1), (5, 60_000, 0), (5, 76_000, 1)],
)
async def test_claim_gives_each_try_of_a_block_more_time_than_the_one_before(
    shard: Shard, deliveries: int, idle_ms: int, claimed: int
) -> None:
    """Or one that takes its reader longer than that would go from one to the other for ever."""
    ids = await shard.pending_blocks(1, consumer="slow")
    await _make_idle(shard, ids, consumer="slow", idle_ms=idle_ms, deliveries=deliveries)
    store = shard.blocks(claim_idle_seconds=15)
    assert await store.claim(consumer="b", cursor=CLAIM_FROM_START, count=10) == (CLAIM_FROM_START, claimed)
    assert await shard.pending() == [(ids[0], "b" if claimed else "slow", deliveries)]


async def test_claim_goes_on_from_its_cursor(shard: Shard) -> None:
    ids = await shard.pending_blocks(5, consumer="silent")
    fresh = await shard.pending_blocks(50, consumer="busy")
    ids += await shard.pending_blocks(5, consumer="silent")
    await _make_idle(shard, ids, consumer="silent", idle_ms=20_000)
    store = shard.blocks(claim_idle_seconds=15)
    cursor, claimed, calls = CLAIM_FROM_START, [], 0
    while calls == 0 or cursor != CLAIM_FROM_START:
        cursor, number = await store.claim(consumer="b", cursor=cursor, count=2)
        claimed.append(number)
        calls += 1
        assert calls < 20
    assert sum(claimed) == 10
    assert max(claimed) <= 2
    held = {entry_id: consumer for entry_id, consumer, _ in await shard.pending()}
    assert held == dict.fromkeys(ids, "b") | dict.fromkeys(fresh, "busy")


async def test_claim_counts_what_was_deleted_as_lost_and_holds_it_no_longer(shard: Shard) -> None:
    ids = await shard.pending_blocks(3, consumer="silent")
    await _make_idle(shard, ids, consumer="silent", idle_ms=20_000)
    await shard.redis.xdel(KEYS.stream, ids[0], ids[2])
    _, claimed = await shard.blocks(claim_idle_seconds=15).claim(consumer="b", cursor=CLAIM_FROM_START, count=100)
    assert claimed == 1
    assert await shard.pending() == [(ids[1], "b", 1)]
    assert await shard.hash(KEYS.totals) == {"lost": 2}


# keep


async def test_keep_renews_what_is_ours_and_takes_nothing_back(shard: Shard) -> None:
    ids = await shard.pending_blocks(5, consumer="a")
    ours, claimed, counted, deleted, others = ids
    await _make_idle(shard, ids, consumer="a", idle_ms=20_000, deliveries=2)
    await shard.redis.xclaim(KEYS.stream, GROUP, "b", 0, [claimed], justid=True)
    store = shard.blocks(claim_idle_seconds=5)
    await store.count(consumer="a", entries=_held([counted]), counts=in_minutes())
    await shard.redis.xdel(KEYS.stream, deleted)
    assert await store.renew_pending(consumer="a", ids=[ours, claimed, counted, deleted, "5-5"]) == {ours}
    assert await shard.pending() == [(ours, "a", 2), (claimed, "b", 2), (others, "a", 2)]
    assert (await shard.hash(KEYS.totals))["lost"] == 1
    assert (await store.claim(consumer="c", cursor=CLAIM_FROM_START, count=10))[1] == 1
    assert await store.pending(consumer="c", count=10) == [(others, 2)], "only that one was not shown to be worked on"


# retry


async def test_retry_gives_a_block_again_and_sets_its_delivery_count(shard: Shard) -> None:
    ids = await shard.pending_blocks(2, lines=b"\xff\x00\n")
    store = shard.blocks()
    entry = await store.retry(consumer="a", entry_id=ids[0], deliveries=4)
    assert entry is not None
    assert (entry.id, entry.lines, entry.source) == (ids[0], b"\xff\x00\n", "s")
    assert await store.pending(consumer="a", count=10) == [(ids[0], 4), (ids[1], 1)]
    assert await store.retry(consumer="a", entry_id=ids[0], deliveries=4) is not None
    assert await store.pending(consumer="a", count=1) == [(ids[0], 4)], "set, not raised"


async def test_retry_of_a_deleted_block_counts_it_as_lost_once(shard: Shard) -> None:
    (entry_id,) = await shard.pending_blocks()
    await shard.redis.xdel(KEYS.stream, entry_id)
    for _ in range(2):
        assert await shard.blocks().retry(consumer="a", entry_id=entry_id, deliveries=2) is None
    assert await shard.hash(KEYS.totals) == {"lost": 1}
    assert await shard.pending() == []


async def test_retry_of_what_is_counted_or_somebody_elses_gives_nothing_and_changes_nothing(shard: Shard) -> None:
    counted, theirs, ours = await shard.pending_blocks(3)
    await shard.blocks().count(consumer="a", entries=_held([counted]), counts=in_minutes())
    await shard.redis.xclaim(KEYS.stream, GROUP, "b", 0, [theirs], justid=True)
    for entry_id in (counted, theirs, "5-5"):
        assert await shard.blocks().retry(consumer="a", entry_id=entry_id, deliveries=9) is None
    assert await shard.pending() == [(theirs, "b", 1), (ours, "a", 1)]
    assert "lost" not in await shard.hash(KEYS.totals)


# dead_letter


async def test_a_block_is_moved_whole_to_the_dead_letters(shard: Shard) -> None:
    store = shard.blocks(max_deliveries=5)
    await store.create_group()
    fields = {"lines": b"\x00kills\xff", "source": b"s", "another client's": b"field"}
    entry_id = (await shard.redis.xadd(KEYS.stream, fields)).decode()
    await store.read(consumer="a", count=1, block_ms=None)
    await _make_idle(shard, [entry_id], consumer="a", idle_ms=0, deliveries=5)
    assert await store.dead_letter(consumer="a", entry_id=entry_id) == "moved"
    assert await shard.entries(KEYS.dead_letters) == [{**fields, "id": entry_id.encode(), "deliveries": b"5"}]
    assert (await store.backlog(), await shard.pending()) == (0, [])
    assert await store.dead_letter(consumer="a", entry_id=entry_id) == "gone"
    assert len(await shard.entries(KEYS.dead_letters)) == 1


async def test_a_block_is_no_dead_letter_that_was_not_delivered_often_enough(shard: Shard) -> None:
    (entry_id,) = await shard.pending_blocks()
    await _make_idle(shard, [entry_id], consumer="a", idle_ms=0, deliveries=4)
    assert await shard.blocks(max_deliveries=5).dead_letter(consumer="a", entry_id=entry_id) == "kept"
    assert await shard.pending() == [(entry_id, "a", 4)]
    assert (await shard.blocks().backlog(), await shard.entries(KEYS.dead_letters)) == (1, [])


async def test_no_dead_letter_is_made_of_what_is_counted_or_deleted_or_somebody_elses(shard: Shard) -> None:
    counted, deleted, claimed = await shard.pending_blocks(3)
    await shard.redis.xclaim(KEYS.stream, GROUP, "b", 0, [claimed], justid=True)
    store = shard.blocks(max_deliveries=1)
    await store.count(consumer="a", entries=_held([counted]), counts=in_minutes())
    await shard.redis.xdel(KEYS.stream, deleted)
    for entry_id in (counted, deleted, claimed, "5-5"):
        assert await store.dead_letter(consumer="a", entry_id=entry_id) == "gone"
    assert await shard.entries(KEYS.dead_letters) == []


async def test_an_entry_of_thousands_of_fields_can_be_tried_again_and_made_a_dead_letter(shard: Shard) -> None:
    # Any client may add one, and Lua's unpack takes under 8,000 values.
    store = shard.blocks(max_deliveries=1)
    await store.create_group()
    fields = {f"field {at}": "x" for at in range(5000)} | {"lines": "bad"}
    entry_id = (await shard.redis.xadd(KEYS.stream, fields)).decode()
    await store.read(consumer="a", count=1, block_ms=None)
    entry = await store.retry(consumer="a", entry_id=entry_id, deliveries=1)
    assert entry is not None
    assert entry.lines == b"bad"
    assert await store.dead_letter(consumer="a", entry_id=entry_id) == "moved"
    (dead,) = await shard.entries(KEYS.dead_letters)
    assert (dead["lines"], dead["id"], dead["deliveries"]) == (b"bad", entry_id.encode(), b"1")
    assert (await store.backlog(), await shard.pending()) == (0, [])


async def test_a_block_that_is_deleted_when_it_is_to_be_a_dead_letter_does_not_hold_its_reader_up(shard: Shard) -> None:
    """As when somebody deletes the block that kills by hand, just before an aggregator buries it."""
    deleted, _ = await shard.pending_blocks(2, consumer="a", lines=b'{"event_type":"foo","data":"a"}')
    await _make_idle(shard, [deleted], consumer="a", idle_ms=0, deliveries=5)
    await shard.redis.xdel(KEYS.stream, deleted)
    settings = Settings()
    worker = Worker(
        store=shard.blocks(),
        windows=shard.windows(),
        settings=settings,
        consumer="a",
        stop=asyncio.Event(),
        drain=True,
    )
    working = asyncio.create_task(worker.run())
    try:
        await asyncio.wait((working,), timeout=5)
        assert working.done(), "it goes round and round"
    finally:
        if not working.done():
            await shard.redis.flushall()  # sets it free
            await working
    assert await shard.hash(KEYS.types) == {"foo": 1}
    assert (await shard.hash(KEYS.totals))["lost"] == 1
    assert await shard.pending() == []


async def test_a_block_whose_answers_are_lost_is_no_dead_letter(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one that ends its reader's process is: a connection that breaks again and again is not its fault."""
    await shard.pending_blocks(1, consumer="a", lines=b'{"event_type":"foo","data":"a"}')
    settings = Settings(max_deliveries=2)
    store = shard.blocks(max_deliveries=2)
    answered, retry = 0, store.retry

    async def lossy_retry(**arguments: Any) -> Any:
        nonlocal answered
        entry = await retry(**arguments)
        answered += 1
        if answered <= 3:
            raise StoreUnavailable("the answer is lost")
        return entry

    monkeypatch.setattr(store, "retry", lossy_retry)
    worker = Worker(
        store=store,
        windows=shard.windows(),
        settings=settings,
        consumer="a",
        stop=asyncio.Event(),
        drain=True,
        backoff=Backoff(most_seconds=0),
    )
    await asyncio.wait_for(worker.run(), 30)
    assert answered == 4
    assert (await shard.hash(KEYS.types), await shard.entries(KEYS.dead_letters)) == ({"foo": 1}, [])


async def test_a_read_waits_less_than_its_connection(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(redis_timeout_seconds=1)
    store, stop, waits = shard.blocks(), asyncio.Event(), []

    async def read(*, block_ms: int, **_: Any) -> list[Any]:
        waits.append(block_ms)
        stop.set()
        return []

    monkeypatch.setattr(store, "read", read)
    windows = shard.windows()
    await Worker(store=store, windows=windows, settings=settings, consumer="a", stop=stop).run()
    assert waits
    assert max(waits) < 1000


async def test_a_consumer_that_finds_nothing_is_seen_all_the_same(shard: Shard) -> None:
    """Before Redis 7.2 a read that finds nothing does not show it, and an idle aggregator would be taken for dead."""
    store = shard.blocks()
    (entry_id,) = await shard.pending_blocks(consumer="busy")
    await store.append(source="s", blocks=[Block(0, 1, b"new")])

    async def idle_seconds() -> float:
        return {each.name: each.idle_seconds for each in await store.consumers()}["idle"]

    async def is_idle_for_a_while() -> bool:
        return await idle_seconds() > 0.2

    await store.claim(consumer="idle", cursor=CLAIM_FROM_START, count=10)
    await wait_until_async(is_idle_for_a_while, what="it was not seen for a while")
    began = time.monotonic()
    await store.claim(consumer="idle", cursor=CLAIM_FROM_START, count=10)
    assert await idle_seconds() < time.monotonic() - began + 0.1
    assert await shard.pending() == [(entry_id, "busy", 1)], "no delivery count rises, and no new block is taken"


# remove_consumer


async def test_a_consumer_is_removed_that_holds_nothing(shard: Shard) -> None:
    store = shard.blocks()
    (entry_id,) = await shard.pending_blocks(consumer="a")
    await store.claim(consumer="b", cursor=CLAIM_FROM_START, count=1)
    assert await store.remove_consumer(consumer="a") == "pending"
    assert [(each.name, each.pending) for each in await store.consumers()] == [("a", 1), ("b", 0)]
    assert await store.remove_consumer(consumer="b", idle_seconds=60) == "active"
    assert await store.remove_consumer(consumer="b") == "removed"
    assert await store.remove_consumer(consumer="b") == "gone"
    assert await shard.pending() == [(entry_id, "a", 1)], "what a consumer holds is never thrown away"
    await store.count(consumer="a", entries=_held([entry_id]), counts=in_minutes())
    assert await store.remove_consumer(consumer="a") == "removed"
    assert await store.consumers() == []


# What is missing is said.


@pytest.mark.parametrize("stream_is_there", [False, True], ids=["no stream", "no group"])
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda store: store.read(consumer="a", count=1, block_ms=None), id="read"),
        pytest.param(lambda store: store.pending(consumer="a", count=1), id="pending"),
        pytest.param(lambda store: store.claim(consumer="a", cursor=CLAIM_FROM_START, count=1), id="claim"),
        pytest.param(lambda store: store.renew_pending(consumer="a", ids=["5-5"]), id="renew_pending"),
        pytest.param(lambda store: store.retry(consumer="a", entry_id="5-5", deliveries=1), id="retry"),
        pytest.param(lambda store: store.dead_letter(consumer="a", entry_id="5-5"), id="dead_letter"),
        pytest.param(lambda store: store.count(consumer="a", entries=_held(["5-5"]), counts=Counts()), id="count"),
        pytest.param(lambda store: store.remove_consumer(consumer="a"), id="remove_consumer"),
    ],
)
async def test_without_its_group_every_operation_says_so(
    request: pytest.FixtureRequest,
    shard: Shard,
    stream_is_there: bool,
    call: Callable[[AllStores], Awaitable[object]],
) -> None:
    if stream_is_there:
        await shard.redis.xadd(KEYS.stream, {"lines": b"x"})
    with pytest.raises(GroupMissing):
        await call(shard.blocks())
    assert await shard.blocks().consumers() == []


async def test_the_group_starts_at_the_first_block_and_is_made_once(shard: Shard) -> None:
    store = shard.blocks()
    await store.append(source="s", blocks=[Block(0, 1, b"before")])
    assert await store.create_group() is True
    assert await store.create_group() is False
    (entry,) = await store.read(consumer="a", count=10, block_ms=None)
    assert entry.lines == b"before"
    oldest = await store.oldest()
    assert oldest is not None
    assert await store.last_entry_id() == oldest.id == entry.id
    await shard.redis.flushall()
    assert await store.create_group() is True
    assert await store.oldest() is None


async def test_an_entry_of_another_client_is_read_with_what_it_has(shard: Shard) -> None:
    store = shard.blocks()
    await store.create_group()
    for fields in ({"lines": "x"}, {"event": "x"}, {"lines": "x", "source": b"\xff"}):
        await shard.redis.xadd(KEYS.stream, fields)
    found = await store.read(consumer="a", count=10, block_ms=None)
    assert [(entry.lines, entry.source) for entry in found] == [
        (b"x", ""),
        (None, ""),
        (b"x", "\N{REPLACEMENT CHARACTER}"),
    ]
