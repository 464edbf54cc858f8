"""Has servers read the file with their users again, as they do by themselves only when they start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from tally.redis_urls import parts_of
from tally.refused import Refused
from tally.store.client import StoreUnavailable, connect, errors_translated

#: How long a server may take, which may be at a script.
LOAD_SECONDS = 10.0


async def load_users(url: str, *, tls: Mapping[str, str] | None = None) -> list[str]:
    """Have each server that `url` names, with a user who may do so, read its aclfile.

    Returns a sentence for each that did not. One that does not run reads the file when it starts, and may well be what
    waits for it, so that is no failure.
    """
    parts = parts_of(url)
    # What Sentinels watch is found by them, and is the master alone.
    servers = (url,) if parts.kind == "sentinel" else parts.plain
    return [said for said in await asyncio.gather(*(_load(each, tls) for each in servers)) if said is not None]


async def _load(url: str, tls: Mapping[str, str] | None) -> str | None:
    redis = connect(url, timeout_seconds=LOAD_SECONDS, tls=tls)
    try:
        with errors_translated():
            await redis.execute_command("ACL", "LOAD")
    except StoreUnavailable:
        return f"{urlsplit(url).hostname} does not answer: it reads its users when it starts"
    except Refused as error:
        return f"{urlsplit(url).hostname} has the users that it had until it is restarted: {error}"
    finally:
        await redis.aclose()
    return None
