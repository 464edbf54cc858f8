"""Three real Sentinels that watch a server and its replicas on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from tally.local.server_binary import server_binary
from tests.processes import Child
from tests.server import Server, free_port
from tests.waiting import wait_until

SERVICE = "tally"

#: After how long without an answer a Sentinel takes a server for down: soon, as far as a busy machine allows.
DOWN_AFTER_MS = 2000


class Sentinel:
    """One Sentinel."""

    def __init__(self, folder: Path, *, watched: Server) -> None:
        folder.mkdir()
        self.port = free_port()
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {watched.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} 10000\n"
        )
        program = os.environ.get("TALLY_TEST_SERVER") or str(server_binary())
        self.process = Child([program, str(settings), "--sentinel"], log=folder / "sentinel.log")

    def state(self) -> dict[str, Any]:
        """Return what it says of the master; nothing while it does not answer."""
        try:
            with redis.Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
                flat: Any = client.execute_command("SENTINEL", "MASTER", SERVICE)
        except redis.RedisError:
            return {}
        return dict(flat) if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))


class Watched:
    """A master with two replicas, and the Sentinels."""

    def __init__(self, folder: Path) -> None:
        self.servers: list[Server] = []
        for at in range(3):
            (folder / f"server-{at}").mkdir()
            options = () if not at else ("--replicaof", "127.0.0.1", str(self.servers[0].port))
            self.servers.append(
                Server(
                    folder / f"server-{at}",
                    durable=True,
                    options=(*options, "--repl-diskless-sync-delay", "0"),
                    port=free_port(),
                )
            )
        self.sentinels = [Sentinel(folder / f"sentinel-{at}", watched=self.servers[0]) for at in range(3)]

    @property
    def url(self) -> str:
        """The URL of whichever server is the master."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{each.port}' for each in self.sentinels)}/{SERVICE}"

    def start(self) -> None:
        """Start all, and wait until all know each other."""
        for each in self.servers:
            each.start()
        for sentinel in self.sentinels:
            sentinel.process.start()
        for sentinel in self.sentinels:
            wait_until(lambda sentinel=sentinel: self._knows_all(sentinel), what="a Sentinel knows all the others")  # type: ignore[misc]

    def _knows_all(self, sentinel: Sentinel) -> bool:
        state = sentinel.state()
        return (state.get("num-slaves"), state.get("num-other-sentinels")) in (("2", "2"), (2, 2))

    @property
    def master(self) -> Server:
        """The master as the Sentinels say."""
        port = int(self.sentinels[0].state()["port"])
        return next(each for each in self.servers if each.port == port)

    def has_replica(self) -> bool:
        """Return whether a replica has what the master has."""
        with self.master.client() as client:
            about: Any = client.info("replication")
        return any(about.get(f"slave{at}", {}).get("state") == "online" for at in range(3))

    def wait_for_another_master(self, than: Server) -> Server:
        """Wait until all Sentinels say that another server is the master, and it is one; return it."""

        def is_promoted() -> bool:
            ports = {str(sentinel.state().get("port")) for sentinel in self.sentinels}
            if len(ports) != 1 or ports == {str(than.port)}:
                return False
            with self.master.client() as client:
                about: Any = client.info("replication")
                return bool(about["role"] == "master")

        wait_until(is_promoted, what="another server is the master", seconds=120)
        return self.master

    def kill(self) -> None:
        for process in (*(each.process for each in self.sentinels), *(each.process for each in self.servers)):
            process.kill()


@contextmanager
def running_sentinels(folder: Path) -> Iterator[Watched]:
    """Start them; kill them in the end, however it came."""
    watched = Watched(folder)
    with ExitStack() as stack:
        stack.callback(watched.kill)
        watched.start()
        yield watched
