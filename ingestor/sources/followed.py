"""One file that is being followed: known by what it is, not by its name; read through one open descriptor.

Identity: device, inode, and fingerprints of the first bytes and of those before the position. The descriptor keeps a
file that was renamed or deleted readable, and its inode from being used for another one, as long as we are here. While
we are not, the fingerprints tell whether the file at an inode is still the same.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint, path_text
from ingestor.log_events import CUT_DOWN
from ingestor.sources.base import CHUNK_BYTES, Lookup
from ingestor.sources.files import fits_at
from ingestor.sources.tail_names import TailName, beginning_of_names, parse_names
from ingestor.sources.tail_rules import find_name, next_generation
from tally.clock import SYSTEM, Clock
from tally.store import Known
from tally.telemetry import get_logger

#: A file that was rotated away or deleted is at its end when nothing was written to it for so long.
QUIET_SECONDS = 1.0

_NOTHING: Mapping[tuple[int, int], int] = MappingProxyType({})


class Truncated(Exception):
    """A file that was followed no longer holds what was read of it: cut down, or written anew in place."""


class Still(Exception):
    """A file that was asked to rest has nothing to read; it may be closed until it changes."""


class FollowedFile:
    """An open file as a source that ends only after `retire`, when everything in it was read.

    Until then a last line without its end waits for it.
    """

    replayable = True
    finite = False

    def __init__(
        self,
        path: Path,
        *,
        place: Path | None = None,
        name: TailName | None = None,
        truncated: Mapping[tuple[int, int], int] = _NOTHING,
        clock: Clock = SYSTEM,
    ) -> None:
        """Open it. Raises OSError.

        `place` is the path at which it was followed, if it was rotated away from there; `name` is its stored name,
        if that is known; `truncated` has the generation that an inode (with its device) no longer holds.
        """
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file")
        self._clock = clock
        self.path = place or path
        self.label = f"tail:{path_text(path)}"
        self.device, self.inode = status.st_dev, status.st_ino
        self.places = {self.path}  # at which a file with its inode was ever followed
        self._after = truncated.get(self.identity, 0)
        self.generation = self._after + 1
        self.stored_name = name
        self._seen: tuple[int, int] | None = None  # its size and time of change when it was last looked at
        self._first = b""  # what it began with when it was last looked at
        self._changed = asyncio.Event()
        self._retired = False
        self._successor_written: float | None = None
        self._read_at = self._clock.monotonic()  # when there was last something to read
        self._offset = 0  # behind what was read
        self._may_rest = False
        self.rested_look = (0, 0)  # how it looked when Still was raised
        self.found_at = path  # where it was last seen

    @property
    def identity(self) -> tuple[int, int]:
        return self.device, self.inode

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    @property
    def modified_ns(self) -> int:
        return os.fstat(self._descriptor).st_mtime_ns

    def is_at(self, path: Path) -> bool:
        """Return whether it is at this path now, whatever was noticed so far."""
        try:
            status = path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def is_gone(self) -> bool:
        """Return whether it is certain that it no longer is where it was last seen.

        A folder that cannot be read for a while does not say so.
        """
        try:
            status = self.found_at.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return (status.st_dev, status.st_ino) != self.identity

    @property
    def is_bulk(self) -> bool:
        """Whether more is still to be read than is read at once.

        Else it is live: what was just written to it should be counted soon, and may be gone with the next rotation.
        """
        return self.size - self._offset > CHUNK_BYTES

    @property
    def retired(self) -> bool:
        return self._retired

    def first(self) -> bytes:
        """Read its first bytes."""
        return os.pread(self._descriptor, FINGERPRINT_BYTES, 0)

    def before(self, offset: int) -> bytes:
        """Read the bytes before an offset, as many as a fingerprint takes."""
        start = max(0, offset - FINGERPRINT_BYTES)
        return os.pread(self._descriptor, offset - start, start)

    def fits(self, known: Known) -> bool:
        """Return whether it can go on where this stands."""
        if not fits_at(self._descriptor, known):
            return False
        if known.furthest.last:
            return True
        # Stored before fingerprints were: a line end has to do, unless it was seen that this is gone.
        name = TailName.parse(known.name)
        if name is not None and name.inode == self.inode and name.generation <= self._after:
            return False
        return known.position in (0, self.size) or self.before(known.position).endswith(b"\n")

    def is_copy_of(self, name: TailName, known: Known) -> bool:
        """Return whether it holds all that was read of another file, which has this name."""
        return name.fingerprint.fits(self.first()) and self.fits(known)

    def notice(self) -> None:
        """Note that something changed: it is looked at again."""
        self._changed.set()

    def stands(self, path: Path, status: os.stat_result) -> None:
        """Note that it is at this followed path, and looks so."""
        self.found_at = path
        seen = (status.st_size, status.st_mtime_ns)
        if self._retired or seen != self._seen:
            self._seen, self._retired = seen, False
            self.notice()

    def retire(self) -> None:
        """Note that it is at no followed path any more: it is read to its end, and then ends."""
        if not self._retired:
            self._retired = True
            self.notice()

    def successor_written(self) -> None:
        """Note that the next file in its place has content: what wrote to this one is done with it."""
        if self._successor_written is None:
            self._successor_written = self._clock.monotonic()
            self.notice()

    @property
    def still_seconds(self) -> float:
        """For how long nothing was read of it."""
        return self._clock.monotonic() - self._read_at

    @property
    def look(self) -> tuple[int, int]:
        """Its size and its time of change: what is different when it was written to."""
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    def rest(self) -> None:
        """Let `has_line` or `chunks` raise Still, unless there is something to read, or it was rotated away."""
        self._may_rest = True
        self.notice()

    def _raise_if_still(self, reached: int) -> None:
        look = self.look
        if self._may_rest and not self._retired and look[0] == reached:
            self.rested_look = look
            raise Still

    def close(self) -> None:
        os.close(self._descriptor)

    async def has_line(self) -> bool:
        """Wait until it begins with a whole line, or with as much as a fingerprint takes; False: it ends without.

        Only then does it get its name: a fingerprint of half a line would fit too many files. Raises Still.
        """
        while True:
            self._changed.clear()
            first = self.first()
            if b"\n" in first or len(first) >= FINGERPRINT_BYTES:
                return True
            if self._is_over(offset=len(first)):
                return bool(first)
            self._raise_if_still(len(first))
            await self._wait()

    async def known_as(self, ask: Lookup, *, never: Collection[str] = ()) -> Known:
        self._first = self.first()
        stored = await ask(beginnings=[beginning_of_names(path) for path in self.places])
        if self.stored_name is not None and str(self.stored_name) in never:
            self.stored_name = None
        name = self.find_name({name: known for name, known in stored.items() if name not in never})
        if name is None:
            names = parse_names(stored)
            generation = next_generation(names, inode=self.inode, after=self._after)
            if not self._after and any(each.inode == self.inode for each in names):
                get_logger().warning(CUT_DOWN, path=path_text(self.path))
            name = TailName(path_text(self.path), self.device, self.inode, generation, Fingerprint.of(self._first))
        self.stored_name, self.generation = name, name.generation
        return stored.get(str(name), Known(str(name)))

    def find_name(self, stored: Mapping[str, Known]) -> TailName | None:
        """Return its stored name, if it is known and can go on from its position."""
        if self.stored_name is not None:
            return self.stored_name
        return find_name(stored, device=self.device, inode=self.inode, first=self.first(), fits=self.fits)

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        """Give the bytes as they are written, as Source.chunks does. Raises Truncated, Still, or OSError."""
        if self.size < position:
            raise Truncated
        offset = max(0, position - FINGERPRINT_BYTES)
        self._offset = offset
        before = b""  # what was read last: read again each time, it tells whether the file has become another
        while True:
            self._changed.clear()
            start = offset - len(before)
            found = await asyncio.to_thread(os.pread, self._descriptor, len(before) + CHUNK_BYTES, start)
            # After reading, not before: only this way is it certain that the chunk is of the file that we know.
            self._check_same(start + len(found))
            if not found.startswith(before):
                raise Truncated
            chunk = found[len(before) :] if before else found
            if chunk:
                offset += len(chunk)
                self._offset = offset
                before = found[-FINGERPRINT_BYTES:]
                self._read_at = self._clock.monotonic()
                self._may_rest = False
                yield chunk
            elif self._is_over(offset):
                return
            else:
                self._raise_if_still(offset)
                await self._wait()

    def _check_same(self, reached: int) -> None:
        first = self.first()
        if self.size < reached or not first.startswith(self._first):
            raise Truncated
        self._first = first

    def _is_over(self, offset: int) -> bool:
        """Return whether nothing will come behind `offset`, up to which everything was read."""
        status = os.fstat(self._descriptor)
        if not self._retired or status.st_size > offset:
            return False
        if self._successor_written is None and status.st_nlink > 0:
            return False  # renamed, and nothing new in its place: the writer has not let go of it
        return self._clock.monotonic() - max(self._read_at, self._successor_written or 0.0) >= QUIET_SECONDS

    async def _wait(self) -> None:
        # Only the file itself looks after one that was retired.
        with suppress(TimeoutError):
            # Before Python 3.12 wait_for may lose a cancellation, and the file would be read for ever.
            async with asyncio.timeout(QUIET_SECONDS / 4 if self._retired else None):
                await self._changed.wait()
