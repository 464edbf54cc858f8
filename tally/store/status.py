"""The state of the pipeline, as it is read: what waits, which aggregators and sources there are, what was rejected."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tally.ranges import Kept
from tally.store.blocks import Consumer
from tally.store.held import Held

#: An aggregator that was idle for so long is not alive: it reads once a second while there is nothing to do.
ALIVE_SECONDS = 15.0

#: How many sources are shown, the latest: of finished files there may be very many.
SHOWN_SOURCES = 100


def is_alive(consumer: Consumer) -> bool:
    """Return whether an aggregator was heard of lately. One that was killed stays in the group, idle."""
    return consumer.idle_seconds < ALIVE_SECONDS


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source: its position in bytes, and when it was last appended to, in Unix seconds (None: not known)."""

    name: str
    position: int
    appended_at: float | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be counted: blocks, about how many lines they hold, and for how long the oldest has waited.

    Of the blocks, `settled_blocks` have left the stream: they are decoded, and their counts are about to be applied.
    Lines are reckoned from the stream's size and the mean length of a line so far, for Redis does not count them.
    `bytes` are those of the lines that sources have appended; what other clients added to the stream is not in them.
    While it is `full`, no source is read: as much waits as one was last refused for. While it is `bulk_full`, files are
    not, which is how a large one is read; live sources find room. While it is `held`, nothing is appended, because a
    command wants it so. The newest block, whether or not it still waits, was `appended_at`, in Unix seconds; None:
    there never was one.
    """

    blocks: int
    settled_blocks: int
    bytes: int
    lines: int
    oldest_seconds: float | None
    full: bool
    bulk_full: bool
    appended_at: float | None = None
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyKeys:
    """How many of the clients' keys are known, and since when all are, in Unix seconds (None: there are none)."""

    known: int
    since_at: float | None


@dataclass(frozen=True, slots=True)
class Names:
    """How many names there are of all time, besides `__other__`, and the count under that.

    Several shards may have the same names, so of many in several it is only known that there are `distinct` at the
    least, and `at_most`, as long as they were not all read.
    """

    distinct: int
    at_most: int
    other: int


@dataclass(frozen=True, slots=True)
class WordsByTypeState:
    """Of how many types words are counted apart, in any shard, and of how many they may be in each; which, if they are
    named. Neither is known where their names are too many to be stored with the counts.
    """

    types: int
    most: int | None
    names: list[str] | None


@dataclass(frozen=True, slots=True)
class ShardState:
    """What waits in one of several shards, how many aggregators that are alive serve it, how many names it has."""

    shard: int
    blocks: int
    bytes: int
    oldest_seconds: float | None
    aggregators_alive: int
    dead_letters: int
    distinct_types: int
    distinct_words: int

    @property
    def stuck(self) -> bool:
        """Whether blocks wait and no aggregator is alive."""
        return self.blocks > 0 and not self.aggregators_alive


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the pipeline at one moment."""

    namespace: str
    totals: dict[str, int]
    rejected_by_reason: dict[str, int]
    backlog: Backlog
    idempotency_keys: IdempotencyKeys
    dead_letters: int
    distinct_types: int
    distinct_words: int
    other_types: int
    other_words: int
    aggregators: list[Consumer]
    sources: list[SourceState]  # the latest first, not more than SHOWN_SOURCES
    sources_total: int
    kept: Kept | None  # from when to when there are windows
    distinct_types_at_most: int | None = None  # None where there is one shard
    distinct_words_at_most: int | None = None
    shards: list[ShardState] | None = None
    words_by_type: WordsByTypeState | None = None  # None: off
    unfinished_import: str | None = None  # the ID of the export; until it ends, a part of it may be counted

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in JSON, wherever that is given."""
        aggregators = [{**asdict(each), "alive": is_alive(each)} for each in self.aggregators]
        found = {**asdict(self), "aggregators": aggregators, "aggregators_alive": self.alive}
        found["kept"] = self.kept and self.kept.as_dict()
        if self.shards is None:
            for name in ("distinct_types_at_most", "distinct_words_at_most", "shards"):
                del found[name]
        return found

    @property
    def alive(self) -> int:
        """How many of the aggregators are alive."""
        return sum(map(is_alive, self.aggregators))

    @property
    def stuck(self) -> bool:
        """Whether blocks wait, in any shard, where no aggregator is alive."""
        if self.shards is not None:
            return any(shard.stuck for shard in self.shards)
        return self.backlog.blocks > 0 and not self.alive
