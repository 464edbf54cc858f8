"""A rewrite of the append-only files of all servers, replicas too, so that nothing is in them that was forgotten.

Each server does it in a process of its own, and goes on answering. See rewrite.py for the one after a start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, parse_url

from tally.clock import SYSTEM, Clock
from tally.redis_location import redis_url
from tally.redis_urls import is_tls, parts_of
from tally.settings import Settings
from tally.shards import slot_of
from tally.store.client import connection_options, errors_translated
from tally.store.measured import measured
from tally.store.node_memory import node_name
from tally.store.rewrite import ServerState
from tally.store.shards import Shards

#: How long one may take: it writes what the server holds, at the pace of its disk.
REWRITE_SECONDS = 3600.0

#: How often it is looked whether it has ended, and how often it is tried if it fails.
POLL_SECONDS, MOST_TRIES = 0.2, 3

#: How long is waited between these, and for a server that does not answer.
AGAIN_SECONDS = 1.0

#: What became of it. `none`: the server keeps no such file.
Outcome = Literal["rewritten", "none", "failed"]

_UNANSWERED = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError, OSError)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of the file of a server, by its host and port or its socket; and why it failed, if it has."""

    node: str
    role: str
    outcome: Outcome
    why: str = ""


#: Host and port.
_Address = tuple[str, int]


async def rewrite_files(
    shards: Shards, *, settings: Settings, tell: Callable[[str], None] = lambda _: None, clock: Clock = SYSTEM
) -> list[Rewritten]:
    """Have all servers that have any shard, and all their replicas, rewrite their files, one after the other.

    Returns what became of each; `tell` is given a sentence when one begins.
    """
    found: dict[str, Rewritten] = {}  # by the start of the server: several clients may go to one
    replicas = dict.fromkeys(await _known_replicas(shards, settings))
    for client in dict.fromkeys(shard.redis for shard in shards.with_home):
        # Only a connection knows which server it goes to.
        async with client.client() as alone:
            await _Rewriting(alone, found, replicas, tell=tell, clock=clock).run("")
    for address in replicas_of(replicas):
        async with _connected(settings, address) as client:
            await _Rewriting(client, found, replicas, tell=tell, clock=clock).run(f"{address[0]}:{address[1]}")
    return list(found.values())


async def _known_replicas(shards: Shards, settings: Settings) -> list[_Address]:
    """Return the replicas that the nodes of a cluster, or Sentinels, know of, those that are down as well.

    A server alone knows of those that are connected.
    """
    parts = parts_of(redis_url(settings))
    client: Any = shards.home.redis
    with errors_translated():
        if parts.kind == "cluster":
            text = await client.execute_command("CLUSTER", "NODES")
            found = [line.split() for line in text.decode().splitlines()]
            masters = {each[0] for each in found if _owns_any(each[8:], [shard.keys.tag for shard in shards.with_home])}
            return [_address(each[1]) for each in found if "slave" in each[2].split(",") and each[3] in masters]
        if parts.kind == "sentinel":
            for sentinel in client.connection_pool.sentinel_manager.sentinels:
                with suppress(exceptions.RedisError, OSError):
                    told = await sentinel.sentinel_slaves(parts.service)
                    return [(str(each["ip"]), int(each["port"])) for each in told]
    return []


def _owns_any(ranges: Sequence[str], tags: Sequence[int]) -> bool:
    """Return whether any of these tags is in one of the ranges of slots, as CLUSTER NODES tells them of a master."""
    slots = [each.partition("-") for each in ranges if not each.startswith("[")]
    return any(int(first) <= slot_of(tag) <= int(last or first) for first, _, last in slots for tag in tags)


def _address(text: str) -> _Address:
    """Return the address in HOST:PORT@BUS,NAME."""
    host, _, port = text.partition("@")[0].rpartition(":")
    return host, int(port)


def replicas_of(replicas: dict[_Address, None]) -> Iterator[_Address]:
    """Yield each, also those that are added meanwhile: a replica may have some of its own."""
    done: set[_Address] = set()
    while left := [each for each in replicas if each not in done]:
        done.add(left[0])
        yield left[0]


class _Rewriting:
    """One server's."""

    def __init__(
        self,
        redis: Any,
        found: dict[str, Rewritten],
        replicas: dict[_Address, None],
        *,
        tell: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._redis = redis
        self._found = found
        self._replicas = replicas
        self._tell = tell
        self._clock = clock
        self._until = clock.monotonic() + REWRITE_SECONDS

    async def run(self, name: str) -> None:
        """Have it rewritten, and note what became of it, and which replicas it has."""
        try:
            info = await self._ask(lambda: self._redis.info("server", "persistence", "replication"))
        except (exceptions.RedisError, OSError) as error:
            self._found[name] = Rewritten(name or "a server", "replica" if name else "master", "failed", str(error))
            return
        name = name or node_name(self._redis.connection)
        state = ServerState.of(info)
        if state.run_id in self._found:
            return
        role = "replica" if info.get("role") == "slave" else "master"
        for at in range(int(info.get("connected_slaves", 0))):
            if replica := info.get(f"slave{at}"):
                self._replicas[str(replica["ip"]), int(replica["port"])] = None
        if not state.keeps_file:
            self._found[state.run_id] = Rewritten(name, role, "none")
            return
        self._tell(f"{name} ({role}) rewrites its append-only file")
        why = await self._rewrite()
        self._found[state.run_id] = Rewritten(name, role, "failed" if why else "rewritten", why)

    async def _rewrite(self) -> str:
        """Return why it was not rewritten; empty if it was."""
        why = ""
        for _ in range(MOST_TRIES):
            try:
                # One that is under way may have begun before, with what is to be forgotten.
                while await self._ask(self._begin) == "under way":
                    await self._ended()
                state = await self._ended()
            except TimeoutError:
                return f"it had not ended after {REWRITE_SECONDS:g} s"
            except (exceptions.RedisError, OSError) as error:
                why = str(error)
            else:
                if state.rewritten:
                    return ""
                why = "the server says that it failed; its log says why"
            await self._clock.sleep(AGAIN_SECONDS)
        return why

    async def _begin(self) -> str:
        try:
            await self._redis.execute_command("BGREWRITEAOF")
        except exceptions.ResponseError as error:
            if "already in progress" not in str(error):
                raise
            return "under way"
        return "begun"

    async def _ended(self) -> ServerState:
        """Wait until none is under way or scheduled any more. Raises TimeoutError."""
        while True:
            state = ServerState.of(await self._ask(lambda: self._redis.info("server", "persistence")))
            if not (state.rewriting or state.scheduled):
                return state
            if self._clock.monotonic() > self._until:
                raise TimeoutError
            await self._clock.sleep(POLL_SECONDS)

    async def _ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Return an answer; a server that gives none is asked again a few times."""
        for _ in range(MOST_TRIES):
            try:
                return await ask()
            except _UNANSWERED as error:
                last = error
                await self._clock.sleep(AGAIN_SECONDS)
        raise last


@asynccontextmanager
async def _connected(settings: Settings, address: _Address) -> AsyncIterator[Redis]:
    """Give a client of one server beside those of the URL, as whom the URL says."""
    url = redis_url(settings)
    of_url: Mapping[str, Any] = parse_url(parts_of(url).plain[0])
    # A replica of a server that is reached by its socket is reached by its address.
    apart = ("host", "port", "path", "connection_class", "db")
    pool = BlockingConnectionPool(
        connection_class=SSLConnection if is_tls(url) else Connection,
        host=address[0],
        port=address[1],
        **{name: value for name, value in of_url.items() if name not in apart},
        **connection_options(timeout_seconds=settings.read_timeout_seconds, tls=settings.redis_tls),
    )
    client = measured(pool)
    try:
        yield client
    finally:
        await client.aclose()
