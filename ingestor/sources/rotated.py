"""What was rotated away while nobody looked: the files beside a followed path that still hold something to read.

Known files are found by their inode and fingerprints; copies, which have another inode, by their fingerprints alone,
and only if the file itself is gone. Of archives only the first bytes are compared here; the rest when they are read. A
file that is not known at all belongs to the path if it is named like a rotation of it and was written to after the last
one that is known: it was rotated in and out again within one gap.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Protocol

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint, printable
from ingestor.sources.base import CHUNK_BYTES, Lookup
from ingestor.sources.files import File, Replaced, fits_at
from ingestor.sources.followed import TailName, beginning_of_names, parse_names
from tally.archives import Reader, holds_exactly, is_compressed, opened
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
        """Whether it can go on where this stands. Of an archive that is not looked at before it is read."""
        if self.compressed:
            return True
        try:
            with self.path.open("rb", buffering=0) as file:
                return self.is_same(_identity(file), self.first) and fits_at(file.fileno(), known)
        except OSError:
            return False

    def before(self, offset: int) -> bytes:
        """The bytes before an offset, as many as a fingerprint takes; none if it is gone, or an archive."""
        start = max(0, offset - FINGERPRINT_BYTES)
        try:
            with self.path.open("rb", buffering=0) as file:
                if self.compressed or _identity(file) != self.identity:
                    return b""
                return os.pread(file.fileno(), offset - start, start)
        except OSError:
            return b""

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


class Head(Protocol):
    """A file that is open, or beside the path: what it holds is, or will be, read there."""

    @property
    def size(self) -> int: ...

    def before(self, offset: int) -> bytes:
        """The bytes before an offset, as many as a fingerprint takes."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A rotated file with something to read. `name` is the stored one; None if it was never read of.

    Of an archive, `alike` are the files that begin as it does, and `read` is what is stored of those that are archives
    themselves: it may be a copy of one of them.
    """

    sibling: Sibling
    name: TailName | None
    alike: Sequence[Head] = ()
    read: Sequence[Known] = ()


@dataclass(frozen=True, slots=True)
class Beside:
    """What is beside a path: what must be read before the file at the path, the oldest first.

    `unknown` are those that belong in front of it only if they were written to after the last known one, which
    is not here any more. `missing` are the names of which the file is neither open nor here; a copy may be.
    """

    leftovers: list[Leftover]
    unknown: list[Leftover]
    missing: list[TailName]


class RotatedArchive:
    """A rotated and compressed file as a source: it goes on where the file was left.

    `chunks` raises Replaced if it is no longer there, and `known_as` if it turned out to be another file.
    """

    replayable = True
    finite = False

    def __init__(self, path: Path, leftover: Leftover) -> None:
        """`path` is the one from which it was rotated."""
        self._path = path
        self._sibling = leftover.sibling
        self._name = leftover.name
        self._file = File(self._sibling.path, identity=self._sibling.identity)
        self.is_another = False  # than its name says, as reading it has shown
        self.label = f"tail:{printable(self._sibling.path)}"

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        stored = await ask(beginnings=[beginning_of_names(self._path)])
        if self._name is not None and str(self._name) in never:
            self.is_another = True
            raise Replaced
        if self._name is None:
            sibling = self._sibling
            generations = [each.generation for each in parse_names(stored) if each.inode == sibling.inode]
            self._name = TailName(
                printable(self._path),
                sibling.device,
                sibling.inode,
                max(generations, default=0) + 1,
                Fingerprint.of(sibling.first),
            )
        return stored.get(str(self._name), Known(str(self._name)))

    def chunks(self, position: int) -> AsyncIterator[bytes]:
        return self._file.chunks(position)


async def is_copy(leftover: Leftover) -> bool:
    """Whether an archive holds nothing but what one of the files that begin like it holds: it is unpacked to tell.

    Raises Failure when it cannot be unpacked.
    """
    size, before = 0, b""
    with opened(leftover.sibling.path) as (content, _):
        reader = Reader(content)
        while chunk := await asyncio.to_thread(reader.read, CHUNK_BYTES):
            size += len(chunk)
            before = (before + chunk)[-FINGERPRINT_BYTES:]
    return any(each.size >= size and each.before(size) == before for each in leftover.alike) or any(
        each.position == size and (last := Fingerprint.parse(each.last)) is not None and last.fits_last(before)
        for each in leftover.read
    )


def is_rotation_of(path: Path, other: Path) -> bool:
    """Whether a name is a rotated one: events.log.1, events.log-20260101.gz, events-2026-01-01.log."""
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
    """A path, and where it leads to if it is a symbolic link: the target of each link on the way."""
    found = [path]
    while len(found) <= LINKS:
        try:
            target = Path(os.readlink(found[-1]))  # noqa: PTH115 (which is the same, and makes a path of it at once)
        except OSError:
            break
        found.append((found[-1].parent / target.parent).resolve() / target.name)
    return found


def look_beside(path: Path, *, stored: Iterable[str], skip: Callable[[Path], bool]) -> list[Sibling]:
    """The files beside a path that may be rotated from it, the least recently written first.

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
    """The files that `look_beside` looks at, each with its inode."""
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
    """Of one and the same file: what the system says of it, and its first bytes. Raises OSError and Failure."""
    with opened(path) as (content, raw):
        return os.fstat(raw.fileno()), Reader(content).read(FINGERPRINT_BYTES)[:FINGERPRINT_BYTES]


def _identity(file: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _files_beside(path: Path) -> Iterator[tuple[Path, os.DirEntry[str]]]:
    """What is beside a path and beside each of its hops, with the path or the hop that is in the same folder."""
    for hop in hops(path):
        try:
            with os.scandir(hop.parent) as entries:
                found = list(entries)
        except OSError as error:
            if is_out_of_files(error):
                raise
            continue
        yield from ((hop, other) for other in found)


def find_leftovers(
    path: Path,
    *,
    stored: Mapping[str, Known],
    siblings: Collection[Sibling],
    current: TailName | None,
    current_inode: int | None = None,
    heads: Collection[Head] = (),
    mistaken: Collection[tuple[tuple[int, int], str]] = (),
) -> Beside:
    """Which of the siblings must be read before the file that is at the path now.

    `stored` is without the names of files that are open. `current` is the stored name of the file at the path; None if
    there is no file, or it was never read of, or it holds something else than what was read. `heads` are files that are
    open already. `mistaken` are archives by identity and name that were read, and found not to be of that name.
    """
    names = [name for name in parse_names(stored) if name.path == printable(path)]
    known = _by_identity(names, siblings, stored, mistaken)
    missing = [name for name in names if name != current and name not in known.values()]
    others = [each for each in siblings if each not in known]
    known |= _by_content(missing, others, stored, mistaken, cut_down=current_inode)
    leftovers = [Leftover(sibling, name) for sibling, name in known.items() if _holds_more(sibling, stored[str(name)])]
    unknown: list[Leftover] = []
    if names and current is None:
        plain = {sibling.path for sibling in siblings if not sibling.compressed}
        candidates = [
            sibling
            for sibling in siblings
            if sibling not in known
            and sibling.first
            and any(is_rotation_of(hop, sibling.path) for hop in hops(path))
            and sibling.path.with_suffix("") not in plain  # it is just being compressed
        ]
        heads = [*heads, *(each for each in known if not each.compressed)]
        archives = [(each.first, stored[str(name)]) for each, name in known.items() if each.compressed]
        for sibling in candidates:
            # A copy of what is known is no news, whatever it is called.
            read = [each for first, each in archives if first == sibling.first]
            if sibling.compressed:
                alike = [head for head in heads if _begins_in(sibling.first, head)]
                unknown.append(Leftover(sibling, None, alike, read))
            elif not any(_is_beginning(sibling, head) for head in heads) and not any(map(sibling.fits, read)):
                unknown.append(Leftover(sibling, None))
        if known:
            since = max(sibling.modified_ns for sibling in known)
            leftovers += [each for each in unknown if each.sibling.modified_ns >= since]
            unknown = []
    leftovers.sort(key=lambda each: (each.sibling.modified_ns, each.sibling.path))
    return Beside(leftovers, unknown, missing)


def _by_identity(
    names: Iterable[TailName],
    siblings: Iterable[Sibling],
    stored: Mapping[str, Known],
    mistaken: Collection[tuple[tuple[int, int], str]],
) -> dict[Sibling, TailName]:
    found: dict[Sibling, TailName] = {}
    for sibling in siblings:
        fitting = [
            name
            for name in names
            if name.inode == sibling.inode
            and (sibling.identity, str(name)) not in mistaken
            and name.fingerprint.fits(sibling.first)
            and sibling.fits(stored[str(name)])
        ]
        if fitting:
            found[sibling] = max(
                fitting,
                key=lambda name: (stored[str(name)].position, name.device == sibling.device, name.generation),
            )
    return found


def _by_content(
    missing: Iterable[TailName],
    siblings: Iterable[Sibling],
    stored: Mapping[str, Known],
    mistaken: Collection[tuple[tuple[int, int], str]],
    *,
    cut_down: int | None,
) -> dict[Sibling, TailName]:
    """`cut_down` is the inode at the path: of a file that was copied and then cut down, the copy may hold less than was
    read between the two. There is nothing to read in it then, and nothing to compare; it is told by its first bytes.
    """
    found: dict[Sibling, TailName] = {}
    for name in sorted(missing, key=lambda name: -name.fingerprint.length):
        known = stored[str(name)]
        fitting = [
            each
            for each in siblings
            if each not in found
            and (each.identity, str(name)) not in mistaken
            and name.fingerprint.fits(each.first)
            and (each.fits(known) or (name.inode == cut_down and each.size < known.position))
        ]
        if fitting:
            # One that holds all that was read, and not a compressed copy of a copy that is there as well.
            best = max(fitting, key=lambda each: (each.compressed or each.size >= known.position, not each.compressed))
            found[best] = name
    return found


def _holds_more(sibling: Sibling, known: Known) -> bool:
    if sibling.compressed:
        return not holds_exactly(sibling.path, known.position)
    return sibling.size > known.position


def _is_beginning(sibling: Sibling, head: Head) -> bool:
    """Whether a sibling holds nothing but what the other file begins with."""
    if not _begins_in(sibling.first, head) or head.size < sibling.size:
        return False
    return head.before(sibling.size) == sibling.before(sibling.size)


def _begins_in(first: bytes, head: Head) -> bool:
    """Whether a file that begins so may be the beginning of the other one."""
    return head.before(len(first)) == first


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
            for _, other in _files_beside(path):
                try:
                    inodes[folder].add(other.stat().st_ino)
                except OSError:
                    continue
        if name.inode not in inodes[folder]:
            found.append(str(name))
    return found
