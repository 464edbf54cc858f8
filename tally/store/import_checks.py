"""Whether an export may be imported: what is looked at before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, cast

from tally.export_records import Header, Once, Source
from tally.imports import Opener, Plan, Routes
from tally.layout import Layout, LayoutRefused, check_format, said
from tally.runtime import Failure
from tally.settings import Settings
from tally.store.client import errors_translated, execute
from tally.store.import_progress import clashing, unfinished
from tally.store.layouts import LayoutStore
from tally.store.shard_import import ShardImport
from tally.store.shards import Shard, Shards
from tally.store.source_vectors import PAGE_SOURCES, SourceVectors, of_export, stored_sources

#: Of how many names or idempotency keys it is asked at once.
KEYS_AT_ONCE = 1000


def check_counted_alike(plan: Plan, settings: Settings) -> None:
    """Raise LayoutRefused if an export was counted with other settings than those here."""
    exported = Layout(plan.header.layout)
    check_format(exported.fields.get("format", ""))
    differences = exported.counting_differences(Layout.of(settings)) if exported.whole else []
    if differences:
        raise LayoutRefused(
            "\n".join(
                (
                    "the export holds what was counted with other settings, and an answer about both would be wrong:",
                    *said(differences),
                    "set it as it was (of TALLY_WINDOWS the lengths; how many are kept may differ); when all of it is "
                    "imported, `tally layout --accept` has other settings hold from then on",
                )
            )
        )


async def check_layouts(shards: Shards, settings: Settings) -> None:
    """Raise LayoutRefused if sources are spread otherwise there than by these settings. Raises StoreUnavailable."""
    for shard in shards.with_home:
        stored = await LayoutStore(shard.redis, keys=shard.keys, settings=settings).read()
        stored.check_spread(Layout.of(settings))


async def has_begun(imports: Sequence[ShardImport], export_id: str) -> bool:
    """Return whether an import was begun already. Raises StoreUnavailable.

    Raises Failure if it has ended, or another one has begun and has not ended.
    """
    found = [await each.progress() for each in imports]
    for progress in found:
        for other in progress.lines.keys() - {export_id}:
            raise unfinished(other)
    done_at = [progress.done_at[export_id] for progress in found if export_id in progress.done_at]
    if len(done_at) == len(found):
        at = datetime.fromtimestamp(max(done_at), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise Failure(f"this export is here already, since {at}: a second time would count all of it twice")
    return bool(done_at) or any(export_id in progress.lines for progress in found)


async def check_empty(shards: Shards, settings: Settings) -> None:
    """Raise Failure if there is more than a layout, and what was opened. Raises StoreUnavailable."""
    for shard in shards:
        what = await _what_is_there(shard)
        if what:
            raise Failure(
                f"the namespace {settings.namespace} is not empty: there are {what}. Import into an empty "
                "one (`tally reset` empties it, TALLY_NAMESPACE names another one), or add to what is counted, "
                "with --add"
            )


async def check_clashes(shards: Shards, routes: Routes, opened: Opener) -> None:
    """Raise Failure if a source was appended to here, too, or another body under an idempotency key of the export.

    These come before all counts in the export. Raises StoreUnavailable.
    """
    some: list[SourceVectors] = []
    names: list[str] = []
    with opened() as records:
        for record in takewhile(lambda record: isinstance(record, Header | Source | Once), records):
            if isinstance(record, Source):
                some.append(of_export(record))
                if len(some) == PAGE_SOURCES:
                    names += await stored_sources(shards, some, but_the_same=False)
                    some = []
            elif isinstance(record, Once):
                for shard, keys in routes.of_keys(record).items():
                    await _compare(shards[shard], keys, own=record.own)
    names += await stored_sources(shards, some, but_the_same=False)
    if names:
        raise clashing(names)


async def _compare(shard: Shard, keys: dict[bytes, bytes], *, own: bool) -> None:
    at, names = shard.keys, list(keys)
    stored_in = (at.once_own_new, at.once_own_old) if own else (at.once_new, at.once_old)
    for first in range(0, len(names), KEYS_AT_ONCE):
        some = names[first : first + KEYS_AT_ONCE]
        with errors_translated():
            pipeline = shard.redis.pipeline(transaction=False)
            for key in stored_in:
                pipeline.hmget(key, some)
            found = await execute(pipeline)
        different = [name for name, *digests in zip(some, *found, strict=True) if set(digests) - {None, keys[name]}]
        if different:
            raise Failure(
                f"{len(different):,} idempotency keys or more were used here for other bodies than in the export, "
                "so one of the two would be taken for a repetition: it cannot be added"
            )


async def _what_is_there(shard: Shard) -> str:
    """Return what a shard has besides a layout, for people; nothing if there is nothing. Raises StoreUnavailable."""
    at, redis = shard.keys, cast(Any, shard.redis)
    with errors_translated():
        pipeline = redis.pipeline(transaction=False)
        pipeline.xlen(at.stream)
        pipeline.xlen(at.dead_letters)
        pipeline.exists(at.deltas)
        pipeline.exists(at.types)
        pipeline.exists(at.words)
        pipeline.exists(at.totals)
        pipeline.exists(at.once_new, at.once_old)
        found = await execute(pipeline)
        names = [
            "blocks that wait to be counted",
            "dead letters",
            "batches that wait to be applied",
            "counts",
            "counts",
            "totals",
            "idempotency keys",
        ]
        what = [name for name, number in zip(names, found, strict=True) if number]
        cursor = 0
        while not what:
            cursor, positions = await redis.hscan(at.sources, cursor, count=KEYS_AT_ONCE)
            if any(map(int, positions.values())):
                what.append("positions of sources")
            if not cursor:
                break
    return " and ".join(dict.fromkeys(what))
