"""The demo's story on a real server: however often its ingestor is killed, nothing of its past is counted twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ingestor.log_events import SOURCE_OPENED
from ingestor.sources.story import Day
from tally.keys import SOURCE_LINES, SOURCE_REJECTED, Keys, all_time_key
from tally.settings import Settings
from tally.shards import tags
from tally.story import Story, StorySpec
from tally.stripes import Stripes
from tests.oracle import Expected, counted
from tests.processes import Process, running
from tests.server import Server
from tests.waiting import wait_until


def appended(positions: dict[str, list[int]]) -> Iterator[bytes]:
    """Give the lines that are before these positions, of each shard, of each day of a story."""
    story = Story(StorySpec())
    for name, of_shards in positions.items():
        day = Day.parse(name)
        assert day is not None, name
        stripes = Stripes.of(name, shards=len(of_shards), stripe_bytes=Settings().stripe_bytes)
        position = 0
        for number in day.minutes:
            for line in story.minute(number, began=day.began):
                if position < of_shards[stripes.shard_at(position)]:
                    yield line.text
                position += len(line.text)
            if position >= max(of_shards):
                break


@pytest.mark.parametrize("shards", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_story_is_counted_once_however_often_it_is_begun(server: Server, tmp_path: Path, shards: int) -> None:
    variables = {"TALLY_REDIS_URL": server.url, "TALLY_SHARDS": str(shards)}
    ingestor = Process("ingestor", "demo:story?hours=5", log=tmp_path / "ingestor.log", **variables)
    aggregator = Process("aggregator", log=tmp_path / "aggregator.log", **variables)
    keys = [Keys(tag) for tag in tags(shards)]
    with running(aggregator, ingestor), server.client() as client:

        def counts_more_than(lines: int) -> bool:
            return sum(int(str(client.hget(each.totals, "lines") or 0)) for each in keys) > lines

        for least in (10_000, 50_000):
            wait_until(partial(counts_more_than, least), what=f"{least} lines are counted")
            ingestor.kill()
            ingestor.start()
        wait_until(
            lambda: any(name.endswith("-2880") for each in keys for name in client.hkeys(each.sources)),
            what="it has come to the present day",
        )
        assert ingestor.stop() == 0, ingestor.log()
        ingestor.start()
        before = ingestor.log().count(SOURCE_OPENED)
        wait_until(lambda: ingestor.log().count(SOURCE_OPENED) > before, what="it goes on")
        assert ingestor.stop() == 0, ingestor.log()
        assert aggregator.stop() == 0, aggregator.log()
        drain = Process("aggregator", "--drain", log=tmp_path / "drain.log", **variables)
        with running(drain):
            assert drain.wait() == 0, drain.log()
        positions: dict[str, list[int]] = defaultdict(lambda: [0] * shards)
        for at, each in enumerate(keys):
            stored: Any = client.hgetall(each.sources)
            for name, position in stored.items():
                positions[name][at] = int(position)
        found = sum((counted(client, each) for each in keys), Expected())
        by_source = [
            sum(int(str(client.hget(all_time_key(each, table), "demo:story") or 0)) for each in keys)
            for table in (SOURCE_LINES, SOURCE_REJECTED)
        ]
    assert len(positions) == 2, "a part of a day of the past, and the present one"
    assert not Expected.of(appended(positions)).difference(found)
    assert by_source == [found.lines, found.rejected]
