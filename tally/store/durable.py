"""Whether what was written outlives a crash of the server, as far as that can be waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import exceptions

from tally.settings import Settings
from tally.store.client import errors_translated
from tally.store.idempotent import REPLICAS_MS, check_replicas


async def wait_until_durable(
    redis: Any, write: Sequence[str | int], *, settings: Settings, timeout_seconds: float
) -> bool:
    """Wait until the server has on its disk all that was written before, as far as it keeps any.

    `write` is a command that writes and changes nothing: WAITAOF waits for the last write of its own connection. False
    when that did not happen in time, or the server cannot tell (before Redis 7.2). Raises StoreUnavailable, also while
    fewer replicas have it than settings.ingest_wait_for_replicas.
    """
    pipeline = redis.pipeline(transaction=False)
    pipeline.execute_command(*write)
    pipeline.execute_command("WAITAOF", 1, 0, int(timeout_seconds * 1000))
    wanted = settings.ingest_wait_for_replicas
    if wanted:
        pipeline.execute_command("WAIT", wanted, REPLICAS_MS)
    with errors_translated():
        written, reply, *replicas = await pipeline.execute(raise_on_error=False)
        if isinstance(written, Exception):
            raise written  # the other answers are then about nothing of ours
        for have in replicas:
            if isinstance(have, Exception):
                raise have
            check_replicas(have, wanted=wanted)
        if isinstance(reply, exceptions.ResponseError):
            return "appendonly is disabled" in str(reply)
        if isinstance(reply, Exception):
            raise reply
    return bool(reply[0] >= 1)
