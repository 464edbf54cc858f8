"""`tail:` under everything that rotation does to a file: every line comes into the stream exactly once.

Each scenario works on real files, with a real ingestor that is killed at random moments in between, and ends by
comparing the lines in the stream with those that were written.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ingestor.log_events import CUT_DOWN, SOURCE_ENDED, STREAM_FULL
from tests.server import Server
from tests.waiting import wait_until
from tests.world import HEADER_BYTES, World, begin_with_header, compress, copy_and_truncate, replace_by_copy, rotate


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
    world.says(CUT_DOWN)
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
    world.says(CUT_DOWN)
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
    world.says(STREAM_FULL)
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
    world.says(STREAM_FULL)
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
            world.says(CUT_DOWN)
    world.write_and_kill()


def restored_from_a_backup(world: World) -> None:
    world.up()
    world.write_and_kill()
    world.ready()
    backup = world.folder / "backup"
    backup.write_bytes(world.log.read_bytes())
    world.log.unlink()
    wait_until(lambda: SOURCE_ENDED in world.ingestor.log(), what="the file is gone")
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
        world.follows()
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


#: Those that take long.
SLOW = {
    same_header,
    behind_a_link,
    rename_at_once_many_times,
    replace_by_a_longer_copy,
    rotate_again_while_what_was_rotated_waits,
    rotate_unseen_while_others_wait,
    writer_that_goes_on_with_the_old_file_for_a_while,
}


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(each, marks=pytest.mark.slow) if each in SLOW else each for each in SCENARIOS],
    ids=lambda scenario: scenario.__name__,
)
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
