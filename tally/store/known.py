"""What is stored of sources: how far each has been appended, and how it is known again there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

from tally.keys import Keys
from tally.store.client import errors_translated, execute
from tally.store.lua import LayoutCheck, ReadingScript, WritingScript
from tally.stripes import IN_A_LINE, Stripes
from tally.vectors import Lane, Vector, resume_at, still_telling, unpacked

_known, _forget = ReadingScript("known_sources"), WritingScript("forget_sources")
_register, _renew = WritingScript("register_sources"), WritingScript("renew_sources")

#: How the names begin of replayable sources, in their order.
REPLAYABLE = ("file:", "tail:")

#: How many names are read, or sent, at once.
PAGE_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Known:
    """A source, and how far it has been appended.

    `last` is the fingerprint of the bytes before its position, as append.lua got it; empty if there is none of that
    position. `seen_ms` is when it was last appended to or renewed, in Unix milliseconds; None if that is not known.

    Of one that is spread over shards, `lanes` are the same of each of them, in their order; its position is where
    reading begins, see tally/stripes.py.

    `before` is how far it was under layouts of before, where that still tells something, see tally/vectors.py. It has
    `lanes` then, if only one, and its position is where reading begins by all of these.
    """

    name: str
    position: int = 0
    last: str = ""
    seen_ms: int | None = None
    lanes: tuple[Known, ...] = ()
    before: tuple[Vector, ...] = ()

    @property
    def is_in_a_line(self) -> bool:
        """Whether its position is behind a last line without an end."""
        return self.last.endswith(IN_A_LINE)

    @property
    def stands(self) -> tuple[Known, ...]:
        """How far it is in each shard."""
        return self.lanes or (self,)

    @property
    def positions(self) -> tuple[int, ...]:
        """How far it is in each shard, in bytes."""
        return tuple(each.position for each in self.stands)

    def stands_at(self, positions: Sequence[int]) -> bool:
        """Return whether it is just so far in each shard."""
        return all(stored == ours for stored, ours in zip_longest(self.positions, positions, fillvalue=0))

    def is_behind(self, positions: Sequence[int]) -> bool:
        """Return whether it is less far in any shard."""
        return any(stored < ours for stored, ours in zip_longest(self.positions, positions, fillvalue=0))

    @property
    def stands_of_all(self) -> tuple[Known | Lane, ...]:
        """How far it is in each shard, and was in those of before."""
        return (*self.stands, *chain.from_iterable(each.lanes for each in self.before))

    @property
    def furthest(self) -> Known | Lane:
        """The one of all these that is furthest. Up to there the source was read."""
        return max(self.stands_of_all, key=lambda each: each.position)

    @property
    def reached(self) -> int:
        """Up to where the source was read."""
        return self.furthest.position


def merged(name: str, lanes: Sequence[Known | None], *, stripe_bytes: int, before: Sequence[Vector] = ()) -> Known:
    """Return what is known of a source by what each shard has of it; None where one has nothing.

    `before` is how far it was under layouts of before.
    """
    found = tuple(lane or Known(name) for lane in lanes)
    seen = [lane.seen_ms for lane in lanes if lane is not None]
    seen_ms = None if None in seen else max(filter(None, seen), default=None)
    telling = still_telling(before, [lane.position for lane in found])
    stands: list[Known | Lane] = list(found)
    if telling:
        now = Vector(len(found), stripe_bytes, tuple(Lane(each.position, each.last) for each in found))
        position = resume_at(name, (now, *telling))
        stands += chain.from_iterable(each.lanes for each in telling)
    else:
        position = Stripes.of(name, shards=len(lanes), stripe_bytes=stripe_bytes).resume_at(found)
    last = next((each.last for each in stands if each.position == position and each.last), "")
    return Known(name, position, last, seen_ms, found, telling)


def merged_of_shards(name: str, lanes: Sequence[Known | None], *, stripe_bytes: int) -> Known:
    """Return what is known of a source by what is stored in each shard: in one of them, what it was before as well."""
    before = next((lane.before for lane in lanes if lane and lane.before), ())
    lanes = [replace(lane, before=()) if lane and lane.before else lane for lane in lanes]
    return merged(name, lanes, stripe_bytes=stripe_bytes, before=before)


def alone(known: Known) -> Known:
    """Return what is known of a source where there is one shard, by what this one has of it."""
    if still_telling(known.before, known.positions):
        return merged(known.name, [replace(known, before=())], stripe_bytes=0, before=known.before)
    return replace(known, before=())


def is_listed(name: str) -> bool:
    """Return whether a source is looked up by how its name begins.

    The name of a file's first generation, `file:PATH#LENGTH-DIGEST`, is made again of the file; and there may be very
    many of them.
    """
    return not name.startswith("file:") or name.rpartition("#")[2].count("-") > 1


async def known(redis: Any, *, keys: Keys, names: Sequence[str], beginnings: Sequence[str]) -> dict[str, Known]:
    """Return those of the sources with these names, or with a listed name that begins so, that are stored, by name.

    Raises StoreUnavailable.
    """
    at = (keys.sources, keys.sources_last, keys.sources_seen, keys.sources_names, keys.sources_before)
    found = {}
    for first in range(0, max(1, len(names)), PAGE_NAMES):
        some = names[first : first + PAGE_NAMES]
        arguments = {"source_names": some, "beginnings": () if first else beginnings}
        word, *flat = await _known.run(redis, at, arguments)
        if word == b"unlisted":
            await _list_all(redis, keys=keys)
            word, *flat = await _known.run(redis, at, arguments)
        for name, position, last, seen, before in zip(*(iter(flat),) * 5, strict=True):
            text = name.decode()
            seen_ms = int(float(seen)) if seen else None
            vectors = unpacked(before) if before else ()
            found[text] = Known(text, int(position), last.decode(), seen_ms, before=vectors)
    return found


async def forget(
    redis: Any, *, keys: Keys, layout: LayoutCheck, names: Sequence[str], unseen_since_ms: int | None
) -> bool:
    """Forget these sources; with `unseen_since_ms`, in Unix milliseconds, only those without an append since then.

    Returns False if somebody has the lease of the shard: they stay, and it is tidied up another time. Raises
    StoreUnavailable.
    """
    at = (keys.sources, keys.sources_last, keys.sources_seen, keys.sources_names, keys.sources_before, keys.backlog)
    for first in range(0, len(names), PAGE_NAMES):
        some = names[first : first + PAGE_NAMES]
        arguments: dict[str, Any] = {"source_names": some}
        if unseen_since_ms is not None:
            arguments["before_ms"] = unseen_since_ms
        if await _forget.run(redis, at, arguments, layout=layout) == b"held":
            return False
    return True


async def forget_left_behind(redis: Any, *, keys: Keys, layout: LayoutCheck, unseen_since_ms: int) -> None:
    """Forget the sources that are not replayable and were neither appended to nor renewed since then.

    Of files, of which there may be very many, nothing is read. Raises StoreUnavailable.
    """
    await known(redis, keys=keys, names=(), beginnings=["-"])  # so that all are listed
    pipeline = redis.pipeline(transaction=False)
    least: str | bytes = "-"
    for kept in REPLAYABLE:  # in the order of names; no byte of one is as high as what ends a range
        pipeline.zrange(keys.sources_names, least, f"({kept}", bylex=True)
        least = f"({kept}".encode() + b"\xff"
    pipeline.zrange(keys.sources_names, least, "+", bylex=True)
    with errors_translated():
        replies = await execute(pipeline)
    names = [name.decode() for reply in replies for name in reply if name]
    await forget(redis, keys=keys, layout=layout, names=names, unseen_since_ms=unseen_since_ms)


async def forget_files(redis: Any, *, keys: Keys, layout: LayoutCheck, unseen_since_ms: int) -> int:
    """Forget the files that were neither appended to nor opened since then; return how many.

    Raises StoreUnavailable.
    """
    forgotten = passed = 0
    while names := await unseen(redis, keys=keys, unseen_since_ms=unseen_since_ms, passed=passed):
        files = [name for name in names if is_file(name)]
        if not await forget(redis, keys=keys, layout=layout, names=files, unseen_since_ms=unseen_since_ms):
            break
        forgotten += len(files)
        passed += len(names) - len(files)
    return forgotten


async def unseen(redis: Any, *, keys: Keys, unseen_since_ms: int, passed: int) -> list[str]:
    """Return names of sources that were neither appended to nor opened since then, a page of them behind so many.

    Raises StoreUnavailable.
    """
    with errors_translated():
        found = await redis.zrange(
            keys.sources_seen, "-inf", f"({unseen_since_ms}", byscore=True, offset=passed, num=PAGE_NAMES
        )
    return [name.decode() for name in found]


def is_file(name: str) -> bool:
    """Return whether it is the name of a file that is read to its end."""
    return name.startswith("file:")


async def register(redis: Any, *, keys: Keys, layout: LayoutCheck, names: Sequence[str]) -> int:
    """Note these sources at position 0, if they are not stored; return how many that were. Raises StoreUnavailable."""
    at = (keys.sources, keys.sources_seen, keys.sources_names)
    registered = 0
    for first in range(0, len(names), PAGE_NAMES):
        some = names[first : first + PAGE_NAMES]
        arguments = {"source_names": some, "listed": [is_listed(name) for name in some]}
        registered += await _register.run(redis, at, arguments, layout=layout)
    return registered


async def renew(redis: Any, *, keys: Keys, layout: LayoutCheck, names: Sequence[str]) -> None:
    """Show that these sources are still open, as an append would. Raises StoreUnavailable."""
    for first in range(0, len(names), PAGE_NAMES):
        some = names[first : first + PAGE_NAMES]
        await _renew.run(redis, (keys.sources, keys.sources_seen), {"source_names": some}, layout=layout)


async def _list_all(redis: Any, *, keys: Keys) -> None:
    """List what was stored before names were listed, once for a store. May be repeated, by several at once too."""
    with errors_translated():
        cursor = 0
        while True:
            cursor, found = await redis.hscan(keys.sources, cursor, count=PAGE_NAMES)
            listed = {name: 0 for name in found if is_listed(name.decode())}
            if listed:
                await redis.zadd(keys.sources_names, listed)
            if not cursor:
                break
        await redis.zadd(keys.sources_names, {"": 0})  # the last: only now all are there
