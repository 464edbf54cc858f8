"""Files of exports: packed with zstd and a checksum; read so, as gzip, or unpacked, told by how they begin."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from tally import magic
from tally.archives import errors_explained, open_zstd, zstd
from tally.exports import NotAnExport, lines_of

#: What names of files end in.
SUFFIX = ".ndjson.zst"

#: How hard is tried to make it small: that packs as fast as Redis can be read.
_LEVEL = 3

_OPENERS: dict[magic.FileKind, Callable[[IO[bytes]], Any]] = {magic.GZIP: gzip.open, magic.ZSTD: open_zstd}


def packing(raw: IO[bytes]) -> BinaryIO:
    """Return a file that packs into another, which stays open. What was written is there when it is closed."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: _LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    return cast(BinaryIO, zstd.ZstdFile(cast(Any, raw), "wb", options=options))


@contextmanager
def opened(path: Path, raw: IO[bytes] | None = None) -> Iterator[Iterator[bytes]]:
    """Give the lines of an export, for `records_of`: of this file, or of `raw`, which is buffered and has that name.

    Raises NotAnExport for what it surely is not, and Failure when it cannot be read, is cut off, or is corrupt.
    """
    with errors_explained(path), path.open("rb") if raw is None else _left_open(raw) as file:
        first = cast(Any, file).peek(magic.MAGIC_BYTES)[: magic.MAGIC_BYTES]
        kind = magic.kind_of(first)
        if kind is None:
            yield lines_of(cast(BinaryIO, file))
            return
        if kind not in _OPENERS:
            raise NotAnExport(f"{path}: it is {kind.name}, not an export")
        with _OPENERS[kind](file) as content:
            yield lines_of(content)


@contextmanager
def _left_open(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    yield raw
