"""A Redis Cluster: a plain client for the keys of one slot, which finds the node that has it, again and again.

Not redis-py's RedisCluster: its pipelines do not know EVALSHA, and what belongs on one connection, a write and the
WAITAOF behind it, may go to two of its nodes. All that a shard has is in one slot, so one node at a time is enough.

Whatever says that the node is another one by now (MOVED, ASK, TRYAGAIN, CLUSTERDOWN, READONLY, a connection that is
lost or does not answer) becomes a ConnectionError, and who owns the slot is asked again before the next connection.
Nothing is sent a second time here: the services' loops do that, as they do after any lost reply.

Not even after ASK: while a slot is moved key by key, half of a script's keys are where its other half is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis import exceptions
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import Connection, SSLConnection, parse_url

from tally.redis_urls import is_tls, parts_of
from tally.store.client import OnConnect, connection_options, pool_options
from tally.store.measured import MeasuredRedis, measured
from tally.store.passing import raise_lost

#: How long a node may take to say who owns what. Another one is asked then.
LOOKUP_SECONDS = 2.0

#: Errors that say that a command is to go elsewhere, or nowhere for now.
_ELSEWHERE = (
    exceptions.AskError,  # MovedError is one to redis-py
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
)

_LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Owner:
    """The node that has a slot, as it was told the `lookup`-th time that anybody asked."""

    address: Address
    lookup: int


class Owners:
    """Which node has which slot, as some node of the cluster says. All clients of a process share it."""

    def __init__(self, url: str, *, timeout_seconds: float, tls: Mapping[str, str] | None = None) -> None:
        plain = [parse_url(each) for each in parts_of(url).plain]
        self._seeds = [Address(str(each.get("host", "localhost")), int(each.get("port", 6379))) for each in plain]
        self._is_tls = is_tls(url)
        self._options = _of_nodes(plain[0]) | connection_options(
            timeout_seconds=min(LOOKUP_SECONDS, timeout_seconds), tls=tls
        )
        self._ranges: list[tuple[int, int, Address]] = []
        self._nodes: list[Address] = []
        self._lookups = 0
        self._is_known = False
        self._asking = asyncio.Lock()

    def is_current(self, lookup: int) -> bool:
        """Return whether what was told then is still believed."""
        return self._is_known and lookup == self._lookups

    def forget(self, lookup: int) -> None:
        """Note that what was told then is not so. What was told since is believed."""
        if lookup == self._lookups:
            self._is_known = False

    async def of(self, slot: int) -> Owner:
        """Return the owner of a slot. Raises as redis-py does; ConnectionError if nobody tells, or nobody has it."""
        async with self._asking:
            if not self._is_known:
                await self._look_up()
        for first, last, address in self._ranges:
            if first <= slot <= last:
                return Owner(address, self._lookups)
        self._is_known = False
        raise exceptions.ConnectionError(f"no node of the cluster has slot {slot}")

    async def _look_up(self) -> None:
        last_error: Exception | None = None
        for node in self._in_turn():
            try:
                self._take(await self._ask(node), node)
                return
            except (exceptions.AuthenticationError, exceptions.AuthorizationError):
                raise  # ConnectionErrors to redis-py
            except _LOST as error:
                last_error = error
        raise exceptions.ConnectionError(f"no node of the cluster answers: {last_error}") from last_error

    def _in_turn(self) -> list[Address]:
        """Return all nodes that are known, each time with another one in front: one may be cut off from the others."""
        nodes = list(dict.fromkeys((*self._nodes, *self._seeds)))
        first = self._lookups % len(nodes)
        self._lookups += 1
        return nodes[first:] + nodes[:first]

    async def _ask(self, node: Address) -> Any:
        connection = (SSLConnection if self._is_tls else Connection)(host=node.host, port=node.port, **self._options)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command("CLUSTER", "SLOTS")
            return await connection.read_response()
        except RuntimeError as error:
            raise_lost(error)
        finally:
            await connection.disconnect(nowait=True)

    def _take(self, reply: Any, asked: Address) -> None:
        ranges: list[tuple[int, int, Address]] = []
        nodes: dict[Address, None] = {}
        for first, last, *addresses in reply:
            # The first is the owner, the others are its replicas.
            found = [_address(each, asked) for each in addresses]
            ranges.append((int(first), int(last), found[0]))
            nodes |= dict.fromkeys(found)
        self._ranges, self._nodes, self._is_known = ranges, list(nodes), True


def _address(node: Any, asked: Address) -> Address:
    host, port = node[0], int(node[1])
    # With cluster-preferred-endpoint-type unknown-endpoint nodes say nothing, or ?, and mean the host that was asked.
    text = host.decode() if isinstance(host, bytes) else host
    return Address(asked.host if text in (None, "", "?") else str(text), port or asked.port)


class _OfSlot(Connection):
    """A connection to the node that has a slot now."""

    def __init__(self, *, owners: Owners, slot: int, **options: Any) -> None:
        super().__init__(**options)
        self._owners = owners
        self._slot = slot
        self._lookup = -1

    async def connect(self) -> None:
        """Connect, if that is not so, or not to the node that has the slot now."""
        if self.is_connected and self._owners.is_current(self._lookup):
            return
        owner = await self._owners.of(self._slot)
        if (self.host, self.port) != owner.address:
            await self.disconnect(nowait=True)
            self.host, self.port = owner.address
        self._lookup = owner.lookup
        with self._forgotten_if_lost():
            await super().connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply. What says that the node is another one is a ConnectionError."""
        with self._forgotten_if_lost():
            try:
                return await super().read_response(*args, **options)
            except _ELSEWHERE as error:
                await self.disconnect(nowait=True)
                raise exceptions.ConnectionError(f"{type(error).__name__} of slot {self._slot}: {error}") from error

    @contextmanager
    def _forgotten_if_lost(self) -> Iterator[None]:
        try:
            yield
        except (*_LOST, RuntimeError) as error:
            self._owners.forget(self._lookup)
            if isinstance(error, RuntimeError):
                raise_lost(error)
            raise


class _OfSlotWithTls(_OfSlot, SSLConnection):
    pass


def connect_to_slot(
    url: str,
    *,
    slot: int,
    owners: Owners,
    timeout_seconds: float,
    tls: Mapping[str, str] | None = None,
    on_connect: OnConnect | None = None,
) -> MeasuredRedis:
    """Return a client for the keys of one slot of the cluster at `url`; otherwise as client.connect does."""
    pool = BlockingConnectionPool(
        connection_class=_OfSlotWithTls if is_tls(url) else _OfSlot,
        owners=owners,
        slot=slot,
        **pool_options(timeout_seconds),
        **_of_nodes(parse_url(parts_of(url).plain[0])),
        **connection_options(timeout_seconds=timeout_seconds, tls=tls, on_connect=on_connect),
    )
    return measured(pool)


def _of_nodes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a URL's options is so for all nodes."""
    return {name: value for name, value in options.items() if name not in ("host", "port", "connection_class")}
