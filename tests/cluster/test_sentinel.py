"""Whichever server the Sentinels call the master is counted on, and a file is counted exactly through fail-overs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tally.keys import Keys
from tally.settings import Settings
from tally.store import StoreUnavailable
from tally.store.client import errors_translated
from tally.store.file_rewrites import rewrite_files
from tally.store.node_memory import memory_of_nodes
from tally.store.shards import open_shards
from tests.cluster.sentinels import Watched, running_sentinels
from tests.cluster.test_faults import SMALL, Events
from tests.oracle import counted
from tests.processes import Process, running
from tests.waiting import wait_until

KEYS = Keys()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    folder = tmp_path / "servers"
    folder.mkdir()
    with running_sentinels(folder) as found:
        yield found


@pytest.mark.slow
def test_masters_that_are_killed(watched: Watched, many_events: Events, tmp_path: Path) -> None:
    path, expected = many_events
    url = {"TALLY_REDIS_URL": watched.url, "TALLY_MAX_BACKLOG_BLOCKS": "200"}
    ingestor = Process("ingestor", str(path), log=tmp_path / "ingestor.log", **url, **SMALL)
    workers = [Process("aggregator", log=tmp_path / f"aggregator-{at}.log", **url, **SMALL) for at in range(2)]
    with running(ingestor, *workers):
        for share in (0.2, 0.5):
            wait_until(
                lambda share=share: position(watched) >= share * path.stat().st_size,  # type: ignore[misc]
                what=f"{share:.0%} of the file is appended",
                seconds=120,
            )
            master = watched.master
            wait_until(watched.has_replica, what="a replica has what it has")
            assert master.kill()
            watched.wait_for_another_master(master)
            master.start()
        assert ingestor.wait(240) == 0, ingestor.log()[-3000:]
        drain = Process("aggregator", "--drain", log=tmp_path / "drain.log", **url, **SMALL)
        with running(drain):
            assert drain.wait() == 0, drain.log()[-3000:]
        for worker in workers:
            assert worker.exit_code is None, worker.log()[-3000:]
    with watched.master.client() as client:
        assert counted(client) == expected
    assert asyncio.run(nodes(watched.url)) == [f"127.0.0.1:{watched.master.port}"], "metrics tell which one it is"


def test_the_files_of_all_servers_are_rewritten(watched: Watched) -> None:
    async def rewritten() -> dict[str, tuple[str, str]]:
        settings = Settings(redis_url=watched.url)
        async with open_shards(settings, stop=asyncio.Event(), for_writing=True) as shards:
            found = await rewrite_files(shards, settings=settings)
        return {each.node: (each.role, each.outcome) for each in found}

    master, one, another = [f"127.0.0.1:{each.port}" for each in watched.servers]
    assert asyncio.run(rewritten()) == {
        master: ("master", "rewritten"),
        one: ("replica", "rewritten"),
        another: ("replica", "rewritten"),
    }
    watched.servers[2].kill()
    found = asyncio.run(rewritten())
    assert found[another] == ("replica", "failed"), "Sentinels know of one that is away"
    assert found[one] == ("replica", "rewritten")


async def nodes(url: str) -> list[str]:
    async with open_shards(Settings(redis_url=url), stop=asyncio.Event(), for_writing=False) as shards:
        return [each.node for each in await memory_of_nodes(shards)]


def position(watched: Watched) -> int:
    with watched.master.client() as client:
        return max((int(each) for each in client.hvals(KEYS.sources)), default=0)


async def test_no_master_is_unavailable_and_tells_no_client_where(tmp_path: Path) -> None:
    url = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/tally"
    async with open_shards(Settings(redis_url=url), stop=asyncio.Event(), for_writing=True) as shards:
        with pytest.raises(StoreUnavailable, match="No master found") as caught, errors_translated():
            await shards[0].redis.ping()
    assert "127.0.0.1" not in caught.value.public
