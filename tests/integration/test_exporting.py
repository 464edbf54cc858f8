"""An export has all that is stored, once, and nothing of it is held up, or taken for whole, that is not."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from redis.asyncio import Redis

from tally.export_records import Counts, DeadLetter, Floors, Header, Once, Record, Sample, Source, Top, Totals, Types
from tally.exports import Encoder, records_of
from tally.keys import SOURCE_NEWEST, Keys
from tally.layout import LayoutRefused
from tally.runtime import Failure
from tally.settings import Settings
from tally.store.acceptance import Acceptance
from tally.store.exporting import Exported
from tally.store.shards import Shards
from tests.effort import seeds
from tests.everything import DAY_MS, FILES, Everything

#: The last parts of keys that an export does not have, and why.
NOT_EXPORTED = {
    "stream": "empty when all is counted; its group is made anew",
    "backlog": "of what waits",
    "sources": "as vectors, of those that can be read again",
    "sources:seen": "likewise",
    "sources:last": "likewise",
    "sources:names": "made anew",
    "types:numbered": "numbers are given anew",
    "folds": "numbers of folds, for those who read meanwhile",
}


async def hashes(redis: Any, keys: Keys) -> dict[str, dict[str, int]]:
    """Return every hash of counts as it is stored, by the end of its key."""
    start = keys.stream.removesuffix("stream")
    found = {}
    async for key in redis.scan_iter(f"{start}*", count=1000, _type="hash"):
        name = key.decode().removeprefix(start)
        table, _, where = name.partition(":")
        if name in ("types", "words") or table.startswith("words@") or where[:1].isdigit() or table == "sources":
            fields = await redis.hgetall(key)
            if name not in ("sources", "sources:last", "sources:before"):
                found[name] = {field.decode(): int(value) for field, value in fields.items()}
    return found


def told(records: list[Record], shard: int, numbers: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return the same as an export tells it."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for record in records:
        if isinstance(record, Counts) and record.shard == shard:
            table = record.table if record.of_type is None else f"words@{numbers[record.of_type]}"
            name = f"{table}:{record.length}:{record.start}" if record.length else table
            assert not found[name].keys() & record.counts.keys(), "a name is in one line"
            found[name] |= record.counts
    return found


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("seed", seeds(range(1), range(8)))
async def test_all_that_is_stored_is_exported(redis: Redis, shards: int, seed: int) -> None:
    here = Everything(redis, seed=seed, shards=shards)
    await here.fill()
    exported = await here.exported()

    encoder = Encoder()
    lines = [*map(encoder.line, exported), encoder.end()]
    assert list(records_of(lines)) == exported
    by_kind = Counter(map(type, exported))
    assert set(by_kind) == {Header, Source, Once, Types, Counts, Top, Floors, Sample, DeadLetter, Totals}

    sources = {each.name: each for each in exported if isinstance(each, Source)}
    assert sources.keys() >= set(FILES)
    assert all(lane.position for name in FILES for lane in sources[name].vectors[0].lanes)
    for number, shard in enumerate(here.shards):
        numbered = await shard.redis.hgetall(shard.keys.types_numbers)
        numbers = {name.decode(): int(text.partition(b":")[0]) for name, text in numbered.items()}
        assert told(exported, number, numbers) == await hashes(shard.redis, shard.keys)
        (totals,) = (each for each in exported if isinstance(each, Totals) and each.shard == number)
        assert totals.fields == {
            name.decode(): int(value) for name, value in (await shard.redis.hgetall(shard.keys.totals)).items()
        }
        types = next(each for each in exported if isinstance(each, Types) and each.shard == number)
        assert types.since == {name.decode(): int(text.partition(b":")[2]) for name, text in numbered.items()}
        await every_key_is_exported_or_is_said_not_to_be(shard.redis, shard.keys)

    again = await here.exported()
    unlike = ("id", "exported_at")
    assert {f: getattr(again[0], f) for f in again[0].__struct_fields__ if f not in unlike} == {
        f: getattr(exported[0], f) for f in exported[0].__struct_fields__ if f not in unlike
    }
    assert again[1:] == exported[1:], "in the same order, too"


async def every_key_is_exported_or_is_said_not_to_be(redis: Any, keys: Keys) -> None:
    """A kind of key that is new is to be exported, or to be listed above."""
    start = keys.stream.removesuffix("stream")
    names = {key.decode().removeprefix(start) async for key in redis.scan_iter(f"{start}*", count=1000)}
    kinds = {name for name in names if not name.rpartition(":")[2].lstrip("-").isdecimal()}
    exported = {"types", "words", "types:numbers", "top", "totals", "floors", "rejected", "accepted", "dead-letters"}
    exported |= {"sources:lines", "sources:rejected", "sources:newest", "layout"}
    exported |= {"once:new", "once:old", "once:own:new"}
    apart = {name for name in kinds if name.startswith("words@")}
    assert kinds - apart - exported - NOT_EXPORTED.keys() == set()
    assert {name.partition(":")[0].partition("@")[0] for name in names - kinds} <= {"types", "words", "windows"}


async def test_idempotency_keys_keep_their_age(redis: Redis) -> None:
    here = Everything(redis, seed=1)
    await here.fill(rounds=1)
    exported = {(each.own, each.age): each for each in await here.exported() if isinstance(each, Once)}

    assert {which: len(each.keys) for which, each in exported.items()} == {
        (False, "old"): 2,
        (False, "new"): 2,
        (True, "new"): 1,
    }
    new, old = exported[False, "new"], exported[False, "old"]
    assert new.since_ms - old.since_ms >= DAY_MS
    assert new.expires_ms == await here.shards[0].redis.pexpiretime(here.shards[0].keys.once_new)


async def test_large_and_odd_hashes_are_whole_and_in_order(redis: Redis) -> None:
    here = Everything(redis, seed=1)
    await here.begin()
    client, keys = here.shards[0].redis, here.shards[0].keys
    words = {f"w{number * 7919 % 100_003}": number + 1 for number in range(30_000)}
    await client.hset(keys.words, mapping={**words, "ÿ" * 40_000: 1, "ÿ" * 40_001: 2})
    await client.hset(keys.types, mapping={b"a\xff": 2, b"a\xfe": 3, "a\N{REPLACEMENT CHARACTER}": 4})
    await client.hset(keys.source_newest, mapping={b"a\xff": 2, b"a\xfe": 3})
    exported = [each for each in await here.exported() if isinstance(each, Counts)]

    lines = [each.counts for each in exported if each.table == "words"]
    names = [name for line in lines for name in line]
    assert names == sorted([*words, "ÿ" * 40_000, "ÿ" * 40_001])
    assert all(words.get(name, 0) in (0, count) for line in lines for name, count in line.items())
    assert [len(line) for line in lines[-3:]] == [1000 - 30_000 % 1000 if 30_000 % 1000 else 1000, 1, 1]
    assert {name: count for each in exported if each.table == "types" for name, count in each.counts.items()} == {
        "a\N{REPLACEMENT CHARACTER}": 9
    }
    assert next(each for each in exported if each.table == SOURCE_NEWEST).counts == {"a\N{REPLACEMENT CHARACTER}": 3}


@pytest.mark.parametrize("value", ["x", "-1", "1.5", str(1 << 60)])
async def test_what_is_no_count_is_not_exported_as_one(redis: Redis, value: str) -> None:
    here = Everything(redis, seed=1)
    await here.begin()
    await here.shards[0].redis.hset(here.shards[0].keys.words, mapping={"fine": "1", "odd": value})

    with pytest.raises(Failure, match=f"words holds .*{value}.* for .*odd.*, which is no count"):
        await here.exported()


@pytest.mark.parametrize("shards", [1, 2])
async def test_an_export_during_which_something_is_counted_is_not_taken_for_whole(redis: Redis, shards: int) -> None:
    here = Everything(redis, seed=1, shards=shards)
    await here.fill(rounds=2)
    exported = Exported(here.over, settings=here.settings)
    await exported.begin()
    await exported.check()
    await here.shards[0].store.register_sources(["tail:/new#1-2-0-4-0123456789abcdef"])
    await exported.check()
    await here.append(FILES[0], shards - 1)

    with pytest.raises(Failure, match="something was written while it was read"):
        await exported.check()


async def test_an_empty_namespace_is_not_exported(redis: Redis) -> None:
    settings = Settings(namespace="nobody")

    with pytest.raises(Failure, match="nothing was ever counted in namespace nobody"):
        await Exported(Shards.over(redis, settings), settings=settings).begin()


async def test_other_shards_than_there_are_are_refused(redis: Redis) -> None:
    here = Everything(redis, seed=1, shards=2)
    await here.begin()
    settings = here.settings.model_copy(update={"shards": 3})

    with pytest.raises(LayoutRefused, match="TALLY_SHARDS was 2, and here it is 3"):
        await Exported(Shards.over(redis, settings), settings=settings).begin()


async def test_between_two_layouts_nothing_is_exported_for_some_counts_are_in_no_window(redis: Redis) -> None:
    here = Everything(redis, seed=1, shards=2)
    await here.fill(rounds=3)
    settings = Settings(**{**here.settings.model_dump(exclude_unset=True), "windows": "60x3000,86400x30"})
    for shard in here.over.with_home:  # one after the other, as it is accepted
        before = await Acceptance(shard.redis, keys=shard.keys, settings=settings).accept()
        assert before
        if shard is not here.over.with_home[-1]:
            with pytest.raises(Failure, match="run `tally layout --accept` again"):
                await here.exported()
    last = here.shards[-1]
    await last.redis.zadd(last.keys.folding(3600), {"0": 0})  # it was killed before it had folded all
    with pytest.raises(Failure, match="run `tally layout --accept` again"):
        await here.exported()

    await Acceptance(last.redis, keys=last.keys, settings=settings).accept()
    lengths = {each.length for each in await here.exported() if isinstance(each, Counts)}
    assert lengths == {0, 60, 86_400}
