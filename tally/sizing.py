"""How much memory Redis needs: reckoned from the settings, from what is expected, and from what things take.

What they take was measured by `python -m bench.memory`, and is rounded up from the server that takes the most, which is
Redis 7.0; Valkey 9 takes two thirds of it for names. What is not said to be expected is taken to be at its bound, so
that without anything it is the most that these settings allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tally.keys import TOP_WORDS
from tally.settings import Settings
from tally.windows import WindowLength

#: A name in a hash of counts takes so much, and so many times its bytes: allocators round up.
NAME_BYTES, NAME_FACTOR = 64, 1.22

#: The same in a hash that is small enough to be packed: of so many names at the most, each of so many bytes.
PACKED_NAME_BYTES, PACKED_NAME_FACTOR = 9, 1.1
PACKED_NAMES, PACKED_LENGTH_BYTES = 512, 64

#: A window takes so much besides its names: two hashes, and its place among the others.
WINDOW_BYTES = 400

#: A hash of the words of one type in one window takes so much besides its names.
TYPE_WORDS_BYTES = 200

#: A frequent word takes so much more in the sorted set of these.
TOP_BYTES = 130

#: A file that was read: its position, its fingerprint, and its name in four places, of about a hundred bytes.
FILE_BYTES = 600

#: A block that waits takes so much besides its lines, also while it is pending, and so many times these.
BLOCK_BYTES, BLOCK_FACTOR = 150, 1.25

#: An Idempotency-Key.
KEY_BYTES = 90

#: A rejected line that is kept as a sample, with its reason and its source.
SAMPLE_BYTES = 1400

#: What a server has without anything; what is settled and not yet applied, and what connections hold meanwhile.
SERVER_BYTES = 2 << 20
UNDER_WAY_BYTES = 64 << 20

#: What is to be free of `maxmemory`, and of the machine for the copy that the server makes while it rewrites its file.
SPARE, REWRITE = 1.1, 4 / 3

#: Bytes on the disk for each of memory when the append-only file was just rewritten; and to what it grows at the least.
DISK_FACTOR, REWRITTEN_AT_BYTES = 0.5, 512 << 20

_ROUNDED_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is expected to come; None for as much as the bounds allow."""

    words: int | None = None
    types: int | None = None
    #: Distinct words in a window of each length, shortest first; the last one stands for those that follow, too.
    window_words: Sequence[int] | None = None
    #: Distinct words of one type that has words of its own, likewise; the last one also stands for all time.
    type_words: Sequence[int] | None = None
    word_bytes: float = 10.0
    type_bytes: float = 16.0
    files: int = 0
    keys: int | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that takes memory: so many of them at the most, and their bytes."""

    what: str
    number: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Size:
    """What one shard takes, item by item, and what that comes to over all shards."""

    items: tuple[Item, ...]
    shards: int

    @property
    def shard_bytes(self) -> int:
        """Return what one shard takes."""
        return sum(each.bytes for each in self.items)

    @property
    def bytes(self) -> int:
        """Return what all shards take: each may hold every name."""
        return SERVER_BYTES + UNDER_WAY_BYTES + self.shards * self.shard_bytes

    @property
    def maxmemory_bytes(self) -> int:
        """Return what to set as Redis' `maxmemory`, of one server that has all shards."""
        return _rounded(self.bytes * SPARE)

    @property
    def machine_bytes(self) -> int:
        """Return the memory that the machine, or the container, of this server needs."""
        return _rounded(self.maxmemory_bytes * REWRITE)

    @property
    def disk_bytes(self) -> int:
        """Return what its files take at the most: the append-only file grown, and the one that it is rewritten to."""
        rewritten = self.bytes * DISK_FACTOR
        return _rounded(2 * rewritten + max(REWRITTEN_AT_BYTES, rewritten))


def size_of(settings: Settings, expected: Expected) -> Size:
    """Return what Redis needs for this."""
    words = _bounded(expected.words, settings.max_words)
    types = _bounded(expected.types, settings.max_types)
    keys = _bounded(expected.keys, settings.max_idempotency_keys)
    backlog = settings.backlog_limits(bulk=False)
    items = [
        Item(what="words of all time", number=words, bytes=names_bytes(words, expected.word_bytes)),
        Item(what="event types of all time", number=types, bytes=names_bytes(types, expected.type_bytes)),
        Item(what="most frequent words", number=min(words, TOP_WORDS), bytes=min(words, TOP_WORDS) * TOP_BYTES),
        *_windows(settings, expected, words=words, types=types),
        *_words_by_type(settings, expected, words=words, types=types),
        Item(
            what="blocks of the backlog",
            number=backlog.blocks,
            bytes=int(backlog.bytes * BLOCK_FACTOR) + backlog.blocks * BLOCK_BYTES,
        ),
        Item(what="Idempotency-Keys", number=keys, bytes=keys * KEY_BYTES),
        Item(
            what="samples of rejected lines",
            number=settings.max_rejected_samples,
            bytes=settings.max_rejected_samples * SAMPLE_BYTES,
        ),
        Item(
            what="samples of accepted lines",
            number=settings.accepted_samples,
            bytes=settings.accepted_samples * SAMPLE_BYTES,
        ),
        Item(what="files", number=expected.files, bytes=expected.files * FILE_BYTES),
    ]
    return Size(items=tuple(items), shards=settings.shards)


def _windows(settings: Settings, expected: Expected, *, words: int, types: int) -> list[Item]:
    """Return an item for each length of window.

    An event is in a window of the shortest length and in one of the next. What is older is in the first longer length
    that reaches back to it, so that from the third length on those windows are empty which the one before still holds.
    """
    items = []
    for at, (length, number) in enumerate(_kept(settings)):
        of_one = _window_words(settings, expected, at, words=words)
        each = names_bytes(of_one, expected.word_bytes) + names_bytes(types, expected.type_bytes) + WINDOW_BYTES
        what = f"windows of {length.seconds:,} s, each of {of_one:,} words and {types:,} types"
        items.append(Item(what=what, number=number, bytes=number * each))
    return items


def _words_by_type(settings: Settings, expected: Expected, *, words: int, types: int) -> list[Item]:
    """Return an item for each length of window, and one for all time, if some types have words of their own."""
    apart = min(types, settings.types_with_words.most)
    if not apart:
        return []
    wanted = expected.type_words or [settings.max_type_words]
    # No word of a type is missing among all words.
    of_all = min(words, settings.max_type_words, wanted[-1])
    items = [Item(what=f"words of one type, {of_all:,}", number=apart, bytes=apart * _type_bytes(of_all, expected))]
    for at, (length, number) in enumerate(_kept(settings)):
        of_one = min(
            _window_words(settings, expected, at, words=words),
            settings.max_type_words,
            wanted[min(at, len(wanted) - 1)],
        )
        what = f"words of one type in a window of {length.seconds:,} s, {of_one:,}"
        items.append(Item(what=what, number=apart * number, bytes=apart * number * _type_bytes(of_one, expected)))
    return items


def _type_bytes(words: int, expected: Expected) -> int:
    return names_bytes(words, expected.word_bytes) + TYPE_WORDS_BYTES


def _kept(settings: Settings) -> list[tuple[WindowLength, int]]:
    """Return each length, and how many of its windows hold something."""
    lengths = settings.window_lengths
    found = []
    for at, length in enumerate(lengths):
        before = lengths[at - 1]
        held = before.kept * before.seconds // length.seconds if at >= 2 else 0
        found.append((length, max(length.kept - held, 0)))
    return found


def _window_words(settings: Settings, expected: Expected, at: int, *, words: int) -> int:
    """Return how many words a window of the at-th length has."""
    wanted = expected.window_words or [settings.max_window_words]
    return min(words, settings.max_window_words, wanted[min(at, len(wanted) - 1)])


def names_bytes(number: int, mean_bytes: float) -> int:
    """Return what so many names of so many bytes take in a hash of counts."""
    if number <= PACKED_NAMES and mean_bytes <= PACKED_LENGTH_BYTES:
        return int(number * (PACKED_NAME_BYTES + PACKED_NAME_FACTOR * mean_bytes))
    return int(number * (NAME_BYTES + NAME_FACTOR * mean_bytes))


def _bounded(expected: int | None, bound: int) -> int:
    return bound if expected is None else min(expected, bound)


def _rounded(size: float) -> int:
    return -int(-size // _ROUNDED_BYTES) * _ROUNDED_BYTES
