"""An aggregator's memory stays under a bound, whatever the lines are."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tally.keys import Keys
from tally.shards import tags
from tests.processes import Process, running
from tests.server import Server
from tests.waiting import wait_until

MOST_BYTES = 256 << 20

BLOCK_BYTES, LINE_BYTES = 256 << 10, 1 << 20


def _distinct_words(shards: int) -> Iterator[bytes]:
    """Lines as long as they may be, of words that come once each, with a character of four bytes."""
    number = 0
    for _ in range(8 if shards == 1 else 24):
        words, size = [], 0
        while size < LINE_BYTES - 200:
            words.append(f"\U00010400{number:x}")
            size += len(words[-1].encode()) + 1
            number += 1
        yield f'{{"event_type":"t","data":"{" ".join(words)}"}}'.encode()


def _minutes(_: int) -> Iterator[bytes]:
    """Yield a million minutes, of which the next may be any."""
    now, ages = int(time.time()), list(range(1_000_000))
    random.Random(1).shuffle(ages)
    for age in ages:
        yield b'{"event_type":"t","data":"a b","timestamp":%d}' % (now - 60 * age)


def _types(_: int) -> Iterator[bytes]:
    """Yield 10,000 types in hundreds of minutes, and a new word each time."""
    now = int(time.time())
    for number in range(30_000):
        yield b'{"event_type":"type%d","data":"w%d","timestamp":%d}' % (
            number % 10_000,
            number,
            now - number % 360 * 60,
        )


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 16])
@pytest.mark.parametrize("lines", [_distinct_words, _minutes, _types])
def test_an_aggregator_needs_no_more_memory_than_that(server: Server, tmp_path: Path, lines: Any, shards: int) -> None:
    """However many shards it serves."""
    keys = [Keys(tag) for tag in tags(shards)]
    number = 0
    block: list[bytes] = []
    size = 0
    with server.client() as client:
        for streams, line in zip(cycle(keys), lines(shards), strict=False):
            if block and size + len(line) > BLOCK_BYTES:
                client.xadd(streams.stream, {"lines": b"\n".join(block)})
                block, size = [], 0
            block.append(line)
            size += len(line) + 1
            number += 1
        client.xadd(keys[-1].stream, {"lines": b"\n".join(block)})
        aggregator = Process("aggregator", log=tmp_path / "log", TALLY_REDIS_URL=server.url, TALLY_SHARDS=str(shards))

        def counted() -> int:
            return sum(int(client.hget(each.totals, "events") or 0) for each in keys)

        with running(aggregator):
            wait_until(lambda: counted() == number, what="all is counted", seconds=300)
            assert aggregator.peak_bytes() < MOST_BYTES
