"""What decides which file is which, and which rotated files are still to be read: pure, or on a folder alone."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import pytest

from ingestor.sources import parse_source, rotated
from ingestor.sources.fingerprints import Fingerprint
from ingestor.sources.followed import FollowedFile, TailName, Truncated, find_name
from ingestor.sources.rotated import Sibling, find_leftovers, gone, is_rotation_of, look_beside
from ingestor.sources.tail import one_spelling

LOG = Path("/logs/events.log")


def name(first: bytes, *, inode: int = 1, generation: int = 1, device: int = 9) -> TailName:
    return TailName(str(LOG), device, inode, generation, Fingerprint.of(first))


def sibling(file: str, first: bytes, *, inode: int, modified: int, size: int | None = None) -> Sibling:
    return Sibling(LOG.with_name(file), 9, inode, modified, len(first) if size is None else size, first)


def left(stored: dict[TailName, int], *siblings: Sibling, current: TailName | None = None) -> list[tuple[str, bool]]:
    """Names of the files to be read, with whether they are known."""
    beside = find_leftovers(
        LOG, stored={str(each): position for each, position in stored.items()}, siblings=siblings, current=current
    )
    return [(each.sibling.path.name, each.name is not None) for each in beside.leftovers]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tail:", "tail: needs a path or a pattern, as in tail:/var/log/app/"),
        ("tail:{}", "is a folder; name its files with a pattern"),
        ("tail:{}/events.log.gz", "a compressed file does not grow"),
    ],
)
def test_what_cannot_be_followed_is_explained(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_source(text.format(tmp_path))


@pytest.mark.parametrize(
    ("spelling", "path"),
    [
        ("events.log", "events.log"),
        ("below/../events.log", "events.log"),
        ("linked/../events.log", "elsewhere/events.log"),
        ("linked/../current", "elsewhere/current"),
        ("current", "current"),
        ("linked/events.log", "linked/events.log"),
        ("below/../*.log", "*.log"),
        ("*/../events.log", "*/../events.log"),
        ("nowhere/../events.log", "nowhere/../events.log"),
    ],
)
def test_a_followed_path_has_one_spelling_and_its_last_links_stay_links(
    tmp_path: Path, spelling: str, path: str
) -> None:
    for folder in ("below", "elsewhere/below"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere" / "below")
    (tmp_path / "current").symlink_to("events.log")
    assert one_spelling(Path(spelling)) == tmp_path / path
    assert one_spelling(Path("//logs/events.log")) == LOG


@pytest.mark.parametrize("path", ["/logs/events.log", "/logs/a#b-c#1-2.log", "/lo gs/größe.log"])
def test_a_name_is_read_as_it_was_written(path: str) -> None:
    made = TailName(path, 0xFE00, 0x1234, 3, Fingerprint.of(b"first bytes"))
    assert TailName.parse(str(made)) == made


@pytest.mark.parametrize("other", ["file:/a#1-2", "tail:/a", "tail:/a#1-2-3-4", "tail:/a#x-y-1-1-a", "exec:cat#123"])
def test_a_name_of_another_kind_is_none_of_ours(other: str) -> None:
    assert TailName.parse(other) is None


def test_a_file_is_known_by_its_inode_and_its_first_bytes() -> None:
    first = b"one\ntwo\nthree\n"
    stored = {str(name(b"one\n")): 4, str(name(b"two\n")): 4, str(name(b"one\n", inode=2)): 8}

    def found(first: bytes, **more: int) -> TailName | None:
        return find_name(stored, **{"device": 9, "inode": 1, **more}, first=first, is_good=lambda _: True)

    assert found(first) == name(b"one\n")
    assert found(b"three\n") is None
    assert found(first, inode=3) is None
    assert found(first, device=8) == name(b"one\n"), "devices are numbered anew when the machine starts"
    assert found(first, after=1) is None
    assert found(b"on") is None, "it is shorter than what was read of it"


def test_of_several_names_of_an_inode_the_latest_generation_counts() -> None:
    names = [name(b"one\n", generation=1), name(b"one\ntwo\n", generation=3), name(b"one\n", generation=2)]
    found = find_name(
        {str(each): 1 for each in names}, device=9, inode=1, first=b"one\ntwo\nthree\n", is_good=lambda _: True
    )
    assert found is not None
    assert found.generation == 3


@pytest.mark.parametrize(
    ("other", "rotated"),
    [
        ("events.log.1", True),
        ("events.log.1.gz", True),
        ("events.log.gz", True),
        ("events.log-20260101.zst", True),
        ("events.log.2026-01-01_10", True),
        ("events-2026-01-01T10.log", True),
        ("events.7.log", True),
        ("events.log.old", True),
        ("events.log~", False),
        ("events.log.bak", False),
        ("events.log", False),
        ("events-other.log", False),
        ("other.log.1", False),
        ("myevents.log.1", False),
        ("events.logger", False),
    ],
)
def test_names_that_rotation_gives(other: str, rotated: bool) -> None:
    assert is_rotation_of(LOG, LOG.with_name(other)) is rotated


A, B, C = b"a one\na two\n", b"b one\nb two\n", b"c one\nc two\n"


def test_the_rest_of_a_known_file_is_left_and_nothing_of_one_that_was_read() -> None:
    stored = {name(A, inode=1): 6, name(B, inode=2): len(B)}
    beside = [sibling("events.log.2", A, inode=1, modified=1), sibling("events.log.1", B, inode=2, modified=2)]
    assert left(stored, *beside) == [("events.log.2", True)]


def test_files_of_before_the_first_start_are_left_alone() -> None:
    assert left({}, sibling("events.log.1", A, inode=1, modified=1)) == []


def test_a_file_that_was_never_seen_is_left_if_it_is_newer_than_the_last_that_was() -> None:
    beside = [
        sibling("events.log.3", C, inode=3, modified=1),
        sibling("events.log.2", A, inode=1, modified=2),
        sibling("events.log.1", B, inode=2, modified=3),
    ]
    assert left({name(A): len(A)}, *beside) == [("events.log.1", False)]
    assert left({name(A): 6}, *beside) == [("events.log.2", True), ("events.log.1", False)]
    current = name(b"d\n", inode=4)
    assert left({name(A): len(A), current: 2}, *beside, current=current) == [], "no rotation was missed then"


def test_a_copy_of_what_is_known_is_not_read_again() -> None:
    stored = {name(A): len(A)}
    known = sibling("events.log.2", A, inode=1, modified=1)
    assert left(stored, known, sibling("events.log.2.bak", A, inode=7, modified=2)) == []
    assert left(stored, known, sibling("events.log.2.gz", A, inode=7, modified=2, size=30)) == []


def test_the_copy_of_a_file_that_was_truncated_is_read_on() -> None:
    stored = {name(A): 6}
    assert left(stored, sibling("events.log.1", A, inode=7, modified=1)) == [("events.log.1", True)]
    assert left({name(A): len(A)}, sibling("events.log.1", A, inode=7, modified=1)) == []
    assert left({name(A): 100}, sibling("events.log.1", A, inode=7, modified=1)) == [], "more was read than is copied"


def test_a_file_that_is_just_being_compressed_is_not_read_twice() -> None:
    beside = [
        sibling("events.log.2", A, inode=1, modified=1),
        sibling("events.log.1", B, inode=2, modified=2),
        sibling("events.log.1.gz", C, inode=3, modified=2),
    ]
    assert left({name(A): len(A)}, *beside) == [("events.log.1", False)]


def test_a_compressed_file_is_known_by_what_it_holds(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    for file, content in (("events.log.1.gz", A), ("events.log.2.gz", B), ("unrelated.gz", A), (".events.swp", A)):
        (tmp_path / file).write_bytes(gzip.compress(content))
    (tmp_path / "events.log.3.gz").write_bytes(b"not gzip")
    stored = {str(TailName(str(log), 9, 1, 1, Fingerprint.of(A))): 6}
    siblings = look_beside(log, stored=stored, skip=lambda path: path == log)
    assert {each.path.name: each.first for each in siblings} == {"events.log.1.gz": A, "events.log.2.gz": B}
    beside = find_leftovers(log, stored=stored, siblings=siblings, current=None)
    assert ("events.log.1.gz", True) in [(each.sibling.path.name, each.name is not None) for each in beside.leftovers]
    done = {next(iter(stored)): len(A)}
    only = [each for each in siblings if each.first == A]
    assert find_leftovers(log, stored=done, siblings=only, current=None).leftovers == []


def test_positions_of_files_that_are_gone_are_forgotten_and_no_others(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    log.write_bytes(A)
    here = TailName(str(log), 9, log.stat().st_ino, 1, Fingerprint.of(A))
    away = TailName(str(log), 9, 1, 1, Fingerprint.of(B))
    elsewhere = TailName("/other/events.log", 9, 1, 1, Fingerprint.of(B))
    names = [str(here), str(away), str(elsewhere), f"file:{log}#1-2"]
    assert gone(names, paths=lambda path: path == log) == [str(away)]


async def test_a_followed_file_ends_only_when_it_was_retired_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestor.sources.followed.QUIET_SECONDS", 0.05)
    path = tmp_path / "events.log"
    path.write_bytes(b"one\nhalf")
    file = FollowedFile(path)
    assert await file.has_line()
    file.name({})
    chunks = file.chunks(0)
    assert await anext(chunks) == b"one\nhalf"
    more = asyncio.ensure_future(anext(chunks, b"the end"))
    file.retire()
    with path.open("ab") as writer:
        writer.write(b" a line\n")
    assert await more == b" a line\n"
    more = asyncio.ensure_future(anext(chunks, b"the end"))
    assert not (await asyncio.wait((more,), timeout=0.2))[0], "nothing new stands in its place: it may still grow"
    file.successor_written()
    assert await more == b"the end"
    file.close()


@pytest.mark.parametrize("size", [0, 3, 100])
async def test_a_followed_file_that_holds_something_else_is_noticed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(b"one\ntwo\n")
    file = FollowedFile(path)
    file.name({})
    chunks = file.chunks(0)
    assert await anext(chunks) == b"one\ntwo\n"
    path.write_bytes(b"x" * size)
    file.notice()
    with pytest.raises(Truncated):
        await anext(chunks)
    file.close()


async def test_a_file_is_not_named_after_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(b'{"event')
    file = FollowedFile(path)
    waiting = asyncio.ensure_future(file.has_line())
    assert not (await asyncio.wait((waiting,), timeout=0.05))[0]
    path.write_bytes(b'{"event"}\n')
    file.notice()
    assert await waiting
    assert file.name({}).endswith(f"-1-{Fingerprint.of(path.read_bytes())}")
    file.close()


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        FollowedFile(tmp_path / "pipe")


def test_a_rotated_file_is_known_again_at_its_place_by_what_it_begins_with(tmp_path: Path) -> None:
    """A rotation in between may put another file there, to which the system may have given the same inode."""
    first = tmp_path / "events.log.1"
    first.write_bytes(A)
    (found,) = look_beside(tmp_path / "events.log", stored=(), skip=lambda _: False)
    assert found.is_there()
    with first.open("ab") as file:
        file.write(B)
    assert found.is_there(), "it has grown"
    first.write_bytes(B + A)
    assert first.stat().st_ino == found.inode
    assert not found.is_there()
    first.rename(tmp_path / "events.log.2")
    assert not found.is_there()


def test_names_that_are_shifted_while_a_folder_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is missed, in whatever order they are looked at."""
    for number, content in ((1, A), (2, B), (3, C)):
        (tmp_path / f"events.log.{number}").write_bytes(content)
    look_at, looked = rotated._look_at, 0

    def shifting(path: Path) -> tuple[os.stat_result, bytes]:
        nonlocal looked
        looked += 1
        if looked == 2:
            for number in (3, 2, 1):
                (tmp_path / f"events.log.{number}").rename(tmp_path / f"events.log.{number + 1}")
        return look_at(path)

    monkeypatch.setattr(rotated, "_look_at", shifting)
    siblings = look_beside(tmp_path / "events.log", stored=(), skip=lambda _: False)
    assert {each.path.name: each.first for each in siblings} == {
        "events.log.2": A,
        "events.log.3": B,
        "events.log.4": C,
    }
