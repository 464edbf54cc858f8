"""Shards: how many parts everything is spread over, what the keys of each have as their hash tag, and what goes where.

A shard is a whole pipeline in one slot of a Redis Cluster: a stream, positions, counts. How many there are is chosen
once; nodes come and go under them. On one server they are as many pipelines beside each other.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

#: The tag of the layout of all, and of the only shard where there is one.
HOME_TAG = 0

#: How many there may be: a reader asks all of them.
MOST_SHARDS = 64


@cache
def tags(shards: int) -> tuple[int, ...]:
    """Return the hash tags of so many shards, in their order. They must stay the same for ever: keys have them.

    Each is the least number whose slot lies in the middle third of the shard's part of all slots, when these are cut
    into as many parts. So nodes that share the slots evenly, as they do when a cluster is made, share the shards
    evenly, too: 0 to 7 would be on three nodes as 2, 4 and 2.
    """
    if shards == 1:
        return (HOME_TAG,)
    found: dict[int, int] = {}
    tag = 0
    while len(found) < shards:
        part, within = divmod(slot_of(tag) * shards, REDIS_CLUSTER_HASH_SLOTS)
        if REDIS_CLUSTER_HASH_SLOTS <= 3 * within < 2 * REDIS_CLUSTER_HASH_SLOTS:
            found.setdefault(part, tag)
        tag += 1
    return tuple(found[part] for part in range(shards))


def slot_of(tag: int) -> int:
    """Return the slot of a Redis Cluster in which all keys with this tag are."""
    return key_slot(str(tag).encode())


def shard_of(key: bytes | str, shards: int) -> int:
    """Return the shard to which something with this key goes, from 0. It must stay the same for ever, too."""
    if shards == 1:
        return 0
    content = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    return int.from_bytes(blake2b(content, digest_size=8).digest()) % shards


def parse_some_shards(text: str, *, shards: int) -> tuple[int, ...]:
    """Return the shards that are named as in `0,2-5`, in their order; all of them for nothing. Raises ValueError."""
    if not text.strip():
        return tuple(range(shards))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (_is_number(first) and _is_number(last) and int(first) <= int(last)):
            raise ValueError(f"{part.strip()!r} is neither a shard nor a range of them, as in 0,2-5")
        if int(last) >= shards:
            raise ValueError(f"there is no shard {last}: with TALLY_SHARDS={shards} they are 0 to {shards - 1}")
        found.update(range(int(first), int(last) + 1))
    return tuple(sorted(found))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 9
