"""Every server is made to rewrite its append-only file, whatever else it does just then."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from tally.settings import Settings
from tally.store import file_rewrites
from tally.store.file_rewrites import Rewritten, rewrite_files
from tally.store.shards import open_shards
from tests.cli.test_forget import files_with
from tests.integration.test_rewrite import another_child, children
from tests.server import Server
from tests.waiting import wait_until_async


@asynccontextmanager
async def rewriting(server: Server) -> AsyncIterator[asyncio.Task[list[Rewritten]]]:
    """Have it done meanwhile."""
    settings = Settings(redis_url=server.url)
    async with open_shards(settings, stop=asyncio.Event(), for_writing=False) as shards:
        task = asyncio.create_task(rewrite_files(shards, settings=settings))
        yield task
        await task


@contextmanager
def replica_of(server: Server) -> Iterator[Server]:
    folder = server.folder.parent / "replica"
    folder.mkdir()
    replica = Server(folder, durable=True, options=("--replicaof", "127.0.0.1", str(server.port)))
    with server.client() as client:
        client.config_set("repl-diskless-sync-delay", 0)
    replica.start()
    try:
        yield replica
    finally:
        replica.kill()


async def test_one_that_had_begun_before_is_not_enough(durable_server: Server) -> None:
    with durable_server.client() as client:
        client.mset({str(at): "x" for at in range(200)})
        client.set("secret", 1)
        client.config_set("rdb-key-save-delay", 10_000)  # µs: it takes two seconds
        client.bgrewriteaof()
        client.delete("secret")
        client.config_set("rdb-key-save-delay", 0)
        async with rewriting(durable_server) as task:
            (found,) = await task
        assert (found.role, found.outcome) == ("master", "rewritten")
        assert client.info("persistence")["aof_rewrites"] == 2
    assert files_with(durable_server.folder, b"secret") == []


async def test_it_waits_for_another_child_and_for_replicas(durable_server: Server) -> None:
    with durable_server.client() as client, replica_of(durable_server) as replica:
        client.set("secret", 1)

        async def follows() -> bool:
            with replica.client() as other:
                return bool(other.exists("secret"))

        await wait_until_async(follows, what="the replica has what the master has")
        client.delete("secret")
        async with rewriting(durable_server) as task:
            with another_child(durable_server, client):

                async def is_scheduled() -> bool:
                    return bool(client.info("persistence")["aof_rewrite_scheduled"])

                await wait_until_async(is_scheduled, what="it waits")
                assert not task.done()
            found = await task
        assert [(each.role, each.outcome) for each in found] == [("master", "rewritten"), ("replica", "rewritten")]
        assert files_with(durable_server.folder, b"secret") == files_with(replica.folder, b"secret") == []


async def test_one_that_fails_again_and_again_is_told(durable_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_rewrites, "AGAIN_SECONDS", 0.05)
    with durable_server.client() as client:
        client.mset({str(at): "x" for at in range(1000)})
        client.config_set("rdb-key-save-delay", 1_000_000)
        async with rewriting(durable_server) as task:
            killed: set[int] = set()

            async def kills() -> bool:
                for child in set(children(durable_server)) - killed:
                    os.kill(child, signal.SIGKILL)
                    killed.add(child)
                return task.done()

            await wait_until_async(kills, what="it gives up")
        (found,) = task.result()
        assert (found.outcome, len(killed)) == ("failed", file_rewrites.MOST_TRIES)
        assert "its log says why" in found.why
