"""`tail:PATH`: files that are followed as `tail -F` does, whatever becomes of them.

One loop looks at the paths whenever something changes. Each file that it finds there has a task and an appender of
its own, which ends when the file was rotated away (or deleted) and read to its end. A file waits until those that stood
in its place before, while we ran or while we did not, are read.
"""

from __future__ import annotations

import asyncio
import glob
import os
import stat
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from ingestor.fingerprints import printable
from ingestor.retrying import ask, or_stop
from ingestor.source_appender import SourceAppender
from ingestor.sources.base import Context, Source
from ingestor.sources.files import Replaced
from ingestor.sources.followed import (
    CUT_DOWN,
    QUIET_SECONDS,
    FollowedFile,
    Still,
    Truncated,
    beginning_of_names,
    parse_names,
)
from ingestor.sources.rotated import (
    Beside,
    Leftover,
    RotatedArchive,
    Sibling,
    find_leftovers,
    gone,
    hops,
    is_copy,
    look_beside,
)
from ingestor.sources.watch import Watch
from tally.archives import is_compressed
from tally.backoff import Backoff
from tally.log_throttle import LASTING_SECONDS, LogThrottle
from tally.open_files import allow_open_files, is_out_of_files
from tally.refused import Refused
from tally.runtime import Failure, wait_or_stop
from tally.store import Known
from tally.telemetry import get_logger

T = TypeVar("T")

#: How often files are looked at without any sign of a change: some file systems give none.
POLL_SECONDS = 2.0

#: A file in which nothing was written for so long is closed until it changes; and the least, where others wait.
STILL_SECONDS, LEAST_STILL_SECONDS = 300.0, 2.0

#: How many files a tail has open at the most, whatever the limit of open files is; and how many more it asks for than
#: it follows, for those that were rotated away.
MAX_OPEN_FILES, SPARE_FILES = 100_000, 64

#: How soon it is tried again to open a file when no more may be open.
OUT_OF_FILES_SECONDS = 1.0

#: How often it is seen whether Redis still has what it had; a file that does not grow would not notice.
CHECK_SECONDS = 10.0

#: After so long without an append, the position of a file that is gone is forgotten; how often that is looked for.
FORGET_AFTER_SECONDS, FORGET_EVERY_SECONDS = 7 * 86_400, 3600.0

#: How long a file that begins like one that is gone, and is shorter than what was read of that, may take to become a
#: copy of it.
COPY_SECONDS = 10.0


def parse_tail(text: str) -> Tail:
    """Make a source of what stands behind `tail:`. Raises ValueError with what is wrong and what would be right."""
    path = Path(text)
    if not text:
        raise ValueError("tail: needs a path or a pattern, as in tail:/var/log/app/*.ndjson")
    if path.is_dir():
        raise ValueError(f"tail:{text}: {text!r} is a folder; name its files with a pattern, as in tail:{path}/*.log")
    if is_compressed(path):
        raise ValueError(f"tail:{text}: a compressed file does not grow; name it without tail:")
    return Tail(text)


def one_spelling(path: Path) -> Path:
    """The absolute path without `..`, because under each spelling a file would be another one.

    Links in front of `..` are followed, as the kernel does, or it would be another path. Those behind it are not: a
    tail goes where they point next.
    """
    parts = path.absolute().parts
    if ".." not in parts:
        return Path("/", *parts[1:])  # which may have been //
    behind = len(parts) - parts[::-1].index("..")
    before = Path(*parts[:behind])
    return before.resolve().joinpath(*parts[behind:]) if before.is_dir() else path.absolute()


class Tail:
    """A runner that follows the file at a path, or all files that match a pattern."""

    is_early = True

    def __init__(self, text: str) -> None:
        self.label = f"tail:{text}"
        self._text = text

    async def run(self, context: Context) -> None:
        await _Following(self._text, context).run()


@dataclass(frozen=True, slots=True)
class _Resting:
    """A file that is closed because it was still, and what is to be seen of it until it changes."""

    path: Path
    look: tuple[int, int]  # as FollowedFile has it
    name: str  # the stored one; empty if nothing was read of it


class _Following:
    """One run of a tail: the files it has open, and a task for each."""

    def __init__(self, text: str, context: Context) -> None:
        self._context = context
        self._stop = context.stop
        self._owner = f"tail:{text} {id(self)}"
        self._log = get_logger().bind(source=f"tail:{text}")
        absolute = one_spelling(Path(text))
        self._is_pattern = glob.has_magic(text) and not absolute.exists()
        self._pattern = str(absolute)
        self._base = absolute.parent
        while self._is_pattern and glob.has_magic(str(self._base)):
            self._base = self._base.parent
        self._watch = Watch(self._on_change, recursive=self._base != absolute.parent)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._files: dict[FollowedFile, asyncio.Event] = {}  # each with what is set when it is done with
        self._at: dict[str, FollowedFile] = {}  # by its present path
        self._resting: dict[tuple[int, int], _Resting] = {}  # inode -> what is at its path, and closed
        self._seldom = LogThrottle(source=f"tail:{text}", seconds=LASTING_SECONDS)
        self._truncated: dict[tuple[int, int], int] = {}  # inode -> the generation that it no longer holds
        self._not_before: dict[tuple[int, int], float] = {}  # inode -> when it is tried again after a failure
        self._backoffs: dict[tuple[int, int], Backoff] = {}  # of those
        self._unreadable: dict[Path, str] = {}
        self._targets: set[str] = set()  # the names of what symbolic links at the paths point to
        self._places: defaultdict[int, set[Path]] = defaultdict(set)  # by inode: where files were ever followed
        self._left: set[Path] = set()  # paths of which something is stored, or will be
        self._is_loaded = asyncio.Event()  # the two are
        self._mistaken: set[tuple[tuple[int, int], str]] = set()  # archives that are not what their first bytes say
        self._copies: set[Sibling] = set()  # archives that hold nothing but what was read elsewhere
        # By path and name, how far files were appended, as Redis should have it; their appenders are further.
        self._appended: defaultdict[Path, dict[str, int]] = defaultdict(dict)
        self._appenders: dict[SourceAppender, Path] = {}
        self._search_again: set[Path] = set()  # more is left there than was found
        # Held by those who search; a pattern may see new paths for years.
        self._searching: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def run(self) -> None:
        """Follow until `stop` is set. Raises what no file's task can get over."""
        try:
            # Opened before Redis is asked for anything: what rotates before it answers is open by then.
            await self._look()
            self._log.info("following", files=len(self._files))
            self._start(self._load())
            while not self._stop.is_set():
                await self._or_stop(self._set_within(self._wake, POLL_SECONDS))
                self._wake.clear()
                if not self._stop.is_set():
                    await self._look()
            await asyncio.gather(*self._tasks)
        finally:
            allow_open_files(self._owner, 0)
            self._watch.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # Looking.

    def _on_change(self, path: Path, only_content: bool) -> None:
        file = self._at.get(str(path))
        if only_content and file is not None:
            file.notice()
        # By its name alone: behind a symbolic link the path is another one than ours, and often its name is, too.
        elif not only_content or path.name in self._targets or fnmatchcase(path.name, Path(self._pattern).name):
            self._wake.set()

    async def _look(self) -> None:
        """See which files are at the paths now: open the new ones, retire the ones that are gone."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()  # raises what it could not get over
        present, folders = await asyncio.to_thread(self._present)
        self._watch.set_folders(folders)
        places = {(status.st_dev, status.st_ino): (path, status) for path, status in present.items()}
        self._at = {}
        for file in list(self._files):
            if file.identity in places:
                path, status = places.pop(file.identity)
                file.stands(path, status)
                self._at[str(path)] = file
            elif not file.retired and await asyncio.to_thread(file.is_gone):
                file.retire()
        self._wake_those_that_changed(places)
        wanted = {
            identity: path
            for identity, (path, _) in places.items()
            if identity not in self._resting and time.monotonic() >= self._not_before.get(identity, 0.0)
        }
        most = allow_open_files(self._owner, min(len(self._files) + len(wanted) + SPARE_FILES, MAX_OPEN_FILES))
        room = min(len(wanted), max(0, most - len(self._files)))
        for path in list(wanted.values())[:room]:
            self._open(path)
        self._let_rest(waiting=len(wanted) - room)
        for before in self._files:
            file_there = self._at.get(str(before.path))
            if before.retired and file_there is not None and file_there.size > 0:
                before.successor_written()

    def _wake_those_that_changed(self, places: Mapping[tuple[int, int], tuple[Path, os.stat_result]]) -> None:
        """Have resting files opened that were written to; see to what became of those that are gone."""
        there = {path for path, _ in places.values()}
        for identity, resting in list(self._resting.items()):
            path, status = places.get(identity, (None, None))
            if status is None:
                # What was written to it before it was rotated away is beside the path, and is looked for there, by
                # the file that is at the path now if there is one.
                del self._resting[identity]
                if resting.path not in there:
                    self._start(self._read_leftovers(resting.path, None))
            elif path != resting.path or (status.st_size, status.st_mtime_ns) != resting.look:
                del self._resting[identity]

    def _let_rest(self, *, waiting: int) -> None:
        """Have files closed that were still for long; if some wait to be opened, as many of the others as that."""
        files = sorted((each for each in self._files if not each.retired), key=lambda each: -each.still_seconds)
        for at, file in enumerate(files):
            if file.still_seconds >= (LEAST_STILL_SECONDS if at < waiting else STILL_SECONDS):
                file.rest()
        if waiting > 0:
            self._say_too_many(waiting)

    def _say_too_many(self, waiting: int) -> None:
        self._seldom.warning(
            "more files are to be followed than may be open: those that are still are closed to make room; "
            "raise `ulimit -n`",
            open=len(self._files),
            waiting=waiting,
        )

    def _present(self) -> tuple[dict[Path, os.stat_result], set[Path]]:
        """Which files are at the paths; and the folders that should be watched."""
        paths = [Path(self._pattern)]
        if self._is_pattern:
            # Path.glob takes no absolute pattern.
            paths = [Path(each) for each in sorted(glob.glob(self._pattern, recursive=True))]  # noqa: PTH207
        found = {}
        folders = {self._base}
        targets = set()
        for path in paths:
            try:
                status = path.stat()
            except OSError:
                continue
            if not stat.S_ISDIR(status.st_mode) and self._is_ours(path):
                found[path] = status
            for hop in hops(path)[1:]:
                folders.add(hop.parent)
                targets.add(hop.name)
        self._targets = targets
        return found, {folder for folder in folders if folder.is_dir()}

    def _is_ours(self, path: Path) -> bool:
        """Whether the file at this path is, or would be, followed."""
        if not self._is_pattern:
            return str(path) == self._pattern
        if is_compressed(path):
            return False
        if "**" in self._pattern:
            return fnmatchcase(str(path), self._pattern.replace("**/", "*"))
        ours = Path(self._pattern).parts
        return len(ours) == len(path.parts) and all(map(fnmatchcase, path.parts, ours))

    def _open(self, path: Path) -> None:
        try:
            file = FollowedFile(path, truncated=self._truncated)
        except OSError as error:
            if is_out_of_files(error):
                self._say_too_many(1)
                return
            problem = error.strerror or str(error)
            if self._unreadable.get(path) != problem:
                self._log.warning("cannot follow, trying again", path=printable(path), error=problem)
            self._unreadable[path] = problem
            return
        self._unreadable.pop(path, None)
        before = {each: done for each, done in self._files.items() if each.path == path and each.retired}
        self._files[file] = asyncio.Event()
        self._at[str(path)] = file
        self._start(self._follow(file, before))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._wake.set())

    # One file.

    async def _follow(self, file: FollowedFile, before: dict[FollowedFile, asyncio.Event]) -> None:
        """Read a file when those before it are read, until it is gone and read to its end, or `stop` is set."""
        try:
            for each, done in before.items():
                # One that comes back to a path that is followed does not end.
                while each.retired and not done.is_set() and not self._stop.is_set():
                    await self._or_stop(self._set_within(done, POLL_SECONDS))
            await self._or_stop(self._is_loaded.wait())
            self._left.add(file.path)
            self._places[file.inode].add(file.path)
            file.places = self._places[file.inode]
            await self._read_leftovers(file.path, file)
            if await self._or_stop(file.has_line()):
                await self._recognise(file)
                if not self._stop.is_set():
                    await self._append(file, file.identity, file.path, partial(self._start_again, file))
        except Still:
            name = str(file.stored_name or "")
            self._resting[file.identity] = _Resting(file.found_at, file.rested_look, name)
        except Truncated:
            self._truncated[file.identity] = file.generation
            self._log.warning(CUT_DOWN, path=printable(file.path))
        finally:
            self._files.pop(file).set()
            file.close()

    async def _append(
        self, source: Source, identity: tuple[int, int], path: Path, on_setback: Callable[[], Awaitable[None]]
    ) -> None:
        """Append one file. What is wrong with it is logged, and it is tried again later.

        Raises Truncated, Replaced, Still.
        """
        context = self._context
        appender = SourceAppender(
            source, store=context.store, settings=context.settings, stop=self._stop, on_setback=on_setback
        )
        self._appenders[appender] = path
        try:
            await appender.run()
            self._backoffs.pop(identity, None)
        except (Truncated, Replaced, Still, Refused):
            raise
        except Exception as error:
            backoff = self._backoffs.setdefault(identity, Backoff(first_seconds=1.0, most_seconds=60.0))
            delay_seconds = backoff.next_seconds()
            self._not_before[identity] = time.monotonic() + delay_seconds
            self._log.error(
                "reading failed, trying again",
                path=source.label.removeprefix("tail:"),
                error=str(error),
                retry_in_seconds=round(delay_seconds, 1),
                exc_info=not isinstance(error, Failure | OSError),
            )
        finally:
            del self._appenders[appender]
            if appender.name:
                self._appended[path][appender.name] = appender.position

    # What was rotated away.

    async def _load(self) -> None:
        """Learn of which paths something is stored; start reading what is left of those at which there is no file."""
        beginning = beginning_of_names(Path(self._pattern))
        if self._is_pattern:
            beginning = beginning_of_names(self._base / "x").removesuffix("x#")
        await self._or_stop(self._context.ready.wait())
        stored = await self._ask(partial(self._context.store.known, beginnings=[beginning]))
        if stored is None:
            return  # we are to stop
        for name in parse_names(stored):
            path = Path(name.path)
            if self._is_ours(path):
                self._places[name.inode].add(path)
                self._left.add(path)
                self._appended[path][str(name)] = stored[str(name)].position
        self._is_loaded.set()
        self._start(self._tend())
        for path in sorted(self._left):
            if str(path) not in self._at:
                self._start(self._read_leftovers(path, None))

    async def _read_leftovers(self, path: Path, file: FollowedFile | None) -> None:
        """Read what was rotated away from a path and is still beside it, before the file that is there now."""
        async with self._searching.setdefault(path, asyncio.Lock()):
            leftovers = await self._find_leftovers(path, file)
            while leftovers and not self._stop.is_set():
                is_last = len(leftovers) == 1 and not (file and file.size)
                try:
                    await self._read_leftover(path, leftovers.pop(0), is_last=is_last)
                except Replaced:
                    # Rotated again, while those before it were read. It is in another place, and what is in its place
                    # must not be read under its name.
                    leftovers = await self._find_leftovers(path, file)
                if path in self._search_again:
                    leftovers = await self._find_leftovers(path, file)

    async def _find_leftovers(self, path: Path, file: FollowedFile | None) -> list[Leftover]:
        self._search_again.discard(path)
        stored = await self._known(path, file)
        beside = await self._look_beside(path, file, stored)
        leftovers = beside.leftovers
        for each in beside.unknown:
            if self._last_append_was_before(path, stored, each.sibling.modified_ns // 1_000_000):
                leftovers.append(each)
        leftovers = [each for each in leftovers if each.sibling not in self._copies]
        if file is not None and not file.is_at(path):
            # Rotated away itself while it waited. What nobody has read of and is newer comes after it, by the search of
            # the next file: after a kill in between, what is older than the newest known would be left alone.
            leftovers = [each for each in leftovers if each.name or each.sibling.modified_ns < file.modified_ns]
        return leftovers

    async def _look_beside(self, path: Path, file: FollowedFile | None, stored: Mapping[str, Known]) -> Beside:
        inodes = {name.inode for name in parse_names(stored)}
        others = [each for each in self._files if each is not file and (each.path == path or each.inode in inodes)]
        taken = {str(each.find_name(stored)) for each in others} | {each.name for each in self._resting.values()}
        names = {str(name) for name in parse_names(stored) if name.path == printable(path)}
        current = file.find_name(stored) if file is not None else None
        if not names or (current is not None and names <= {*taken, str(current)}):
            return Beside([], [], [])  # nothing is missing, and no rotation was missed
        siblings = await self._siblings(path, stored)
        open_now = {each.identity for each in self._files} | set(self._resting)
        return await asyncio.to_thread(
            find_leftovers,
            path,
            stored={name: known for name, known in stored.items() if name not in taken},
            siblings=[each for each in siblings if each.identity not in open_now],
            current=current,
            current_inode=file.inode if file is not None else None,
            heads=[each for each in self._files if each.path == path],
            mistaken=self._mistaken,
        )

    async def _siblings(self, path: Path, stored: Mapping[str, Known]) -> list[Sibling]:
        while not self._stop.is_set():
            try:
                return await asyncio.to_thread(look_beside, path, stored=stored, skip=self._is_ours)
            except (OSError, Failure) as error:
                if not is_out_of_files(error):
                    raise
            self._say_too_many(1)
            await wait_or_stop(self._stop, OUT_OF_FILES_SECONDS)
        return []

    async def _recognise(self, file: FollowedFile) -> None:
        """Let a file go on under the name of one that is gone, if it holds all that was read of that.

        It was replaced by a copy of itself then, as rsync, an editor or a restored backup does.
        """
        began = still_since = time.monotonic()
        size = 0
        while not self._stop.is_set():
            stored = await self._known(file.path, file)
            if file.find_name(stored) is not None:
                return
            missing = (await self._look_beside(file.path, file, stored)).missing
            first = file.first()
            alike = [name for name in missing if name.fingerprint.fits(first) or len(first) < name.fingerprint.length]
            fitting = [each for each in alike if each.fingerprint.fits(first) and file.fits(stored[str(each)])]
            if fitting:
                name = max(fitting, key=lambda each: stored[str(each)].position)
                self._log.info(
                    "the file is a copy of one that was read before", path=printable(file.path), name=str(name)
                )
                file.stored_name = name
                return
            now = time.monotonic()
            if file.size != size:
                size, still_since = file.size, now
            # One that is still shorter may be a copy that is being written.
            growing = any(stored[str(each)].position > size for each in alike)
            if not growing or file.retired or now - still_since >= QUIET_SECONDS or now - began >= COPY_SECONDS:
                return
            await wait_or_stop(self._stop, QUIET_SECONDS / 4)

    async def _read_leftover(self, path: Path, leftover: Leftover, *, is_last: bool) -> None:
        """Raises Replaced if it no longer is where it was found."""
        sibling = leftover.sibling
        if not sibling.is_there():
            raise Replaced
        self._log.info(
            "reading on in a file that was rotated away",
            path=printable(sibling.path),
            known=leftover.name is not None,
        )
        if sibling.compressed:
            await self._read_archive(path, leftover)
            return
        try:
            file = FollowedFile(sibling.path, place=path, name=leftover.name, truncated=self._truncated)
        except OSError as error:
            if not is_out_of_files(error):
                return  # it is gone again; the next search finds what became of it
            self._say_too_many(1)
            await wait_or_stop(self._stop, OUT_OF_FILES_SECONDS)
            raise Replaced from error
        if not sibling.is_same(file.identity, file.first()):
            file.close()
            raise Replaced
        file.retire()
        if not is_last:
            file.successor_written()
        self._files[file] = asyncio.Event()
        try:
            if await self._or_stop(file.has_line()) and not self._stop.is_set():
                await self._append(file, sibling.identity, path, partial(self._restore, path))
        except Truncated:
            self._log.warning("a rotated file was cut down while it was read", path=printable(sibling.path))
        finally:
            self._files.pop(file).set()
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
            await self._append(archive, sibling.identity, path, partial(self._restore, path))
        except Replaced:
            if archive.is_another:
                self._mistaken.add((sibling.identity, str(leftover.name)))
            raise

    @staticmethod
    def _last_append_was_before(path: Path, stored: Mapping[str, Known], unix_ms: int) -> bool:
        """Whether nothing of this path was appended since then: what was written later is something else."""
        known = [stored[str(name)] for name in parse_names(stored) if name.path == printable(path)]
        return all(each.seen_ms is not None and each.seen_ms < unix_ms for each in known)

    # What Redis has, and has not any more.

    async def _tend(self) -> None:
        """See now and then whether Redis still has what it had, and forget there what is gone."""
        forget_next = time.monotonic() + FORGET_EVERY_SECONDS / 60
        while not await wait_or_stop(self._stop, CHECK_SECONDS):
            await self._check()
            if time.monotonic() >= forget_next:
                forget_next = time.monotonic() + FORGET_EVERY_SECONDS
                await self._forget_gone()

    async def _check(self) -> None:
        """See whether positions fell back: a flush, a backup that was put back, a replica that lagged behind."""
        appended = {path: self._appended_of(path) for path in list(self._appended)}
        names = [name for names in appended.values() for name, position in names.items() if position]
        stored = await self._ask(partial(self._context.store.known, names=names)) or {}
        for path, positions in appended.items():
            if self._stop.is_set():
                return
            behind = {
                name
                for name, position in positions.items()
                if position and (name not in stored or stored[name].position < position)
            }
            appenders = [each for each, of in self._appenders.items() if of == path and each.name in behind]
            for appender in appenders:
                appender.set_back()
            if behind and not appenders:
                self._start(self._restore_and_read(path))

    def _appended_of(self, path: Path) -> dict[str, int]:
        now = {each.name: each.position for each, of in self._appenders.items() if of == path and each.name}
        return self._appended[path] | now

    async def _restore(self, path: Path) -> None:
        """Note in Redis which files of a path it has forgotten: they are to be read again, whoever does it.

        Before anything newer is appended, or after a kill in between nobody would know of them.
        Raises StoreUnavailable.
        """
        appended = self._appended_of(path)
        stored = await self._context.store.known(names=list(appended))
        forgotten = [name for name in appended if name not in stored]
        await self._context.store.register_sources(forgotten)
        self._appended[path] = {name: known.position for name, known in stored.items()} | dict.fromkeys(forgotten, 0)
        self._search_again.add(path)
        self._log.warning(
            "redis has forgotten what it had of these files; what is still there of them is read again",
            path=printable(path),
            files=len(forgotten) + sum(stored[name].position < appended[name] for name in stored),
        )

    async def _start_again(self, file: FollowedFile) -> None:
        """The same, and read what stood in the place of this file before. Raises StoreUnavailable."""
        await self._restore(file.path)
        await self._read_leftovers(file.path, file)

    async def _restore_and_read(self, path: Path) -> None:
        if not await self._ask(partial(self._done, partial(self._restore, path))):
            return  # we are to stop
        resting = [identity for identity, each in self._resting.items() if each.path == path]
        for identity in resting:
            del self._resting[identity]  # it is opened, and reads what was before it
        self._wake.set()
        if not resting:
            await self._read_leftovers(path, self._at.get(str(path)))

    async def _forget_gone(self) -> None:
        """Forget the files that are no longer in their folders, some time after they were last read of."""
        before_ms = int((time.time() - FORGET_AFTER_SECONDS) * 1000)
        in_use = {str(each.stored_name) for each in self._files} | {each.name for each in self._resting.values()}
        # One that has no name yet may turn out to be a copy of what is gone.
        unnamed = {each.path for each in self._files if each.stored_name is None}
        for path in sorted(self._left - unnamed):
            stored = await self._known(path, None)
            if self._stop.is_set():
                return
            if not stored and str(path) not in self._at:
                self._left.discard(path)
                self._appended.pop(path, None)
            stale = [name for name, each in stored.items() if each.seen_ms is None or each.seen_ms < before_ms]
            if stale:
                forgotten = await asyncio.to_thread(gone, stale, paths=self._is_ours)
                forgotten = [name for name in forgotten if name not in in_use]
                for name in forgotten:
                    self._appended[path].pop(name, None)
                forget = partial(self._context.store.forget_sources, forgotten, unseen_since_ms=before_ms)
                await self._ask(forget)

    # Waiting.

    @staticmethod
    async def _done(work: Callable[[], Awaitable[None]]) -> bool:
        await work()
        return True

    async def _known(self, path: Path, file: FollowedFile | None) -> dict[str, Known]:
        """What is stored of files that were followed at this path, or at another one if this file was there."""
        paths = {path} if file is None else {path, *file.places}
        beginnings = [beginning_of_names(each) for each in sorted(paths)]
        return await self._ask(partial(self._context.store.known, beginnings=beginnings)) or {}

    @staticmethod
    async def _set_within(event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        return await ask(question, stop=self._stop, log=self._log)

    async def _or_stop(self, work: Coroutine[Any, Any, T]) -> T | None:
        return await or_stop(work, self._stop)
