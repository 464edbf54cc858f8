"""Files: read from a position to their end, and known again after a restart."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import IO

from ingestor.sources.base import CHUNK_BYTES
from tally.runtime import Failure
from tally.telemetry import get_logger

#: How many of a file's first bytes, at the most, tell it from another one that had its name before.
FINGERPRINT_BYTES = 1024


class File:
    """A file, read from a position to its end.

    Its name holds its absolute path and a fingerprint of its first bytes, so that another file that is put in its
    place is counted and one that has only grown goes on.
    """

    rereadable = True

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.label = str(path)

    def name(self, stored: Iterable[str]) -> str:
        with self._open() as file:
            first = file.read(FINGERPRINT_BYTES)
        prefix = f"file:{self._path}#"
        known = set(stored)
        # It may have been shorter when it was first seen: the longest beginning that is known decides.
        for length in range(len(first), 0, -1):
            name = f"{prefix}{length}-{_fingerprint(first[:length])}"
            if name in known:
                return name
        return f"{prefix}{len(first)}-{_fingerprint(first)}"

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        with self._open() as file:
            size = file.seek(0, os.SEEK_END)
            if position > size:
                get_logger().warning(
                    "file is shorter than what was read of it before; nothing to read",
                    path=str(self._path),
                    position=position,
                    bytes=size,
                )
            file.seek(position)
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk

    def _open(self) -> IO[bytes]:
        try:
            return self._path.open("rb", buffering=0)
        except OSError as error:
            raise Failure(f"{self._path}: cannot be read: {error.strerror}") from error


def _fingerprint(first: bytes) -> str:
    return hashlib.blake2b(first, digest_size=8).hexdigest()
