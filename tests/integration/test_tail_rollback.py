"""`tail:` when Redis forgets what it had, or does not answer at first: what is still there is in the stream once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Server
from tests.waiting import wait_until
from tests.world import World, compress, rotate


@pytest.fixture
def shards() -> int:
    return 1


@pytest.fixture
def world(durable_server: Server, tmp_path: Path, shards: int) -> Iterator[World]:
    world = World(tmp_path, durable_server, seed=5, sources=["tail:{}/events.log"], shards=shards)
    yield world
    world.down()
    world.stream.close()


def forget(server: Server, folder: Path, how: str) -> None:
    """All of it; or what came since `back_up`."""
    if how == "flush":
        with server.client() as client:
            client.flushall()
        return
    server.kill()
    shutil.rmtree(folder / "server")
    shutil.move(folder / "backup", folder / "server")
    server.start()


def back_up(server: Server, folder: Path) -> None:
    def is_rewritten() -> bool:
        found = client.info("persistence")
        return not found["aof_rewrite_in_progress"] and not found["aof_rewrite_scheduled"]

    with server.client() as client:
        wait_until(is_rewritten, what="the rewrite of the server's start is over")
        client.bgrewriteaof()  # all of it is in the files then
        wait_until(is_rewritten, what="the append-only file is rewritten")
    shutil.copytree(folder / "server", folder / "backup")


def all_once(world: World) -> None:
    """All that was written is in the stream, and a new start finds no more."""
    world.read_all()
    world.restart()
    world.write(1)
    world.read_all()
    assert world.ingestor.stop() == 0, world.ingestor.log()
    assert world.stream.difference(world.written) == ([], [])


@pytest.mark.parametrize("shards", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["flush", pytest.param("backup", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "then",
    [
        "it goes on",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("it is killed again and again", "nothing more is written")
        ),
    ],
)
def test_what_was_rotated_since_is_read_again_when_redis_has_forgotten_it(
    world: World, durable_server: Server, tmp_path: Path, how: str, then: str
) -> None:
    world.up()
    world.write(100)
    world.ready()
    back_up(durable_server, tmp_path)
    world.write(50)
    for suffix in ("", ".gz", "", ""):
        world.read_all()
        rotate(world)
        world.write(150)
        if suffix:
            wait_until(lambda: not world.is_open(world.folder / "events.log.1"), what="it is done with")
            compress(world.folder / "events.log.1", suffix)
    world.read_all()
    forget(durable_server, tmp_path, how)
    if then != "nothing more is written":
        world.write(1)
    if then == "it is killed again and again":
        for part in range(1, 4):
            enough = world.written_bytes * part // 5
            wait_until(lambda enough=enough: world.stream.appended_bytes() >= enough, what="a part is there")  # type: ignore[misc]
            world.restart()
    all_once(world)


def test_what_was_rotated_while_redis_was_away_at_the_start_is_read(world: World, durable_server: Server) -> None:
    """Files are opened, and held, before Redis answers: even one that is deleted meanwhile."""
    durable_server.kill()
    world.write(100)
    world.up()
    wait_until(world.log_is_open, what="the file is open")
    world.write(50)
    rotate(world)
    world.write(70)
    wait_until(world.log_is_open, what="the next one is open")
    os.unlink(world.folder / "events.log.1")
    world.write(30)
    durable_server.start()
    all_once(world)


def test_an_ingestor_that_is_stopped_before_redis_answers_ends(world: World, durable_server: Server) -> None:
    durable_server.kill()
    world.write(100)
    world.up()
    wait_until(world.log_is_open, what="the file is open")
    assert world.ingestor.stop() in (0, -signal.SIGTERM)
    durable_server.start()
