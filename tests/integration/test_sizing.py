"""What `tally size` reckons is enough on a real server, whichever it is, and not far too much."""

from __future__ import annotations

from collections import Counter
from typing import Any

from redis.asyncio import Redis

from tally.keys import Keys
from tally.settings import Settings
from tally.sizing import Expected, size_of
from tests.server import Server
from tests.stores import AllStores, in_minutes, typed_minutes

KEYS = Keys()

#: An hour long ago, in Unix seconds.
HOUR = 1_600_000_000 // 3600 * 3600

WORDS, MINUTES = 3000, 20


async def test_counts_take_what_is_reckoned_at_the_most(server: Server, redis: Redis) -> None:
    settings = Settings(windows=f"60x{MINUTES},600x2", max_rejected_samples=0)
    store = AllStores(redis, keys=KEYS, settings=settings)
    await store.create_group()
    await redis.xadd(KEYS.stream, {"lines": b"x"})
    (entry,) = await store.read(consumer="c", count=1, block_ms=None)
    words = [f"word-{number:05}" for number in range(WORDS)]
    counts = Counter(dict.fromkeys(words, 12345))
    types = Counter({f"a-type-of-event{number}": 9 for number in range(10)})
    with server.client() as client:
        info: Any = client.info
        before = info("memory")["used_memory"]
        minutes = {HOUR + 60 * minute: (types, counts) for minute in range(MINUTES)}
        await store.count(consumer="c", entries=[entry], counts=in_minutes(minutes))
        taken = info("memory")["used_memory"] - before
    size = size_of(settings, Expected(words=WORDS, types=10, window_words=[WORDS], word_bytes=10, keys=0))
    reckoned = sum(each.bytes for each in size.items if not each.what.startswith("blocks"))  # none wait
    assert taken <= reckoned * 1.1, "the constants in tally/sizing.py are too small"
    assert reckoned <= taken * 2.5, "and here far too large"


async def test_words_by_type_take_what_is_reckoned_at_the_most(server: Server, redis: Redis) -> None:
    types, words = 20, 600
    settings = Settings(windows=f"60x{MINUTES},600x2", max_rejected_samples=0, words_by_type=str(types))
    store = AllStores(redis, keys=KEYS, settings=settings)
    await store.create_group()
    await redis.xadd(KEYS.stream, {"lines": b"x"})
    (entry,) = await store.read(consumer="c", count=1, block_ms=None)
    one = dict.fromkeys((f"word-{number:05}" for number in range(words)), 12345)
    minutes = {
        HOUR + 60 * minute: {f"a-type-of-event{number}": (9, one) for number in range(types)}
        for minute in range(MINUTES)
    }
    with server.client() as client:
        info: Any = client.info
        before = info("memory")["used_memory"]
        await store.count(consumer="c", entries=[entry], counts=typed_minutes(minutes))
        taken = info("memory")["used_memory"] - before
    expected = Expected(words=words, types=types, window_words=[words], type_words=[words], word_bytes=10, keys=0)
    reckoned = sum(each.bytes for each in size_of(settings, expected).items if not each.what.startswith("blocks"))
    assert taken <= reckoned * 1.1, "the constants in tally/sizing.py are too small"
    assert reckoned <= taken * 2.5, "and here far too large"
