"""What was rotated away while nobody looked: the files beside a followed path that still hold something to read.

Known files are found by their inode and fingerprint; copies and compressed ones, which have another inode, by their
first bytes. A file that is not known at all belongs to the path if it is named like a rotation of it and was written
to after the last one that is known: it was rotated in and out again within one gap.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ingestor.sources.files import File
from ingestor.sources.fingerprints import FINGERPRINT_BYTES, Fingerprint, printable
from ingestor.sources.followed import TailName, parse_names
from tally.archives import Reader, holds_exactly, is_compressed, opened
from tally.runtime import Failure

#: How often a folder is looked at while a rotation is on its way.
LOOKS = 10


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

    def is_there(self) -> bool:
        """Whether it still is at its path: rotations shift names, and give the inodes of deleted files to new ones."""
        try:
            status, first = _look_at(self.path)
        except (OSError, Failure):
            return False
        return self.is_same((status.st_dev, status.st_ino), first)

    def is_same(self, identity: tuple[int, int], first: bytes) -> bool:
        """Whether an open file with these first bytes is this one, which may have grown."""
        return identity == self.identity and first.startswith(self.first)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A rotated file with something to read. `name` is the stored one; None if it was never read of."""

    sibling: Sibling
    name: TailName | None


@dataclass(frozen=True, slots=True)
class Beside:
    """What is beside a path: what must be read before the file at the path, the oldest first.

    `unknown` are those that belong in front of it only if they were written to after the last known one, which
    is not here any more.
    """

    leftovers: list[Leftover]
    unknown: list[Leftover]


class RotatedArchive:
    """A rotated and compressed file as a source: it goes on where the file was left. `chunks` may raise Replaced."""

    rereadable = True
    finite = False

    def __init__(self, path: Path, leftover: Leftover) -> None:
        """`path` is the one from which it was rotated."""
        sibling = leftover.sibling
        fingerprint = Fingerprint.of(sibling.first)
        self._name = leftover.name or TailName(printable(path), sibling.device, sibling.inode, 1, fingerprint)
        self._file = File(sibling.path, identity=sibling.identity)
        self.label = f"tail:{printable(sibling.path)}"

    def name(self, stored: Mapping[str, int]) -> str:  # noqa: ARG002
        return str(self._name)

    def chunks(self, position: int) -> AsyncIterator[bytes]:
        return self._file.chunks(position)


def is_rotation_of(path: Path, other: Path) -> bool:
    """Whether a name is a rotated one: events.log.1, events.log-20260101.gz, events-2026-01-01.log."""
    name = other.name
    if is_compressed(other):
        name = name.removesuffix(other.suffix)
    behind = re.escape(path.name) + r"[.\-_~](?:old|prev|.*\d.*)"
    within = re.escape(path.stem) + r"[.\-_][\dT.\-_:]*\d[\dT.\-_:]*" + re.escape(path.suffix)
    return other.name != path.name and re.fullmatch(f"{re.escape(path.name)}|{behind}|{within}", name) is not None


def look_beside(path: Path, *, stored: Iterable[str], skip: Callable[[Path], bool]) -> list[Sibling]:
    """The files beside a path that may be rotated from it, the least recently written first."""
    inodes = {name.inode for name in parse_names(stored)}
    for _ in range(LOOKS):
        places = _places_beside(path, inodes, skip)
        found = []
        for other in places:
            try:
                status, first = _look_at(other)
            except (OSError, Failure):
                continue  # gone meanwhile, or not ours to read, or half compressed
            found.append(Sibling(other, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, first))
        if _places_beside(path, inodes, skip) == places:
            break  # else names were shifted, and one may have slipped by: from where we had not looked to where we had
    return sorted(found, key=lambda each: (each.modified_ns, each.path))


def _places_beside(path: Path, inodes: Collection[int], skip: Callable[[Path], bool]) -> dict[Path, int]:
    """The files that `look_beside` looks at, each with its inode."""
    places = {}
    for other in _files_beside(path):
        try:
            status = other.stat()
        except OSError:
            continue
        is_candidate = status.st_ino in inodes or is_rotation_of(path, other)
        if is_candidate and stat.S_ISREG(status.st_mode) and not skip(other):
            places[other] = status.st_ino
    return places


def _look_at(path: Path) -> tuple[os.stat_result, bytes]:
    """Of one and the same file: what the system says of it, and its first bytes. Raises OSError and Failure."""
    with opened(path) as (content, raw):
        return os.fstat(raw.fileno()), Reader(content).read(FINGERPRINT_BYTES)[:FINGERPRINT_BYTES]


def _files_beside(path: Path) -> Iterator[Path]:
    for folder in {path.parent, path.resolve().parent}:
        try:
            yield from list(folder.iterdir())
        except OSError:
            continue


def find_leftovers(
    path: Path,
    *,
    stored: Mapping[str, int],
    siblings: Collection[Sibling],
    current: TailName | None,
    heads: Collection[bytes] = (),
) -> Beside:
    """Which of the siblings must be read before the file that is at the path now.

    `current` is the stored name of that file; None if there is no file, or it was never read of, or it holds
    something else than what was read. `heads` is what files that are open already begin with.
    """
    names = [name for name in parse_names(stored) if name.path == printable(path)]
    known = _by_identity(names, siblings, stored)
    missing = [name for name in names if name != current and name not in known.values()]
    known |= _by_content(missing, [each for each in siblings if each not in known], stored)
    leftovers = [Leftover(sibling, name) for sibling, name in known.items() if _holds_more(sibling, stored[str(name)])]
    unknown: list[Leftover] = []
    if names and current is None:
        # A copy of what is known is no news, whatever it is called.
        heads = [*heads, *(sibling.first for sibling in known)]
        plain = {sibling.path for sibling in siblings if not sibling.compressed}
        unknown = [
            Leftover(sibling, None)
            for sibling in siblings
            if sibling not in known
            and is_rotation_of(path, sibling.path)
            and sibling.first
            and sibling.path.with_suffix("") not in plain  # it is just being compressed
            and not any(_same_beginning(sibling.first, head) for head in heads)
        ]
        if known:
            since = max(sibling.modified_ns for sibling in known)
            leftovers += [each for each in unknown if each.sibling.modified_ns >= since]
            unknown = []
    leftovers.sort(key=lambda each: (each.sibling.modified_ns, each.sibling.path))
    return Beside(leftovers, unknown)


def _by_identity(
    names: Iterable[TailName], siblings: Iterable[Sibling], stored: Mapping[str, int]
) -> dict[Sibling, TailName]:
    found: dict[Sibling, TailName] = {}
    for sibling in siblings:
        fitting = [name for name in names if name.inode == sibling.inode and name.fingerprint.fits(sibling.first)]
        if fitting:
            best = max(fitting, key=lambda name: (name.device == sibling.device, name.generation))
            if sibling.compressed or stored[str(best)] <= sibling.size:
                found[sibling] = best
    return found


def _by_content(
    names: Iterable[TailName], siblings: Iterable[Sibling], stored: Mapping[str, int]
) -> dict[Sibling, TailName]:
    found: dict[Sibling, TailName] = {}
    for name in sorted(names, key=lambda name: -name.fingerprint.length):
        position = stored[str(name)]
        fitting = [each for each in siblings if each not in found and name.fingerprint.fits(each.first)]
        if fitting:
            # One that holds all that was read, and not a compressed copy of a copy that is there as well.
            best = max(fitting, key=lambda each: (each.compressed or each.size >= position, not each.compressed))
            found[best] = name
    return found


def _holds_more(sibling: Sibling, position: int) -> bool:
    if sibling.compressed:
        return not holds_exactly(sibling.path, position)
    return sibling.size > position


def _same_beginning(one: bytes, other: bytes) -> bool:
    return bool(one) and bool(other) and (one.startswith(other) or other.startswith(one))


def gone(names: Iterable[str], *, paths: Callable[[Path], bool]) -> list[str]:
    """Those of the names whose path is one of ours and whose file is no longer in its folder."""
    found = []
    inodes: dict[str, set[int]] = {}
    for name in parse_names(names):
        path = Path(name.path)
        if not paths(path):
            continue
        folder = str(path.parent)
        if folder not in inodes:
            inodes[folder] = set()
            for other in _files_beside(path):
                try:
                    inodes[folder].add(other.stat().st_ino)
                except OSError:
                    continue
        if name.inode not in inodes[folder]:
            found.append(str(name))
    return found
