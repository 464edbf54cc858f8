"""Hashes of counts are added up exactly while they change, and what that takes is told as it grows."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis

from tally.store import sums
from tally.store.sums import Ungauged, add_up


class Gauge:
    """Remembers what it is told."""

    def __init__(self, most_names: int | None = None) -> None:
        self.most_names = most_names
        self.expected: tuple[int, int] | None = None
        self.names: list[int] = []
        self.name_bytes: list[int] = []

    async def expect(self, *, at_least: int, at_most: int) -> None:
        self.expected = (at_least, at_most)

    def hold(self, names: int, name_bytes: int) -> None:
        self.names.append(names)
        self.name_bytes.append(name_bytes)
        if self.most_names is not None and names > self.most_names:
            raise MemoryError


@pytest.fixture
def client(redis: Redis) -> Any:
    return redis


async def fill(client: Any, hashes: dict[str, dict[str, int]]) -> None:
    for key, counts in hashes.items():
        await client.hset(key, mapping=counts)


@pytest.mark.parametrize("names_at_once", [1, 100, 1000, 100_000])
async def test_a_sum_equals_that_of_a_counter(client: Any, monkeypatch: pytest.MonkeyPatch, names_at_once: int) -> None:
    monkeypatch.setattr(sums, "NAMES_AT_ONCE", names_at_once)
    monkeypatch.setattr(sums, "SLICE_NAMES", 30)
    hashes = {
        f"h{at}": {f"word{number}": number + at for number in range(0, at * 150, 1 + at % 3)} for at in range(1, 25)
    }
    await fill(client, hashes)
    gauge = Gauge()
    found = (await add_up(client, [*hashes, "nothing"], gauge=gauge)).counts
    want: Counter[str] = Counter()
    for counts in hashes.values():
        want.update(counts)
    assert found == {name.encode(): count for name, count in want.items()}
    assert gauge.expected == (max(map(len, hashes.values())), sum(map(len, hashes.values())))
    assert (gauge.names[-1], gauge.name_bytes[-1]) == (len(want), sum(map(len, want)))
    largest = max(map(len, hashes.values()))
    assert max(gauge.names) <= len(want) + largest, "what is not whole is of one hash"


async def test_nothing_adds_up_to_nothing(client: Any) -> None:
    assert (await add_up(client, [], gauge=Ungauged())).counts == {}
    assert (await add_up(client, ["nothing"], gauge=Ungauged())).counts == {}


@pytest.mark.parametrize("keys", [["h"], ["h", "g"]])
async def test_a_field_that_is_told_twice_counts_once(
    client: Any, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    """As HSCAN does while a hash shrinks or grows."""
    monkeypatch.setattr(sums, "NAMES_AT_ONCE", 10)
    for _ in range(3):
        stays = {f"stays{number}": 1 for number in range(1000)}
        await fill(client, {"h": stays | {f"goes{number}": 1 for number in range(20_000)}, "g": {"stays1": 1}})
        adding = asyncio.create_task(add_up(client, keys, gauge=Ungauged()))
        for first in range(0, 20_000, 200):
            await client.hdel("h", *(f"goes{number}" for number in range(first, first + 200)))
        for first in range(0, 20_000, 200):
            await client.hset("h", mapping={f"comes{number}": 1 for number in range(first, first + 200)})
        found = (await adding).counts
        want = {name.encode(): count + (name == "stays1" and "g" in keys) for name, count in stays.items()}
        assert {name: count for name, count in found.items() if name.startswith(b"stays")} == want
        await client.delete("h", "g")


async def test_what_the_gauge_refuses_is_not_read_on(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "NAMES_AT_ONCE", 100)
    await fill(client, {f"h{at}": {f"word{at}-{number}": 1 for number in range(1000)} for at in range(50)})
    gauge = Gauge(most_names=5000)
    with pytest.raises(MemoryError):
        await add_up(client, [f"h{at}" for at in range(50)], gauge=gauge)
    assert gauge.names[-1] < 5000 + 1000
