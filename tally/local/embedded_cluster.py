"""The embedded server as several: a Redis Cluster of Valkeys on loopback, for machines with many cores.

Each node is an embedded server in a folder of its own, `node-1`, `node-2`, … of the data folder, with an even part of
the slots. In `private/ports.conf` of that folder are its ports. All have one password. The bus over which they speak
to each other knows none: other users of the machine may reach it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.retry import Retry

from tally.clock import SYSTEM, Clock
from tally.local.access import free_port, password_of, write_privately
from tally.local.embedded_server import CannotListenError, EmbeddedServer
from tally.redis_location import FIRST_NODE_FOLDER, SHARDS_FILE, URL_FILE, shards_in
from tally.runtime import Failure, Misuse

#: How many nodes there may be.
MOST_NODES = 16

#: How long they may take to find each other.
_JOIN_SECONDS = 60.0

#: How many pairs of ports are tried for a node.
_PORT_TRIES = 20

_OPTIONS = {
    "cluster-enabled": "yes",
    "cluster-config-file": "nodes.conf",
    # A node that is started again keeps nobody but its own shards waiting.
    "cluster-require-full-coverage": "no",
}


class _Ports(NamedTuple):
    """Where a node listens: for clients, and for the other nodes."""

    clients: int
    bus: int


class EmbeddedCluster:
    """So many Valkeys of our own, which make a cluster. Otherwise as an EmbeddedServer."""

    def __init__(self, data_dir: Path, *, nodes: int, clock: Clock = SYSTEM) -> None:
        self._data_dir = data_dir.absolute()
        self._folders = [self._data_dir / f"node-{at}" for at in range(1, nodes + 1)]
        self._clock = clock
        self._password = ""  # nosec B105 # it is not known before a start
        self._ports: list[_Ports] = []
        self._servers: list[EmbeddedServer] = []

    @property
    def nodes(self) -> int:
        """Return how many servers it is."""
        return len(self._folders)

    @property
    def url(self) -> str:
        """Return how it is reached, once it was started. It has a password in it."""
        hosts = ",".join(f"127.0.0.1:{ports.clients}" for ports in self._ports)
        return f"redis+cluster://:{self._password}@{hosts}"

    def start(self, *, stopped: Callable[[], bool] = lambda: False) -> None:
        """Start all nodes and wait until they have found each other, or until `stopped`. Raises Failure."""
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in self._folders:
                folder.mkdir(mode=0o700, exist_ok=True)
            self._password = password_of(self._folders[0])
        except OSError as error:
            raise Failure(f"data folder {self._data_dir}: {error.strerror}; name another with --data") from error
        for folder in self._folders:
            self._start_node(folder, stopped)
        if not stopped():
            self._join(stopped)
            write_privately(self._data_dir / URL_FILE, f"{self.url}\n")

    @property
    def dead(self) -> bool:
        """Return whether a node ended although nobody stopped it."""
        return any(server.dead for server in self._servers)

    def restart_if_dead(self) -> bool:
        """Start the nodes again that are dead; True if one was. Raises Failure as start does."""
        restarted = [server.restart_if_dead() for server in self._servers]
        return any(restarted)

    def stop(self) -> None:
        """Stop all in order. Nothing needs this: their guards do it when we are gone."""
        for server in self._servers:
            server.stop()
        self._servers, self._ports = [], []

    def _start_node(self, folder: Path, stopped: Callable[[], bool]) -> None:
        path = folder / "private" / "ports.conf"
        ports = _stored_ports(path)
        for tries_left in reversed(range(_PORT_TRIES)):
            ports = ports or _Ports(free_port(), free_port())
            server = EmbeddedServer(
                folder,
                port=ports.clients,
                password=self._password,
                options={**_OPTIONS, "cluster-port": str(ports.bus)},
                url_path=self._data_dir / URL_FILE,
                clock=self._clock,
            )
            self._servers.append(server)
            try:
                server.start(stopped=stopped)
            except CannotListenError:
                server.stop()
                self._servers.pop()
                if not tries_left:
                    raise
                ports = None  # the others are told where it is now
            else:
                write_privately(path, f"port {ports.clients}\ncluster-port {ports.bus}\n")
                self._ports.append(ports)
                return

    def _join(self, stopped: Callable[[], bool]) -> None:
        """Make a cluster of the nodes, and wait until it is one. A node that ends meanwhile is started again."""
        deadline = self._clock.monotonic() + _JOIN_SECONDS
        introduced, problem = False, None
        while not stopped():
            if self._clock.monotonic() > deadline:
                said = (
                    f"do not make a cluster: {problem}" if problem else "do not find each other; see valkey.log of each"
                )
                raise Failure(f"the nodes of {self._data_dir} {said}") from problem
            try:
                if not introduced:
                    self._introduce()
                introduced, problem = True, None
                if self._is_whole():
                    return
            except redis.RedisError as error:
                introduced, problem = False, error
                self.restart_if_dead()
            self._clock.block(0.05)

    def _introduce(self) -> None:
        """Give each node its slots, if it does not have them yet, and tell it where the others are."""
        for at, ports in enumerate(self._ports):
            first, last = (REDIS_CLUSTER_HASH_SLOTS * part // self.nodes for part in (at, at + 1))
            with self._client(ports) as client:
                if not any(range_[0] <= first <= range_[1] for range_ in client.execute_command("CLUSTER", "SLOTS")):
                    client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
                for other in self._ports:
                    if other is not ports:
                        client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.clients, other.bus)

    def _is_whole(self) -> bool:
        """Return whether all nodes know each other, and all slots are served."""
        for ports in self._ports:
            with self._client(ports) as client:
                said = client.execute_command("CLUSTER", "INFO")
                text = said.decode() if isinstance(said, bytes) else str(said)
                if "cluster_state:ok" not in text or f"cluster_known_nodes:{self.nodes}\r" not in text:
                    return False
        return True

    def _client(self, ports: _Ports) -> Any:
        return redis.Redis(port=ports.clients, password=self._password, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def _stored_ports(path: Path) -> _Ports | None:
    with suppress(OSError, UnicodeDecodeError):
        if found := re.fullmatch(r"port (\d+)\ncluster-port (\d+)\n", path.read_text(encoding="utf-8")):
            return _Ports(int(found[1]), int(found[2]))
    return None


def embedded(data_dir: Path, *, nodes: int | None = None, port: int | None = None) -> EmbeddedServer | EmbeddedCluster:
    """Return the server of a data folder: one, or as many nodes as are wanted, or as it has already.

    Raises Misuse where it has another number of them.
    """
    has_one = (data_dir / "appendonlydir").is_dir()
    found = 1 if has_one else len(list(data_dir.glob("node-*"))) if (data_dir / FIRST_NODE_FOLDER).is_dir() else None
    nodes = nodes or found or 1
    if found is not None and nodes != found:
        raise Misuse(
            f"the data folder {data_dir} has the data of {found} node{'' if found == 1 else 's'}, and counts are not "
            f"spread anew; give --nodes {found}, or name another folder with --data: `tally export` and "
            "`tally import` take counts there"
        )
    if nodes == 1:
        return EmbeddedServer(data_dir, port=port)
    if port is not None:
        raise Misuse("--redis-port is of one server, and there are several nodes; their ports are in `redis.url`")
    return EmbeddedCluster(data_dir, nodes=nodes)


def settle_shards(data_dir: Path, *, wanted: int | None, nodes: int) -> int:
    """Return how many shards the server of a data folder has: those that are wanted, those it has, or one a node.

    They are noted there, so that others find them. Raises Misuse where it has another number of them.
    """
    found = shards_in(data_dir)
    if found is None and (data_dir / "appendonlydir").is_dir():
        found = 1  # of before there were several
    shards = wanted or found or nodes
    if found is not None and shards != found:
        raise Misuse(
            f"the counts in the data folder {data_dir} are in {found} shard{'' if found == 1 else 's'}, and are not "
            f"spread anew; give --shards {found}, or name another folder with --data: `tally export` and "
            "`tally import` take counts there"
        )
    if found is None and max(shards, nodes) > 1:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_privately(data_dir / SHARDS_FILE, f"{shards}\n")
    return shards
