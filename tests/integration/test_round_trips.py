"""What was exported and imported answers as it did, however many shards there were and are, and goes on from there."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from tally.shards import shard_of
from tally.store.idempotent import Body, stored_key
from tally.store.source_vectors import exported_sources
from tests.answers import questions, without_moments
from tests.effort import seeds
from tests.everything import DAY, DAY_MS, FILES, Everything
from tests.exported import Export
from tests.server import Server
from tests.sharded import asked


@pytest.fixture
def settings(server: Server) -> dict[str, Any]:
    """All types have words of their own in all shards: what is known of one is then the same in any of them."""
    return {"redis_url": server.url, "words_by_type": "50", "accepted_samples": 1000}


def beside(here: Everything, *, namespace: str, shards: int) -> Everything:
    """Return an empty namespace of the same settings, but for its shards."""
    changed = here.settings.model_copy(update={"namespace": namespace, "shards": shards})
    there = Everything(here.over[0].redis, seed=0, now=here.now, **changed.model_dump(exclude_unset=True))
    assert there.settings == changed
    return there


def without_id(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "id"}


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, 1), (1, 4), (4, 3), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((4, 1), (3, 3), (2, 16)))],
)
@pytest.mark.parametrize("seed", seeds(range(1), range(6)))
async def test_whatever_is_asked_is_answered_as_before(
    redis: Redis, settings: dict[str, Any], before: int, after: int, seed: int
) -> None:
    here = Everything(redis, seed=seed, namespace="here", shards=before, **settings)
    await here.fill(rounds=25)
    export = Export(await here.exported())
    there = beside(here, namespace="there", shards=after)
    await export.into(there)

    now = int(here.now)
    paths = [
        *questions(now),
        *(f"/v1/words?type={name}&limit=500" for name in ("order", "gr%C3%B6%C3%9Fe", "%00", "a")),
        f"/v1/words?type=order&type=a&from={now - 3 * DAY}&to={now}",
        *("/v1/types?word=w3", "/v1/types?word=%C3%A7a&window=2d", "/v1/words/w3?type=order"),
        "/v1/sources",
    ]
    async with asked(here.settings, redis, here.clock) as ours, asked(there.settings, redis, here.clock) as theirs:
        for path in paths:
            want, found = without_moments(await ours.get(path)), without_moments(await theirs.get(path))
            assert found == want, path
        for path in ("/v1/rejected?limit=1000", "/v1/accepted?limit=1000"):  # those of one moment are in no order
            want, found = [[*map(without_id, (await each.get(path)).json()["items"])] for each in (ours, theirs)]
            assert sorted(map(str, found)) == sorted(map(str, want)) != [], path
        want, found = (await ours.get("/v1/stats")).json(), (await theirs.get("/v1/stats")).json()
    for field in ("totals", "rejected_by_reason", "distinct_types", "distinct_words", "dead_letters", "kept"):
        assert found[field] == want[field], field
    assert found["totals"]["events"] > 100
    assert sum((await there.reader.sum_range("words", now - 3600, now))[1].values()) > 5, "of minutes, too"
    assert found["backlog"]["blocks"] == 0

    # An export of that has the same in it, but for where it is.
    again = Export(await there.exported())
    for field in ("sources", "keys"):
        assert getattr(again.plan, field) == getattr(export.plan, field), field


@pytest.mark.parametrize(("before", "after"), [(1, 4), (3, 2), (2, 2)])
async def test_it_goes_on_from_there(redis: Redis, settings: dict[str, Any], before: int, after: int) -> None:
    here = Everything(redis, seed=1, namespace="here", shards=before, **settings)
    await here.fill(rounds=5)
    there = beside(here, namespace="there", shards=after)
    await Export(await here.exported()).into(there)

    keys = ("first", "second", "third", "fourth")
    assert set(await there.send(*keys)) == {"duplicate"}
    store = there.shards[shard_of(stored_key("third"), after)].store
    other = [Body("third", "another digest", DAY_MS, [b"x"])]
    assert await store.append_once(source="http://h:1", bodies=other) == ["conflict"]
    assert await there.send("fifth") == ["appended"]
    where = {each.name: each.vectors[-1] async for each in exported_sources(there.over, there.settings)}
    assert where.keys() >= set(FILES)
    assert {name: where[name].shards for name in FILES} == dict.fromkeys(FILES, before)

    # What is counted from now on is added to what was.
    before_it = await there.reader.types()
    there.now = here.now + 60
    await there.move()
    line = b'{"event_type":"order","data":"w1 w1","timestamp":%d}' % there.now
    await there.append("tcp://[::1]:1#a", 0, [line] * 3)
    assert (await there.reader.types())["order"] == before_it["order"] + 3


async def test_two_are_added_up(redis: Redis, settings: dict[str, Any]) -> None:
    one = Everything(redis, seed=1, namespace="one", shards=1, **settings)
    two = Everything(redis, seed=2, namespace="two", shards=3, **settings)
    await one.fill(rounds=10)
    two.now = one.now
    for _ in range(10):
        await two.spread(two.some_lines(), two.chance)
    await one.over.home.redis.hdel(one.over.home.keys.layout, "since")  # older layouts do not have that
    both = beside(one, namespace="both", shards=2)
    await Export(await one.exported()).into(both)
    await Export(await two.exported()).into(both, adds=True)

    for kind in ("types", "words"):
        want = await getattr(one.reader, kind)()
        for name, count in (await getattr(two.reader, kind)()).items():
            want[name] = want.get(name, 0) + count
        assert await getattr(both.reader, kind)() == dict(sorted(want.items(), key=lambda each: (-each[1], each[0])))
    totals = [await each.reader.totals() for each in (one, two, both)]
    assert totals[2] == {field: totals[0][field] + totals[1][field] for field in totals[2]}
