"""Files of exports: packed with zstd and a checksum; read so, as gzip, or unpacked, told by how they begin."""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from tally import magic
from tally.archives import errors_explained, open_zstd, zstd
from tally.exports import NotAnExport, lines_of
from tally.runtime import Failure, Misuse

#: What names of files end in.
SUFFIX = ".ndjson.zst"

#: What one ends in besides, until it is whole.
PARTIAL = ".partial"

#: How hard is tried to make it small: that packs faster than Redis can be read.
_LEVEL = 3

_OPENERS: dict[magic.FileKind, Callable[[IO[bytes]], Any]] = {magic.GZIP: gzip.open, magic.ZSTD: open_zstd}


class Packed:
    """Packs what is written, and writes that to a file. All of it raises Failure, as for a full disk."""

    def __init__(self, raw: IO[bytes], name: str, *, finish: Callable[[], None] = lambda: None) -> None:
        """`finish` is called when all is written."""
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: _LEVEL,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._compressor = zstd.ZstdCompressor(options=options)
        self._raw = raw
        self._finish = finish
        self.name = name
        self.bytes = self.unpacked_bytes = 0

    def write(self, data: bytes) -> None:
        """Write some of it."""
        self.unpacked_bytes += len(data)
        self._write(self._compressor.compress(data))

    def finish(self, data: bytes = b"") -> None:
        """Write the rest of it: it is whole when this returns."""
        self.write(data)
        self._write(self._compressor.flush())
        with self._explained():
            self._raw.flush()
            self._finish()

    def _write(self, packed: bytes) -> None:
        self.bytes += len(packed)
        with self._explained():
            while packed:  # a raw file may take less than all at once
                packed = packed[self._raw.write(packed) :]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = "nobody reads it any more" if error.errno == errno.EPIPE else error.strerror
            raise Failure(f"{self.name} cannot be written: {why}") from error


@contextmanager
def standard_output() -> Iterator[Packed]:
    """Give what writes to standard output."""
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as raw:
        yield Packed(raw, "standard output")


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[Packed]:
    """Give what writes a file that is there only when it is whole: until then it ends in PARTIAL.

    Whoever else is on this machine may not read it: it is people's data. Raises Misuse where there is one already,
    unless with `force`, and Failure where it cannot be written.
    """
    _check_new(path, force=force)
    partial = path.with_name(path.name + PARTIAL)
    with _locked(partial) as raw:
        is_done = False

        def finish() -> None:
            nonlocal is_done
            os.fsync(raw.fileno())
            _check_new(path, force=force)
            partial.replace(path)
            is_done = True
            _sync_folder(path.parent)

        try:
            yield Packed(raw, str(path), finish=finish)
        finally:
            if not is_done:
                with suppress(OSError):
                    partial.unlink()


def _check_new(path: Path, *, force: bool) -> None:
    """Raise Misuse if there is something that is not to be replaced: a device or a pipe never is."""
    with suppress(OSError):
        found = path.lstat()
        if not force:
            raise Misuse(f"{path} is there already; give another name, or --force to replace it")
        if not (stat.S_ISREG(found.st_mode) or path.is_symlink()):
            raise Misuse(f"{path} is no file; write to standard output, `-`, and send that there")


@contextmanager
def _locked(partial: Path) -> Iterator[IO[bytes]]:
    """Give a file that nobody else writes meanwhile; what a killed process has left is written over."""
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"{partial} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb", buffering=0) as raw:
        try:
            fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"{partial} is being written by another process") from None
        raw.truncate()
        yield raw


def _sync_folder(folder: Path) -> None:
    """Have the name of a new file on the disk, too, where a folder can be told so."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
