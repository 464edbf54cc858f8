"""An export is brought into a namespace: everything of it, each thing once, however often the import is begun.

Two passes over the file: the first one finds whether it is whole and what is in it (see tally/imports.py), and nothing
is written before; the second one writes, line by line, what is not there yet. An import that was killed is run again
with the same file. It may run beside services: sources and idempotency keys come first, so that nothing that was
counted is taken for new, and totals last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tally.clock import SYSTEM, Clock
from tally.export_records import Counts, DeadLetter, Header, Once, Sample, Source, Totals
from tally.exports import NotAnExport
from tally.imports import Opener, Plan, Routes
from tally.runtime import Failure
from tally.settings import Settings
from tally.shards import shard_of
from tally.store.client import LayoutChanged
from tally.store.import_checks import check_clashes, check_counted_alike, check_empty, check_layouts, has_begun
from tally.store.layouts import LayoutStore, checks
from tally.store.lua import WritingScript
from tally.store.shard_import import ShardImport
from tally.store.shards import Shards, check_home
from tally.store.source_vectors import PAGE_SOURCES, SourceVectors, of_export
from tally.store.user_check import check_permissions
from tally.store.users import IMPORTER
from tally.store.windows import raise_wrong_type

_layout = WritingScript("import_layout")

#: Sources that are written together.
SOURCES_AT_ONCE = PAGE_SOURCES

#: Samples that are written together: of a KiB each.
SAMPLES_AT_ONCE = 100

#: How long is waited where a server cannot tell what is on its disk: an append-only file is written out once a second.
NOT_DURABLE_SECONDS = 2.0

#: The shard to which samples go, and of which kind they are.
_Place: TypeAlias = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Told:
    """Whoever runs an import is told how far it is, in lines of the export, and given a sentence when it waits."""

    line: Callable[[int], None] = lambda _: None
    waits: Callable[[str], None] = lambda _: None


#: Nobody is told anything.
NOBODY = Told()


async def import_export(
    shards: Shards,
    settings: Settings,
    plan: Plan,
    opened: Opener,
    *,
    adds: bool = False,
    told: Told = NOBODY,
    clock: Clock = SYSTEM,
) -> None:
    """Bring an export into the namespace of these shards, whose clients are for writing: all that is not there yet.

    With `adds` to what is counted there; else there may be nothing but the same layout. `plan` is that of the export.

    Raises LayoutRefused if it was counted with other settings, NotAnExport if the file is another one by now, and
    Failure if this cannot be done; nothing was written then, but where an import that had begun cannot go on. Raises
    StoreUnavailable if Redis is, for too long; it may be called again.
    """
    check_counted_alike(plan, settings)
    try:
        await _Import(shards, settings, plan, opened, told=told, clock=clock).run(adds=adds)
    except LayoutChanged as error:
        raise Failure(f"{error}; the import has stopped") from error


class _Import:
    """One run of one import."""

    def __init__(
        self, shards: Shards, settings: Settings, plan: Plan, opened: Opener, *, told: Told, clock: Clock
    ) -> None:
        self._shards = shards
        self._settings = settings
        self._plan = plan
        self._opened = opened
        self._told = told
        self._clock = clock
        self._id = plan.header.id
        self._seconds_ago = max(0.0, clock.time() - plan.header.exported_at)
        self._routes = Routes(shards=len(shards), exported=plan.header.shards)
        self._has_totals = False
        self._kept = {"rejected": settings.max_rejected_samples, "accepted": settings.accepted_samples}
        self._each = [
            ShardImport(shard, settings=settings, export_id=self._id, clock=clock, tell=told.waits) for shard in shards
        ]

    async def run(self, *, adds: bool) -> None:
        for shard in self._shards.with_home:
            await check_permissions(shard.redis, keys=shard.keys, user=IMPORTER)
        await check_layouts(self._shards, self._settings)
        if not await has_begun(self._each, self._id):
            if adds:
                await check_clashes(self._shards, self._routes, self._opened)
            else:
                await check_empty(self._shards, self._settings)
        await self._ensure_layouts()
        for each in self._each:
            await each.begin(self._plan, len(self._each))
        await self._write_samples(await self._write())
        for each in self._each:
            await each.finish()
        # What it was exported from may be deleted now.
        if not all([await each.is_durable() for each in self._each]):
            await self._clock.sleep(NOT_DURABLE_SECONDS)

    async def _write(self) -> dict[_Place, list[Sample]]:
        """Write what the lines hold; return the samples of each shard and kind, the newest that may be kept."""
        samples: dict[_Place, list[Sample]] = defaultdict(list)
        sources = _Sources(self._each, seconds_ago=self._seconds_ago)
        with self._opened() as records:
            for line, record in enumerate(records, start=1):
                self._told.line(line)
                if isinstance(record, Header) and record != self._plan.header:
                    raise NotAnExport("it is another export than a moment ago: the file was written anew; run it again")
                if isinstance(record, Source):
                    await sources.add(line, record)
                    continue
                await sources.flush()
                if isinstance(record, Counts):
                    for shard, counts in self._routes.of_names(record).items():
                        if self._each[shard].lacks(line):
                            await self._each[shard].add_counts(line, record, counts)
                elif isinstance(record, Once):
                    for shard, keys in self._routes.of_keys(record).items():
                        if self._each[shard].lacks(line):
                            await self._each[shard].put_once(line, record, keys)
                elif isinstance(record, Sample):
                    place = self._routes.of_shard(record.shard), record.kind
                    samples[place].append(record)
                    if len(samples[place]) > 2 * self._kept[record.kind]:
                        samples[place] = self._newest(samples[place])
                elif isinstance(record, DeadLetter):
                    each = self._each[self._routes.of_shard(record.shard)]
                    if each.lacks(line):
                        await each.put_dead_letter(line, record)
                elif isinstance(record, Totals):
                    await self._add_totals(line, record)
            await sources.flush()
        return samples

    async def _add_totals(self, line: int, record: Totals) -> None:
        if not self._has_totals:
            self._has_totals = True
            for each in self._each:  # all counts, in all shards, before any totals
                await each.flush()
        each = self._each[self._routes.of_shard(record.shard)]
        if each.lacks(line):
            each.add_totals(line, record.fields)

    async def _write_samples(self, samples: dict[_Place, list[Sample]]) -> None:
        """Write the newest samples behind all lines, a slice as a line of its own."""
        for shard, each in enumerate(self._each):
            line = self._plan.records
            for kind in self._kept:
                newest = self._newest(samples[shard, kind])
                for first in range(0, len(newest), SAMPLES_AT_ONCE):
                    line += 1
                    if each.lacks(line):
                        await each.put_samples(line, newest[first : first + SAMPLES_AT_ONCE])

    def _newest(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return as many of these as are kept, all of one kind, the oldest first; of one moment as they came."""
        most = self._kept[samples[0].kind] if samples else 0
        return sorted(samples, key=lambda sample: sample.at_ms)[max(0, len(samples) - most) :]

    async def _ensure_layouts(self) -> None:
        """Store the layout where there is none, with what became of it. Raises LayoutRefused where there is another."""
        header, settings = self._plan.header, self._settings
        await check_home(self._shards, settings=settings, counts=True)
        arguments = {"history": header.layout_history, "since": header.layout.get("since")}
        for shard in self._shards.with_home:
            await LayoutStore(shard.redis, keys=shard.keys, settings=settings).ensure()
            layout = checks(shard.keys, settings).whole
            reply = await _layout.run(shard.redis, (shard.keys.layout_history,), arguments, layout=layout)
            if reply:
                raise_wrong_type(reply[0], reply[1:])


class _Sources:
    """Sources on their way into the shards of their names, some at a time."""

    def __init__(self, each: Sequence[ShardImport], *, seconds_ago: float) -> None:
        self._each = each
        self._seconds_ago = seconds_ago
        self._waiting: dict[int, list[SourceVectors]] = defaultdict(list)
        self._line = 0

    async def add(self, line: int, record: Source) -> None:
        """Take the source of a line."""
        shard = shard_of(record.name, len(self._each))
        if not self._each[shard].lacks(line):
            return
        self._waiting[shard].append(of_export(record))
        self._line = line
        if len(self._waiting[shard]) == SOURCES_AT_ONCE:
            await self._put(shard)

    async def flush(self) -> None:
        """Write those that wait here."""
        for shard in list(self._waiting):
            await self._put(shard)

    async def _put(self, shard: int) -> None:
        sources = self._waiting.pop(shard)
        await self._each[shard].put_sources(self._line, sources, shards=len(self._each), seconds_ago=self._seconds_ago)
