"""Compressed files: opened by their suffix, read as what they hold.

Positions in one are positions in what it holds, so a compressed copy of a file goes on where the file was left.
"""

from __future__ import annotations

import bz2
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from tally.runtime import Failure

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {".gz": gzip.open, ".zst": zstd.open, ".bz2": bz2.open}

#: Names that end so are read as compressed.
SUFFIXES = frozenset(_OPENERS)


def is_compressed(path: Path) -> bool:
    """Whether the name says so."""
    return path.suffix in SUFFIXES


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file for reading: what it holds, and the file itself (by which one knows how far that is).

    Raises Failure when it cannot be opened, and translates what goes wrong inside: see `errors_explained`.
    """
    with errors_explained(path), path.open("rb", buffering=0) as raw:
        opener = _OPENERS.get(path.suffix)
        if opener is None:
            yield raw, raw
            return
        with opener(raw) as content:
            yield content, raw


@contextmanager
def opened_buffered(path: Path) -> Iterator[BinaryIO]:
    """The same, for who reads line by line: what it holds alone."""
    with opened(path) as (content, _), io.BufferedReader(cast(io.RawIOBase, content)) as buffered:
        yield buffered


@contextmanager
def errors_explained(path: Path) -> Iterator[None]:
    """Errors of reading a file, as a Failure that says which file, what is wrong, and what can be done."""
    try:
        yield
    except EOFError as error:
        raise Failure(
            f"{path}: the archive is cut off: its end is missing. Put the whole file in its place and run this again"
        ) from error
    except (zlib.error, zstd.ZstdError, gzip.BadGzipFile) as error:
        raise _corrupt(path, error) from error
    except OSError as error:
        if error.errno is None:  # how bz2 says that its data are wrong
            raise _corrupt(path, error) from error
        raise Failure(f"{path}: cannot be read: {error.strerror}") from error


def _corrupt(path: Path, error: Exception) -> Failure:
    kind = path.suffix.removeprefix(".")
    return Failure(
        f"{path}: the archive is corrupt ({kind}: {error}). Put a sound file in its place and run this again"
    )


class Reader:
    """Reads pieces of a good size; what an archive holds before the place where it is broken is given first."""

    def __init__(self, content: IO[bytes]) -> None:
        # An archive's `read` throws away what it has unpacked already when it then meets an error; `read1` does not.
        self._read_some = getattr(content, "read1", content.read)
        self._error: Exception | None = None

    def read(self, size: int) -> bytes:
        """At least one byte and about so many; none at the end. Raises what reading raises."""
        if self._error is not None:
            raise self._error
        found = bytearray()
        while len(found) < size:
            try:
                piece = self._read_some(size)
            except Exception as error:
                if not found:
                    raise
                self._error = error
                break
            if not piece:
                break
            if not found and len(piece) >= size // 2:
                return bytes(piece)
            found += piece
        return bytes(found)


def holds_exactly(path: Path, size: int) -> bool:
    """Whether it is plain, without unpacking the whole, that it holds just so many bytes. False if that is unsure."""
    if path.suffix != ".gz":
        return False
    try:
        with path.open("rb") as file:
            file.seek(-4, 2)
            return int.from_bytes(file.read(4), "little") == size & 0xFFFFFFFF
    except OSError:
        return False
