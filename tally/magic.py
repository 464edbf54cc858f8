"""What a file is that holds no lines of events, told by how it begins. Pure: no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: So many first bytes tell all of them apart.
MAGIC_BYTES = 512


@dataclass(frozen=True, slots=True)
class FileKind:
    """A format, by the name that people know, and the command that turns a file of it into what it holds, if any."""

    name: str
    unpack: str | None = None


GZIP, ZSTD = FileKind("gzip", "gzip -dc"), FileKind("zstd", "zstd -dc --long=31")
BZIP2, XZ, LZMA = FileKind("bzip2", "bzip2 -dc"), FileKind("xz", "xz -dc"), FileKind("lzma", "xz -dc")
TAR = FileKind("a tar archive", "tar -xOf")

#: Long enough, and with bytes that are in no text, so that a first line of garbage is hardly ever taken for one.
_BEGINNINGS: tuple[tuple[bytes, FileKind], ...] = (
    (rb"\x1f\x8b\x08[\x00-\x1f]", GZIP),
    (rb"\x28\xb5\x2f\xfd", ZSTD),
    (rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)", BZIP2),
    (rb"\xfd7zXZ\x00", XZ),
    (rb"\x5d\x00\x00..(?:\xff{8}|.{3}\x00{5})", LZMA),
    (rb".{257}ustar[\x00 ]", TAR),
    (rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", FileKind("a zip archive", "unzip -p")),
    (rb"7z\xbc\xaf\x27\x1c", FileKind("a 7-Zip archive", "7z x -so")),
    (rb"Rar!\x1a\x07", FileKind("a rar archive", "unrar p -inul")),
    (rb"\x04\x22\x4d\x18", FileKind("lz4", "lz4 -dc")),
    (rb"LZIP\x01", FileKind("lzip", "lzip -dc")),
    (rb"\x1f\x9d[\x89-\x90]", FileKind("compress", "gzip -dc")),
    (rb"\xff\x06\x00\x00sNaPpY", FileKind("snappy")),
    (rb"PAR1\x15", FileKind("Parquet")),
    (rb"Obj\x01", FileKind("Avro")),
    (rb"SQLite format 3\x00", FileKind("an SQLite database")),
    (rb"\xff\xfe[\[{]\x00|\xfe\xff\x00[\[{]", FileKind("UTF-16 text", "iconv -f UTF-16 -t UTF-8")),
)

_KINDS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _BEGINNINGS)


def kind_of(first: bytes) -> FileKind | None:
    """Return what a file is that begins so (MAGIC_BYTES are enough); None for lines, and for what is not known."""
    return next((kind for pattern, kind in _KINDS if pattern.match(first)), None)


def what_to_do(kind: FileKind, file: str) -> str:
    """Return how to count the events of such a file, as the rest of a sentence. `file` is empty for standard input."""
    if kind.unpack is None:
        return "write its events as lines of JSON, and count these"
    return f"give its lines, as in: {kind.unpack} {file}".rstrip() + " | tally ingest -"
