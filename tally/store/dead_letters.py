"""The dead letters of a shard: blocks that ended every aggregator that tried them, and chunks that cannot be read.

They stay until somebody has them tried again, or drops them. Each of the two is one script, and a letter is moved only
if it is still the one that was looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, cast
from uuid import uuid4

from redis.asyncio import Redis

from tally.keys import Keys
from tally.settings import Settings
from tally.store.client import errors_translated
from tally.store.deltas import MAX_DELTA_BYTES
from tally.store.lua import ReadingScript, WritingScript
from tally.store.shard import ShardStore
from tally.store.user_check import check_permissions
from tally.store.users import DEAD_LETTER_KEEPER
from tally.store.windows import raise_wrong_type

_list = ReadingScript("list_dead_letters")
_append, _settle = WritingScript("append_dead_letter"), WritingScript("settle_dead_letter")
_drop = WritingScript("drop_dead_letter")

#: What an entry there may be: one that another client has added is neither.
DeadLetterKind = Literal["block", "chunk", "unknown"]

#: What became of a letter that was to be tried again. `gone`: it was moved or dropped already, as when the answer to an
#: earlier try was lost. `changed`: another one has its ID now. `full`: so much waits to be counted that there is no
#: room for it, or somebody has the lease, see tally/store/lease.py. `windows`: it is a chunk for windows of other
#: lengths than are counted now.
RetryWord = Literal["appended", "settled", "gone", "changed", "full", "windows"]
DropWord = Literal["dropped", "gone", "changed", "held"]

#: How many one call of a script tells of, and how many bytes of them it looks at: three milliseconds of Redis.
LETTERS_AT_ONCE, BYTES_AT_ONCE = 100, 512 << 10

#: Bytes of each value that is told: another client may have put anything there.
MOST_VALUE_BYTES = 1000

_FIELDS = ("source", "appended_ms", "id", "deliveries", "chunk", "blocks", "lengths")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is known of a dead letter without its content; times in Unix seconds.

    `id` is that of its entry among the dead letters, `block_id` the one that the block had in the stream and in logs.
    `bytes` and `lines` are those of a block's lines; a chunk has bytes alone. A chunk is a part of what so many
    `blocks` added up to, for windows of these `lengths` in seconds.
    """

    shard: int
    id: str
    kind: DeadLetterKind
    set_aside_at: float
    bytes: int
    lines: int | None
    source: str | None
    appended_at: float | None
    block_id: str | None
    deliveries: int | None
    chunk: int | None
    blocks: int | None
    lengths: str | None
    digest: str


class DeadLetterStore(ShardStore):
    """The dead letters of one shard. Every method raises StoreUnavailable, and may be called again after a failure."""

    def __init__(self, redis: Redis, *, keys: Keys, settings: Settings, shard: int = 0) -> None:
        super().__init__(redis, keys=keys, settings=settings)
        self._shard = shard

    async def all(self) -> AsyncIterator[DeadLetter]:
        """Tell of each, the oldest first."""
        first = "-"
        while True:
            last, found = await self._some(first=first, last="+", most=LETTERS_AT_ONCE)
            for letter in found:
                yield letter
            if not last:
                return
            first = f"({last}"

    async def find(self, letter_id: str) -> DeadLetter | None:
        """Tell of one by its ID; None if there is none."""
        _, found = await self._some(first=letter_id, last=letter_id, most=1)
        return found[0] if found else None

    async def content(self, letter_id: str) -> dict[bytes, bytes] | None:
        """Return all fields of one, as they are; None if there is none."""
        with errors_translated():
            found = await self._redis.xrange(self._keys.dead_letters, letter_id, letter_id)
        return dict(found[0][1]) if found else None

    async def check_permissions(self) -> None:
        """Raise Refused if our user may not do all that moving and dropping them takes. To be called before either."""
        await check_permissions(self._redis, keys=self._keys, user=DEAD_LETTER_KEEPER)

    async def retry(self, letter: DeadLetter) -> tuple[RetryWord, str]:
        """Have a letter counted after all: a block from the stream, a chunk behind those that are settled.

        Returns what became of it, and the ID of the block in the stream, or the number of the chunk; nothing is written
        otherwise. A letter that still cannot be counted becomes a dead letter again, under another ID.
        """
        at = self._keys
        found = {"id": letter.id, "digest": letter.digest}
        if letter.kind == "chunk":
            keys: tuple[str, ...] = (at.dead_letters, at.deltas, at.delta(uuid4().hex), at.backlog)
            limits = {"max_delta_bytes": MAX_DELTA_BYTES}
            reply = await _settle.run(self._redis, keys, {**found, **limits}, layout=self._layout.format)
        else:
            keys = (at.dead_letters, at.stream, at.backlog, at.totals)
            live = self._settings.backlog_limits(bulk=False)
            limits = {"max_blocks": live.blocks, "max_bytes": live.bytes}
            reply = await _append.run(self._redis, keys, {**found, **limits}, layout=self._layout.format)
        word, *rest = reply
        raise_wrong_type(word, rest)
        became = rest[0] if rest else ""
        return cast("RetryWord", word.decode()), became.decode() if isinstance(became, bytes) else str(became)

    async def drop(self, letter: DeadLetter, *, lease: str | None = None) -> DropWord:
        """Delete a letter. A block is counted as lost by that.

        `held`: somebody else has the lease, or it was given back whose token this is.
        """
        keys = (self._keys.dead_letters, self._keys.totals, self._keys.backlog)
        found = {"id": letter.id, "digest": letter.digest}
        if lease is not None:
            found["lease"] = lease
        word, *rest = await _drop.run(self._redis, keys, found, layout=self._layout.format)
        raise_wrong_type(word, rest)
        return cast("DropWord", word.decode())

    async def _some(self, *, first: str, last: str, most: int) -> tuple[str, list[DeadLetter]]:
        arguments = {
            "first": first,
            "last": last,
            "most": most,
            "bytes_at_once": BYTES_AT_ONCE,
            "fields": _FIELDS,
            "most_bytes": MOST_VALUE_BYTES,
        }
        end, *found = await _list.run(self._redis, (self._keys.dead_letters,), arguments)
        return end.decode(), [self._letter(*each) for each in found]

    def _letter(self, id_: bytes, kind: bytes, digest: bytes, size: int, lines: int, *values: bytes) -> DeadLetter:
        texts = {name: value.decode("utf-8", "replace") or None for name, value in zip(_FIELDS, values, strict=True)}
        is_block = kind == b"block"
        appended_ms = _number(texts["appended_ms"])
        letter_id = id_.decode()
        return DeadLetter(
            shard=self._shard,
            id=letter_id,
            kind=cast("DeadLetterKind", kind.decode()),
            set_aside_at=_milliseconds_of(letter_id) / 1000,
            bytes=size,
            lines=None if kind == b"chunk" else lines,
            source=texts["source"],
            appended_at=appended_ms / 1000 if appended_ms else None,
            block_id=texts["id"] if is_block else None,
            deliveries=_number(texts["deliveries"]) if is_block else None,
            chunk=_number(texts["chunk"]),
            blocks=_number(texts["blocks"]),
            lengths=texts["lengths"],
            digest=digest.decode(),
        )


def _milliseconds_of(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 18 else None
