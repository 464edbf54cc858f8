"""Blocks as they are appended, read and counted: what the stores take and answer.

A block is not appended, or waiting in the stream, or settled, or counted and gone. Only scripts move it: `append` and
`append_once`, `settle`, the `apply` of its batch's last chunk, `dead_letter` one that ends its readers, and
`append_dead_letter` one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: Digits of a time in milliseconds, up to the year 33658.
MAX_MS_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Block:
    """A run of whole lines of one source, with the positions of its first byte and behind its last, in bytes.

    `last` and `before` are the fingerprints of the source's bytes before `end` and before `start`, as text; empty if it
    is not replayable. `shard` is the one to which it goes, where that matters.
    """

    start: int
    end: int
    lines: bytes
    last: str = ""
    before: str = ""
    shard: int = 0


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

    @property
    def pending(self) -> PendingBlock:
        """What is needed to settle it, without its lines."""
        return PendingBlock(self.id, self.backlog_bytes, self.appended_ms)


@dataclass(frozen=True, slots=True)
class Oldest:
    """The block that waits longest to be counted, and for how long by the server's clock.

    `id` is that of the first entry in the stream; None if there is none, and only settled blocks wait.
    """

    id: str | None
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing was written, because these blocks are not pending to the consumer: others claimed or counted them."""

    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class PendingBlock:
    """What settle.lua is told of a block: its entry ID, its bytes in the backlog, and when it was appended.

    `backlog_bytes` is -1, and `appended_ms` None, if another client added it.
    """

    id: str
    backlog_bytes: int
    appended_ms: int | None

    @property
    def appended_or_id_ms(self) -> int:
        """When it was appended, in Unix milliseconds, as far as is known; see Entry.arrived_seconds."""
        return int(self.id.partition("-")[0]) if self.appended_ms is None else self.appended_ms


@dataclass(frozen=True, slots=True)
class Settled:
    """The blocks have left the stream, and their counts are to be applied; `number` is that of the last chunk of them.

    They are all in the hashes when `Progress.applied` has reached it.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """A member of the consumer group: how many blocks are pending to it, and for how long it has been idle."""

    name: str
    pending: int
    idle_seconds: float


def parse_entry(entry_id: str, fields: Mapping[bytes, bytes]) -> Entry:
    appended_ms = fields.get(b"appended_ms", b"")
    return Entry(
        entry_id,
        fields.get(b"lines"),
        fields.get(b"source", b"").decode("utf-8", "replace"),
        # Anybody may add entries, so it may be anything.
        int(appended_ms) if appended_ms.isdigit() and len(appended_ms) <= MAX_MS_DIGITS else None,
    )
