"""Files of exports are known by how they begin, and what is not a sound one is said to be that."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from tally.export_files import opened, packing
from tally.exports import NotAnExport
from tally.runtime import Failure

LINES = [b'{"line":%d}\n' % number for number in range(20_000)]


def packed(content: bytes) -> bytes:
    raw = io.BytesIO()
    with packing(raw) as file:
        file.write(content)
    assert not raw.closed
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
