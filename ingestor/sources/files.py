"""Files: read from a position to their end, and known again after a restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from ingestor.sources.base import CHUNK_BYTES
from ingestor.sources.fingerprints import FINGERPRINT_BYTES, Fingerprint, printable
from tally.archives import Reader, is_compressed, opened
from tally.telemetry import get_logger


class Replaced(Exception):
    """Another file stands at the path than the one that was meant."""


class File:
    """A file, plain or compressed (see tally.archives), read from a position to its end.

    Its name holds its real path, links followed, so that it is one file however it is spelled; and a fingerprint of
    its first bytes, so that another file that is put in its place is counted and one that has only grown goes on.
    Positions in a compressed file are positions in what it holds: to go on, it is unpacked again from its start.
    """

    rereadable = True
    finite = True

    def __init__(self, path: Path, *, identity: tuple[int, int] | None = None) -> None:
        """With `identity`, a device and an inode, another file at the path is not read: `chunks` raises Replaced."""
        self._path = path.absolute()
        self._identity = identity
        self.label = printable(path)
        self.read_bytes = 0  # of the file itself, as it is on the disk

    @property
    def size_bytes(self) -> int:
        """As it is on the disk; 0 if that cannot be told."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def name(self, stored: Mapping[str, int]) -> str:
        with opened(self._path) as (content, _):
            first = Reader(content).read(FINGERPRINT_BYTES)[:FINGERPRINT_BYTES]
        real_path = printable(self._path.resolve())
        # It may have been shorter when it was first seen: the longest beginning that is known decides.
        for length in range(len(first), 0, -1):
            fingerprint = Fingerprint.of(first[:length])
            for path in (real_path, printable(self._path)):  # the latter is how names were made before
                if (name := f"file:{path}#{fingerprint}") in stored:
                    return name
        return f"file:{real_path}#{Fingerprint.of(first)}"

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        with opened(self._path) as (content, raw):
            status = os.fstat(raw.fileno())
            if self._identity is not None and self._identity != (status.st_dev, status.st_ino):
                raise Replaced
            size = self.size_bytes
            reached = await asyncio.to_thread(content.seek, position)
            if reached < position or (not is_compressed(self._path) and position > size):
                get_logger().warning(
                    "file is shorter than what was read of it before; nothing to read",
                    path=printable(self._path),
                    position=position,
                    bytes=min(reached, size),
                )
            reader = Reader(content)
            while chunk := await asyncio.to_thread(reader.read, CHUNK_BYTES):
                self.read_bytes = raw.tell()
                yield chunk
