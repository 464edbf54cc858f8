"""Compressed files are read by their names; what is something else is said to be that, and not counted as garbage."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from tally.archives import Reader, is_compressed, opened
from tally.magic import kind_of
from tally.runtime import Failure
from tests.packing import PACK, pack_zst

LINES = b'{"event_type": "a", "data": "b"}\n' * 3000


def tar(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("events.ndjson")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("events.ndjson", content)
    return file.getvalue()


def read(path: Path) -> bytes:
    found = b""
    with opened(path) as (content, _):
        reader = Reader(content)
        while chunk := reader.read(1 << 16):
            found += chunk
    return found


@pytest.mark.parametrize("suffix", [*PACK, *map(str.upper, PACK), "Gz"])
def test_an_archive_is_read_by_its_suffix_in_any_case(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"events.{suffix}"
    path.write_bytes(PACK[suffix.lower()](LINES))
    assert is_compressed(path)
    assert read(path) == LINES


def test_the_largest_window_of_zstd_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "events.zst"
    path.write_bytes(pack_zst(LINES, window_log=31))
    assert read(path) == LINES


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("events.log", PACK["gz"](LINES), "it is gzip, which its name does not say; rename it, so that it ends in .gz"),
        ("events.log.1", PACK["zst"](LINES), "it is zstd, which .* ends in .zst"),
        ("events.gz", PACK["bz2"](LINES), "it is bzip2, which .* ends in .bz2"),
        ("events", PACK["xz"](LINES), "it is xz, which .* ends in .xz"),
        ("events", PACK["lzma"](LINES), "it is lzma, which .* ends in .lzma"),
        ("events.zip", zipped(LINES), r"it is a zip archive, .* as in: unzip -p /\S+/events.zip \| tally ingest -"),
        ("events", zipped(LINES), "it is a zip archive, not lines of events"),
        ("events.tar", tar(LINES), r"it is a tar archive, .* as in: tar -xOf \S+ \| tally ingest -"),
        ("events.tgz", PACK["gz"](tar(LINES)), r"it holds a tar archive, .* as in: tar -xOf \S+ \| tally ingest -"),
        ("events.tar.XZ", PACK["xz"](tar(LINES)), "it holds a tar archive"),
        ("events.gz", PACK["gz"](PACK["gz"](LINES)), "it holds gzip, not lines of events; unpack it first"),
        ("events.br", b"\x1b\x00\x00", "it is brotli"),
        ("events.lz4", b"\x04\x22\x4d\x18\x64\x40\xa7", "it is lz4"),
        ("events.7z", b"7z\xbc\xaf\x27\x1c\x00\x04", "it is a 7-Zip archive"),
        ("events.db", b"SQLite format 3\x00\x10\x00", "it is an SQLite database, .*; write its events as lines"),
        ("events.txt", LINES.decode().encode("utf-16"), "it is UTF-16 text, .*: iconv -f UTF-16 -t UTF-8"),
    ],
)
def test_what_is_no_lines_of_events_is_said_to_be_what_it_is(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Failure, match=f"^{path}: {said}"):
        read(path)


@pytest.mark.parametrize(
    "content", [b"", b"{", LINES, b"PK", b"BZh91 is no archive\n", b"\x1f\x8b", b"\xff\xfe\xfd", b"Obj", b"\0" * 600]
)
def test_lines_however_they_begin_are_lines(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(content + LINES)
    assert read(path) == content + LINES


def test_garbage_is_not_taken_for_an_archive() -> None:
    chance = random.Random(20)
    assert sum(kind_of(chance.randbytes(20)) is not None for _ in range(100_000)) <= 2


@pytest.mark.parametrize("suffix", PACK)
def test_the_first_bytes_are_the_same_however_it_was_packed(tmp_path: Path, suffix: str) -> None:
    """A file is known again by them, also where it was packed in parts, of which the first may be small."""
    lines = b"".join(b'{"event_type": "a", "data": "%d"}\n' % at for at in range(100))
    whole, parts = tmp_path / f"whole.{suffix}", tmp_path / f"parts.{suffix}"
    whole.write_bytes(PACK[suffix](lines))
    parts.write_bytes(PACK[suffix](lines[:700]) + PACK[suffix](lines[700:]))
    for path in (whole, parts):
        with opened(path) as (content, _):
            assert Reader(content).read(1024)[:1024] == lines[:1024]
