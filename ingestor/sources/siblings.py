"""The files beside a followed path: which there are, and what can be read of them.

Rotations go on while a folder is looked at: they shift names, and the system gives the inodes of deleted files to new
ones. So a file is looked at through one descriptor, and a folder until it stays the same.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from ingestor.fingerprints import FINGERPRINT_BYTES
from ingestor.sources.files import fits_at
from ingestor.sources.tail_names import parse_names
from tally.archives import Reader, is_compressed, opened
from tally.open_files import is_out_of_files
from tally.runtime import Failure
from tally.store import Known

#: How often a folder is looked at while a rotation is on its way.
LOOKS = 10

#: How many symbolic links are followed from one to the next, as the kernel does.
LINKS = 40


@dataclass(frozen=True, slots=True)
class Sibling:
    """A file beside the followed path, and the first bytes of what it holds."""

    path: Path
    device: int
    inode: int
    modified_ns: int
    size: int
    first: bytes

    @property
    def compressed(self) -> bool:
        return is_compressed(self.path)

    @property
    def identity(self) -> tuple[int, int]:
        return self.device, self.inode

    def fits(self, known: Known) -> bool:
        """Return whether it can go on where this stands. Of an archive that is not looked at before it is read."""
        if self.compressed:
            return True
        try:
            with self.path.open("rb", buffering=0) as file:
                return self.is_same(_identity(file), self.first) and fits_at(file.fileno(), known)
        except OSError:
            return False

    def before(self, offset: int) -> bytes:
        """Return the bytes before an offset, as many as a fingerprint takes; none if it is gone, or an archive."""
        start = max(0, offset - FINGERPRINT_BYTES)
        try:
            with self.path.open("rb", buffering=0) as file:
                if self.compressed or _identity(file) != self.identity:
                    return b""
                return os.pread(file.fileno(), offset - start, start)
        except OSError:
            return b""

    def is_there(self) -> bool:
        """Return whether it still is at its path, and has neither been shifted nor lost its inode to a new file."""
        try:
            status, first = _look_at(self.path)
        except (OSError, Failure):
            return False
        return self.is_same((status.st_dev, status.st_ino), first)

    def is_same(self, identity: tuple[int, int], first: bytes) -> bool:
        """Return whether an open file with these first bytes is this one, which may have grown."""
        return identity == self.identity and first.startswith(self.first)


def is_rotation_of(path: Path, other: Path) -> bool:
    """Return whether a name is a rotated one: events.log.1, events.log-20260101.gz, events-2026-01-01.log."""
    if other.name == path.name or not other.name.startswith(path.stem):
        return False
    name = other.name.removesuffix(other.suffix) if is_compressed(other) else other.name
    return _rotated_names(path.name).fullmatch(name) is not None


@lru_cache(maxsize=64)
def _rotated_names(name: str) -> re.Pattern[str]:
    stem, suffix = Path(name).stem, Path(name).suffix
    behind = re.escape(name) + r"[.\-_~](?:old|prev|.*\d.*)"
    within = re.escape(stem) + r"[.\-_][\dT.\-_:]*\d[\dT.\-_:]*" + re.escape(suffix)
    return re.compile(f"{re.escape(name)}|{behind}|{within}")


def hops(path: Path) -> list[Path]:
    """Return a path, and where it leads to if it is a symbolic link: the target of each link on the way."""
    found = [path]
    while len(found) <= LINKS:
        try:
            target = Path(os.readlink(found[-1]))  # noqa: PTH115 (which is the same, and makes a path of it at once)
        except OSError:
            break
        found.append((found[-1].parent / target.parent).resolve() / target.name)
    return found


def look_beside(path: Path, *, stored: Iterable[str], skip: Callable[[Path], bool]) -> list[Sibling]:
    """Return the files beside a path that may be rotated from it, the least recently written first.

    Raises OSError or Failure if no more files may be open: some may be missed then.
    """
    inodes = {name.inode for name in parse_names(stored)}
    for _ in range(LOOKS):
        places = _places_beside(path, inodes, skip)
        found = []
        for other in places:
            try:
                status, first = _look_at(other)
            except (OSError, Failure) as error:
                if is_out_of_files(error):
                    raise
                continue  # gone meanwhile, or not ours to read, or half compressed
            found.append(Sibling(other, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, first))
        if _places_beside(path, inodes, skip) == places:
            break  # else names were shifted, and one may have slipped by: from where we had not looked to where we had
    return sorted(found, key=lambda each: (each.modified_ns, each.path))


def _places_beside(path: Path, inodes: Collection[int], skip: Callable[[Path], bool]) -> dict[Path, int]:
    """Return the files that `look_beside` looks at, each with its inode."""
    places = {}
    for hop, other in _files_beside(path):
        # Asked of the folder, not of each file: there may be thousands, of as many paths.
        if other.inode() in inodes or is_rotation_of(hop, Path(other.path)):
            place = Path(other.path)
            try:
                status = place.stat()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and not skip(place):
                places[place] = status.st_ino
    return places


def _look_at(path: Path) -> tuple[os.stat_result, bytes]:
    """Return what the system knows of a file, and the first bytes of that same file. Raises OSError and Failure."""
    with opened(path) as (content, raw):
        return os.fstat(raw.fileno()), Reader(content).read(FINGERPRINT_BYTES)[:FINGERPRINT_BYTES]


def _identity(file: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _files_beside(path: Path) -> Iterator[tuple[Path, os.DirEntry[str]]]:
    """Give what is beside a path and beside each of its hops, with the path or the hop that is in the same folder."""
    for hop in hops(path):
        try:
            with os.scandir(hop.parent) as entries:
                found = list(entries)
        except OSError as error:
            if is_out_of_files(error):
                raise
            continue
        yield from ((hop, other) for other in found)


def gone(names: Iterable[str], *, paths: Callable[[Path], bool]) -> list[str]:
    """Return those of the names whose path is one of ours and whose file is no longer in its folder."""
    found = []
    inodes: dict[str, set[int]] = {}
    for name in parse_names(names):
        path = Path(name.path)
        if not paths(path):
            continue
        folder = str(path.parent)
        if folder not in inodes:
            inodes[folder] = set()
            for _, other in _files_beside(path):
                try:
                    inodes[folder].add(other.stat().st_ino)
                except OSError:
                    continue
        if name.inode not in inodes[folder]:
            found.append(str(name))
    return found
