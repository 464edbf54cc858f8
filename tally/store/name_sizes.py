"""How many names there are that no status tells: of sources, and of words of a type."""

from __future__ import annotations

from collections.abc import Mapping

from tally.keys import SOURCE_LINES, all_time_key, number_of
from tally.store.shards import Shard, Shards
from tally.store.sums import sizes
from tally.store.tables import known_tables
from tally.store.together import few_at_once

#: What they are called, as labels of metrics.
SOURCES, TYPE_WORDS = "sources", "type_words"


async def most_names(shards: Shards) -> Mapping[str, int]:
    """Return how many names the table has that has most, `__other__` among them: of sources, and of words of one type.

    Each bound is that of one table of one shard. Where no type has words of its own nothing is told of these. Raises
    StoreUnavailable.
    """
    found: dict[str, int] = {}
    for of_shard in await few_at_once(shards, _of_shard):
        for kind, names in of_shard.items():
            found[kind] = max(names, found.get(kind, 0))
    return found


async def _of_shard(shard: Shard) -> dict[str, int]:
    tables = (await known_tables(shard.redis, shard.keys)).counted
    keys = [all_time_key(shard.keys, table) for table in tables if number_of(table) is not None]
    of_sources = all_time_key(shard.keys, SOURCE_LINES)
    found = await sizes(shard.redis, [of_sources, *keys])
    apart = {TYPE_WORDS: max(found.get(key, 0) for key in keys)} if keys else {}
    return {SOURCES: found.get(of_sources, 0), **apart}
