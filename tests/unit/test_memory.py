"""What answers hold together stays under a bound: what is not in use gives way, and what does not fit is refused."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict

import pytest

from api.memory import Memory, NoRoom
from api.snapshot import SNAPSHOT_BYTES, Snapshot, Snapshots


class Thing:
    """Something that takes memory."""


@pytest.fixture
def cache() -> OrderedDict[int, Thing]:
    return OrderedDict()


@pytest.fixture
def memory(cache: OrderedDict[int, Thing]) -> Memory:
    memory = Memory(1000)
    memory.when_full(lambda: bool(cache) and cache.popitem(last=False) is not None)
    return memory


def test_a_thing_counts_until_nobody_has_it(memory: Memory) -> None:
    thing, other = Thing(), Thing()
    memory.hold(thing, 100)
    memory.hold(thing, 50)
    memory.hold(other, 7)
    assert memory.held_bytes == 157
    ended = threading.Thread(target=lambda things: things.clear(), args=([thing],))
    del thing
    ended.start()
    ended.join()
    del ended
    gc.collect()
    assert memory.held_bytes == 7


def test_what_was_used_least_lately_gives_way(memory: Memory, cache: OrderedDict[int, Thing]) -> None:
    for number in range(30):
        cache[number] = Thing()
        memory.hold(cache[number], 100)
        assert memory.held_bytes <= 1000
    assert list(cache) == list(range(20, 30))


def test_what_is_in_use_is_counted_though_it_gave_way(memory: Memory, cache: OrderedDict[int, Thing]) -> None:
    cache[0] = in_use = Thing()
    memory.hold(in_use, 800)
    with memory.claim() as claim:
        with pytest.raises(NoRoom, match="ask again"):
            claim.grow_to(300)
        claim.grow_to(200)
        del in_use
        claim.grow_to(1000)
        with pytest.raises(NoRoom, match="TALLY_MAX_SNAPSHOT_BYTES"):
            claim.grow_to(1001)
        assert memory.held_bytes == 1000
    assert memory.held_bytes == 0


def test_what_could_never_fit_drives_nothing_out(memory: Memory, cache: OrderedDict[int, Thing]) -> None:
    cache[0] = Thing()
    memory.hold(cache[0], 800)
    with memory.claim() as claim, pytest.raises(NoRoom):
        claim.grow_to(2000)
    assert list(cache) == [0]


async def test_snapshots_are_forgotten_by_their_bytes_the_least_lately_asked_for_first() -> None:
    memory = Memory(10 * (SNAPSHOT_BYTES + 1000))
    loads: list[int] = []

    async def version() -> int:
        return 1

    def make(key: object) -> Snapshot[Thing]:
        async def load() -> Thing:
            assert isinstance(key, int)
            loads.append(key)
            thing = Thing()
            memory.hold(thing, 1000)
            return thing

        return Snapshot(version=version, load=load)

    snapshots: Snapshots[Thing] = Snapshots(make=make, memory=memory)
    gc.freeze()  # what there was before need not be looked through a hundred times
    for key in range(100):
        await snapshots.get(key)
        await snapshots.get(0)
        gc.collect()
        assert memory.held_bytes <= memory.most_bytes
    gc.unfreeze()
    assert loads == list(range(100)), "what is asked for again and again stays"
    await snapshots.get(99)
    await snapshots.get(50)
    assert loads[100:] == [50]


async def test_snapshots_that_are_closed_hold_nothing_and_are_not_asked_for_room() -> None:
    memory = Memory(1_000_000)

    async def load() -> Thing:
        thing = Thing()
        memory.hold(thing, 1000)
        return thing

    async def version() -> int:
        return 1

    snapshots: Snapshots[Thing] = Snapshots(make=lambda _: Snapshot(version=version, load=load), memory=memory)
    await snapshots.get("a")
    assert memory.held_bytes > 1000
    snapshots.close()
    gc.collect()
    assert memory.held_bytes == 0
    await snapshots.get("b")
    assert not memory.make_room(memory.most_bytes)
