"""What is answered only when replicas have it is not answered by a server that has none, or is cut off from them."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tally.keys import Keys
from tally.settings import Settings
from tally.store import Block, IngestorStore, StoreUnavailable, connect, durable, idempotent
from tally.store.idempotent import Body
from tests.server import Server
from tests.waiting import wait_until

SETTINGS = Settings(ingest_wait_for_replicas=1)

BLOCK = Block(start=0, end=2, lines=b"x\n")


@pytest.fixture
def replica(durable_server: Server, tmp_path: Path) -> Iterator[Server]:
    """A replica of the durable server, which has what that has."""
    folder = tmp_path / "replica"
    folder.mkdir()
    options = ("--replicaof", "127.0.0.1", str(durable_server.port), "--repl-diskless-sync-delay", "0")
    server = Server(folder, durable=True, options=options)
    server.start()
    wait_until(lambda: _is_synchronized(server), what="it has what its master has")
    yield server
    server.kill()


def _is_synchronized(replica: Server) -> bool:
    with replica.client() as client:
        return bool(client.info("replication")["master_link_status"] == "up")


@pytest.fixture
async def redis(durable_server: Server) -> AsyncIterator[Redis]:
    client = connect(durable_server.url, timeout_seconds=30)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> IngestorStore:
    for module in (idempotent, durable):
        monkeypatch.setattr(module, "REPLICAS_MS", 300)  # the whole of it is waited for where there are too few
    return IngestorStore(redis, keys=Keys(), settings=SETTINGS)


def _body(key: str) -> Body:
    return Body(key=key, digest="d", keep_ms=60_000, blocks=[b"x"])


async def test_what_a_replica_has_is_answered(store: IngestorStore, replica: Server) -> None:
    assert await store.append_once(source="http:", bodies=[_body("a"), _body("b")]) == ["appended", "appended"]
    with replica.client() as client:
        assert client.xlen(Keys().stream) == 2
    await store.append(source="file:a", blocks=[BLOCK])
    await store.wait_until_durable("file:a", timeout_seconds=30)
    with replica.client() as client:
        assert client.hget(Keys().sources, "file:a") == "2"


async def test_without_a_replica_nothing_is_promised(store: IngestorStore) -> None:
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
        await store.append_once(source="http:", bodies=[_body("a")])
    await store.append(source="file:a", blocks=[BLOCK])
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
        await store.wait_until_durable("file:a", timeout_seconds=30)


async def test_a_master_that_is_cut_off_promises_nothing_and_makes_it_good_later(
    store: IngestorStore, replica: Server
) -> None:
    replica.process.send(signal.SIGSTOP)  # connected, and deaf
    try:
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
            await store.append_once(source="http:", bodies=[_body("a")])
    finally:
        replica.process.send(signal.SIGCONT)

    def has_it() -> bool:
        with replica.client() as client:
            return bool(client.xlen(Keys().stream))

    wait_until(has_it, what="the replica has it after all")
    assert await store.append_once(source="http:", bodies=[_body("a")]) == ["duplicate"], "and it was appended once"
