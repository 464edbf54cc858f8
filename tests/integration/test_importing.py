"""An export comes into a namespace: each thing once, whatever ends the import, and nothing if it may not."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import closing, suppress
from typing import Any

import pytest
from redis.asyncio import Redis

import tally.store.durable
import tally.store.importing
import tally.store.shard_import
from tally.deltas import ALL_TIME, Part, chunks_of
from tally.export_records import Counts, DeadLetter, Once, Record, Sample, Totals, Types
from tally.imports import Routes
from tally.keys import SOURCE_NEWEST, Keys
from tally.refused import Refused
from tally.runtime import Failure
from tally.settings import Settings
from tally.shards import shard_of
from tally.store import StoreUnavailable, connect
from tally.store.idempotent import Body, append_once
from tally.store.importing import Told, import_export
from tally.store.shards import Shards
from tests.exports import AT, DAY, SOURCE, Export, everything, stored
from tests.proxy import LossyProxy
from tests.server import Server
from tests.sharded import Sharded


class Killed(BaseException):
    """The process ends, just there."""


class Mortal:
    """A client whose process ends at a call: before it was sent, or when it was, and its answer was not read."""

    def __init__(self, redis: Redis, *, at: int = 0, sent: bool = False) -> None:
        self._redis: Any = redis
        self._at = at
        self._sent = sent
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    async def execute_command(self, *words: Any) -> Any:
        return await self._call(self._redis.execute_command(*words))

    def pipeline(self, transaction: bool) -> Any:
        pipeline = self._redis.pipeline(transaction=transaction)
        execute = pipeline.execute

        async def mortal(raise_on_error: bool) -> Any:
            return await self._call(execute(raise_on_error=raise_on_error))

        pipeline.execute = mortal
        return pipeline

    async def _call(self, call: Any) -> Any:
        self.calls += 1
        if self.calls == self._at:
            if self._sent:
                await call
            else:
                call.close()
            raise Killed
        return await call


class Target:
    """A namespace with so many shards, and a look at all that it holds."""

    def __init__(self, redis: Redis, *, shards: int, **settings: Any) -> None:
        self.settings = Settings(**{**SETTINGS, "shards": shards, **settings})
        self.redis: Any = redis
        self.shards = Shards.over(redis, self.settings)

    async def take(self, export: Export, *, adds: bool = False, redis: Any = None) -> None:
        shards = self.shards if redis is None else Shards.over(redis, self.settings)
        await import_export(shards, self.settings, export.plan, export.opened, adds=adds)

    async def counts(self, export: Export) -> dict[Any, Counter[str]]:
        """All counts of the tables and windows of the export, summed over shards."""
        found: dict[Any, Counter[str]] = {}
        for table, length, start, of_type in export.counts():
            sums = found[table, length, start, of_type] = Counter()
            for shard in self.shards:
                for name, count in (await self._hash(shard.keys, table, length, start, of_type)).items():
                    sums[name] = max(sums[name], count) if table == SOURCE_NEWEST else sums[name] + count
        return found

    async def _hash(self, keys: Keys, table: str, length: int, start: int, of_type: str | None) -> dict[str, int]:
        if of_type is not None:
            number = await self.redis.hget(keys.types_numbers, of_type)
            table = f"words@{number.split(b':')[0].decode()}"
        key = keys.window(table, length, start) if length else keys.table(table)  # type: ignore[arg-type]
        return {name.decode(): int(count) for name, count in (await self.redis.hgetall(key)).items()}

    async def totals(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for shard in self.shards:
            stored_totals = await self.redis.hgetall(shard.keys.totals)
            found.update({name.decode(): int(count) for name, count in stored_totals.items()})
        return found

    async def entries(self, name: str) -> list[dict[bytes, bytes]]:
        return [fields for shard in self.shards for _, fields in await self.redis.xrange(getattr(shard.keys, name))]

    async def is_all_of(self, export: Export, times: int = 1) -> None:
        """Assert that all of the export is here, so often."""
        wanted = export.counts()
        for key, counts in wanted.items():
            if key[0] != SOURCE_NEWEST:
                wanted[key] = Counter({name: times * count for name, count in counts.items()})
        assert await self.counts(export) == wanted
        assert await self.totals() == Counter({name: times * count for name, count in export.totals().items()})


SETTINGS: dict[str, Any] = {"words_by_type": "5", "accepted_samples": 10, "stripe_bytes": 100_000}


def export_of(shards: int, *, id_: str = "0" * 32, **options: Any) -> Export:
    settings = Settings(**{**SETTINGS, "shards": shards})
    return Export(everything(settings, **options), settings, id_=id_)


@pytest.mark.parametrize(("exported", "shards"), [(1, 1), (3, 3), (3, 1), (1, 3), (3, 2)])
async def test_everything_of_an_export_is_there(redis: Redis, exported: int, shards: int) -> None:
    export, target = export_of(exported), Target(redis, shards=shards)
    await target.take(export)
    await target.is_all_of(export)
    for kind, name in (("rejected", "rejected"), ("accepted", "accepted")):
        samples = [sample for sample in export.of(Sample) if sample.kind == kind]
        found = {(each[b"line"], int(each[f"{kind}_ms".encode()])) for each in await target.entries(name)}
        if kind == "accepted":  # a day after the last one these are gone, as where they came from
            assert found == set()
        else:
            assert found == {(sample.line, sample.at_ms) for sample in samples}
    letters = await target.entries("dead_letters")
    assert sorted(each[b"lines"] for each in letters) == [b"x"] * len(export.of(DeadLetter))
    routes = Routes(shards=shards, exported=exported)
    for once in export.of(Once):
        for shard, keys in routes.of_keys(once).items():
            at = target.shards[shard].keys
            key = at.once_new if once.age == "new" else at.once_old
            assert await target.redis.hmget(key, list(keys)) == list(keys.values())
            assert await target.redis.pexpiretime(key) == once.expires_ms
            assert int(await target.redis.hget(key, "")) == once.since_ms
    for number in range(5):
        name = SOURCE.format(number)
        keys_of = target.shards[shard_of(name, shards)].keys
        assert await target.redis.hexists(keys_of.sources_before, name)


async def test_keys_of_several_shards_are_kept_as_long_as_the_youngest_of_them(redis: Redis) -> None:
    now_ms = int((await redis.time())[0]) * 1000
    keep_ms = 40_000
    made = Settings(**{**SETTINGS, "shards": 2})
    records = [
        Once(shard, False, age, since_ms, since_ms + 2 * keep_ms, {stored(f"{age} {shard}"): stored("body", 8)})
        for shard, since_ms in enumerate((now_ms - 50_000, now_ms - 1000))
        for age in ("old", "new")
    ]
    target = Target(redis, shards=1)
    await target.take(Export(records, made))
    keys = target.shards[0].keys

    async def append(key: str) -> str:
        bodies = [Body(key, "body", keep_ms, [b"x"])]
        (word,) = await append_once(redis, keys=keys, settings=target.settings, source="http:", bodies=bodies)
        return word

    assert await append("another one") == "appended"
    assert {await append(f"{age} 1") for age in ("old", "new")} == {"duplicate"}


async def test_words_go_to_the_shard_of_their_name_and_the_most_frequent_are_known(redis: Redis) -> None:
    export, target = export_of(1, names=4500), Target(redis, shards=3)
    await target.take(export)
    for shard in target.shards:
        words = {name.decode() for name in await target.redis.hkeys(shard.keys.words)}
        assert {shard_of(word, 3) for word in words} == {shard.index}
        top = dict(await target.redis.zrange(shard.keys.top, 0, -1, withscores=True))
        counts = {name: int(count) for name, count in (await target.redis.hgetall(shard.keys.words)).items()}
        counts.pop(b"__other__", None)
        assert top == dict(sorted(counts.items(), key=lambda each: -each[1])[:1000])


async def test_floors_and_since_when_words_are_apart_are_those_of_all_shards(redis: Redis) -> None:
    export, target = export_of(3), Target(redis, shards=2)
    await target.take(export)
    for shard in target.shards:
        assert await target.redis.zscore(shard.keys.floors, "60") >= DAY - 3600 + 120
        assert (await target.redis.hget(shard.keys.types_numbers, "a")).split(b":")[1] == str(DAY + 2).encode()
    same = Target(redis, shards=3, namespace="same")
    await same.take(export)
    for shard in same.shards:
        assert (await same.redis.hget(shard.keys.types_numbers, "a")).split(b":")[1] == str(DAY + shard.index).encode()


async def test_a_shard_that_counted_a_type_without_its_words_has_them_since_the_export(redis: Redis) -> None:
    export = export_of(3)
    export = Export(
        [each for each in export.records if getattr(each, "since", {}).get("a") != DAY + 1],
        Settings(**{**SETTINGS, "shards": 3}),
    )
    target = Target(redis, shards=1)
    await target.take(export)
    assert (await target.redis.hget(target.shards[0].keys.types_numbers, "a")).split(b":")[1] == str(AT).encode()


@pytest.mark.parametrize(("exported", "shards"), [(2, 1), pytest.param(2, 2, marks=pytest.mark.slow)])
async def test_an_import_that_is_killed_at_any_call_goes_on(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, exported: int, shards: int
) -> None:
    monkeypatch.setattr(tally.store.shard_import, "STEP_UPDATES", 200)
    monkeypatch.setattr(tally.store.importing, "SOURCES_AT_ONCE", 2)
    monkeypatch.setattr(tally.store.importing, "SAMPLES_AT_ONCE", 2)
    export, target = export_of(exported), Target(redis, shards=shards)
    for at in itertools.count(1):
        await redis.flushall()
        with suppress(Killed):
            await target.take(export, redis=Mortal(redis, at=at, sent=at % 2 == 0))
            break
        with suppress(Failure):  # it was killed when all of it was there
            await target.take(export)
        await target.is_all_of(export)
        assert len(await target.entries("rejected")) == 3 * exported
        assert len(await target.entries("dead_letters")) == exported
        with pytest.raises(Failure, match="a second time would count all of it twice"):
            await target.take(export)
    assert at > 30


async def test_an_import_is_killed_again_and_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally.store.shard_import, "STEP_UPDATES", 60)
    export, target = export_of(3), Target(redis, shards=2)
    for at in itertools.count(1):
        try:
            await target.take(export, redis=Mortal(redis, at=7 + at // 2, sent=bool(at % 2)))
        except Killed:
            continue
        break
    await target.is_all_of(export)


async def test_a_shard_that_falls_back_in_the_middle_gets_what_it_has_lost(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally.store.shard_import, "STEP_UPDATES", 60)
    export, target = export_of(2), Target(redis, shards=2)
    for before, after in ((12, 40), (30, 60), (45, 85), (20, 1000)):
        await redis.flushall()
        with pytest.raises(Killed):
            await target.take(export, redis=Mortal(redis, at=before))
        kept = await dump(redis)
        with suppress(Killed):
            await target.take(export, redis=Mortal(redis, at=after))
        lost = Keys(target.shards[1].keys.tag).delta("").partition("deltas")[0].encode()  # what its keys begin with
        for key in await target.redis.keys("*"):
            if key.startswith(lost):
                await redis.delete(key)
        for key, value in kept.items():
            if key.startswith(lost):
                await redis.restore(key, 0, value)
        await target.take(export)
        await target.is_all_of(export)
        assert len(await target.entries("rejected")) == 6
        assert len(await target.entries("dead_letters")) == 2


async def test_words_of_a_type_in_a_chunk_that_is_a_dead_letter_get_its_number_here(redis: Redis) -> None:
    export, target = export_of(1), Target(redis, shards=1)
    at = target.shards[0].keys
    await redis.set(at.types_numbered, 6)  # given to other types before
    targets = b'[["words@1",[[0,0]],"a"],["types",[[0,0]]],["words@2",[[0,0]],"unknown"]]'
    for letter, content in (("7-0", targets), ("8-0", b"\xff[")):
        records: list[Record] = [each for each in export.records if isinstance(each, Types | Counts)]
        records.append(DeadLetter(0, letter, {"targets": content, "body": b"x"}))
        await target.take(Export(records, target.settings, id_=letter[0] * 32), adds=True)
    found = [each[b"targets"] for each in await target.entries("dead_letters") if b"targets" in each]
    assert found == [targets.replace(b"words@1", b"words@7"), b"\xff["]


async def test_an_import_whose_answers_are_lost_writes_each_step_once(
    server: Server, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally.store.shard_import, "STEP_UPDATES", 200)
    export, target = export_of(2), Target(redis, shards=3)
    with closing(LossyProxy(server.port, word=b"e", chance=0.2, seed=1)) as proxy:
        lossy = connect(proxy.url, timeout_seconds=30)
        for _ in range(100):  # what is looked at in the beginning is not asked again
            with suppress(StoreUnavailable):
                await target.take(export, redis=lossy)
                break
        await lossy.aclose()
    assert proxy.lost > 5
    await target.is_all_of(export)


async def test_it_is_added_to_what_is_counted_meanwhile(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally.store.shard_import, "STEP_UPDATES", 100)
    export, target = export_of(2), Target(redis, shards=2)
    sharded = Sharded(redis, target.settings, now=AT)
    await sharded.begin()
    line = b'{"event_type":"a","data":"w1 w1 w2"}'
    await sharded.count([line] * 2, shard=0)
    importing = asyncio.create_task(target.take(export, adds=True))
    counted = 2
    while not importing.done():
        await sharded.count([line], shard=counted % 2)
        counted += 1
    await importing
    assert counted > 10
    wanted = export.counts()["words", 0, 0, None]
    wanted.update({"w1": 2 * counted, "w2": counted})
    found = await target.counts(export)
    assert found["words", 0, 0, None] == wanted
    assert found["types", 0, 0, None]["a"] == export.counts()["types", 0, 0, None]["a"] + counted
    assert (await target.totals())["events"] == export.totals()["events"] + counted


async def test_it_waits_for_room_by_applying_what_others_have_settled(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, target = export_of(1), Target(redis, shards=1)
    (shard,) = Sharded(redis, target.settings, now=AT).shards
    await shard.store.ensure_layout()
    await shard.store.create_group()
    await redis.xadd(shard.keys.stream, {"lines": b"x"})
    entries = await shard.store.read(consumer="c", count=1, block_ms=None)
    chunks = list(chunks_of([Part("words", (ALL_TIME,), ["x"], [1])], totals={}, samples=()))
    assert await shard.store.stage(name="n", first=0, chunks=chunks) == "staged"
    await shard.store.settle(consumer="c", blocks=[each.pending for each in entries], name="n", chunks=chunks)
    monkeypatch.setattr(tally.store.shard_import, "MAX_DELTA_BYTES", 1)
    await target.take(export, adds=True)
    assert await redis.hget(shard.keys.words, "x") == b"1"
    await redis.hdel(shard.keys.words, "x")
    await target.is_all_of(export)


async def test_a_full_redis_is_not_filled_further(
    server: Server, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally.store.shard_import, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(tally.store.shard_import, "STEP_UPDATES", 500)
    export, target = export_of(1, names=3000), Target(redis, shards=1)
    said: list[str] = []
    told = Told(waits=said.append)
    with server.client() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 500_000)
        try:
            with pytest.raises(StoreUnavailable, match="OutOfMemory"):
                await import_export(target.shards, target.settings, export.plan, export.opened, told=told)
        finally:
            client.config_set("maxmemory", 0)
    assert "it waits for Redis" in said[0]
    words = export.counts()["words", 0, 0, None]
    assert await redis.hlen(target.shards[0].keys.words) < len(words)
    await target.take(export)
    await target.is_all_of(export)


async def test_a_user_who_may_not_do_all_of_it_is_told_so_before_anything_is_written(server: Server) -> None:
    target_of = Settings(**SETTINGS)
    with server.client() as client:
        client.acl_setuser("narrow", enabled=True, nopass=True, keys="*", commands=["+@all", "-hsetnx", "-xadd"])
    narrow = connect(f"redis://narrow:x@127.0.0.1:{server.port}/0", timeout_seconds=30)
    try:
        with pytest.raises(Refused, match=r"to run (HSETNX, XADD|XADD, HSETNX)"):
            await import_export(Shards.over(narrow, target_of), target_of, export_of(1).plan, export_of(1).opened)
    finally:
        await narrow.aclose()
        with server.client() as client:
            client.acl_deluser("narrow")
            assert not client.keys("*")


async def test_it_is_refused_where_something_was_counted_unless_it_is_added(redis: Redis) -> None:
    first, second = export_of(1), export_of(2, id_="1" * 32)
    second = Export(
        [each for each in second.records if isinstance(each, Counts | Totals)],
        Settings(**{**SETTINGS, "shards": 2}),
        id_="1" * 32,
    )
    target = Target(redis, shards=1)
    await target.take(first)
    before = await contents(redis)
    with pytest.raises(Failure, match=r"the namespace tally is not empty: there are .*counts and totals"):
        await target.take(second)
    assert await contents(redis) == before
    await target.take(second, adds=True)
    found, both = await target.counts(first), first.counts()
    for key, counts in second.counts().items():
        if key[0] == SOURCE_NEWEST:
            both[key] = Counter({name: max(counts[name], both[key][name]) for name in counts | both[key]})
        else:
            both[key] = both[key] + counts
    assert found == both
    assert await target.totals() == first.totals() + second.totals()


async def test_sources_and_keys_that_both_have_are_refused_before_anything_is_written(redis: Redis) -> None:
    target = Target(redis, shards=1)
    await target.take(export_of(1))
    before = await contents(redis)
    again = export_of(1, id_="1" * 32)
    with pytest.raises(Failure, match=r"appended to here already.*file:/logs/0#.*file:/logs/4#"):
        await target.take(again, adds=True)
    assert await contents(redis) == before
    other = [
        Once(0, False, "new", AT * 1000, 1 << 50, dict.fromkeys(once.keys, stored("another body", 8)))
        for once in again.of(Once)
    ]
    with pytest.raises(Failure, match="3 idempotency keys or more were used here for other bodies"):
        await target.take(Export(other, target.settings, id_="2" * 32), adds=True)
    assert await contents(redis) == before


async def test_it_ends_when_as_many_replicas_have_it_as_are_waited_for(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally.store.durable, "REPLICAS_MS", 50)
    monkeypatch.setattr(tally.store.shard_import, "PATIENCE_SECONDS", 0.5)
    export, target = export_of(1), Target(redis, shards=1, ingest_wait_for_replicas=1)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
        await target.take(export)
    await target.is_all_of(export)


async def test_samples_of_one_moment_stay_in_their_order(redis: Redis) -> None:
    made = [Sample(0, "rejected", AT * 1000, b"line %d" % number, "not JSON", "file:a") for number in range(5)]
    target = Target(redis, shards=1, max_rejected_samples=3)
    await target.take(Export(made, Settings(**SETTINGS)))
    assert [each[b"line"] for each in await target.entries("rejected")] == [b"line 2", b"line 3", b"line 4"]


async def test_another_export_waits_for_one_that_is_unfinished(redis: Redis) -> None:
    target = Target(redis, shards=2)
    with pytest.raises(Killed):
        await target.take(export_of(2), redis=Mortal(redis, at=20))
    with pytest.raises(Failure, match=f"another export, with the ID {'0' * 32}, has begun"):
        await target.take(export_of(2, id_="1" * 32), adds=True)


async def dump(redis: Any) -> dict[bytes, Any]:
    return {key: await redis.dump(key) for key in await redis.keys("*")}


async def contents(redis: Any) -> dict[bytes, Any]:
    """What every key holds, in whatever order the server has it."""
    found: dict[bytes, Any] = {}
    for key in await redis.keys("*"):
        match await redis.type(key):
            case b"hash":
                found[key] = await redis.hgetall(key)
            case b"zset":
                found[key] = await redis.zrange(key, 0, -1, withscores=True)
            case b"stream":
                found[key] = await redis.xrange(key)
            case b"list":
                found[key] = await redis.lrange(key, 0, -1)
            case _:
                found[key] = await redis.get(key)
    return found
