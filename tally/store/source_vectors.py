"""How far sources were appended, moved from a layout to another one: given out by one store, and taken by another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from tally.settings import Settings
from tally.shards import shard_of
from tally.store.client import errors_translated
from tally.store.known import REPLAYABLE, Known, is_listed, known, merged_of_shards
from tally.store.layouts import checks
from tally.store.lua import WritingScript
from tally.store.shards import Shard, Shards
from tally.vectors import Lane, Vector, moved, packed

__all__ = ["Lane", "SourceVectors", "Vector", "exported_sources", "import_sources", "stored_sources"]

_import = WritingScript("import_sources")

#: How many sources are read, or sent, at once.
PAGE_SOURCES = 200

#: How the names of those begin that can be read again, though nothing may have been read of them yet.
_REPLAYABLE = (*REPLAYABLE, "demo:story#")


@dataclass(frozen=True, slots=True)
class SourceVectors:
    """A source that can be read again, and how far it was appended.

    The present vector is the first, then come those of layouts of before that still tell something. `seen_ms` is when
    it was last appended to, in Unix milliseconds; None if that is not known.
    """

    name: str
    seen_ms: int | None
    vectors: tuple[Vector, ...]


async def exported_sources(shards: Shards, settings: Settings) -> AsyncIterator[SourceVectors]:
    """Give the sources that can be read again, each once. Nothing may be appended meanwhile.

    Raises StoreUnavailable.
    """
    for shard in shards:
        given: set[str] = set()  # HSCAN may give a name twice
        redis: Any = shard.redis
        cursor = 0
        while True:
            with errors_translated():
                cursor, some = await redis.hscan(shard.keys.sources, cursor, count=PAGE_SOURCES)
            names = [name for each in some if (name := each.decode()) not in given and name.startswith(_REPLAYABLE)]
            given.update(names)
            stored = await _stored(shards, names)
            for name in names:
                lanes = [of_shard.get(name) for of_shard in stored]
                if next(at for at, lane in enumerate(lanes) if lane) == shard.index:
                    yield _vectors_of(merged_of_shards(name, lanes, stripe_bytes=settings.stripe_bytes), settings)
            if not cursor:
                break


def _vectors_of(source: Known, settings: Settings) -> SourceVectors:
    lanes = tuple(Lane(each.position, each.last) for each in source.stands)
    present = Vector(len(lanes), settings.stripe_bytes if len(lanes) > 1 else None, lanes)
    return SourceVectors(source.name, source.seen_ms, (present, *source.before))


async def import_sources(
    shards: Shards, settings: Settings, sources: Sequence[SourceVectors], *, exported_seconds_ago: float = 0.0
) -> list[str]:
    """Store these sources so that they go on where they were; return the names of those that clash.

    Those are stored already, otherwise than by a call with the same: nothing was written of them. What was stored
    already by such a call is left as it is now, so that it may be repeated. A source that was appended to before the
    export is taken for as long unseen as it was then. Raises StoreUnavailable, and LayoutRefused.
    """
    clashes = set(await stored_sources(shards, sources))
    passed_ms = int(exported_seconds_ago * 1000)
    by_shard: dict[int, list[dict[str, Any]]] = {}
    for source in sources:
        if source.name not in clashes:
            by_shard.setdefault(shard_of(source.name, len(shards)), []).append(
                _arguments_of(source, shards=len(shards), passed_ms=passed_ms)
            )
    found = await asyncio.gather(*(_import_into(shards[at], settings, some) for at, some in by_shard.items()))
    clashes.update(name for names in found for name in names)
    return [source.name for source in sources if source.name in clashes]


async def stored_sources(shards: Shards, sources: Sequence[SourceVectors]) -> list[str]:
    """Return the names of those that are stored already, otherwise than by `import_sources` with the same.

    Raises StoreUnavailable.
    """
    clashes = []
    for first in range(0, len(sources), PAGE_SOURCES):
        some = sources[first : first + PAGE_SOURCES]
        stored = await _stored(shards, [source.name for source in some])
        for source in some:
            lanes = [lane for of_shard in stored if (lane := of_shard.get(source.name))]
            is_same = any(lane.before == source.vectors for lane in lanes)
            if not is_same and any(lane.position or lane.before for lane in lanes):
                clashes.append(source.name)
    return clashes


async def _stored(shards: Shards, names: Sequence[str]) -> list[dict[str, Known]]:
    """Return what each shard has of these sources."""
    if not names:
        return [{} for _ in shards]
    return await asyncio.gather(*(known(each.redis, keys=each.keys, names=names, beginnings=()) for each in shards))


def _arguments_of(source: SourceVectors, *, shards: int, passed_ms: int) -> dict[str, Any]:
    first = moved(source.name, source.vectors, shards=shards)
    seen_ms = int(time.time() * 1000) if source.seen_ms is None else source.seen_ms + passed_ms
    return {
        "name": source.name,
        "position": str(first.position),
        "last": first.last,
        "before": packed(source.vectors).decode(),
        "seen_ms": str(seen_ms),
        "listed": is_listed(source.name),
    }


async def _import_into(shard: Shard, settings: Settings, some: Sequence[dict[str, Any]]) -> list[str]:
    at = shard.keys
    keys = (at.sources, at.sources_last, at.sources_seen, at.sources_names, at.sources_before)
    layout = checks(at, settings).whole
    clashes: list[bytes] = []
    for first in range(0, len(some), PAGE_SOURCES):
        imported = some[first : first + PAGE_SOURCES]
        clashes += await _import.run(shard.redis, keys, {"imported": imported}, layout=layout)
    return [name.decode() for name in clashes]
