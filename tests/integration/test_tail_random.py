"""`tail:` under whatever comes, in any order: an oracle for the rules by which files are known again.

What happens is drawn at random: writing, rotating, compressing, replacing by a copy, kills of the ingestor and of Redis
(which forgets its last second), while the ingestor runs and while it is down. Only what the documentation calls exact.
"""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestor.log_events import TOO_MANY_FILES
from tally.log_events import REDIS_UNAVAILABLE
from tests.effort import seeds
from tests.server import Server
from tests.waiting import wait_until
from tests.world import World, begin_with_header, compress, number, replace_by_copy, rotate

STEPS = 40


class Chaos:
    """A world to which things happen. With `alike`, each file begins with the same kilobyte as the others."""

    def __init__(self, world: World, server: Server, *, seed: int, alike: bool) -> None:
        self.world = world
        self.server = server
        self.chance = random.Random(seed)
        self.alike = alike
        self.runs = False
        self.done: list[str] = []
        self.shards = len(world.stream.blocks_by_shard())
        self.snapshots: dict[int, dict[bytes, bytes]] = {}

    def happen(self) -> None:
        """One thing that can happen now."""
        things: dict[Callable[[], None], int] = {
            self.write: 8,
            self.rotate: 4,
            self.compress: 2,
            self.replace: 3,
            self.settle: 3 if self.runs else 0,
            self.kill: 3 if self.runs else 0,
            self.start: 0 if self.runs else 6,
            self.forget: 1,
            self.snapshot: 2 if self.shards > 1 else 0,
            self.roll_back: 2 if self.snapshots else 0,
        }
        thing = self.chance.choices(list(things), list(things.values()))[0]
        self.done.append(thing.__name__)
        thing()

    def write(self) -> None:
        if self.alike and not self.world.log.exists():
            begin_with_header(self.world)
        self.world.write(self.chance.randint(1, 80))

    def rotate(self) -> None:
        if self.world.log.exists():
            rotate(self.world)
            self.write()

    def compress(self) -> None:
        """The oldest that is not compressed yet, as logrotate does it with `delaycompress`."""
        plain = [path for path in self.world.folder.glob("events.log.*") if path.suffix[1:].isdecimal()]
        if len(plain) > 1:
            oldest = max(plain, key=number)
            # What is read of an open file is not in its archive; both together would be twice.
            if not self.runs or not self.world.is_open(oldest):
                compress(oldest, self.chance.choice([".gz", ".bz2"]))

    def replace(self) -> None:
        if self.world.log.exists():
            replace_by_copy(self.world, self.chance.randint(0, 30))

    def settle(self) -> None:
        self.world.read_all()

    def kill(self) -> None:
        self.world.down()
        self.runs = False

    def start(self) -> None:
        self.world.up()
        self.runs = True

    def forget(self) -> None:
        """Redis is killed, and what it had not written to its file is lost."""
        assert self.server.kill()
        self.server.start()

    def snapshot(self) -> None:
        shard = self.chance.randrange(self.shards)
        self.snapshots[shard] = self.world.stream.snapshot(shard)

    def roll_back(self) -> None:
        """A single shard comes back with what it had a while ago."""
        shard = self.chance.choice(sorted(self.snapshots))
        self.world.stream.roll_back(shard, self.snapshots.pop(shard))


@pytest.fixture
def shards() -> int:
    return 1


@pytest.fixture
def world(durable_server: Server, tmp_path: Path, shards: int) -> Iterator[World]:
    world = World(tmp_path, durable_server, seed=3, sources=["tail:{}/events.log"], shards=shards)
    yield world
    world.down()
    world.stream.close()


@pytest.mark.parametrize("shards", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("alike", [False, True], ids=["different", "alike"])
@pytest.mark.parametrize("seed", seeds([0], range(20)))
def test_whatever_happens_every_line_is_there_once(
    world: World, durable_server: Server, seed: int, alike: bool
) -> None:
    chaos = Chaos(world, durable_server, seed=seed, alike=alike)
    chaos.start()
    chaos.write()
    chaos.settle()  # what is rotated before it was ever seen is left alone
    for _ in range(STEPS):
        chaos.happen()
    if not chaos.runs:
        chaos.start()
    world.read_all()
    world.restart()
    world.write(1)
    world.read_all()
    assert world.ingestor.stop() == 0, world.ingestor.log()
    assert world.stream.difference(world.written) == ([], []), chaos.done


@pytest.mark.slow
def test_more_files_than_may_be_open_are_read_whatever_becomes_of_them(server: Server, tmp_path: Path) -> None:
    """Those that are still are closed, and known again when they are written to, rotated or replaced."""
    world = World(tmp_path, server, seed=4, sources=["tail:{}/*.log"])
    chance = random.Random(4)
    logs = [world.folder / f"{at:03}.log" for at in range(150)]
    try:
        for log in logs:
            world.write(2, log)
        world.up()
        # 40 beside what else is open.
        resource.prlimit(world.ingestor.pid, resource.RLIMIT_NOFILE, (160, 160))
        world.read_all()
        assert TOO_MANY_FILES in world.ingestor.log()
        for _ in range(4):
            for log in chance.sample(logs, 60):
                what = chance.choice(["write", "rotate", "replace", "delete"])
                if what == "write":
                    world.write(3, log)
                elif what == "rotate":
                    os.rename(log, log.with_name(f"{log.name}.{chance.getrandbits(40)}"))
                    world.write(3, log)
                elif what == "replace":
                    copy = log.with_suffix(".copy")
                    copy.write_bytes(log.read_bytes() + world.make(3))
                    os.replace(copy, log)
                else:
                    log.unlink()
                    world.write(1, log)
            world.read_all()
        world.restart()
        world.write(1, logs[0])
        world.read_all()
        assert world.ingestor.stop() == 0, world.ingestor.log()
        assert world.stream.difference(world.written) == ([], [])
        assert "Traceback" not in world.ingestor.log()
        assert REDIS_UNAVAILABLE not in world.ingestor.log()
    finally:
        world.down()
        world.stream.close()


@pytest.mark.slow
def test_a_file_that_is_closed_is_opened_again_when_redis_has_forgotten_it(server: Server, tmp_path: Path) -> None:
    world = World(tmp_path, server, seed=6, sources=["tail:{}/*.log"])
    try:
        for at in range(60):
            world.write(2, world.folder / f"{at:03}.log")
        world.up()
        resource.prlimit(world.ingestor.pid, resource.RLIMIT_NOFILE, (160, 160))
        world.read_all()
        with server.client() as client:
            client.flushall()
        wait_until(
            lambda: world.stream.difference(world.written) == ([], []),
            what="all is read again",
        )
        assert world.ingestor.stop() == 0, world.ingestor.log()
    finally:
        world.down()
        world.stream.close()
