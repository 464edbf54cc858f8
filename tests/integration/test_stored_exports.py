"""Exports that a version before has written are imported, and answer as they have to."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from tally.export_files import opened
from tally.export_records import DeadLetter, Sample, Source
from tally.exports import FORMAT
from tally.selections import WordsOf
from tally.store.source_vectors import exported_sources
from tests import stored_export
from tests.everything import DAY, FILES, Everything
from tests.exported import Export


@pytest.fixture(scope="module", params=range(1, FORMAT + 1))
def format_(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.parametrize("shards", [1, 3, 5])
async def test_a_stored_export_is_imported_and_answers(redis: Redis, format_: int, shards: int) -> None:
    with opened(stored_export.export_of(format_)) as lines:
        export = Export((), lines=list(lines))
    answers: dict[str, Any] = stored_export.answers_of(format_)
    there = Everything(redis, seed=0, namespace="there", shards=shards, **stored_export.SETTINGS)
    await export.into(there)

    assert await there.reader.types() == answers["types"]
    assert await there.reader.words() == answers["words"]
    assert (await there.reader.totals())["rejected"] == answers["rejected"]
    for event_type, words in answers["by_type"].items():
        found = await there.reader.sum_all(WordsOf((event_type,)))
        assert {name.decode(): count for name, count in found.items()} == words, event_type
    for start, types in answers["days"].items():
        _, found = await there.reader.sum_range("types", int(start), int(start) + DAY)
        assert {name.decode(): count for name, count in found.items()} == types, start

    # Sources go on where they were, of one shard, of three, and whatever bodies were sent are known.
    stored = {each.name: each.vectors async for each in exported_sources(there.over, there.settings)}
    with export.opened() as records:
        exported = [*records]
    sources = {each.name: each for each in exported if isinstance(each, Source)}
    assert stored.keys() == sources.keys() >= {*FILES, stored_export.STRIPED}
    for name, source in sources.items():
        assert _furthest(stored[name]) == _furthest(source.vectors) > 0, name
    assert len(sources[FILES[0]].vectors) == 2, "it was moved before"
    assert set(await there.send(*stored_export.BODIES)) == {"duplicate"}

    letters = sum(isinstance(each, DeadLetter) for each in exported)
    assert sum([await each.redis.xlen(each.keys.dead_letters) for each in there.shards]) == letters > 0
    samples = [each.kind for each in exported if isinstance(each, Sample)]
    assert len(await there.reader.rejected(10_000)) == samples.count("rejected") > 0
    assert len(await there.reader.accepted(10_000)) == samples.count("accepted") > 0


def _furthest(vectors: Any) -> int:
    return max(int(lane.position) for vector in vectors for lane in vector.lanes)
