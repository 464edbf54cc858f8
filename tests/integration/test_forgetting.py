"""Forgetting from end to end, on a real server: samples, dead letters, steps that fail, a full server."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from redis.asyncio import Redis

from tally.cli.forget import Forgetting
from tally.forgetting import Forgotten
from tally.keys import OTHER, Keys
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import connect, forgetting
from tally.store.client import StoreUnavailable
from tally.store.compacting import Compaction
from tally.store.dead_letters import DeadLetterStore
from tally.store.forgetting import ForgettingStore
from tally.store.lease import quiesced
from tally.store.lua import WritingScript
from tally.store.merged_reads import MergedReader
from tally.store.names import NameStore
from tests.integration.test_names import SETTINGS, assert_top_is_exact, hashes_of, is_of, moved, some_history
from tests.integration.test_names import _few_top_words as few_top_words
from tests.server import Server
from tests.sharded import Sharded, asked
from tests.waiting import wait_until_async

__all__ = ["few_top_words"]

KEYS = Keys()

NOW = 1_600_000_000.0

SECRET = Forgotten.words(["secret"], normalize=True, fold_case=False)


def line(data: str, event_type: str = "t") -> bytes:
    return b'{"event_type": "%s", "data": "%s"}' % (event_type.encode(), data.encode())


@pytest.fixture
async def sharded(redis: Redis) -> Sharded:
    """Two shards, with nothing in them."""
    sharded = Sharded(redis, Settings(shards=2, **SETTINGS), now=NOW)
    await sharded.begin()
    return sharded


def forget(sharded: Sharded, *, drops: bool = False) -> Forgetting:
    return Forgetting(sharded.over, sharded.settings, wait_seconds=10, drops=drops)


async def test_samples_that_hold_it_leave_nothing_behind(
    redis: Any, sharded: Sharded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(forgetting, "PURGED_ENTRIES", 20)  # so that one stream takes many calls
    keys = sharded.over[1].keys
    await sharded.count([line("a secret word")], shard=1)
    kept: dict[str, list[Any]] = {}
    for key in (keys.rejected, keys.accepted):
        for at in range(100):
            text = b'torn "s\\u0065cret' if at % 3 == 0 else b"secret" if at % 7 == 0 else b"plain"
            await redis.xadd(key, {"line": text, "source": "s"}, id=f"{at + 1}-0")
        first = await redis.xrange(key, count=2)
        await redis.xdel(key, first[1][0])  # as by a trim: what it held is still there
        kept[key] = [each for each in await redis.xrange(key) if each[1][b"line"] == b"plain"]
    await redis.expire(keys.accepted, 1000)

    assert await forget(sharded).run(["secret"], [])
    for key, entries in kept.items():
        assert await redis.xrange(key) == entries
        assert b"cret" not in await redis.dump(key)
    assert 0 < await redis.ttl(keys.accepted) <= 1000
    assert "Deleted: " in capsys.readouterr().out
    assert not await redis.exists(keys.purging)


@pytest.mark.parametrize("shards", [1, 2])
async def test_answers_are_without_it_at_once(redis: Redis, shards: int) -> None:
    sharded = Sharded(redis, Settings(shards=shards, **SETTINGS), now=NOW)
    await sharded.begin()
    await sharded.spread([line("a secret word"), line("more", "gone"), line("secret")], random.Random(1))
    async with asked(sharded.settings, redis, sharded.clock) as client:

        async def told() -> list[Any]:
            sharded.now += 60  # whatever was read by then may have been read long before
            paths = ("/v1/words", "/v1/types", f"/v1/words?from={NOW - 60}&to={NOW + 600}", "/v1/words?type=t")
            answers = [(await client.get(path)).json() for path in paths]
            names = [{item["name"]: item["count"] for item in answer["items"]} for answer in answers]
            looked_up = await client.get("/v1/words/secret")
            return [*names, answers[0]["total"], answers[0]["distinct"], looked_up.status_code]

        words = {"a": 1, "word": 1, "more": 1}
        before = {**words, "secret": 2}
        of_t = {"a": 1, "word": 1, "secret": 2}
        assert await told() == [before, {"t": 2, "gone": 1}, before, of_t, 5, 4, 200]
        assert await forget(sharded).run(["secret"], ["gone"])
        assert await told() == [words, {"t": 2}, words, {"a": 1, "word": 1}, 5, 3, 404]


async def test_dead_letters_that_may_hold_it_are_refused_or_dropped(redis: Any, sharded: Sharded) -> None:
    await sharded.count([line("a secret word")], shard=0)
    keys = sharded.over[1].keys
    letter = {"source": "s", "appended_ms": "1", "id": "1-0", "deliveries": "5"}
    await redis.xadd(keys.dead_letters, {"lines": line("a secret"), **letter}, id="5-0")
    await redis.xadd(keys.dead_letters, {"lines": line("nothing"), **letter}, id="6-0")
    chunk = {"targets": "[]", "body": b"\x93\x91\x92\x91\xa6secret\x91\x01", "chunk": "3"}
    await redis.xadd(keys.dead_letters, chunk, id="7-0")
    before = [await hashes_of(redis, shard) for shard in sharded.over]
    with pytest.raises(Failure, match=r"hold it: 1/5-0 1/7-0; nothing was changed\n.*retry 1/5-0 1/7-0"):
        await forget(sharded).run(["secret"], [])
    assert [await hashes_of(redis, shard) for shard in sharded.over] == before

    assert await forget(sharded, drops=True).run(["secret"], [])
    assert [id_ for id_, _ in await redis.xrange(keys.dead_letters)] == [b"6-0"]
    assert b"secret" not in await redis.dump(keys.dead_letters)
    assert await redis.hget(keys.totals, "lost") == b"1"
    store = DeadLetterStore(redis, keys=keys, settings=sharded.settings, shard=1)
    assert (await store.find("6-0")) is not None


async def test_a_name_that_was_never_counted_changes_nothing(redis: Any, sharded: Sharded) -> None:
    await sharded.count([line("a word")], shard=0)
    before = await hashes_of(redis, sharded.over[0])
    with pytest.raises(Failure, match="the word 'secret', the type 'x' was never counted"):
        await forget(sharded).run(["secret"], ["x"])
    assert await hashes_of(redis, sharded.over[0]) == before


async def test_what_waits_is_counted_first(redis: Any, sharded: Sharded) -> None:
    shard = sharded.shards[0]
    await shard.store.create_group()
    await redis.xadd(shard.keys.stream, {"lines": line("a secret word"), "source": "s"})
    forgets = asyncio.create_task(forget(sharded).run(["secret"], []))

    async def is_held() -> bool:
        return bool(await redis.hexists(shard.keys.backlog, "lease"))

    await wait_until_async(is_held, what="it holds appends")
    assert not forgets.done()
    entries = await shard.store.read(consumer="test", count=1, block_ms=None)
    await shard.store.count(consumer="test", entries=entries, counts=shard._decoder.count(entries))
    assert await forgets
    assert (await hashes_of(redis, sharded.over[0]))[shard.keys.words] == {"a": 1, "word": 1, OTHER: 1}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.usefixtures("few_top_words")
async def test_broken_off_at_any_step_it_is_done_when_it_is_run_again(
    redis: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    sharded = await some_history(redis, chance, shards=2)
    before = [await hashes_of(redis, shard) for shard in sharded.over]
    run, calls_left = WritingScript._run, 0

    async def sometimes(self: Any, redis: Any, call: Any) -> Any:
        nonlocal calls_left
        calls_left -= 1
        if calls_left == 0:
            if chance.random() < 0.5:
                await run(self, redis, call)  # the reply is lost
            raise StoreUnavailable("broken off")
        return await run(self, redis, call)

    monkeypatch.setattr(WritingScript, "_run", sometimes)
    for _ in range(12):
        calls_left = chance.randint(3, 60)
        try:
            await forget(sharded).run(["w0", "w3"], ["t1"])
        except (StoreUnavailable, Failure):
            continue
    calls_left = 0
    for shard in sharded.over.with_home:
        await redis.hdel(shard.keys.backlog, "lease")  # it may not have been given back
    (outcome,) = await asyncio.gather(forget(sharded).run(["w0", "w3"], ["t1"]), return_exceptions=True)
    assert outcome is True or "was never counted, or is forgotten" in str(outcome)
    for shard, counts in zip(sharded.over, before, strict=True):
        after = await hashes_of(redis, shard)
        for key in after:
            assert after[key] == moved(counts[key], ["w0", "w3"] if is_of("words", key) else ["t1"])
        await assert_top_is_exact(redis, shard)


@pytest.mark.usefixtures("few_top_words")
@pytest.mark.parametrize("seed", range(3))
async def test_top_words_are_exact_again_though_words_are_counted_meanwhile(
    redis: Any, sharded: Sharded, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    shard = sharded.over[0]

    async def count(lines: int) -> None:
        texts = [" ".join(f"w{int(chance.expovariate(0.1))}" for _ in range(6)) for _ in range(lines)]
        await sharded.count([line(text) for text in texts], shard=0)

    store = NameStore(redis, keys=shard.keys, settings=sharded.settings, lengths=sharded.settings.window_lengths)
    look = store._most_frequent
    rest = {"forgets": 2}

    async def looking() -> list[bytes]:
        """Something is counted before, and behind, what is looked through; and words are taken out, too."""
        await count(chance.randint(0, 3))
        found = await look()
        await count(chance.randint(0, 30))
        if rest["forgets"] and chance.random() < 0.7:
            rest["forgets"] -= 1
            await take_out()
        return found

    async def take_out() -> None:
        top = [name.decode() for name in await redis.zrange(shard.keys.top, 0, -1)]
        gone = Forgotten.words(chance.sample(top, 2), normalize=True, fold_case=False)
        async for _ in store.forget(gone):
            pass

    monkeypatch.setattr(store, "_most_frequent", looking)
    await count(60)
    for _ in range(5):
        await take_out()
        await count(chance.randint(0, 20))
        rest["forgets"] = 2
        await store.rebuild_top()
        await assert_top_is_exact(redis, shard)
        await count(5)
        await assert_top_is_exact(redis, shard)


@pytest.mark.usefixtures("few_top_words")
async def test_while_top_words_are_missing_no_others_are_told_in_their_place(redis: Any, sharded: Sharded) -> None:
    """A word that was never among the top ones of a shard may be more frequent than what is told."""
    for at, often in enumerate(({"x": 9, "y": 9, "z": 9, "u": 9, "v": 9, "hidden": 8}, {"late": 5})):
        await sharded.count([line(" ".join([word] * times)) for word, times in often.items()], shard=at)
    shard = sharded.over[0]
    store = NameStore(redis, keys=shard.keys, settings=sharded.settings, lengths=sharded.settings.window_lengths)
    async for _ in store.forget(Forgotten.words(["x", "y", "z", "u", "v"], normalize=True, fold_case=False)):
        pass
    await sharded.count([line("new")], shard=0)
    reader = sharded.reader
    assert isinstance(reader, MergedReader)
    assert await redis.zscore(shard.keys.top, "hidden") is None, "as it is meant to be here"
    assert await reader.top_words() == {}, "nothing is known for certain, so all are read"
    await store.rebuild_top()
    assert await reader.top_words() == {"hidden": 8, "late": 5, "new": 1}
    assert (await reader.names("words")).distinct == 3


async def test_who_has_the_lease_is_not_disturbed(redis: Any, sharded: Sharded) -> None:
    await sharded.count([line("rare")], shard=0)
    compaction = Compaction(
        sharded.over, settings=sharded.settings, lengths=sharded.settings.window_lengths, kind="words", under=5
    )
    async with quiesced(sharded.over, sharded.settings, what="export"):
        with pytest.raises(Failure, match=r"`tally export` on .* holds appends"):
            await compaction.run()
        with pytest.raises(Failure, match=r"`tally export` on .* holds appends"):
            await forget(sharded).run(["rare"], [])
    assert (await hashes_of(redis, sharded.over[0]))[sharded.over[0].keys.words] == {"rare": 1}
    store = ForgettingStore(
        redis, keys=sharded.over[0].keys, settings=sharded.settings, lengths=(), lease="forget@gone-0"
    )
    with pytest.raises(Failure, match="run this again"):
        async for _ in store.names.forget(SECRET):
            pass


async def test_a_full_redis_forgets_and_is_compacted(durable_server: Server) -> None:
    client = connect(durable_server.url, timeout_seconds=30)
    try:
        sharded = Sharded(client, Settings(shards=2, redis_url=durable_server.url, **SETTINGS), now=NOW)
        await sharded.begin()
        for shard in (0, 1):
            await sharded.count([line("secret often often rare"), b"torn secret"], shard=shard)
        with durable_server.client() as plain:
            plain.set("much", "x" * 1_000_000)
            plain.config_set("maxmemory", "1mb")
        with pytest.raises(Exception, match="maxmemory"):
            await client.set("any", 1)
        assert await forget(sharded).run(["secret"], [])
        compaction = Compaction(
            sharded.over, settings=sharded.settings, lengths=sharded.settings.window_lengths, kind="words", under=3
        )
        assert (await compaction.run()).names == 1
        for each in sharded.over:
            found = await hashes_of(client, each)
            assert found[each.keys.words] == {"often": 2, OTHER: 2}
            assert await client.xlen(each.keys.rejected) == 0
    finally:
        await client.aclose()
