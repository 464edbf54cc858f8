"""What stood at a tail's paths before: found, and read before the file that is there now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from ingestor.fingerprints import path_text
from ingestor.sources.files import Replaced
from ingestor.sources.followed import QUIET_SECONDS, FollowedFile, Truncated
from ingestor.sources.leftovers import Leftover, Leftovers, find_leftovers, is_copy
from ingestor.sources.rotated import RotatedArchive
from ingestor.sources.siblings import Sibling, look_beside
from ingestor.sources.tail_names import TailName, parse_names
from ingestor.sources.tail_positions import TailPositions
from ingestor.sources.tail_rules import AT_PATH, AtPath, SeenAtPath, copies, decide
from ingestor.sources.tail_state import TailState
from tally.open_files import is_out_of_files
from tally.runtime import Failure
from tally.store import Known

#: How soon it is tried again to open a file when no more may be open.
OUT_OF_FILES_SECONDS = 1.0

#: How long a file that begins like one that is gone, and is shorter than what was read of that, may take to become a
#: copy of it.
COPY_SECONDS = 10.0


class TailRotations:
    """Read what was rotated away, while we ran or while we did not."""

    def __init__(self, state: TailState, positions: TailPositions) -> None:
        self._state = state
        self._stop = state.stop
        self._positions = positions
        self._mistaken: set[tuple[tuple[int, int], str]] = set()  # archives that are not what their first bytes say
        self._copies: set[Sibling] = set()  # archives that hold nothing but what was read elsewhere
        # Held by those who search; a pattern may see new paths for years.
        self._searching: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def read(self, path: Path, file: FollowedFile | None) -> None:
        """Read what was rotated away from a path and is still beside it, before the file that is there now."""
        async with self._searching.setdefault(path, asyncio.Lock()):
            leftovers = await self._find(path, file)
            while leftovers and not self._stop.is_set():
                is_last = len(leftovers) == 1 and not (file and file.size)
                try:
                    await self._read_one(path, leftovers.pop(0), is_last=is_last)
                except Replaced:
                    # Rotated again, while those before it were read. It is in another place, and what is in its place
                    # must not be read under its name.
                    leftovers = await self._find(path, file)
                if path in self._positions.search_again:
                    leftovers = await self._find(path, file)

    async def recognise(self, file: FollowedFile) -> None:
        """Let a file go on under the name of one that is gone, if it holds all that was read of that."""
        clock = self._state.clock
        began = still_since = clock.monotonic()
        size = 0
        while not self._stop.is_set():
            stored = await self._state.known(file.path, file)
            is_known = file.find_name(stored) is not None
            alike: list[TailName] = []
            if not is_known:
                missing = (await self._look_beside(file.path, file, stored)).missing
                alike = copies(missing, file.first())
            originals = [each for each in alike if file.is_copy_of(each, stored[str(each)])]
            now = clock.monotonic()
            if file.size != size:
                size, still_since = file.size, now
            seen = SeenAtPath(
                is_known=is_known,
                holds_what_was_read=bool(originals),
                may_become_that=any(stored[str(each)].reached > size for each in alike),
                is_done_growing=file.retired or now - still_since >= QUIET_SECONDS or now - began >= COPY_SECONDS,
            )
            act = decide(AT_PATH, seen)
            if act is AtPath.OF_THE_ORIGINAL:
                file.stored_name = max(originals, key=lambda each: stored[str(each)].reached)
                self._state.log.info(
                    "the file is a copy of one that was read before",
                    path=path_text(file.path),
                    name=str(file.stored_name),
                )
            if act is not AtPath.NOT_YET:
                return
            await self._state.pause(QUIET_SECONDS / 4)

    # Finding it.

    async def _find(self, path: Path, file: FollowedFile | None) -> list[Leftover]:
        self._positions.search_again.discard(path)
        stored = await self._state.known(path, file)
        beside = await self._look_beside(path, file, stored)
        leftovers = beside.leftovers
        for each in beside.unknown:
            if _last_append_was_before(path, stored, each.sibling.modified_ns // 1_000_000):
                leftovers.append(each)
        leftovers = [each for each in leftovers if each.sibling not in self._copies]
        if file is not None and not file.is_at(path):
            # Rotated away itself while it waited. What was never read of and is newer comes after it, by the search of
            # the next file: after a kill in between, what is older than the newest known would be left alone.
            leftovers = [each for each in leftovers if each.name or each.sibling.modified_ns < file.modified_ns]
        return leftovers

    async def _look_beside(self, path: Path, file: FollowedFile | None, stored: Mapping[str, Known]) -> Leftovers:
        state = self._state
        inodes = {name.inode for name in parse_names(stored)}
        others = [each for each in state.files if each is not file and (each.path == path or each.inode in inodes)]
        taken = {str(each.find_name(stored)) for each in others} | {each.name for each in state.resting.values()}
        names = {str(name) for name in parse_names(stored) if name.path == path_text(path)}
        current = file.find_name(stored) if file is not None else None
        if not names or (current is not None and names <= {*taken, str(current)}):
            return Leftovers([], [], [])  # nothing is missing, and no rotation was missed
        siblings = await self._siblings(path, stored)
        open_now = {each.identity for each in state.files} | set(state.resting)
        return await asyncio.to_thread(
            find_leftovers,
            path,
            stored={name: known for name, known in stored.items() if name not in taken},
            siblings=[each for each in siblings if each.identity not in open_now],
            current=current,
            current_inode=file.inode if file is not None else None,
            heads=[each for each in state.files if each.path == path],
            mistaken=self._mistaken,
        )

    async def _siblings(self, path: Path, stored: Mapping[str, Known]) -> list[Sibling]:
        while not self._stop.is_set():
            try:
                return await asyncio.to_thread(look_beside, path, stored=stored, skip=self._state.paths.is_ours)
            except (OSError, Failure) as error:
                if not is_out_of_files(error):
                    raise
            await self._wait_for_a_file()
        return []

    async def _wait_for_a_file(self) -> None:
        self._state.say_too_many(1)
        await self._state.pause(OUT_OF_FILES_SECONDS)

    # Reading it.

    async def _read_one(self, path: Path, leftover: Leftover, *, is_last: bool) -> None:
        """Read one of them. Raises Replaced if it no longer is where it was found."""
        sibling = leftover.sibling
        if not sibling.is_there():
            raise Replaced
        self._state.log.info(
            "reading on in a file that was rotated away",
            path=path_text(sibling.path),
            known=leftover.name is not None,
        )
        if sibling.compressed:
            await self._read_archive(path, leftover)
            return
        try:
            file = FollowedFile(
                sibling.path, place=path, name=leftover.name, truncated=self._state.truncated, clock=self._state.clock
            )
        except OSError as error:
            if not is_out_of_files(error):
                return  # it is gone again; the next search finds what became of it
            await self._wait_for_a_file()
            raise Replaced from error
        if not sibling.is_same(file.identity, file.first()):
            file.close()
            raise Replaced
        file.retire()
        if not is_last:
            file.successor_written()
        self._state.files[file] = asyncio.Event()
        try:
            if await self._state.or_stop(file.has_line()) and not self._stop.is_set():
                on_setback = partial(self._positions.restore, path)
                await self._positions.append(file, sibling.identity, path, on_setback)
        except Truncated:
            self._state.log.warning("a rotated file was cut down while it was read", path=path_text(sibling.path))
        finally:
            self._state.files.pop(file).set()
            file.close()

    async def _read_archive(self, path: Path, leftover: Leftover) -> None:
        sibling = leftover.sibling
        try:
            if (leftover.alike or leftover.read) and await is_copy(leftover):
                self._copies.add(sibling)
                return
        except Failure:
            pass  # reading it says what is wrong
        archive = RotatedArchive(path, leftover)
        try:
            await self._positions.append(archive, sibling.identity, path, partial(self._positions.restore, path))
        except Replaced:
            if archive.is_another:
                self._mistaken.add((sibling.identity, str(leftover.name)))
            raise


def _last_append_was_before(path: Path, stored: Mapping[str, Known], unix_ms: int) -> bool:
    """Return whether nothing of this path was appended since then: what was written later is something else."""
    known = [stored[str(name)] for name in parse_names(stored) if name.path == path_text(path)]
    return all(each.seen_ms is not None and each.seen_ms < unix_ms for each in known)
