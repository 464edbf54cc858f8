"""A batch that takes long: it is settled in parts, and what others claimed meanwhile is theirs alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import redis as blocking

from aggregator.decoding import Accumulator, Decoder
from aggregator.floors import UNKNOWN, Floors, Known
from aggregator.worker import Worker
from tally.clock import SYSTEM, Clock
from tally.keys import GROUP, Keys
from tally.settings import Settings
from tally.store import Block, Entry, WindowStore, connect
from tests.fakes import FakeClock
from tests.server import Server
from tests.stores import AllStores

KEYS = Keys()
EVENT = b'{"event_type":"n","data":"a"}'


class Watched(AllStores):
    """Notes what is asked of it."""

    settled: list[list[str]]
    kept: list[list[str]]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.settled, self.kept = [], []

    async def settle(self, **named: Any) -> Any:
        self.settled.append([block.id for block in named["blocks"]])
        return await super().settle(**named)

    async def renew_pending(self, *, consumer: str, ids: Sequence[str]) -> frozenset[str]:
        self.kept.append(list(ids))
        return await super().renew_pending(consumer=consumer, ids=ids)


class HandClock(FakeClock):
    """Time passes only by hand, however long somebody waits."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        return await SYSTEM.wait(event, seconds)


def _slow_decoder(settings: Settings, before_each: Callable[[Entry], None]) -> Decoder:
    class Slowly(Accumulator):
        def add(self, entry: Entry) -> None:
            before_each(entry)
            super().add(entry)

    class Slow(Decoder):
        def begin(self, known: Known = UNKNOWN, numbered: Collection[str] = ()) -> Accumulator:
            assert not numbered
            return Slowly(self, Floors(self.lengths, known))

    return Slow(settings)


async def _append(url: str, number: int) -> list[str]:
    """Append blocks, of an event each: their IDs."""
    redis: Any = connect(url, timeout_seconds=30)
    store = AllStores(redis, keys=KEYS, settings=Settings())
    await store.create_group()
    await store.append(source="s", blocks=[Block(at, at + 1, EVENT) for at in range(number)])
    ids = [entry_id.decode() for entry_id, _ in await redis.xrange(KEYS.stream)]
    await redis.aclose()
    return ids


async def _work(url: str, decoder: Decoder, settings: Settings, *, consumer: str, clock: Clock = SYSTEM) -> Watched:
    """Drain the stream with one worker: its store, with what was asked of it."""
    redis = connect(url, timeout_seconds=30)
    store = Watched(redis, keys=KEYS, settings=settings)
    stop = asyncio.Event()
    worker = Worker(
        store=store,
        windows=WindowStore(redis, keys=KEYS, settings=settings),
        settings=settings,
        consumer=consumer,
        stop=stop,
        drain=True,
        decoder=decoder,
        clock=clock,
    )
    try:
        await asyncio.wait_for(worker.run(), 120)
    finally:
        await redis.aclose()
    return store


async def test_what_is_decoded_too_slowly_is_settled_in_parts_and_the_rest_is_kept(server: Server) -> None:
    clock = HandClock()

    def take_a_while(_: Entry) -> None:
        clock.now += 0.16

    ids = await _append(server.url, 8)
    settings = Settings(claim_idle_seconds=2.4)  # a third of it: 0.8 s, and due after half of that
    decoder = _slow_decoder(settings, take_a_while)
    store = await _work(server.url, decoder, settings, consumer="a", clock=clock)
    assert store.settled == [ids[:3], ids[3:6], ids[6:]]
    assert store.kept == [ids[3:], ids[:3], ids[6:], ids[3:6]], "so is each part, which has waited as long"
    with server.client() as client:
        assert client.hgetall(KEYS.types) == {"n": "8"}


async def test_blocks_that_were_claimed_are_not_counted_though_somebody_else_holds_them(
    server: Server,
) -> None:
    client: Any = blocking.Redis(port=server.port, decode_responses=True, socket_timeout=30)
    ids = await _append(server.url, 5)
    claimed = ids[1:3]

    def claim(entry: Entry) -> None:
        if entry.id == ids[0]:
            client.xclaim(KEYS.stream, GROUP, "b", 0, claimed, justid=True)

    working = asyncio.create_task(_work(server.url, _slow_decoder(Settings(), claim), Settings(), consumer="a"))
    async with asyncio.timeout(60):
        while int(client.hget(KEYS.types, "n") or 0) < 3:
            await asyncio.sleep(0.01)
    assert client.hgetall(KEYS.types) == {"n": "3"}
    pending = client.xpending_range(KEYS.stream, GROUP, min="-", max="+", count=10)
    assert [(each["message_id"], each["consumer"]) for each in pending] == [(each, "b") for each in claimed]

    redis = connect(server.url, timeout_seconds=30)
    store = AllStores(redis, keys=KEYS, settings=Settings())
    entries = [Entry(each, EVENT, "s") for each in claimed]
    await store.count(consumer="b", entries=entries, counts=Decoder(Settings()).count(entries))
    await redis.aclose()
    watched = await working
    assert watched.settled == [ids, [ids[0]], [ids[3]], [ids[4]]], "what is left over is tried a block at a time"
    assert client.hgetall(KEYS.types) == {"n": "5"}
    client.close()


async def test_aggregators_that_take_longer_for_a_block_than_it_stays_theirs_count_it(
    server: Server,
) -> None:
    """Each takes the other's while that is busy, and none could count it, if it were not theirs for longer then."""
    idle_seconds = 0.1

    def block_the_process(_: Entry) -> None:
        time.sleep(4 * idle_seconds)

    await _append(server.url, 4)
    settings = Settings(claim_idle_seconds=idle_seconds, max_deliveries=1000)
    workers = [
        threading.Thread(target=asyncio.run, args=(_work(server.url, decoder, settings, consumer=name),), daemon=True)
        for name, decoder in (
            ("a", _slow_decoder(settings, block_the_process)),
            ("b", _slow_decoder(settings, block_the_process)),
        )
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        await asyncio.to_thread(worker.join, 120)
    with server.client() as client:
        assert client.hgetall(KEYS.types) == {"n": "4"}
        assert (client.xlen(KEYS.stream), client.xlen(KEYS.dead_letters)) == (0, 0)
