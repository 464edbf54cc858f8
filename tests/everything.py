"""A namespace with everything in it that there is."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from tally.export_records import Record
from tally.settings import Settings
from tally.shards import shard_of
from tally.store import Block
from tally.store.exporting import Exported
from tally.store.idempotent import Body, stored_key
from tests.sharded import Sharded

MINUTE, HOUR, DAY = 60, 3600, 86_400
DAY_MS = DAY * 1000

WINDOWS = "60x240,3600x72,86400x30"

#: A round day, so that hours and days begin where one expects them.
EPOCH = 20_000 * DAY

#: Files of which some was counted.
FILES = ("file:/var/log/a#4-0123456789abcdef", "tail:/var/log/größe#1-2-0-4-0123456789abcdef")

#: Names that are hard on whatever writes or reads them.
_WORDS = ["ça", "naïve", "日本語", "l’été", "x" * 64, "__proto__", "1e5", "Ångström", *(f"w{n}" for n in range(60))]
_TYPES = ["order", "größe", "", 'a"b', "a:b", "\0", "a\nb", "🎉", *"abcdefg"]


class Everything(Sharded):
    """Shards in which, as it happens, anything is that a namespace may hold."""

    def __init__(self, redis: Redis, *, seed: int, now: float = EPOCH, **settings: Any) -> None:
        others = {"windows": WINDOWS, "words_by_type": "3", "accepted_samples": 6, "max_deliveries": 1}
        super().__init__(redis, Settings(**{**others, **settings}), now=now)
        self.chance = random.Random(seed)
        self.lines: list[tuple[bytes, float]] = []  # all that were counted, and when they came
        self._positions: dict[tuple[str, int], int] = {}

    async def fill(self, *, rounds: int = 30) -> None:
        """Count some days of events, and do all else that leaves something."""
        await self.begin()
        for _ in range(rounds):
            self.now += self.chance.choice([1, 30, 600, 3600, 7200, 20_000])
            await self.spread(self.some_lines(), self.chance)
            if self.chance.random() < 0.3:
                await self.shards[self.chance.randrange(len(self.shards))].move(self.chance.randrange(1, 20))
        for source in FILES:
            for shard in range(len(self.shards)):
                await self.append(source, shard)
        await self.append("tcp://[::1]:9000#0123456789ab", 0)
        await self.send("first", "second")
        await self.send("ours", own=True)
        first = self.shards[shard_of(stored_key("first"), len(self.shards))]
        seconds, _ = await first.redis.time()
        await first.redis.hset(first.keys.once_new, "", seconds * 1000 - DAY_MS)
        await self.send("third", "fourth")
        await self.set_aside(b'{"event_type":"order","data":"dead \xff"}')

    def some_lines(self, *, timed: bool = False) -> list[bytes]:
        """Return lines, of which some are no events; `timed` if all that are have a time."""
        lines = [self._line(timed=timed) for _ in range(self.chance.randrange(1, 15))]
        self.lines += ((line, self.now) for line in lines)
        return lines

    def _line(self, *, timed: bool) -> bytes:
        chance = self.chance
        if chance.random() < 0.1:
            return chance.choice([b"{", b"\xff\xfe garbage", b'{"event_type":1,"data":""}'])
        data = " ".join(chance.choice(_WORDS) for _ in range(chance.randrange(6)))
        event: dict[str, Any] = {"event_type": chance.choice(_TYPES), "data": data}
        if timed or chance.random() < 0.9:
            event["timestamp"] = self.now - chance.choice([0, 1, 60, 3600, 20_000, DAY, 5 * DAY, 60 * DAY])
        return json.dumps(event).encode()

    async def append(self, source: str, shard: int, some: Sequence[bytes] = ()) -> None:
        """Append these lines, or some, of a source to its lane in a shard, and count them.

        They come by the server's clock, which is not ours: what had no time of its own would be years ahead.
        """
        one = self.shards[shard]
        self.lines += ((line, self.now) for line in some)
        lines = b"\n".join(some or self.some_lines(timed=True))
        start = self._positions.get((source, shard), 0)
        end = self._positions[source, shard] = start + len(lines) + 1
        before, last = (f"4-{at:016x}" if at and "#4" in source else "" for at in (start, end))
        block = Block(start, end, lines, last=last, before=before)
        assert (await one.store.append(source=source, blocks=[block]))[0].outcome == "appended"
        await one.count_what_waits()

    async def send(self, *keys: str, own: bool = False) -> list[str]:
        """Append a body of one line under each of these keys, where that goes, and count them."""
        words: list[str] = []
        for key in keys:
            one = self.shards[shard_of(stored_key(key), len(self.shards))]
            line = json.dumps({"event_type": "order", "data": "body", "timestamp": self.now}).encode()
            body = Body(key, "d", DAY_MS, [line], own=own)
            words += await one.store.append_once(source="http://h:1", bodies=[body])
            self.lines += [(line, self.now)] * (words[-1] == "appended")
            await one.count_what_waits()
        return words

    async def set_aside(self, lines: bytes) -> None:
        """Make a dead letter of these lines in the first shard."""
        store = self.shards[0].store
        await store.append(source="file:/dead#4-00", blocks=[Block(0, len(lines) + 1, lines, last="4-dd")])
        (entry,) = await store.read(consumer="test", count=1, block_ms=None)
        assert await store.dead_letter(consumer="test", entry_id=entry.id) == "moved"

    async def exported(self) -> list[Record]:
        """Return an export of it."""
        exported = Exported(self.over, settings=self.settings)
        header = await exported.begin()
        records = [record async for record in exported.records()]
        await exported.check()
        return [header, *records]
