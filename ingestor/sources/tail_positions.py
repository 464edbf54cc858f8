"""How far the files of a tail were appended, and whether Redis still has them there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from ingestor.fingerprints import path_text
from ingestor.source_appender import SourceAppender
from ingestor.sources.base import Source
from ingestor.sources.files import Replaced
from ingestor.sources.followed import FollowedFile, Still, Truncated
from ingestor.sources.siblings import gone
from ingestor.sources.tail_names import parse_names
from ingestor.sources.tail_state import TailState
from tally.backoff import Backoff
from tally.refused import Refused
from tally.runtime import Failure
from tally.store import Known

#: After so long without an append, the position of a file that is gone is forgotten.
FORGET_AFTER_SECONDS = 7 * 86_400


class TailPositions:
    """Append the files of a tail, and remember how far each of them was appended."""

    def __init__(self, state: TailState) -> None:
        self._state = state
        self._store = state.context.store
        self._clock = state.clock
        # By path and name, as Redis should have it; what is being appended just now is further.
        self._appended: defaultdict[Path, dict[str, tuple[int, ...]]] = defaultdict(dict)
        self._appenders: dict[SourceAppender, Path] = {}
        self._not_before: dict[tuple[int, int], float] = {}  # inode -> when it is tried again after a failure
        self._backoffs: dict[tuple[int, int], Backoff] = {}  # of those
        self.search_again: set[Path] = set()  # paths of which more is left to read than was found

    def load(self, stored: Mapping[str, Known]) -> None:
        """Take over what is stored of the paths that are followed."""
        for name in parse_names(stored):
            path = Path(name.path)
            if self._state.paths.is_ours(path):
                self._state.note_followed(path, name.inode)
                self._appended[path][str(name)] = stored[str(name)].positions

    def may_try(self, identity: tuple[int, int]) -> bool:
        """Return whether a file may be opened: it did not fail, or that is a while ago."""
        return self._clock.monotonic() >= self._not_before.get(identity, 0.0)

    @property
    def waits_after_failure(self) -> bool:
        """Whether some file failed, and is not tried again yet."""
        now = self._clock.monotonic()
        return any(now < not_before for not_before in self._not_before.values())

    async def append(
        self, source: Source, identity: tuple[int, int], path: Path, on_setback: Callable[[], Awaitable[None]]
    ) -> None:
        """Append one file. What is wrong with it is logged, and it is tried again later.

        Raises Truncated, Replaced, Still.
        """
        context = self._state.context
        appender = SourceAppender(
            source,
            store=context.store,
            settings=context.settings,
            stop=context.stop,
            on_setback=on_setback,
            clock=context.clock,
            metrics=self._state.metrics,
        )
        self._appenders[appender] = path
        try:
            with self._state.metrics.followed(partial(_lag_bytes, source, appender)):
                await appender.run()
            self._backoffs.pop(identity, None)
        except (Truncated, Replaced, Still, Refused):
            raise
        except Exception as error:
            backoff = self._backoffs.setdefault(
                identity, Backoff(first_seconds=1.0, most_seconds=60.0, clock=self._clock)
            )
            delay_seconds = backoff.next_seconds()
            self._not_before[identity] = self._clock.monotonic() + delay_seconds
            self._state.metrics.failures.inc()
            self._state.log.error(
                "reading failed, trying again",
                path=source.label.removeprefix("tail:"),
                error=str(error),
                retry_in_seconds=round(delay_seconds, 1),
                exc_info=not isinstance(error, Failure | OSError),
            )
        finally:
            del self._appenders[appender]
            if appender.name:
                self._appended[path][appender.name] = appender.positions

    async def check(self) -> list[Path]:
        """See whether positions fell back: a flush, a backup that was put back, a replica that lagged behind.

        Return the paths of which some did, and nothing is appended just now that could be sent again.
        """
        appended = {path: self._appended_of(path) for path in list(self._appended)}
        names = [name for names in appended.values() for name, positions in names.items() if any(positions)]
        stored = await self._state.ask(partial(self._store.known, names=names)) or {}
        if self._state.stop.is_set():
            return []
        fell_back = []
        for path, by_name in appended.items():
            behind = {
                name
                for name, positions in by_name.items()
                if any(positions) and (name not in stored or stored[name].is_behind(positions))
            }
            appenders = [each for each, of in self._appenders.items() if of == path and each.name in behind]
            for appender in appenders:
                appender.set_back()
            if behind and not appenders:
                fell_back.append(path)
        return fell_back

    def _appended_of(self, path: Path) -> dict[str, tuple[int, ...]]:
        now = {each.name: each.positions for each, of in self._appenders.items() if of == path and each.name}
        return self._appended[path] | now

    async def restore(self, path: Path) -> None:
        """Note in Redis which files of a path it has forgotten: they are to be read again, by whichever ingestor.

        Before anything newer is appended, or after a kill in between they would be forgotten for good.
        Raises StoreUnavailable.
        """
        appended = self._appended_of(path)
        stored = await self._store.known(names=list(appended))
        forgotten = [name for name in appended if name not in stored]
        await self._store.register_sources(forgotten)
        self._appended[path] = {name: known.positions for name, known in stored.items()} | dict.fromkeys(forgotten, ())
        self.search_again.add(path)
        self._state.log.warning(
            "redis has forgotten what it had of these files; what is still there of them is read again",
            path=path_text(path),
            files=len(forgotten) + sum(stored[name].is_behind(appended[name]) for name in stored),
        )

    async def forget_gone(self) -> None:
        """Forget the files that are no longer in their folders, some time after they were last read of."""
        state = self._state
        before_ms = int((self._clock.time() - FORGET_AFTER_SECONDS) * 1000)
        in_use = {str(each.stored_name) for each in state.files} | {each.name for each in state.resting.values()}
        # One that has no name yet may turn out to be a copy of what is gone.
        unnamed = {each.path for each in state.files if each.stored_name is None}
        for path in sorted(state.left - unnamed):
            stored = await state.known(path, None)
            if state.stop.is_set():
                return
            if not stored and str(path) not in state.at:
                state.left.discard(path)
                self._appended.pop(path, None)
            stale = [name for name, each in stored.items() if each.seen_ms is None or each.seen_ms < before_ms]
            if stale:
                forgotten = await asyncio.to_thread(gone, stale, paths=state.paths.is_ours)
                forgotten = [name for name in forgotten if name not in in_use]
                for name in forgotten:
                    self._appended[path].pop(name, None)
                await state.ask(partial(self._store.forget_sources, forgotten, unseen_since_ms=before_ms))


def _lag_bytes(source: Source, appender: SourceAppender) -> int:
    """Return how much of a file that is followed is not in the stream; nothing until it is known what is."""
    if not isinstance(source, FollowedFile) or not appender.name:
        return 0  # an archive is read from its start anyway, and what it holds can only be told by unpacking it
    try:
        return max(0, source.size - appender.position)
    except OSError:  # of a file server; reading it says so
        return 0
