"""What decides which file is which, and which rotated files are still to be read: pure, or on a folder alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint
from ingestor.sources import parse_source
from ingestor.sources import siblings as siblings_module
from ingestor.sources.base import CHUNK_BYTES
from ingestor.sources.followed import FollowedFile, Truncated
from ingestor.sources.leftovers import Leftovers, find_leftovers, is_copy
from ingestor.sources.siblings import gone, hops, is_rotation_of, look_beside
from ingestor.sources.tail_names import TailName
from ingestor.sources.tail_paths import one_spelling
from ingestor.sources.tail_rules import find_name
from tally.archives import is_compressed
from tally.store import Known
from tests.packing import PACK

LOG = Path("/logs/events.log")


def name(first: bytes, *, inode: int = 1, generation: int = 1, device: int = 9, path: Path = LOG) -> TailName:
    return TailName(str(path), device, inode, generation, Fingerprint.of(first[:FINGERPRINT_BYTES]))


def read_of(name: TailName, content: bytes) -> dict[str, Known]:
    """What is stored of a file when so much of it was read, by its name."""
    return {str(name): Known(str(name), len(content), str(Fingerprint.of(content[-FINGERPRINT_BYTES:])))}


class Folder:
    """Files beside a followed path, made one after the other, so that each was written to after those before it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "events.log"
        self.made = 0
        self.stored: dict[str, Known] = {}

    def has(self, file: str, content: bytes, *, read: bytes | None = None, known_by: int | None = None) -> TailName:
        """Make a file, of which so much was read: under its inode, or under another one."""
        path = self.log.with_name(file)
        path.write_bytes(PACK[path.suffix[1:]](content) if is_compressed(path) else content)
        self.made += 1
        os.utime(path, (self.made, self.made))
        made = name(content, inode=path.stat().st_ino if known_by is None else known_by, path=self.log)
        if read is not None:
            self.stored |= read_of(made, read)
        return made

    def gone(self, content: bytes, *, read: bytes) -> TailName:
        """A file that is not there any more, of which so much was read."""
        made = name(content, inode=1, path=self.log)
        self.stored |= read_of(made, read)
        return made

    def beside(self, *, current: TailName | None = None, current_inode: int | None = None) -> Leftovers:
        siblings = look_beside(self.log, stored=self.stored, skip=lambda path: path == self.log)
        return find_leftovers(
            self.log, stored=self.stored, siblings=siblings, current=current, current_inode=current_inode
        )

    def left(self, *, current: TailName | None = None, current_inode: int | None = None) -> list[tuple[str, bool]]:
        """Names of the files to be read, with whether they are known."""
        found = self.beside(current=current, current_inode=current_inode).leftovers
        return [(each.sibling.path.name, each.name is not None) for each in found]


async def nothing_is_stored(**_: Any) -> Mapping[str, Known]:
    return {}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


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
    stored = (
        read_of(name(b"one\n"), b"one\n") | read_of(name(b"two\n"), b"two\n") | read_of(name(b"one\n", inode=2), b"")
    )

    def found(first: bytes, **more: int) -> TailName | None:
        return find_name(stored, **{"device": 9, "inode": 1, **more}, first=first, fits=lambda _: True)

    assert found(first) == name(b"one\n")
    assert found(b"three\n") is None
    assert found(first, inode=3) is None
    assert found(first, device=8) == name(b"one\n"), "devices are numbered anew when the machine starts"
    assert found(b"on") is None, "it is shorter than what was read of it"


def test_of_several_names_of_an_inode_that_fit_the_furthest_counts() -> None:
    names = [name(b"one\n", generation=1), name(b"one\ntwo\n", generation=3), name(b"one\n", generation=2)]
    stored = {str(each): Known(str(each), position) for each, position in zip(names, (8, 9, 12), strict=True)}
    first = b"one\ntwo\nthree\n"
    found = find_name(stored, device=9, inode=1, first=first, fits=lambda known: known.position < 10)
    assert found == names[1]


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


@pytest.mark.parametrize("below", ["", "pods/"])
def test_rotated_names_are_those_of_what_a_link_points_to_as_well(tmp_path: Path, below: str) -> None:
    (tmp_path / "pods").mkdir(exist_ok=True)
    (tmp_path / "containers").mkdir()
    path = tmp_path / "containers" / "web.log"
    path.symlink_to("../between.log")
    (tmp_path / "between.log").symlink_to(f"{below}0.log")
    assert hops(path) == [path, tmp_path / "between.log", tmp_path / below / "0.log"]
    for other in (f"{below}0.log.20260101-120000", "between.log.1", "containers/web.log.1", "containers/0.log.1"):
        (tmp_path / other).write_bytes(A)
    found = {each.path for each in look_beside(path, stored=(), skip=lambda _: False)}
    assert found == {
        tmp_path / f"{below}0.log.20260101-120000",
        tmp_path / "between.log.1",
        path.with_name("web.log.1"),
    }


def test_links_that_lead_in_a_circle_are_no_hang(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    assert len(hops(tmp_path / "one")) < 100


A, B, C = b"a one\na two\n", b"b one\nb two\n", b"c one\nc two\n"

#: What rotated files begin with where each has the same header.
HEAD = b"h" * FINGERPRINT_BYTES + b"\n"


def test_the_rest_of_a_known_file_is_left_and_nothing_of_one_that_was_read(folder: Folder) -> None:
    folder.has("events.log.2", A, read=A[:6])
    folder.has("events.log.1", B, read=B)
    assert folder.left() == [("events.log.2", True)]


def test_files_of_before_the_first_start_are_left_alone(folder: Folder) -> None:
    folder.has("events.log.1", A)
    assert folder.left() == []


@pytest.mark.parametrize("head", [b"", HEAD], ids=["different", "alike"])
def test_a_file_that_was_never_seen_is_left_if_it_is_newer_than_the_last_that_was(folder: Folder, head: bytes) -> None:
    folder.has("events.log.3", head + C)
    known = folder.has("events.log.2", head + A, read=head + A)
    folder.has("events.log.1", head + B)
    assert folder.left() == [("events.log.1", False)]
    folder.stored |= read_of(known, head + A[:6])
    assert folder.left() == [("events.log.2", True), ("events.log.1", False)]
    current = name(b"d\n", inode=4, path=folder.log)
    folder.stored |= read_of(known, head + A) | read_of(current, b"d\n")
    assert folder.left(current=current) == [], "no rotation was missed then"


@pytest.mark.parametrize("head", [b"", HEAD], ids=["short", "long"])
@pytest.mark.parametrize("copy", ["events.log.2.bak", "events.log.3.gz"])
async def test_a_copy_of_what_is_known_is_not_read_again(folder: Folder, head: bytes, copy: str) -> None:
    folder.has("events.log.2", head + A, read=head + A)
    folder.has(copy, head + A)
    left = folder.beside().leftovers
    assert [each.sibling.path.name for each in left if not (each.sibling.compressed and await is_copy(each))] == []


@pytest.mark.parametrize("suffix", sorted(PACK))
async def test_an_archive_that_only_begins_like_what_is_known_is_no_copy_of_it(folder: Folder, suffix: str) -> None:
    folder.has("events.log.3", HEAD + A, read=HEAD + A)
    folder.has("events.log.2.gz", HEAD + B, read=HEAD + B)
    folder.has(f"events.log.1.{suffix}", HEAD + C)
    folder.has("events.log.4.zst", HEAD + B)
    found = {each.sibling.path.name: await is_copy(each) for each in folder.beside().leftovers if each.name is None}
    assert found == {f"events.log.1.{suffix}": False, "events.log.4.zst": True}


def test_the_copy_of_a_file_that_was_truncated_is_read_on(folder: Folder) -> None:
    folder.gone(A, read=A[:6])
    folder.has("events.log.1", A)
    assert folder.left() == [("events.log.1", True)]


def test_a_copy_of_a_file_that_is_gone_is_not_read_again(folder: Folder) -> None:
    folder.gone(A, read=A)
    folder.has("events.log.1", A)
    assert folder.left() == []


def test_a_file_that_is_shorter_than_the_one_that_is_gone_is_its_copy_only_if_that_was_cut_down(folder: Folder) -> None:
    gone = folder.gone(HEAD + A + B, read=HEAD + A + B)
    folder.has("events.log.1", HEAD + A)
    assert folder.left(current_inode=gone.inode) == [], "more was read than is copied"
    assert [each.sibling.path.name for each in folder.beside().unknown] == ["events.log.1"]


def test_a_file_that_begins_like_one_that_is_gone_is_another_if_it_goes_on_otherwise(folder: Folder) -> None:
    folder.gone(HEAD + A, read=HEAD + A)
    folder.has("events.log.1", HEAD + B + C)
    assert [each.sibling.path.name for each in folder.beside().unknown] == ["events.log.1"]


def test_a_known_inode_with_another_content_is_another_file(folder: Folder) -> None:
    folder.has("events.log.1", HEAD + A, read=HEAD + B)
    assert folder.beside().missing
    assert [each.sibling.path.name for each in folder.beside().unknown] == ["events.log.1"]


def test_a_file_that_is_just_being_compressed_is_not_read_twice(folder: Folder) -> None:
    folder.has("events.log.2", A, read=A)
    folder.has("events.log.1", B)
    folder.has("events.log.1.gz", C)
    assert folder.left() == [("events.log.1", False)]


def test_a_rotated_name_without_a_suffix_is_read_as_others_are(folder: Folder) -> None:
    folder.log = folder.log.with_name("messages")
    folder.has("messages-20260101", A, read=A)
    folder.has("messages-20260102", B)
    assert folder.left() == [("messages-20260102", False)]


def test_a_compressed_file_is_known_by_what_it_holds(folder: Folder) -> None:
    folder.gone(A, read=A[:6])
    for file, content in (("events.log.1.gz", A), ("events.log.2.gz", B), ("unrelated.gz", A)):
        folder.has(file, content)
    (folder.log.parent / "events.log.3.gz").write_bytes(b"not gzip")
    (folder.log.parent / ".events.swp").write_bytes(A)
    siblings = look_beside(folder.log, stored=folder.stored, skip=lambda path: path == folder.log)
    assert {each.path.name: each.first for each in siblings} == {"events.log.1.gz": A, "events.log.2.gz": B}
    assert ("events.log.1.gz", True) in folder.left()


def test_a_compressed_file_that_was_read_is_not_left(folder: Folder) -> None:
    folder.gone(A, read=A)
    folder.has("events.log.1.gz", A)
    assert folder.left() == []


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
    await file.known_as(nothing_is_stored)
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


@pytest.mark.parametrize(
    "content",
    [b"", b"xxx", b"x" * 3000, HEAD + b"other\nthree\nfour\n", HEAD + b"one\n"],
    ids=["empty", "shorter", "longer", "alike and longer", "alike and shorter"],
)
async def test_a_followed_file_that_holds_something_else_is_noticed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(HEAD + b"one\ntwo\n")
    file = FollowedFile(path)
    await file.known_as(nothing_is_stored)
    chunks = file.chunks(0)
    assert await anext(chunks) == HEAD + b"one\ntwo\n"
    path.write_bytes(content)
    file.notice()
    with pytest.raises(Truncated):
        await anext(chunks)
    file.close()


@pytest.mark.parametrize("position", [0, 3, len(HEAD), len(HEAD) + 4])
async def test_a_followed_file_is_read_with_the_bytes_before_its_position(tmp_path: Path, position: int) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(HEAD + b"one\ntwo\n")
    file = FollowedFile(path)
    chunks = file.chunks(position)
    assert await anext(chunks) == path.read_bytes()[max(0, position - FINGERPRINT_BYTES) :]
    file.close()


async def test_a_followed_file_that_is_shorter_than_its_position_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(A)
    file = FollowedFile(path)
    with pytest.raises(Truncated):
        await anext(file.chunks(len(A) + 1))
    file.close()


@pytest.mark.parametrize(
    ("position", "generation", "goes_on"),
    [
        pytest.param(6, 1, True, id="a line ends there"),
        pytest.param(len(A), 1, True, id="it is read whole"),
        pytest.param(5, 1, False, id="no line ends there"),
        pytest.param(len(A) + 1, 1, False, id="it is shorter"),
    ],
)
async def test_a_position_without_a_fingerprint_is_good_if_a_line_ends_there(
    tmp_path: Path, position: int, generation: int, goes_on: bool
) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(A)
    file = FollowedFile(path)
    stored_name = TailName(str(path), file.device, file.inode, generation, Fingerprint.of(A))
    stored = {str(stored_name): Known(str(stored_name), position)}
    assert (file.find_name(stored) == stored_name) is goes_on
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
    assert (await file.known_as(nothing_is_stored)).name.endswith(f"-1-{Fingerprint.of(path.read_bytes())}")
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
    look_at, looked = siblings_module._look_at, 0

    def shifting(path: Path) -> tuple[os.stat_result, bytes]:
        nonlocal looked
        looked += 1
        if looked == 2:
            for number in (3, 2, 1):
                (tmp_path / f"events.log.{number}").rename(tmp_path / f"events.log.{number + 1}")
        return look_at(path)

    monkeypatch.setattr(siblings_module, "_look_at", shifting)
    siblings = look_beside(tmp_path / "events.log", stored=(), skip=lambda _: False)
    assert {each.path.name: each.first for each in siblings} == {
        "events.log.2": A,
        "events.log.3": B,
        "events.log.4": C,
    }


@pytest.mark.parametrize("turns", range(4))
async def test_a_rotated_file_that_changes_just_when_it_is_no_longer_read_is_left(tmp_path: Path, turns: int) -> None:
    log = tmp_path / "events.log"
    log.write_bytes(A)
    file = FollowedFile(log)
    await file.known_as(nothing_is_stored)
    file.retire()
    chunks = file.chunks(0)
    assert await anext(chunks) == A
    waiting = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0.01)
    file.notice()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,), timeout=1)
    assert waiting.cancelled()
    file.close()


async def test_a_file_is_live_when_what_is_to_be_read_fits_one_read_and_else_bulk(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(A * (2 * CHUNK_BYTES // len(A) + 1))
    file = FollowedFile(path)
    try:
        assert file.is_bulk, "nothing was read yet"
        chunks = file.chunks(0)
        await anext(chunks)
        while file.is_bulk:
            await anext(chunks)
        with path.open("ab") as writer:
            writer.write(A)
            writer.flush()
            assert not file.is_bulk, "it grows by a line"
            writer.write(b"x" * CHUNK_BYTES)
            writer.flush()
            assert file.is_bulk, "it grows faster than it is read"
        await chunks.aclose()
        position = path.stat().st_size - 10
        again = file.chunks(position)
        await anext(again)
        assert not file.is_bulk, "it goes on near its end"
        await again.aclose()
    finally:
        file.close()
