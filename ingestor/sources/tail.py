"""`tail:PATH`: files that are followed as `tail -F` does, whatever becomes of them.

One loop looks at the paths whenever something changes. Each file that it finds there has a task and an appender of
its own, which ends when the file was rotated away (or deleted) and read to its end. A file waits until those that stood
in its place before, while we ran or while we did not, are read.

`tail_rules` decides which file is which; `tail_rotations` reads what was rotated away; `tail_positions` appends, and
sees whether Redis still has what it had.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ingestor.fingerprints import path_text
from ingestor.log_events import CUT_DOWN, FOLLOWING
from ingestor.sources.base import Context
from ingestor.sources.followed import FollowedFile, Still, Truncated
from ingestor.sources.tail_positions import TailPositions
from ingestor.sources.tail_rotations import TailRotations
from ingestor.sources.tail_rules import RESTING, Resting, SeenResting, decide
from ingestor.sources.tail_state import RestingFile, TailState
from ingestor.sources.watch import Watch
from tally.archives import is_compressed
from tally.open_files import allow_open_files, is_out_of_files

#: How often files are looked at without any sign of a change: some file systems give none.
POLL_SECONDS = 2.0

#: A file in which nothing was written for so long is closed until it changes; and the least, where others wait.
STILL_SECONDS, LEAST_STILL_SECONDS = 300.0, 2.0

#: How many files a tail has open at the most, whatever the limit of open files is; and how many more it asks for than
#: it follows, for those that were rotated away.
MAX_OPEN_FILES, SPARE_FILES = 100_000, 64

#: How often it is seen whether Redis still has what it had; a file that does not grow would not notice.
CHECK_SECONDS = 10.0

#: How often it is seen which files are gone for so long that they may be forgotten.
FORGET_EVERY_SECONDS = 3600.0


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


class Tail:
    """A runner that follows the file at a path, or all files that match a pattern."""

    is_early = True

    def __init__(self, text: str) -> None:
        self.label = f"tail:{text}"

    async def run(self, context: Context) -> None:
        """Follow until `context.stop` is set."""
        await _Following(self.label, context).run()


class _Following:
    """One run of a tail: it opens and closes the files, each with a task."""

    def __init__(self, label: str, context: Context) -> None:
        self._state = TailState(label, context)
        self._stop = context.stop
        self._positions = TailPositions(self._state)
        self._rotations = TailRotations(self._state, self._positions)
        self._owner = f"{label} {id(self)}"
        self._watch = Watch(self._on_change, recursive=self._state.paths.has_folders_below, clock=self._state.clock)
        self._unreadable: dict[Path, str] = {}
        self._is_loaded = asyncio.Event()  # it is known of which paths something is stored

    async def run(self) -> None:
        """Follow until `stop` is set. Raises what no file's task can get over."""
        state = self._state
        try:
            # Opened before Redis is asked for anything: what rotates before it answers is open by then.
            await self._look()
            state.log.info(FOLLOWING, files=len(state.files))
            state.start(self._load())
            # Where no file is read just now, none is behind.
            with state.metrics.up(self._is_all_followed), state.metrics.followed(lambda: 0):
                while not self._stop.is_set():
                    await state.until(state.wake, seconds=POLL_SECONDS)
                    state.wake.clear()
                    if not self._stop.is_set():
                        await self._look()
                await asyncio.gather(*state.tasks)
        finally:
            allow_open_files(self._owner, 0)
            self._watch.close()
            for task in state.tasks:
                task.cancel()
            await asyncio.gather(*state.tasks, return_exceptions=True)

    def _is_all_followed(self) -> bool:
        return not self._unreadable and not self._positions.waits_after_failure

    # Looking.

    def _on_change(self, path: Path, only_content: bool) -> None:
        file = self._state.at.get(str(path))
        if only_content and file is not None:
            file.notice()
        elif not only_content or self._state.paths.may_concern(path):
            self._state.wake.set()

    async def _look(self) -> None:
        """See which files are at the paths now: open the new ones, retire the ones that are gone."""
        state = self._state
        for task in [task for task in state.tasks if task.done()]:
            state.tasks.remove(task)
            task.result()  # raises what it could not get over
        present, folders = await asyncio.to_thread(state.paths.look)
        self._watch.set_folders(folders)
        places = {(status.st_dev, status.st_ino): (path, status) for path, status in present.items()}
        self._unreadable = {path: problem for path, problem in self._unreadable.items() if path in present}
        state.at = {}
        for file in list(state.files):
            if file.identity in places:
                path, status = places.pop(file.identity)
                file.stands(path, status)
                state.at[str(path)] = file
            elif not file.retired and await asyncio.to_thread(file.is_gone):
                file.retire()
        self._see_to_resting(places)
        wanted = [
            path
            for identity, (path, _) in places.items()
            if identity not in state.resting and self._positions.may_try(identity)
        ]
        most = allow_open_files(self._owner, min(len(state.files) + len(wanted) + SPARE_FILES, MAX_OPEN_FILES))
        room = min(len(wanted), max(0, most - len(state.files)))
        for path in wanted[:room]:
            self._open(path)
        self._let_rest(waiting=len(wanted) - room)
        for before in state.files:
            file_there = state.at.get(str(before.path))
            if before.retired and file_there is not None and file_there.size > 0:
                before.successor_written()

    def _see_to_resting(self, places: Mapping[tuple[int, int], tuple[Path, os.stat_result]]) -> None:
        """Have resting files opened that were written to; see to what became of those that are gone."""
        state = self._state
        there = {path for path, _ in places.values()}
        for identity, resting in list(state.resting.items()):
            path, status = places.get(identity, (None, None))
            seen = SeenResting(
                is_at_a_path=status is not None,
                is_as_it_was=status is not None
                and (path, (status.st_size, status.st_mtime_ns)) == (resting.path, resting.look),
                another_is_there=resting.path in there,
            )
            act = decide(RESTING, seen)
            if act is not Resting.LET_REST:
                del state.resting[identity]
            if act is Resting.READ_BESIDE:
                state.start(self._rotations.read(resting.path, None))

    def _let_rest(self, *, waiting: int) -> None:
        """Have files closed that were still for long; if some wait to be opened, as many of the others as that."""
        files = [each for each in self._state.files if not each.retired]
        for at, file in enumerate(sorted(files, key=lambda each: -each.still_seconds)):
            if file.still_seconds >= (LEAST_STILL_SECONDS if at < waiting else STILL_SECONDS):
                file.rest()
        if waiting > 0:
            self._state.say_too_many(waiting)

    def _open(self, path: Path) -> None:
        state = self._state
        try:
            file = FollowedFile(path, truncated=state.truncated, clock=state.clock)
        except OSError as error:
            if is_out_of_files(error):
                state.say_too_many(1)
                return
            problem = error.strerror or str(error)
            if self._unreadable.get(path) != problem:
                state.metrics.failures.inc()
                state.log.warning("cannot follow, trying again", path=path_text(path), error=problem)
            self._unreadable[path] = problem
            return
        self._unreadable.pop(path, None)
        before = {each: done for each, done in state.files.items() if each.path == path and each.retired}
        state.files[file] = asyncio.Event()
        state.at[str(path)] = file
        state.start(self._follow(file, before))

    # One file.

    async def _follow(self, file: FollowedFile, before: dict[FollowedFile, asyncio.Event]) -> None:
        """Read a file when those before it are read, until it is gone and read to its end, or `stop` is set."""
        state = self._state
        try:
            for each, done in before.items():
                # One that comes back to a path that is followed does not end.
                while each.retired and not done.is_set() and not self._stop.is_set():
                    await state.until(done, seconds=POLL_SECONDS)
            await state.or_stop(self._is_loaded.wait())
            state.note_followed(file.path, file.inode)
            file.places = state.places[file.inode]
            await self._rotations.read(file.path, file)
            if await state.or_stop(file.has_line()):
                await self._rotations.recognise(file)
                if not self._stop.is_set():
                    on_setback = partial(self._start_again, file)
                    await self._positions.append(file, file.identity, file.path, on_setback)
        except Still:
            name = str(file.stored_name or "")
            state.resting[file.identity] = RestingFile(file.found_at, file.rested_look, name)
        except Truncated:
            state.truncated[file.identity] = file.generation
            state.log.warning(CUT_DOWN, path=path_text(file.path))
        finally:
            state.files.pop(file).set()
            file.close()

    async def _start_again(self, file: FollowedFile) -> None:
        """Note what Redis has forgotten, and read what stood in the place of this file. Raises StoreUnavailable."""
        await self._positions.restore(file.path)
        await self._rotations.read(file.path, file)

    # What Redis has, and has not any more.

    async def _load(self) -> None:
        """Learn of which paths something is stored; start reading what is left of those at which there is no file."""
        state = self._state
        await state.or_stop(state.context.ready.wait())
        stored = await state.ask(partial(state.context.store.known, beginnings=[state.paths.beginning_of_names]))
        if stored is None:
            return  # we are to stop
        self._positions.load(stored)
        self._is_loaded.set()
        state.start(self._tend())
        for path in sorted(state.left):
            if str(path) not in state.at:
                state.start(self._rotations.read(path, None))

    async def _tend(self) -> None:
        """See now and then whether Redis still has what it had, and forget there what is gone."""
        clock = self._state.clock
        forget_next = clock.monotonic() + FORGET_EVERY_SECONDS / 60
        while not await self._state.pause(CHECK_SECONDS):
            for path in await self._positions.check():
                self._state.start(self._restore_and_read(path))
            if clock.monotonic() >= forget_next:
                forget_next = clock.monotonic() + FORGET_EVERY_SECONDS
                await self._positions.forget_gone()

    async def _restore_and_read(self, path: Path) -> None:
        state = self._state

        async def restored() -> bool:
            await self._positions.restore(path)
            return True

        if not await state.ask(restored):
            return  # we are to stop
        resting = [identity for identity, each in state.resting.items() if each.path == path]
        for identity in resting:
            del state.resting[identity]  # it is opened, and reads what was before it
        state.wake.set()
        if not resting:
            await self._rotations.read(path, state.at.get(str(path)))
