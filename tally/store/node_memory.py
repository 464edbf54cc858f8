"""What each server says of its memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from tally.refused import Refused
from tally.store.client import errors_translated
from tally.store.shards import Shards
from tally.store.together import together


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """A server, by its host and port or its socket, with the bytes that it uses and may use; 0: without a bound."""

    node: str
    used_bytes: int
    max_bytes: int


async def memory_of_nodes(shards: Shards) -> list[NodeMemory]:
    """Return that of each server that has any shard, by name; of those that do not tell us, nothing.

    Raises StoreUnavailable.
    """
    clients = dict.fromkeys((*(shard.redis for shard in shards), shards.home.redis))
    found = await together([_ask(client) for client in clients])
    nodes = {each.node: each for each in found if each is not None}
    return [nodes[name] for name in sorted(nodes)]


async def _ask(client: Redis) -> NodeMemory | None:
    try:
        with errors_translated():
            # Only a connection knows which server it goes to.
            async with client.client() as alone:
                told = await alone.info("memory")
                node = node_name(alone.connection)
    except Refused:  # the user may not ask: see docs/redis.md
        return None
    return NodeMemory(node, int(told["used_memory"]), int(told.get("maxmemory", 0)))


def node_name(connection: Any) -> str:
    """Return the host and port, or the socket, of the server that a connection goes to."""
    return str(getattr(connection, "path", None) or f"{connection.host}:{connection.port}")
