"""Compressed files: opened by their suffix, read as what they hold; what cannot be read so is refused by its format.

Positions in one are positions in what it holds, so a compressed copy of a file goes on where the file was left.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import shlex
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from tally import magic
from tally.runtime import Failure

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

#: What `zstd --long=31` writes needs that much, the format's most. It is taken only as far as the file fills it.
_MAX_WINDOW = zstd.DecompressionParameter.window_log_max
_ZSTD_OPTIONS: dict[int, int] = {_MAX_WINDOW: _MAX_WINDOW.bounds()[1]}


def open_zstd(raw: IO[bytes]) -> Any:
    """Open what zstd has packed, with whatever window."""
    return zstd.open(raw, options=_ZSTD_OPTIONS)


_Opener = Callable[[IO[bytes]], Any]

#: By the ends of names, in small letters: what a file should be by its content, and what opens it.
_OPENERS: dict[str, tuple[tuple[magic.FileKind, ...], _Opener]] = {
    **dict.fromkeys((".gz", ".tgz"), ((magic.GZIP,), gzip.open)),
    **dict.fromkeys((".zst", ".tzst"), ((magic.ZSTD,), open_zstd)),
    **dict.fromkeys((".bz2", ".tbz", ".tbz2"), ((magic.BZIP2,), bz2.open)),
}

_CORRUPT: tuple[type[Exception], ...] = (zlib.error, zstd.ZstdError, gzip.BadGzipFile)

with suppress(ImportError):  # a Python that was built without it says what such a file is
    import lzma

    _OPENERS |= dict.fromkeys((".xz", ".txz"), ((magic.XZ, magic.LZMA), lzma.open))
    _OPENERS[".lzma"] = ((magic.LZMA, magic.XZ), lzma.open)
    _CORRUPT += (lzma.LZMAError,)

#: Names that end so, in any case, are not those of plain files. Not all of them can be read.
SUFFIXES = frozenset({*_OPENERS, ".xz", ".txz", ".lzma", ".tar", ".zip", ".7z", ".rar", ".lz4", ".lz", ".z", ".br"})


def is_compressed(path: Path) -> bool:
    """Return whether the name is one of a compressed file."""
    return path.suffix.lower() in SUFFIXES


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file for reading: what it holds, and the file itself (by which one knows how far that is).

    Raises Failure when it cannot be opened, or is something else than its name promises, as an archive of files; and
    translates what goes wrong inside: see `errors_explained`.
    """
    with errors_explained(path), path.open("rb", buffering=0) as raw:
        kind = magic.kind_of(os.pread(raw.fileno(), magic.MAGIC_BYTES, 0))
        expected, opener = _OPENERS.get(path.suffix.lower(), ((), None))
        if kind is not None and kind not in expected:
            raise _other_than_its_name(path, kind)
        if path.suffix.lower() == ".br":  # which has no beginning of its own
            raise _other_than_its_name(path, magic.FileKind("brotli", "brotli -dc"))
        if opener is None:
            yield raw, raw
            return
        with opener(raw) as content:
            inside = magic.kind_of(content.peek(magic.MAGIC_BYTES))  # which is read only once for it
            if inside is not None:
                what_to_do = magic.what_to_do(inside, _quoted(path)) if inside is magic.TAR else "unpack it first"
                raise Failure(f"{path}: it holds {inside.name}, not lines of events; {what_to_do}")
            yield content, raw


def _other_than_its_name(path: Path, kind: magic.FileKind) -> Failure:
    suffix = next((suffix for suffix, (kinds, _) in _OPENERS.items() if kind in kinds[:1]), None)
    if suffix is not None:
        return Failure(
            f"{path}: it is {kind.name}, which its name does not say; rename it, so that it ends in {suffix}"
        )
    return Failure(f"{path}: it is {kind.name}, not lines of events; {magic.what_to_do(kind, _quoted(path))}")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def refuse_packed(first: bytes, name: str = "") -> None:
    """Raise Failure, which begins with the name, if standard input that begins so holds no lines."""
    kind = magic.kind_of(first)
    if kind is not None:
        raise Failure(
            f"{name}{': ' if name else ''}it is {kind.name}, not lines of events; {magic.what_to_do(kind, '')}"
        )


@contextmanager
def opened_buffered(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading line by line: what it holds alone."""
    with opened(path) as (content, _), io.BufferedReader(cast(io.RawIOBase, content)) as buffered:
        yield buffered


@contextmanager
def errors_explained(path: Path) -> Iterator[None]:
    """Turn errors of reading a file into a Failure that names the file, what is wrong, and what can be done."""
    try:
        yield
    except EOFError as error:
        raise Failure(
            f"{path}: the archive is cut off: its end is missing. Put the whole file in its place and run this again"
        ) from error
    except MemoryError as error:
        raise _too_large(path, "") from error
    except _CORRUPT as error:
        if "memory" in str(error):  # as zstd says that a window is too large, or that there is none left for it
            raise _too_large(path, f" ({error})") from error
        raise _corrupt(path, error) from error
    except OSError as error:
        if error.errno is None:  # how bz2 says that its data are wrong
            raise _corrupt(path, error) from error
        raise Failure(f"{path}: cannot be read: {error.strerror}") from error


def _too_large(path: Path, why: str) -> Failure:
    return Failure(
        f"{path}: to unpack it takes more memory than there is{why}. Unpack it elsewhere, or pack it without --long"
    )


def _corrupt(path: Path, error: Exception) -> Failure:
    kind = f"{suffix}: " if (suffix := path.suffix.lower().removeprefix(".")) else ""  # standard input has none
    return Failure(f"{path}: the archive is corrupt ({kind}{error}). Put a sound file in its place and run this again")


#: A piece of this size is given as it came, without being put together with the next: to copy it would take time.
#: Smaller ones are filled up, for the first bytes of a file are compared with those of another one.
GIVEN_AS_IT_IS_BYTES = 65_536


class Reader:
    """Reads pieces of a good size; what an archive holds before the place where it is broken is given first."""

    def __init__(self, content: IO[bytes]) -> None:
        # An archive's `read` throws away what it has unpacked already when it then meets an error; `read1` does not.
        self._read_some = getattr(content, "read1", content.read)
        self._error: Exception | None = None

    def read(self, size: int) -> bytes:
        """Return at least one byte and about so many, of a small size not fewer; none at the end.

        Raises what reading raises.
        """
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
            if not found and len(piece) >= max(size // 2, GIVEN_AS_IT_IS_BYTES):
                return bytes(piece)
            found += piece
        return bytes(found)


def holds_exactly(path: Path, size: int) -> bool:
    """Return whether it certainly holds just so many bytes, without unpacking it; False if that is unsure."""
    if path.suffix.lower() != ".gz":
        return False
    try:
        with path.open("rb") as file:
            file.seek(-4, 2)
            return int.from_bytes(file.read(4), "little") == size & 0xFFFFFFFF
    except OSError:
        return False
