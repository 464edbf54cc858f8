"""Bodies that are appended as a whole and once, however often they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from redis import exceptions

from tally.keys import Keys
from tally.settings import Settings
from tally.store.client import StoreUnavailable, errors_translated
from tally.store.layouts import checks
from tally.store.lua import WritingScript

_append_once = WritingScript("append_once")

#: How long Redis may take to write to its disk what was appended, or replicas to have it, when that is waited for.
DISK_MS = REPLICAS_MS = 5000

#: Bytes of the hash by which a key is stored, and of that by which its body is. A million keys have two alike with a
#: chance of one to 10^17; and a client that makes two bodies alike harms only itself.
KEY_BYTES, DIGEST_BYTES = 12, 8

#: Keys of our own go by their time alone: there is one a round trip, and it must be there when that is repeated.
MOST_OWN_KEYS = 1 << 40

OnceWord = Literal["appended", "duplicate", "conflict", "full", "held"]


class DiskNotWaitedFor(StoreUnavailable):
    """settings.ingest_wait_for_disk is set, but this server writes to no disk or cannot tell. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Body:
    """Blocks to be appended together, at least one, and once under their key."""

    key: str  # whatever identifies it; only its hash is stored
    digest: str  # of the content, by which another body under the same key is known
    keep_ms: int  # how long the key is remembered at the least, unless there are too many
    blocks: Sequence[bytes]
    own: bool = False  # whether the key is one that we made ourselves: those are apart, and their number is not bounded


async def append_once(
    redis: Any, *, keys: Keys, settings: Settings, source: str, bodies: Sequence[Body]
) -> list[OnceWord]:
    """Append bodies in one round trip, each whole or not at all; return what append_once.lua says of each.

    Raises StoreUnavailable: some may have been appended then, and the same call finds out which. So it does when
    settings.ingest_wait_for_disk is set and the server does not write them to its disk in time, or as many replicas as
    settings.ingest_wait_for_replicas do not have them.
    """
    if settings.ingest_wait_for_disk:
        await _check_that_it_can_be_waited_for(redis)
    layout = checks(keys, settings).format
    limits = settings.backlog_limits(bulk=False)
    with errors_translated():
        pipeline = redis.pipeline(transaction=False)
        for body in bodies:
            at = (
                keys.stream,
                *((keys.once_own_new, keys.once_own_old) if body.own else (keys.once_new, keys.once_old)),
                keys.sources,
                keys.sources_seen,
                keys.sources_names,
                keys.backlog,
                keys.totals,
            )
            arguments = {
                "source": source,
                "keep_ms": body.keep_ms,
                "max_keys": MOST_OWN_KEYS if body.own else settings.max_idempotency_keys,
                "max_blocks": limits.blocks,
                "max_bytes": limits.bytes,
            }
            values = (stored_key(body.key), _hash(body.digest, size=DIGEST_BYTES), *body.blocks)
            pipeline.evalsha(_append_once.sha, *_append_once.call(at, arguments, values, layout=layout))
        if settings.ingest_wait_for_disk:  # waits for the last write of this very connection
            pipeline.execute_command("WAITAOF", 1, 0, DISK_MS)
        if settings.ingest_wait_for_replicas:  # likewise
            pipeline.execute_command("WAIT", settings.ingest_wait_for_replicas, REPLICAS_MS)
        replies = await pipeline.execute(raise_on_error=False)
        if any(isinstance(reply, exceptions.NoScriptError) for reply in replies):
            # The ones that ran, if any, will answer `duplicate` the second time.
            await redis.script_load(_append_once.text)
            return await append_once(redis, keys=keys, settings=settings, source=source, bodies=bodies)
        for reply in replies[: len(bodies)]:
            if isinstance(reply, Exception):
                raise reply
    waited = iter(replies[len(bodies) :])
    if settings.ingest_wait_for_disk and _outcome(next(waited))[0] < 1:
        raise StoreUnavailable(f"Redis has not written it to its disk within {DISK_MS} ms")
    if settings.ingest_wait_for_replicas:
        check_replicas(_outcome(next(waited)), wanted=settings.ingest_wait_for_replicas)
    return [reply.decode() for reply in replies[: len(bodies)]]


def _outcome(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise StoreUnavailable(f"{type(reply).__name__}: {reply}")
    return reply


def check_replicas(have: int, *, wanted: int) -> None:
    """Raise StoreUnavailable unless as many replicas have something as are waited for.

    A master that is cut off from them is one that others may have replaced already.
    """
    if have < wanted:
        raise StoreUnavailable(f"{have} of {wanted} replicas have it after {REPLICAS_MS} ms")


def stored_key(key: str) -> bytes:
    """Return under what a key is stored: all that is known of it later, so its shard is that of this."""
    return _hash(key, size=KEY_BYTES)


def _hash(text: str, *, size: int) -> bytes:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=size).digest()


async def _check_that_it_can_be_waited_for(redis: Any) -> None:
    """Raise DiskNotWaitedFor if the server cannot tell what is on its disk.

    Asked each time, before anything is written: a fail-over may change the server, an operator its settings.
    """
    with errors_translated():
        try:
            await redis.execute_command("WAITAOF", 1, 0, 1)
        except exceptions.ResponseError as error:
            raise DiskNotWaitedFor(f"TALLY_INGEST_WAIT_FOR_DISK is set, but Redis says: {error}") from error
