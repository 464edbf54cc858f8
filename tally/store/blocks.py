"""Blocks on their way: appended by an ingestor, read, claimed and counted by aggregators.

A block is not appended, or waiting in the stream, or counted and gone; only `append` and `count` move it (and
`bury`, for one that kills its readers). Every method here may be called again after a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from redis import exceptions
from redis.asyncio import Redis

from tally.counts import Counts, sections
from tally.keys import GROUP, OTHER, TOP_WORDS, Keys
from tally.settings import Settings
from tally.store.client import GroupMissing, ReadingScript, StoreUnavailable, WritingScript, errors_translated, execute
from tally.store.idempotent import Body, OnceWord, append_once
from tally.store.known import Known, forget, forget_files, forget_left_behind, is_listed, known, register, renew
from tally.store.layouts import LayoutStore, checks
from tally.store.permissions import AGGREGATORS, INGESTORS, check_permissions

_append, _count, _claim = WritingScript("append"), WritingScript("count"), WritingScript("claim")
_retry, _bury, _retire = WritingScript("retry"), WritingScript("bury"), WritingScript("retire")
_keep, _audit, _oldest = WritingScript("keep"), WritingScript("audit"), ReadingScript("oldest")
_create_group = WritingScript("create_group")

#: How many bytes of the stream one call of a script looks at, about, when its size is added up anew: some milliseconds.
AUDIT_BYTES = 4 << 20

#: Digits of a time in milliseconds, up to the year 33658.
MAX_MS_DIGITS = 15

#: The cursor with which claiming begins, and which the last call returns.
CLAIM_FROM_START = "-"


@dataclass(frozen=True, slots=True)
class Block:
    """A run of whole lines of one source, with the positions of its first byte and behind its last, in bytes.

    `last` and `before` are the fingerprints of the source's bytes before `end` and before `start`, as text; empty if it
    cannot be read again.
    """

    start: int
    end: int
    lines: bytes
    last: str = ""
    before: str = ""


@dataclass(frozen=True, slots=True)
class Append:
    """What became of a block: the word that append.lua returns, and the source's stored position after it."""

    outcome: Literal["appended", "duplicate", "moved", "full"]
    position: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A block in the stream. `lines` is None if another client added an entry without that field.

    So is `appended_ms`, when it was appended in Unix milliseconds: it is not in what others add, or older versions did.
    """

    id: str
    lines: bytes | None
    source: str
    appended_ms: int | None = None

    @property
    def arrived_seconds(self) -> float:
        """When it was appended, in Unix seconds; the first part of the entry's ID where nothing better is known.

        IDs never go back: after a moment in which the server's clock was ahead they are wrong until it catches up.
        """
        return (int(self.id.partition("-")[0]) if self.appended_ms is None else self.appended_ms) / 1000

    @property
    def backlog_bytes(self) -> int:
        """How many bytes of the backlog it is; -1 if it is not in that figure, because another client added it."""
        return -1 if self.appended_ms is None or self.lines is None else len(self.lines)


@dataclass(frozen=True, slots=True)
class Oldest:
    """The block that waits longest: its entry ID, and for how long by the server's clock."""

    id: str
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class Applied:
    """The batch was counted; `windows` is how many of the shortest windows there are now."""

    windows: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing was written, because these blocks are not pending to the consumer: others claimed or counted them."""

    ids: frozenset[str]


class BlockStore:
    """The stream of one shard and everything that is written about it."""

    def __init__(self, redis: Redis, *, keys: Keys, settings: Settings) -> None:
        self._redis: Any = redis  # its annotations leave open whether replies are text; ours are bytes
        self._keys = keys
        self._settings = settings
        self._layout = checks(keys, settings)
        self._layouts = LayoutStore(redis, keys=keys, settings=settings)

    async def check_may_append(self) -> None:
        """Raise Refused if our user may not do all that an ingestor does. Raises StoreUnavailable."""
        await check_permissions(self._redis, key=self._keys.layout, scripts=INGESTORS)

    async def check_format(self) -> None:
        """Raise LayoutRefused if what is in Redis has a format that we do not know. Raises StoreUnavailable."""
        await self._layouts.read()

    @property
    def _loss_keys(self) -> tuple[str, str, str]:
        """What a script needs to count what was deleted as lost."""
        return self._keys.stream, self._keys.totals, self._keys.backlog

    # What an ingestor needs.

    async def append(self, *, source: str, blocks: Sequence[Block]) -> list[Append]:
        """Append blocks in their order, in one round trip: an outcome for each.

        After the first that is `moved` or `full` the following ones are `moved` too, because none of them
        starts where the source then stands. Raises StoreUnavailable.
        """
        at = self._keys
        keys = (at.stream, at.sources, at.sources_seen, at.sources_last, at.sources_names, at.backlog, at.totals)
        limits = (self._settings.max_backlog_blocks, self._settings.max_backlog_bytes)
        listed = int(is_listed(source))
        # Where it runs again for blocks that are appended already, it answers `duplicate`.
        replies = await _append.run_each(
            self._redis,
            (
                (keys, (source, block.start, block.end, block.lines, *limits, block.last, listed, block.before))
                for block in blocks
            ),
            layout=self._layout.format,
        )
        return [Append(outcome=word.decode(), position=int(position)) for word, position in replies]

    async def append_once(self, *, source: str, bodies: Sequence[Body]) -> list[OnceWord]:
        """Append whole bodies, each at most once under its key. Raises StoreUnavailable; call it again then."""
        return await append_once(self._redis, keys=self._keys, settings=self._settings, source=source, bodies=bodies)

    async def position(self, source: str) -> int:
        """How far into a source has been appended, in bytes. Raises StoreUnavailable."""
        with errors_translated():
            return int(await self._redis.hget(self._keys.sources, source) or 0)

    async def known(self, *, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> dict[str, Known]:
        """What is stored of the sources with these names, or with a listed name that begins so, by name.

        Raises StoreUnavailable.
        """
        return await known(self._redis, keys=self._keys, names=names, beginnings=beginnings)

    async def register_sources(self, names: Sequence[str]) -> int:
        """Note these sources at position 0, if they are not stored: how many that were. Raises StoreUnavailable."""
        return await register(self._redis, keys=self._keys, layout=self._layout.format, names=names)

    async def any_source(self) -> bool:
        """Whether the position of any source is stored. Raises StoreUnavailable."""
        with errors_translated():
            return bool(await self._redis.hlen(self._keys.sources))

    async def forget_sources(self, names: Sequence[str], *, unseen_since_ms: int | None = None) -> None:
        """Forget sources that will never be read again; see `forget`. Raises StoreUnavailable."""
        await forget(
            self._redis,
            keys=self._keys,
            layout=self._layout.format,
            names=names,
            unseen_since_ms=unseen_since_ms,
        )

    async def renew_sources(self, names: Sequence[str]) -> None:
        """Show that these sources are still open, so that they are not forgotten. Raises StoreUnavailable."""
        await renew(self._redis, keys=self._keys, layout=self._layout.format, names=names)

    async def server_seconds(self) -> float:
        """The time by the server's clock, in Unix seconds. Raises StoreUnavailable."""
        with errors_translated():
            seconds, microseconds = await self._redis.time()
        return float(seconds + microseconds / 1e6)

    async def forget_left_behind(self, *, unseen_since_ms: int) -> None:
        """Forget what killed ingestors have left of sources that cannot be read again. Raises StoreUnavailable."""
        await forget_left_behind(
            self._redis, keys=self._keys, layout=self._layout.format, unseen_since_ms=unseen_since_ms
        )

    async def forget_files(self, *, unseen_since_ms: int) -> int:
        """Forget files that were neither appended to nor opened since then: how many. Raises StoreUnavailable."""
        return await forget_files(
            self._redis, keys=self._keys, layout=self._layout.format, unseen_since_ms=unseen_since_ms
        )

    async def wait_until_durable(self, source: str, *, timeout_seconds: float) -> bool:
        """Wait until the server has what was appended so far on its disk, as far as it keeps any.

        False when that did not happen in time, or the server cannot tell (before Redis 7.2). Whoever may read
        its source again asks for the position once more then. Raises StoreUnavailable.
        """
        # WAITAOF waits for the last write of its own connection, so one goes in front of it.
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hincrby(self._keys.sources, source, 0)
        pipeline.execute_command("WAITAOF", 1, 0, int(timeout_seconds * 1000))
        with errors_translated():
            written, reply = await pipeline.execute(raise_on_error=False)
            if isinstance(written, Exception):
                raise written  # the other answer is then about nothing of ours
            if isinstance(reply, exceptions.ResponseError):
                return "appendonly is disabled" in str(reply)
            if isinstance(reply, Exception):
                raise reply
        return bool(reply[0] >= 1)

    async def backlog(self) -> int:
        """How many blocks wait to be counted. Raises StoreUnavailable."""
        with errors_translated():
            return int(await self._redis.xlen(self._keys.stream))

    async def has_room(self) -> bool:
        """Whether a block would be appended, by the limits of our settings. Raises StoreUnavailable."""
        with errors_translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xlen(self._keys.stream)
            pipeline.hget(self._keys.backlog, "bytes")
            blocks, bytes_ = await execute(pipeline)
        settings = self._settings
        return blocks < settings.max_backlog_blocks and (not blocks or int(bytes_ or 0) < settings.max_backlog_bytes)

    # What an aggregator needs.

    async def keep_layout(self) -> None:
        """Store the layout of our settings where there is none; where it is equal, nothing is written.

        Raises StoreUnavailable, LayoutRefused where there is another one, and Refused if our user may not do all that
        an aggregator does.
        """
        await check_permissions(self._redis, key=self._keys.layout, scripts=AGGREGATORS)
        await self._layouts.keep()

    async def audit(self) -> int:
        """Count blocks as lost that somebody deleted before they were counted: how many are found.

        The size of the backlog is right again then: what is left is added up, some megabytes a call of the script.
        Raises StoreUnavailable.
        """
        found, again = 0, 1
        while again:
            lost, again = await _audit.run(self._redis, self._loss_keys, (AUDIT_BYTES,), layout=self._layout.format)
            found += int(lost)
        return found

    async def create_group(self) -> bool:
        """Make sure that the consumer group is there; True if it had to be created. Raises StoreUnavailable.

        It starts at the stream's first entry, never at `$`: what was appended before is to be counted.
        """
        # Asked first, because nothing is to be written where nothing is missing: to a replica, say.
        try:
            with errors_translated():
                groups = await self._redis.xinfo_groups(self._keys.stream)
        except GroupMissing:
            groups = []
        if any(group["name"] == GROUP.encode() for group in groups):
            return False
        word = await _create_group.run(
            self._redis, (self._keys.stream, self._keys.backlog), (GROUP,), layout=self._layout.format
        )
        if word == b"exists":
            return False
        await self.audit()  # what leaves the stream from now on is accounted for, even if we never appended to it
        return True

    async def read(self, *, consumer: str, count: int, block_ms: int | None) -> list[Entry]:
        """Take up to `count` new blocks; wait up to `block_ms` for the first of them, or not at all.

        Raises StoreUnavailable or GroupMissing. What a failed call took is pending to this consumer.
        """
        with errors_translated():
            reply = await self._redis.xreadgroup(GROUP, consumer, {self._keys.stream: ">"}, count=count, block=block_ms)
        return [_entry(id_.decode(), fields) for _, entries in reply or () for id_, fields in entries]

    async def claim(self, *, consumer: str, cursor: str, count: int) -> tuple[str, int]:
        """Claim blocks of consumers that were idle for too long: (cursor for the next call, how many).

        The cursor is CLAIM_FROM_START at first, and again after the end. Raises StoreUnavailable or GroupMissing.
        """
        idle_ms = int(self._settings.claim_idle_seconds * 1000)
        cursor_reply, claimed = await _claim.run(
            self._redis, self._loss_keys, (GROUP, consumer, idle_ms, cursor, count), layout=self._layout.whole
        )
        return cursor_reply.decode(), claimed

    async def keep(self, *, consumer: str, ids: Sequence[str]) -> frozenset[str]:
        """Show that this consumer still works on blocks, so that they are not claimed: those that are still its own.

        Raises StoreUnavailable or GroupMissing.
        """
        kept = await _keep.run(self._redis, self._loss_keys, (GROUP, consumer, *ids), layout=self._layout.whole)
        return frozenset(id_.decode() for id_ in kept)

    async def pending(self, *, consumer: str, count: int) -> list[tuple[str, int]]:
        """The oldest blocks that this consumer holds: (entry ID, how often it was delivered).

        Raises StoreUnavailable or GroupMissing.
        """
        with errors_translated():
            found = await self._redis.xpending_range(
                self._keys.stream, GROUP, min="-", max="+", count=count, consumername=consumer
            )
        return [(each["message_id"].decode(), each["times_delivered"]) for each in found]

    async def retry(self, *, consumer: str, entry_id: str, deliveries: int) -> Entry | None:
        """Read again a block that this consumer holds, and set its delivery count; None if it is gone or lost.

        Raises StoreUnavailable or GroupMissing.
        """
        word, *flat = await _retry.run(
            self._redis, self._loss_keys, (GROUP, consumer, entry_id, deliveries), layout=self._layout.whole
        )
        if word != b"given":
            return None
        return _entry(entry_id, dict(zip(flat[::2], flat[1::2], strict=True)))

    async def bury(self, *, consumer: str, entry_id: str) -> Literal["buried", "spared", "gone"]:
        """Move a block that this consumer holds and that was delivered too often to the dead stream.

        Raises StoreUnavailable or GroupMissing.
        """
        reply = await _bury.run(
            self._redis,
            (self._keys.stream, self._keys.dead, self._keys.backlog, self._keys.totals),
            (GROUP, consumer, entry_id, self._settings.max_deliveries),
            layout=self._layout.whole,
        )
        word: Literal["buried", "spared", "gone"] = reply.decode()
        return word

    async def count(self, *, consumer: str, entries: Sequence[Entry], counts: Counts) -> Applied | Missing:
        """Take these blocks off the stream and add what they hold to the counts, if this consumer holds all of them.

        Raises StoreUnavailable (it may have happened all the same) or GroupMissing (it has not).
        """
        keys, arguments = self._count_arguments(consumer, entries, counts)
        word, *rest = await _count.run(self._redis, keys, arguments, layout=self._layout.whole)
        if word == b"missing":
            return Missing(ids=frozenset(id_.decode() for id_ in rest))
        return Applied(windows=rest[0])

    def _count_arguments(self, consumer: str, entries: Sequence[Entry], counts: Counts) -> tuple[list[str], list[Any]]:
        at, settings, lengths = self._keys, self._settings, self._settings.window_lengths
        keys = [at.stream, at.types, at.words, at.top, at.totals, at.rejected, at.backlog]
        arguments: list[Any] = [
            GROUP,
            consumer,
            OTHER,
            settings.max_types,
            settings.max_words,
            settings.max_window_words,
        ]
        arguments += [TOP_WORDS, settings.max_rejected_samples, len(lengths)]
        for length in lengths:
            keys += (at.windows(length.seconds), at.rolled(length.seconds))
            arguments.append(length.kept)
        parts = list(sections(counts.windows, lengths))
        arguments.append(len(entries))
        for entry in entries:
            arguments += (entry.id, entry.backlog_bytes)
        arguments += [counts.rejected, counts.padded, counts.bytes, len(parts)]
        for part in parts:
            arguments.append(part.level + 1)  # Lua counts from 1
            for length in lengths[part.level :]:
                start = length.start_of(part.start)
                keys += (at.window_types(length.seconds, start), at.window_words(length.seconds, start))
                arguments.append(start)
            arguments += (_as_json(part.counts.types), _as_json(part.counts.words))
        arguments.append(len(counts.samples))
        for sample in counts.samples:
            arguments += (sample.line, sample.reason, sample.source)
        return keys, arguments

    # Consumers that come and go.

    async def retire(self, *, consumer: str, idle_ms: int = 0) -> str:
        """Remove a consumer that holds nothing and was idle for so long: the word that retire.lua returns.

        Raises StoreUnavailable or GroupMissing.
        """
        reply: bytes = await _retire.run(
            self._redis, (self._keys.stream,), (GROUP, consumer, idle_ms), layout=self._layout.format
        )
        return reply.decode()

    async def consumers(self) -> list[Consumer]:
        """Who is in the group, by name; nobody when there is none yet. Raises StoreUnavailable."""
        try:
            with errors_translated():
                found = await self._redis.xinfo_consumers(self._keys.stream, GROUP)
        except GroupMissing:
            return []
        return sorted(
            (Consumer(name=each["name"].decode(), pending=each["pending"], idle_ms=each["idle"]) for each in found),
            key=lambda consumer: consumer.name,
        )

    async def last_entry_id(self) -> str:
        """The ID of the newest entry there ever was, `0-0` on a new stream. Raises StoreUnavailable."""
        try:
            with errors_translated():
                return str((await self._redis.xinfo_stream(self._keys.stream))["last-generated-id"].decode())
        except GroupMissing:
            return "0-0"

    async def oldest(self) -> Oldest | None:
        """The oldest block that is not yet counted. Raises StoreUnavailable."""
        found = await _oldest.run(self._redis, (self._keys.stream,), ())
        return Oldest(id=found[0].decode(), waited_seconds=found[1] / 1000) if found else None

    async def check_writable(self) -> None:
        """Write a key that is gone after a second, and look whether blocks fit. Raises StoreUnavailable if not.

        Does not tell for a user who may only read.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(self._keys.probe, 1, px=1000)
        pipeline.info("memory")
        with errors_translated():
            written, memory = await pipeline.execute(raise_on_error=False)
            if isinstance(written, exceptions.NoPermissionError):
                return  # a user who may only read, as is right for an api; by now Redis has answered
            if isinstance(written, Exception):
                raise written
            if isinstance(memory, exceptions.ResponseError):
                return  # a hosted Redis that hides INFO
            if isinstance(memory, Exception):
                raise memory
        if memory.get("maxmemory_policy") != "noeviction":
            return  # it makes room by itself
        # One that refuses blocks stays a little below its limit, where a key still fits: what is sent counts, too.
        limit, used = memory["maxmemory"], memory["used_memory"]
        if limit and limit - used < self._settings.max_blocks_in_flight * self._settings.max_block_bytes:
            raise StoreUnavailable(f"Redis is full: it uses {used:,} of its maxmemory of {limit:,} bytes")

    async def advice(self) -> list[str]:
        """What about the server's set-up endangers exact counts, a sentence each. Raises StoreUnavailable."""
        with errors_translated():
            try:
                info = await self._redis.info()
            except exceptions.ResponseError:
                return []  # a hosted Redis that hides INFO has its own operators
        if info.get("loading"):
            # Its append-only file is not on before it is loaded.
            raise StoreUnavailable("Redis is loading its data")
        found = []
        if info.get("maxmemory_policy", "noeviction") != "noeviction":
            found.append(f"maxmemory-policy is {info['maxmemory_policy']}: it may evict counts; set noeviction")
        if info.get("aof_enabled") == 0:
            found.append("appendonly is off: what was counted since the last snapshot is gone after a crash")
        return found


@dataclass(frozen=True, slots=True)
class Consumer:
    """A member of the consumer group: how many blocks it holds and how long it has been idle."""

    name: str
    pending: int
    idle_ms: int


def _as_json(counts: Mapping[str, int]) -> bytes:
    """One argument for all: each as one of its own would take the client longer than they take the script."""
    return msgspec.json.encode((list(counts), list(counts.values())))


def _entry(entry_id: str, fields: dict[bytes, bytes]) -> Entry:
    appended_ms = fields.get(b"appended_ms", b"")
    return Entry(
        entry_id,
        fields.get(b"lines"),
        fields.get(b"source", b"").decode("utf-8", "replace"),
        # Anybody may add entries, so it may be anything.
        int(appended_ms) if appended_ms.isdigit() and len(appended_ms) <= MAX_MS_DIGITS else None,
    )


__all__ = ["Append", "Applied", "Block", "BlockStore", "Consumer", "Entry", "Missing", "Oldest", "StoreUnavailable"]
