"""A real Redis Cluster on loopback: masters and replicas, each a process that may be killed and started again."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from tally.shards import slot_of
from tests.server import Server, free_port
from tests.waiting import wait_until

SLOTS = 16_384

#: After how long without an answer a node is taken for failed, where that is waited for: soon, as far as a busy machine
#: allows.
NODE_TIMEOUT_MS = 2000

#: Where it is not: longer than any machine is busy, since a cluster that takes a node for failed answers nothing for
#: seconds.
PATIENT_TIMEOUT_MS = 60_000


class Node(Server):
    """A server in cluster mode."""

    def __init__(
        self,
        folder: Path,
        *,
        options: Sequence[str] = (),
        binary: str | None = None,
        password: str | None = None,
        address: str = "127.0.0.1",
        timeout_ms: int = NODE_TIMEOUT_MS,
    ) -> None:
        folder.mkdir()
        self.hangs = False
        port, self.bus_port = free_port(), free_port()
        of_cluster = (
            *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
            *("--cluster-node-timeout", str(timeout_ms), "--cluster-port", str(self.bus_port)),
            # A replica is tried whatever it lacks, and soon.
            *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
            # Other nodes see it at its address, whichever of the two connects.
            *("--bind-source-addr", address, "--protected-mode", "no"),
        )
        if password:
            options = (*options, "--requirepass", password, "--masterauth", password)
        super().__init__(
            folder,
            durable=True,
            options=(*of_cluster, *options),
            binary=binary,
            password=password,
            port=port,
            address=address,
        )

    def ask(self, *words: Any) -> Any:
        """Return the reply to one command. One that hangs does not answer for long."""
        with self.client(timeout_seconds=5) as client:
            return client.execute_command(*words)

    def info(self, section: str) -> dict[str, Any]:
        """Return what INFO says."""
        with self.client() as client:
            found: Any = client.info(section)
            return dict(found)

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID"))

    def knows_all(self, nodes: int) -> bool:
        """Return whether it knows so many nodes, and all slots are served."""
        said = str(self.ask("CLUSTER", "INFO"))
        return "cluster_state:ok" in said and f"cluster_known_nodes:{nodes}" in said

    def is_master(self) -> bool:
        """Return whether it is one by its own account; not if it does not answer."""
        try:
            return bool(self.info("replication")["role"] == "master")
        except redis.RedisError:
            return False

    def is_synchronized(self) -> bool:
        """Return whether it is a replica that has what its master has, but for what is on its way."""
        about = self.info("replication")
        return (about["role"], about.get("master_link_status")) == ("slave", "up")

    def hang(self) -> None:
        """Stop it where it is: connections stay, and nothing is answered."""
        self.process.send(signal.SIGSTOP)
        self.hangs = True

    def go_on(self) -> None:
        self.process.send(signal.SIGCONT)
        self.hangs = False

    @property
    def may_answer(self) -> bool:
        """Whether it runs, and does not hang."""
        return self.process.exit_code is None and not self.hangs


class Cluster:
    """Masters that share the slots evenly, each with some replicas; on loopback, at addresses of their own if given."""

    def __init__(
        self,
        folder: Path,
        *,
        masters: int = 3,
        replicas: int = 0,
        options: Sequence[str] = (),
        binary: str | None = None,
        password: str | None = None,
        addresses: Sequence[str] = (),
        timeout_ms: int = NODE_TIMEOUT_MS,
    ) -> None:
        self.nodes = [
            Node(
                folder / f"node-{at}",
                options=options,
                binary=binary,
                password=password,
                address=address,
                timeout_ms=timeout_ms,
            )
            for at, address in enumerate(addresses or ["127.0.0.1"] * (masters * (1 + replicas)))
        ]
        self._masters = masters
        self._login = f":{password}@" if password else ""

    @property
    def url(self) -> str:
        """The URL of the whole, by two of its nodes."""
        return f"redis+cluster://{self._login}{','.join(f'{node.address}:{node.port}' for node in self.nodes[:2])}"

    def start(self) -> None:
        """Start all nodes, and make a cluster of them."""
        for node in self.nodes:
            node.start()
        masters, replicas = self.nodes[: self._masters], self.nodes[self._masters :]
        for at, node in enumerate(masters):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            first, last = (round(SLOTS * part / len(masters)) for part in (at, at + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", self.nodes[0].address, self.nodes[0].port, self.nodes[0].bus_port)
        self.wait_until_whole()
        for at, node in enumerate(replicas):
            node.ask("CLUSTER", "REPLICATE", masters[at % len(masters)].id)
        for node in replicas:
            wait_until(node.is_synchronized, what="a replica has what its master has")

    def wait_until_whole(self) -> None:
        """Wait until all nodes know each other, and all slots are served."""
        for node in self.nodes:
            wait_until(lambda node=node: node.knows_all(len(self.nodes)), what="the nodes know each other")  # type: ignore[misc]

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def owner(self, tag: int) -> Node:
        """Return the master that has the slot of a tag by the account of most, however it is now."""
        said = []
        for node in filter(lambda each: each.may_answer, self.nodes):
            with suppress(redis.RedisError):
                said.append(self._owner_by(node, slot_of(tag)))
        return max(set(said), key=said.count)

    def _owner_by(self, node: Node, slot: int) -> Node:
        found = node.ask("CLUSTER", "SLOTS")
        (port,) = [owner[1] for first, last, owner, *_ in found if first <= slot <= last]
        return next(each for each in self.nodes if each.port == port)

    def replica_of(self, master: Node) -> Node:
        """Return a replica of this master that has what it has."""
        wait_until(
            lambda: any(True for _ in self._replicas_of(master)), what="the master has a replica that is up to date"
        )
        return next(self._replicas_of(master))

    def _replicas_of(self, master: Node) -> Iterator[Node]:
        for node in self.nodes:
            if node.may_answer and node is not master:
                about = node.info("replication")
                if (
                    about["role"] == "slave"
                    and about["master_port"] == master.port
                    and about["master_link_status"] == "up"
                ):
                    yield node

    def wait_for_another_owner(self, tag: int, than: Node) -> Node:
        """Wait until a replica has taken over the slot of a tag; return it."""
        slot = slot_of(tag)

        def is_taken_over() -> bool:
            others = [each for each in self.nodes if each is not than and each.may_answer]
            with suppress(redis.RedisError):
                return all(
                    self._owner_by(each, slot) is not than and each.knows_all(len(self.nodes)) for each in others
                )
            return False

        wait_until(is_taken_over, what="a replica takes over")
        return self.owner(tag)

    # Slots that go to another node, key by key, as redis-cli does it with any Redis.

    def begin_migration(self, tag: int, *, to: Node) -> Node:
        """Mark the slot of a tag as on its way to another node; return the one that it leaves."""
        slot, source = slot_of(tag), self.owner(tag)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        return source

    def move_keys(self, tag: int, *, source: Node, to: Node, at_once: int = 10) -> int:
        """Move up to so many of its keys; return how many were moved."""
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot_of(tag), at_once)
        if keys:
            source.ask("MIGRATE", to.address, to.port, "", 0, 60_000, "KEYS", *keys)
        return len(keys)

    def end_migration(self, tag: int, *, to: Node) -> None:
        """Say that the slot is where its keys are now: to the new owner first, then to all."""
        for node in (to, *(each for each in self.nodes if each is not to)):
            with suppress(redis.ResponseError):  # a replica is told by its master
                node.ask("CLUSTER", "SETSLOT", slot_of(tag), "NODE", to.id)

    def migrate(self, tag: int, *, to: Node) -> None:
        """Move the slot of a tag to another node."""
        source = self.begin_migration(tag, to=to)
        while self.move_keys(tag, source=source, to=to):
            pass
        self.end_migration(tag, to=to)

    def migrate_at_once(self, tag: int, *, to: Node) -> bool:
        """Have the nodes move the slot of a tag as one thing, as Valkey 9 does; return whether these can."""
        slot, source = slot_of(tag), self.owner(tag)
        if not any("MIGRATESLOTS" in line for line in source.ask("CLUSTER", "HELP")):
            return False
        source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to.id)
        wait_until(lambda: self._owner_by(to, slot) is to, what="the slot has come over")
        wait_until(lambda: self.owner(tag) is to, what="most know it")
        return True


@contextmanager
def running_cluster(folder: Path, **options: Any) -> Iterator[Cluster]:
    """Start a cluster; kill it in the end, however it came."""
    cluster = Cluster(folder, **options)
    with ExitStack() as stack:
        stack.callback(cluster.kill)
        cluster.start()
        yield cluster
