"""Files of exports are known by how they begin, and what is not a sound one is said to be that."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tally.export_files import Packed, new_file, opened
from tally.exports import NotAnExport
from tally.runtime import Failure, Misuse

LINES = [b'{"line":%d}\n' % number for number in range(20_000)]


def packed(content: bytes) -> bytes:
    raw = io.BytesIO()
    file = Packed(raw, "a file")
    file.write(content[:10_000])
    file.finish(content[10_000:])
    assert (file.unpacked_bytes, file.bytes) == (len(content), len(raw.getvalue()))
    return raw.getvalue()


def read(path: Path) -> list[bytes]:
    with opened(path) as lines:
        return list(lines)


@pytest.mark.parametrize("pack", [packed, gzip.compress, bytes])
def test_a_file_is_read_by_how_it_begins_whatever_it_is_called(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "export.txt"
    path.write_bytes(pack(b"".join(LINES)))

    assert read(path) == LINES
    with path.open("rb") as raw, opened(Path("-"), raw) as lines:
        assert list(lines) == LINES


def test_any_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "export.zst"
    whole = packed(b"".join(LINES))
    for at in range(8, len(whole), len(whole) // 40):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(Failure, match=r"export.zst: the archive is (corrupt|cut off)"):
            read(path)


@pytest.mark.parametrize("pack", [packed, gzip.compress])
def test_a_file_that_is_cut_off_is_said_to_be_that(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "export"
    path.write_bytes(pack(b"".join(LINES))[:-9])

    with pytest.raises(Failure, match="the archive is cut off"):
        read(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [(bz2.compress(b"x" * 99), "it is bzip2, not an export"), (b"SQLite format 3\x00", "it is an SQLite database")],
)
def test_what_is_something_else_is_said_to_be_that(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "export"
    path.write_bytes(content)

    with pytest.raises(NotAnExport, match=says):
        read(path)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="export: cannot be read: No such file or directory"):
        read(tmp_path / "export")


def test_a_file_is_there_when_it_is_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "export"
    with new_file(path, force=False) as packed:
        packed.write(b"".join(LINES))
        assert [each.name for each in tmp_path.iterdir()] == ["export.partial"]
        packed.finish()
        assert [each.name for each in tmp_path.iterdir()] == ["export"]

    assert read(path) == LINES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    def fail() -> None:
        with new_file(tmp_path / "export", force=False) as packed:
            packed.write(b"x" * 9_000_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_if_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(b"before")
    with pytest.raises(Misuse, match="is there already"), new_file(path, force=False):
        pass
    assert path.read_bytes() == b"before"

    with new_file(path, force=True) as packed:
        assert path.read_bytes() == b"before"
        packed.finish(b"".join(LINES))
    assert read(path) == LINES


def test_one_that_has_come_meanwhile_is_not_replaced_either(tmp_path: Path) -> None:
    path = tmp_path / "export"
    with new_file(path, force=False) as packed:
        path.write_bytes(b"meanwhile")
        with pytest.raises(Misuse, match="is there already"):
            packed.finish()

    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"export": b"meanwhile"}


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(Misuse, match="is no file"), new_file(path, force=True):
        pass

    assert path.is_fifo()


def test_what_a_killed_process_has_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "export.partial").write_bytes(b"x" * 1_000_000)
    with new_file(tmp_path / "export", force=False) as packed:
        packed.finish(b"".join(LINES))

    assert read(tmp_path / "export") == LINES
    assert len(list(tmp_path.iterdir())) == 1


def test_two_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "export"
    with new_file(path, force=False) as packed:
        with pytest.raises(Failure, match="is being written by another process"), new_file(path, force=False):
            pass
        packed.finish(b"".join(LINES))

    assert read(path) == LINES


def test_a_full_disk_is_one_sentence() -> None:
    with open("/dev/full", "wb", buffering=0) as raw:
        packed = Packed(raw, "export")
        with pytest.raises(Failure, match="export cannot be written: No space left on device"):
            packed.finish(b"".join(LINES))


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "no" / "export"
    with pytest.raises(Failure, match="cannot be written: No such file"), new_file(path, force=False):
        pass
