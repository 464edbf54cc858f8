"""What was rotated away unseen: the files beside a followed path that still hold something to read.

Which these are is decided in `tail_rules`; here is what is seen of them. Of archives only the first bytes are compared,
the rest when they are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint, path_text
from ingestor.sources.base import CHUNK_BYTES
from ingestor.sources.siblings import Sibling, hops, is_rotation_of
from ingestor.sources.tail_names import TailName, parse_names
from ingestor.sources.tail_rules import BESIDE, Beside, Mistaken, SeenBeside, decide, match
from tally.archives import Reader, holds_exactly, opened
from tally.store import Known


class Head(Protocol):
    """A file that is open, or beside the path: what it holds is, or will be, read there."""

    @property
    def size(self) -> int: ...

    def before(self, offset: int) -> bytes:
        """Return the bytes before an offset, as many as a fingerprint takes."""


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
class Leftovers:
    """What is beside a path: what must be read before the file at the path, the oldest first.

    `unknown` are those that belong in front of it only if they were written to after the last known one, which
    is not here any more. `missing` are the names of which the file is neither open nor here; a copy may be.
    """

    leftovers: list[Leftover]
    unknown: list[Leftover]
    missing: list[TailName]


@dataclass(frozen=True, slots=True)
class _Folder:
    """What is known of all the files beside a path, when each of them is looked at."""

    path: Path
    stored: Mapping[str, Known]
    known: Mapping[Sibling, TailName]
    newest_known_ns: int
    rotation_was_missed: bool
    plain: set[Path]  # those that are not compressed
    heads: Sequence[Head]  # that are open, or known

    def archives_alike(self, sibling: Sibling) -> list[Known]:
        """Return what is stored of the known archives that begin as this file does."""
        known = ((each, name) for each, name in self.known.items() if each.compressed)
        return [self.stored[str(name)] for each, name in known if each.first == sibling.first]

    def heads_alike(self, sibling: Sibling) -> list[Head]:
        """Return the open and known files that begin as this one does."""
        return [head for head in self.heads if _begins_in(sibling.first, head)]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What is seen of one file, as `SeenBeside` says; it is looked at when it is asked for."""

    sibling: Sibling
    folder: _Folder

    @property
    def is_known(self) -> bool:
        return self.sibling in self.folder.known

    @property
    def holds_more(self) -> bool:
        known = self.folder.stored[str(self.folder.known[self.sibling])]
        if self.sibling.compressed:
            return not holds_exactly(self.sibling.path, known.position)
        return self.sibling.size > known.position

    @property
    def rotation_was_missed(self) -> bool:
        return self.folder.rotation_was_missed

    @property
    def is_named_like_a_rotation(self) -> bool:
        return any(is_rotation_of(hop, self.sibling.path) for hop in hops(self.folder.path))

    @property
    def is_empty(self) -> bool:
        return not self.sibling.first

    @property
    def is_being_compressed(self) -> bool:
        original = self.sibling.path.with_suffix("")  # without a suffix it is the file itself
        return original != self.sibling.path and original in self.folder.plain

    @property
    def is_a_beginning(self) -> bool:
        # A copy of what is known is no news, whatever it is called. Whether an archive is one, `is_copy` tells.
        sibling = self.sibling
        if sibling.compressed:
            return False
        if any(_is_beginning(sibling, head) for head in self.folder.heads):
            return True
        return any(map(sibling.fits, self.folder.archives_alike(sibling)))

    @property
    def known_are_here(self) -> bool:
        return bool(self.folder.known)

    @property
    def is_older_than_those(self) -> bool:
        return self.sibling.modified_ns < self.folder.newest_known_ns


def find_leftovers(
    path: Path,
    *,
    stored: Mapping[str, Known],
    siblings: Collection[Sibling],
    current: TailName | None,
    current_inode: int | None = None,
    heads: Collection[Head] = (),
    mistaken: Mistaken = (),
) -> Leftovers:
    """Find out which of the siblings must be read before the file that is at the path now.

    `stored` is without the names of files that are open. `current` is the stored name of the file at the path; None if
    there is no file, or it was never read of, or it holds something else than what was read. `heads` are files that are
    open already. `mistaken` are archives by identity and name that were read, and found not to be of that name.
    """
    names = [name for name in parse_names(stored) if name.path == path_text(path)]
    known, missing = match(names, siblings, stored, current=current, current_inode=current_inode, mistaken=mistaken)
    folder = _Folder(
        path=path,
        stored=stored,
        known=known,
        newest_known_ns=max((each.modified_ns for each in known), default=0),
        rotation_was_missed=bool(names) and current is None,
        plain={sibling.path for sibling in siblings if not sibling.compressed},
        heads=[*heads, *(each for each in known if not each.compressed)],
    )
    leftovers, unknown = [], []
    for sibling in siblings:
        seen: SeenBeside = _Looked(sibling, folder)
        act = decide(BESIDE, seen)
        if act is Beside.READ_ON:
            leftovers.append(Leftover(sibling, known[sibling]))
        elif act is Beside.READ_WHOLE:
            leftovers.append(_unread(sibling, folder))
        elif act is Beside.READ_WHOLE_IF_LATER:
            unknown.append(_unread(sibling, folder))
    leftovers.sort(key=lambda each: (each.sibling.modified_ns, each.sibling.path))
    return Leftovers(leftovers, unknown, missing)


def _unread(sibling: Sibling, folder: _Folder) -> Leftover:
    if not sibling.compressed:
        return Leftover(sibling, None)
    return Leftover(sibling, None, folder.heads_alike(sibling), folder.archives_alike(sibling))


def _is_beginning(sibling: Sibling, head: Head) -> bool:
    """Return whether a sibling holds nothing but what the other file begins with."""
    if not _begins_in(sibling.first, head) or head.size < sibling.size:
        return False
    return head.before(sibling.size) == sibling.before(sibling.size)


def _begins_in(first: bytes, head: Head) -> bool:
    """Return whether a file that begins so may be the beginning of the other one."""
    return head.before(len(first)) == first


async def is_copy(leftover: Leftover) -> bool:
    """Unpack an archive, and return whether it holds nothing but what one of the files that begin like it holds.

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
        for each in (known.furthest for known in leftover.read)
    )
