"""`tail:` under everything that rotation does to a file: every line comes into the stream exactly once.

Each scenario works on real files, with a real ingestor that is killed at random moments in between, and ends by
comparing the lines in the stream with those that were written.
"""

from __future__ import annotations

import bz2
import gzip
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tally.generator import Generator, GeneratorSpec
from tests.processes import Process
from tests.server import Server
from tests.stream import Stream
from tests.waiting import wait_until


class World:
    """A folder with a log in it, somebody who writes to it, and an ingestor that follows it."""

    def __init__(self, folder: Path, server: Server, *, seed: int, sources: list[str]) -> None:
        self.folder = folder / "logs"
        self.folder.mkdir()
        self.log = self.folder / "events.log"
        self.chance = random.Random(seed)
        self.ingestor = Process(
            "ingestor",
            *(source.format(self.folder) for source in sources),
            log=folder / "ingestor.log",
            TALLY_REDIS_URL=server.url,
            TALLY_MAX_BLOCK_BYTES="4096",
        )
        self.stream = Stream(server.port)
        chunks = Generator(GeneratorSpec(count=100_000, seed=seed, corrupt=0.05)).lines()
        self._lines = (line + b"\n" for chunk in chunks for line in chunk.split(b"\n") if line)
        self.written: list[bytes] = []
        self.written_bytes = 0
        self.starts = 0

    def make(self, lines: int) -> bytes:
        """So many lines that nobody has seen yet; they are to be counted."""
        made = [next(self._lines) for _ in range(lines)]
        self.written += made
        self.written_bytes += sum(map(len, made))
        return b"".join(made)

    def write(self, lines: int, path: Path | None = None) -> None:
        """Append lines, in pieces that do not end where lines do."""
        text = self.make(lines)
        with (path or self.log).open("ab", buffering=0) as file:
            while text:
                size = self.chance.randint(1, 3000)
                file.write(text[:size])
                text = text[size:]

    def write_and_kill(self, kills: int = 1) -> None:
        """Append lines and kill the ingestor at a random moment while it reads them, so many times."""
        for _ in range(kills):
            before = self.stream.appended_bytes()
            self.write(self.chance.randint(20, 400))
            wait_until(lambda before=before: self.stream.appended_bytes() > before, what="something is appended")  # type: ignore[misc]
            self.write(self.chance.randint(1, 400))
            time.sleep(self.chance.uniform(0.0, 0.15))  # when the kill comes is what is random here
            self.restart()

    def up(self, **variables: str) -> None:
        self.ingestor.start(**variables)
        self.starts += 1

    def ready(self) -> None:
        """Wait until it follows, and has read all."""
        wait_until(lambda: self.ingestor.log().count('"following"') == self.starts, what="it follows")
        self.read_all()

    def down(self) -> None:
        self.ingestor.kill()

    def restart(self) -> None:
        self.down()
        self.up()

    def read_all(self) -> None:
        """Wait until everything that was written is in the stream."""
        wait_until(
            lambda: self.stream.appended_bytes() >= self.written_bytes,
            what=f"{self.written_bytes} bytes are appended; {self.ingestor.log()[-3000:]}",
        )

    def log_is_open(self) -> bool:
        """Whether the ingestor has the file open that is at the followed path now."""
        now = self.log.stat()
        for link in Path(f"/proc/{self.ingestor.pid}/fd").iterdir():
            with suppress(OSError):
                found = link.stat()
                if (found.st_dev, found.st_ino) == (now.st_dev, now.st_ino):
                    return True
        return False

    def says(self, text: str) -> None:
        wait_until(lambda: text in self.ingestor.log(), what=f"the log says {text!r}")


def rename_and_create(world: World) -> None:
    world.up()
    world.write_and_kill()
    for _ in range(2):
        rotate(world)
        world.write_and_kill()


def rename_at_once_many_times(world: World) -> None:
    world.up()
    for _ in range(5):
        world.write(50)
        world.ready()
        rotate(world)
    world.write(10)


def rename_without_create(world: World) -> None:
    world.up()
    world.write_and_kill()
    rotate(world)
    world.write(100, world.folder / "events.log.1")  # the writer has not let go of it
    world.read_all()
    world.write_and_kill()


def writer_that_goes_on_with_the_old_file_for_a_while(world: World) -> None:
    world.up()
    world.write_and_kill()
    with world.log.open("ab", buffering=0) as old:
        rotate(world)
        world.log.touch()
        for _ in range(5):
            old.write(world.make(30))
            world.read_all()
    world.write_and_kill()


def truncate(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.ready()
    os.truncate(world.log, 0)
    world.write(3)
    world.says("cut down or written anew")
    world.write_and_kill()


def truncate_while_down(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.read_all()
    world.down()
    os.truncate(world.log, 0)
    world.write(20)
    world.up()
    world.write_and_kill()


def copytruncate(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.ready()
    world.write(400)
    copy_and_truncate(world)  # before all is read: the rest is in the copy
    world.write(5)
    world.says("cut down or written anew")
    world.write_and_kill()


def copytruncate_while_down(world: World) -> None:
    """The rest that was not read is in the copy, and is found there."""
    world.up()
    world.write_and_kill()
    world.down()
    world.write(300)
    copy_and_truncate(world)
    world.write(100)
    world.up()
    world.write_and_kill()


def rotate_while_down(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.down()
    world.write(200)
    rotate(world)
    world.write(100)
    world.up()
    world.write_and_kill()


def rotate_twice_while_down(world: World) -> None:
    old = world.folder / "events.log.7"  # of before we came, and none of ours
    old.write_bytes(b'{"event_type": "old", "data": "not to be counted"}\n')
    os.utime(old, (1e9, 1e9))
    world.up()
    world.write_and_kill()
    world.down()
    world.write(200)
    rotate(world)
    world.write(150)
    rotate(world)
    world.write(100)
    world.up()
    world.write_and_kill()


def rotate_twice_while_down_and_delete_the_oldest(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.read_all()
    world.down()
    rotate(world)
    world.write(150)
    rotate(world)
    (world.folder / "events.log.2").unlink()
    world.write(100)
    world.up()
    world.write_and_kill()


def rotate_and_compress_while_down(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.down()
    world.write(400)
    rotate(world)
    compress(world.folder / "events.log.1", ".gz")
    world.write(150)
    world.up()
    world.write_and_kill()
    world.down()
    world.write(100)
    rotate(world)
    compress(world.folder / "events.log.1", ".bz2")
    world.write(50)
    rotate(world)
    compress(world.folder / "events.log.1", ".gz")
    world.write(50)
    world.up()
    world.write_and_kill()


def rotate_again_while_what_was_rotated_waits(world: World) -> None:
    """Names shift while the stream is full: what is at a name then is not what was found there."""
    world.up()
    world.write_and_kill()
    world.down()
    for suffix in (".gz", "", ".bz2"):
        world.write(300)
        rotate(world)
        if suffix:
            compress(world.folder / "events.log.1", suffix)
    world.write(300)
    world.stream.take()
    world.up(TALLY_MAX_BACKLOG_BLOCKS="2")
    world.says("stream is full")
    world.write(300)
    rotate(world)
    world.write(300)

    def all_is_appended() -> bool:
        world.stream.take()
        return world.stream.appended_bytes() >= world.written_bytes

    wait_until(all_is_appended, what="all is appended", seconds=20)
    world.down()
    world.up(TALLY_MAX_BACKLOG_BLOCKS="2048")


def rotate_unseen_while_others_wait(world: World) -> None:
    """What came and went unseen is newer than what was seen and waits, and is not read before it."""
    world.up(TALLY_MAX_BACKLOG_BLOCKS="2")
    world.write(300)
    world.says("stream is full")
    for _ in range(2):
        rotate(world)
        world.write(20)
        wait_until(world.log_is_open, what="the new file is seen")
    world.ingestor.send(signal.SIGSTOP)
    for _ in range(2):
        rotate(world)
        world.write(20)
    world.ingestor.send(signal.SIGCONT)
    wait_until(world.log_is_open, what="the new file is seen")

    def the_next_is_begun() -> bool:
        world.stream.take()
        return len(world.stream.positions()) > 1

    wait_until(the_next_is_begun, what="the next file is begun", seconds=20)
    world.down()
    world.up(TALLY_MAX_BACKLOG_BLOCKS="2048")


def delete(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.read_all()
    world.log.unlink()
    world.write_and_kill()


def delete_at_once(world: World) -> None:
    """What was written and not yet read is still there for those who have the file open."""
    world.up()
    world.write(100)
    world.read_all()
    world.write(500)
    world.log.unlink()
    world.write(200)
    world.read_all()
    world.restart()


def same_inode_used_again(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.read_all()
    world.down()
    inode = world.log.stat().st_ino
    size = world.log.stat().st_size
    # A file system gives a freed inode to the next file or not, so it is written anew in place; which is the same.
    with world.log.open("r+b") as file:
        text = b""
        while len(text) <= size:
            text += world.make(100)
        file.write(text)
    assert world.log.stat().st_ino == inode
    world.up()
    world.write_and_kill()


def replace_by_a_longer_copy(world: World) -> None:
    """As rsync does, and editors."""
    world.up()
    world.write_and_kill()
    for _ in range(3):
        world.ready()
        replace_by_copy(world, 50)
        world.read_all()
    replace_by_copy(world, 20)  # while it is read
    replace_by_copy(world, 20)
    world.write_and_kill()


def replace_by_a_longer_copy_while_down(world: World) -> None:
    world.up()
    world.write_and_kill()
    for _ in range(3):
        world.down()
        replace_by_copy(world, 50)
        replace_by_copy(world, 50)
        world.up()
        world.write_and_kill()


def copy_over_in_place(world: World) -> None:
    """As cp does over a file that is there: it is cut down and written from its start."""
    world.up()
    world.write_and_kill()
    world.ready()
    text = world.log.read_bytes() + world.make(100)
    with world.log.open("wb", buffering=0) as file:
        for at in range(0, len(text), 20_000):
            file.write(text[at : at + 20_000])
            world.says("cut down or written anew")
    world.write_and_kill()


def restored_from_a_backup(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.ready()
    backup = world.folder / "backup"
    backup.write_bytes(world.log.read_bytes())
    world.log.unlink()
    wait_until(lambda: "source ended" in world.ingestor.log(), what="the file is gone")
    world.log.write_bytes(backup.read_bytes())
    world.write_and_kill()


def same_header(world: World) -> None:
    """Each file begins with the same kilobyte, so only what is behind it tells them apart."""
    begin_with_header(world)
    world.up()
    world.write_and_kill()
    for suffix in ("", ".gz", ".bz2"):
        world.read_all()
        world.down()
        for _ in range(2):
            rotate(world)
            if suffix:
                compress(world.folder / "events.log.1", suffix)
            begin_with_header(world)
            world.write(100)
        world.up()
        world.write_and_kill()
        rotate(world)
        begin_with_header(world)
        world.write_and_kill()


def same_header_in_place(world: World) -> None:
    begin_with_header(world)
    world.up()
    world.write_and_kill()
    for down in (True, False):
        world.ready()
        if down:
            world.down()
        size = world.log.stat().st_size
        header = world.log.read_bytes()[:HEADER_BYTES]
        text = header
        world.written.append(header)
        world.written_bytes += len(header)
        while len(text) <= size:
            text += world.make(100)
        world.log.write_bytes(text)
        if down:
            world.up()
        world.write_and_kill()


def behind_a_link(world: World) -> None:
    """Where Kubernetes keeps the logs of pods: what a link points to is rotated, under its own name."""
    target = world.folder / "pods" / "0.log"
    target.parent.mkdir()
    world.log.symlink_to("pods/0.log")
    world.up()
    world.write_and_kill()
    for second in range(4):
        if second % 2:
            world.read_all()
            world.down()
        for part in range(2):
            world.write(100)
            os.rename(target, target.with_name(f"0.log.20260101-12{second}{part}00"))
            world.write(50)
        if second % 2:
            world.up()
        world.write_and_kill()


def grown_while_down(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.down()
    world.write(300)
    world.up()


def not_there_yet(world: World) -> None:
    world.up()
    world.ready()
    world.write_and_kill()


def partial_line(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.read_all()
    line = world.make(1)
    with world.log.open("ab", buffering=0) as file:
        file.write(line[: len(line) // 2])
        world.restart()
        wait_until(lambda: world.ingestor.log().count('"following"') == world.starts, what="it follows")
        file.write(line[len(line) // 2 : -1])
        file.write(line[-1:])
    world.read_all()
    with world.log.open("ab", buffering=0) as file:
        file.write(world.make(1)[:-1])  # its end never comes
    world.written_bytes -= 1
    world.written[-1] = world.written[-1][:-1]
    rotate(world)
    world.write_and_kill()


def pattern(world: World) -> None:
    world.up()
    world.write_and_kill()
    other = world.folder / "other.log"
    world.write(100, other)
    world.read_all()
    os.rename(other, world.folder / "renamed.log")
    world.write(50, world.folder / "renamed.log")
    world.write_and_kill()
    rotate(world)
    world.write(70, other)
    world.write_and_kill()
    world.down()
    os.rename(other, world.folder / "another.log")
    world.write(50, world.folder / "another.log")
    world.write(50, other)
    world.up()
    world.write_and_kill()


def two_spellings(world: World) -> None:
    world.up()
    world.write_and_kill()
    rotate(world)
    world.write_and_kill()


def rotate(world: World) -> None:
    """events.log becomes events.log.1, that becomes events.log.2, and so on."""
    present = [path for path in world.folder.iterdir() if path.name.startswith("events.log.")]
    for path in sorted(present, key=number, reverse=True):
        os.rename(path, path.with_name(path.name.replace(f".{number(path)}", f".{number(path) + 1}")))
    os.rename(world.log, world.folder / "events.log.1")


HEADER_BYTES = 1500


def begin_with_header(world: World) -> None:
    header = b'{"event_type": "header", "data": "%s"}\n' % (b"h" * HEADER_BYTES)
    header = header[: HEADER_BYTES - 1] + b"\n"
    world.written.append(header)
    world.written_bytes += len(header)
    world.log.write_bytes(header)


def replace_by_copy(world: World, lines: int) -> None:
    copy = world.folder / ".events.log.copy"
    copy.write_bytes(world.log.read_bytes() + world.make(lines))
    os.replace(copy, world.log)


def number(path: Path) -> int:
    return int(path.name.split(".")[2])


def copy_and_truncate(world: World) -> None:
    (world.folder / "events.log.1").write_bytes(world.log.read_bytes())
    os.truncate(world.log, 0)


def compress(path: Path, suffix: str) -> None:
    packed = path.with_name(path.name + suffix)
    text = path.read_bytes()
    packed.write_bytes(gzip.compress(text) if suffix == ".gz" else bz2.compress(text))
    status = path.stat()
    os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))  # as gzip does
    path.unlink()


SCENARIOS: list[Callable[[World], None]] = [
    rename_and_create,
    rename_at_once_many_times,
    rename_without_create,
    writer_that_goes_on_with_the_old_file_for_a_while,
    truncate,
    truncate_while_down,
    copytruncate,
    copytruncate_while_down,
    rotate_while_down,
    rotate_twice_while_down,
    rotate_twice_while_down_and_delete_the_oldest,
    rotate_and_compress_while_down,
    rotate_again_while_what_was_rotated_waits,
    rotate_unseen_while_others_wait,
    delete,
    delete_at_once,
    same_inode_used_again,
    replace_by_a_longer_copy,
    replace_by_a_longer_copy_while_down,
    copy_over_in_place,
    restored_from_a_backup,
    same_header,
    same_header_in_place,
    behind_a_link,
    grown_while_down,
    not_there_yet,
    partial_line,
    pattern,
    two_spellings,
]

#: What is followed, where it is not one file.
SOURCES: dict[Callable[[World], None], list[str]] = {
    pattern: ["tail:{}/*.log"],
    two_spellings: ["tail:{}/events.log", "tail:{}/../logs/events.log"],
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_every_line_once(server: Server, tmp_path: Path, scenario: Callable[[World], None]) -> None:
    sources = SOURCES.get(scenario, ["tail:{}/events.log"])
    world = World(tmp_path, server, seed=SCENARIOS.index(scenario), sources=sources)
    try:
        scenario(world)
        world.read_all()
        # Once more, with a line behind everything: whatever else a new start might read comes before that.
        world.restart()
        world.write(1)
        world.read_all()
        assert world.ingestor.stop() == 0, world.ingestor.log()
        assert world.stream.difference(world.written) == ([], [])
        assert world.stream.appended_bytes() == world.written_bytes
    finally:
        world.down()
        world.stream.close()
