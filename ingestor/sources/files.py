"""Files: read from a position to their end, and known again after a restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint, path_text
from ingestor.sources.base import CHUNK_BYTES, Another, Lookup
from tally.archives import Reader, errors_explained, is_compressed, opened
from tally.runtime import Failure
from tally.store import Known
from tally.telemetry import get_logger
from tally.vectors import Lane


class Replaced(Exception):
    """Another file stands at the path than the one that was meant."""


@dataclass(frozen=True, slots=True)
class FileName:
    """The name of a file in the store: its real path, and a fingerprint of its first bytes.

    Another file that begins so at the same path is another generation. The first has no number in its name.
    """

    path: str
    fingerprint: Fingerprint
    generation: int = 1

    @classmethod
    def parse(cls, name: str) -> FileName | None:
        """Read a stored name; None if it is another kind of source's."""
        path, hash_, rest = name.removeprefix("file:").rpartition("#")
        parts = rest.split("-")
        if not name.startswith("file:") or not hash_ or len(parts) not in (2, 3) or not parts[-1]:
            return None
        fingerprint = Fingerprint.parse("-".join(parts[:2]))
        if fingerprint is None or (len(parts) == 3 and not parts[2].isdecimal()):
            return None
        return cls(path, fingerprint, int(parts[2]) if len(parts) == 3 else 1)

    def __str__(self) -> str:
        generation = f"-{self.generation}" if self.generation > 1 else ""
        return f"file:{self.path}#{self.fingerprint}{generation}"


def fits_at(descriptor: int, known: Known) -> bool:
    """Return whether an open file reaches to what was read of it, and has the bytes that were there then.

    Of those the last before the position, or before each position of one that is, or was, spread over shards, are
    compared.

    What was stored before fingerprints of these were kept fits if it is long enough.
    """
    if known.reached > os.fstat(descriptor).st_size:
        return False
    return all(_fits_at(descriptor, each) for each in known.stands_of_all)


def _fits_at(descriptor: int, stand: Known | Lane) -> bool:
    last = Fingerprint.parse(stand.last)
    if last is None:
        return True
    start = max(0, stand.position - FINGERPRINT_BYTES)
    return last.fits_last(os.pread(descriptor, stand.position - start, start))


class File:
    """A file, plain or compressed (see tally.archives), read from a position to its end.

    Its name holds its real path, links followed, so that it is one file however it is spelled. It goes on where it
    was if its first bytes and those before the position are the same; else it is another file, and counted.
    Positions in a compressed file are positions in what it holds: to go on, it is unpacked again from its start.
    """

    replayable = True
    finite = True
    is_bulk = True

    def __init__(self, path: Path, *, identity: tuple[int, int] | None = None) -> None:
        """With `identity`, a device and an inode, another file at the path is not read: `chunks` raises Replaced."""
        self._path = path.absolute()
        self._identity = identity
        self._first = b""  # what it begins with, as it is known
        self.label = path_text(path)
        self.read_bytes = 0  # of the file itself, as it is on the disk

    @property
    def size_bytes(self) -> int:
        """Its size on the disk; 0 if that cannot be told."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        with opened(self._path) as (content, raw):
            first = (await asyncio.to_thread(Reader(content).read, FINGERPRINT_BYTES))[:FINGERPRINT_BYTES]
            self._first = first
            real_path = path_text(self._path.resolve())
            paths = {real_path, path_text(self._path)}  # the latter is how names were made before
            stored = await self._stored(ask, first, paths, raw, never)
            names = {name: parsed for name in stored if (parsed := FileName.parse(name)) and parsed.path in paths}
            alike = [stored[name] for name, parsed in names.items() if parsed.fingerprint.fits(first)]
            alike.sort(key=lambda each: -names[each.name].fingerprint.length)
            found = await self._furthest([each for each in alike if each.name not in never], content, raw, bool(never))
        if found is not None:
            return found
        new = FileName(real_path, Fingerprint.of(first))
        others = [parsed.generation for parsed in names.values() if replace(parsed, generation=1) == new]
        if not first:
            others = []  # nothing was ever read under the name of an empty file
        name = str(replace(new, generation=max(others, default=0) + 1))
        if alike:
            get_logger().warning(
                "the file begins like one that was read before, and is another: it is read from its start",
                path=self.label,
                read_before=max(each.reached for each in alike),
                bytes=self.size_bytes,
            )
        return stored.get(name, Known(name))

    async def _stored(
        self, ask: Lookup, first: bytes, paths: set[str], raw: IO[bytes], never: Collection[str]
    ) -> Mapping[str, Known]:
        """Return what is stored of files at these paths that begin so, or began so when they were shorter."""
        later = [f"file:{path}#" for path in paths]
        if not is_compressed(self._path) and not never:
            # Mostly it is as it was, and read to its end: then no other one can be further.
            whole = [str(FileName(path, Fingerprint.of(first))) for path in paths]
            stored = await ask(names=whole, beginnings=later)
            size = os.fstat(raw.fileno()).st_size
            if any(each.position == size and fits_at(raw.fileno(), each) for each in stored.values()):
                return stored
        beginnings = [Fingerprint.of(b""), *Fingerprint.of_beginnings(first)]
        return await ask(names=[str(FileName(path, each)) for path in paths for each in beginnings], beginnings=later)

    async def _furthest(self, alike: list[Known], content: IO[bytes], raw: IO[bytes], compare: bool) -> Known | None:
        """Return of what begins like this file what fits its position as well, and is furthest.

        In an archive that is seen when reading gets there; with `compare` it is looked for, because one did not fit.
        """
        if not is_compressed(self._path):
            fitting: Iterable[Known] = [each for each in alike if fits_at(raw.fileno(), each)]
        elif compare and alike:
            fitting = await self._fitting_unpacked(alike, content)
        else:
            fitting = alike
        return max(fitting, key=lambda each: each.reached, default=None)

    async def _fitting_unpacked(self, alike: list[Known], content: IO[bytes]) -> list[Known]:
        """Return those that fit, by unpacking it once up to the furthest of them."""
        fits: set[Known | Lane] = set()
        reached, before = 0, b""
        stands = sorted((stand for each in alike for stand in each.stands_of_all), key=lambda stand: stand.position)
        # If it is broken somewhere, those that fit are before that; reading it says so.
        with suppress(Failure), errors_explained(self._path):
            await asyncio.to_thread(content.seek, 0)
            for stand in stands:
                while reached < stand.position:
                    chunk = await asyncio.to_thread(content.read, min(CHUNK_BYTES, stand.position - reached))
                    if not chunk:
                        raise EOFError  # which is explained, as that of an archive that is cut off
                    reached += len(chunk)
                    before = (before + chunk)[-FINGERPRINT_BYTES:]
                last = Fingerprint.parse(stand.last)
                if last is None or last.fits_last(before):
                    fits.add(stand)
        return [each for each in alike if fits.issuperset(each.stands_of_all)]

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        with opened(self._path) as (content, raw):
            status = os.fstat(raw.fileno())
            if self._identity is not None and self._identity != (status.st_dev, status.st_ino):
                raise Replaced
            reader = Reader(content)
            chunk = await asyncio.to_thread(reader.read, FINGERPRINT_BYTES)
            if not chunk.startswith(self._first):
                raise Another
            start = max(0, position - FINGERPRINT_BYTES)
            if start > 0:
                await asyncio.to_thread(content.seek, start)
                reader = Reader(content)
                chunk = await asyncio.to_thread(reader.read, CHUNK_BYTES)
            while chunk:
                self.read_bytes = raw.tell()
                yield chunk
                chunk = await asyncio.to_thread(reader.read, CHUNK_BYTES)
            if self._identity is None and self._was_replaced(raw):
                raise Another

    def _was_replaced(self, raw: IO[bytes]) -> bool:
        """Return whether there is another file at the path than the one that was read to its end, or it was cut down.

        A program that removes the file when it is appended would remove what was never read.
        """
        status = os.fstat(raw.fileno())
        try:
            there = self._path.stat()
        except OSError:
            return False
        return (there.st_dev, there.st_ino) != (status.st_dev, status.st_ino) or status.st_size < raw.tell()
