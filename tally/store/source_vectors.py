"""How far sources were appended, moved from a layout to another one: given out by one store, and taken by another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tally.export_records import Source
from tally.keys import Keys
from tally.settings import Settings
from tally.shards import shard_of
from tally.store.client import StoreUnavailable, errors_translated
from tally.store.known import REPLAYABLE, Known, is_listed, known, merged_of_shards
from tally.store.layouts import checks
from tally.store.lua import WritingScript
from tally.store.shards import Shards
from tally.store.windows import raise_wrong_type
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


def of_export(record: Source) -> SourceVectors:
    """Return a source of an export as the store takes it."""
    vectors = (
        Vector(each.shards, each.stripe_bytes, tuple(Lane(lane.position, lane.last) for lane in each.lanes))
        for each in record.vectors
    )
    return SourceVectors(record.name, record.seen_ms, tuple(vectors))


async def import_sources(
    shards: Shards, settings: Settings, sources: Sequence[SourceVectors], *, exported_seconds_ago: float = 0.0
) -> list[str]:
    """Store these sources so that they go on where they were; return the names of those that clash.

    Those are stored already, otherwise than by a call with the same: nothing was written of them. What was stored
    already by such a call is left as it is now, so that it may be repeated. A source that was appended to before the
    export is taken for as long unseen as it was then. Raises StoreUnavailable, and LayoutRefused.
    """
    clashes = set(await stored_sources(shards, sources))
    by_shard: dict[int, list[SourceVectors]] = {}
    for source in sources:
        if source.name not in clashes:
            by_shard.setdefault(shard_of(source.name, len(shards)), []).append(source)
    for at, some in by_shard.items():
        for first in range(0, len(some), PAGE_SOURCES):
            step = SourceStep(some[first : first + PAGE_SOURCES], len(shards), exported_seconds_ago)
            word, names = await import_into(shards[at].redis, keys=shards[at].keys, settings=settings, step=step)
            if word == "held":
                raise StoreUnavailable("another command holds appends just now")
            clashes.update(names)
    return [source.name for source in sources if source.name in clashes]


@dataclass(frozen=True, slots=True)
class SourceStep:
    """Sources to be stored in the shard of their names, of so many shards. `progress` is that of an import, if any."""

    sources: Sequence[SourceVectors]
    shards: int
    exported_seconds_ago: float
    progress: Mapping[str, str] = field(default_factory=dict)


async def import_into(redis: Any, *, keys: Keys, settings: Settings, step: SourceStep) -> tuple[str, list[str]]:
    """Store sources in a shard; return the word of import_sources.lua and the names that clash.

    Raises StoreUnavailable.
    """
    passed_ms = int(step.exported_seconds_ago * 1000)
    imported = [_arguments_of(source, shards=step.shards, passed_ms=passed_ms) for source in step.sources]
    at = (keys.sources, keys.sources_last, keys.sources_seen, keys.sources_names, keys.sources_before)
    word, *names = await _import.run(
        redis,
        (*at, keys.imports, keys.backlog),
        {**step.progress, "imported": imported},
        layout=checks(keys, settings).whole,
    )
    raise_wrong_type(word, names)
    return word.decode(), [name.decode() for name in names]


async def stored_sources(shards: Shards, sources: Sequence[SourceVectors], *, but_the_same: bool = True) -> list[str]:
    """Return the names of those that are stored already, `but_the_same` by `import_sources` with the same.

    Raises StoreUnavailable.
    """
    clashes = []
    for first in range(0, len(sources), PAGE_SOURCES):
        some = sources[first : first + PAGE_SOURCES]
        stored = await _stored(shards, [source.name for source in some])
        for source in some:
            lanes = [lane for of_shard in stored if (lane := of_shard.get(source.name))]
            is_same = but_the_same and any(lane.before == source.vectors for lane in lanes)
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
    return {
        "name": source.name,
        "position": str(first.position),
        "last": first.last,
        "before": packed(source.vectors).decode(),
        "seen_ms": "" if source.seen_ms is None else str(source.seen_ms + passed_ms),
        "listed": is_listed(source.name),
    }
