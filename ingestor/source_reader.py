"""Read a source ahead of what is sent of it, and cut what was read into blocks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from enum import Enum, auto
from typing import Protocol, cast

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint
from ingestor.framing import Framer
from ingestor.sources.base import Another, Source
from ingestor.striped_framing import StripedFramer
from tally.runtime import cancel_and_wait
from tally.settings import Settings
from tally.store import Block, Known
from tally.stripes import Stripes
from tally.telemetry import Log


class Mistaken(Another):
    """The bytes before the stored position are others than those that were read, or there are not so many."""


class Reading(Enum):
    """What is still to be expected of a source."""

    GOES_ON = auto()
    ENDED = auto()  # it gave all that it has
    FAILED = auto()  # it raised an error
    STOPPED = auto()  # it was not read to its end, because we are to stop


class Reader(Protocol):
    """What an appender takes blocks from; a SourceReader, or a part of one that several take from."""

    @property
    def held_bytes(self) -> int: ...

    @property
    def reading(self) -> Reading: ...

    def start(self, known: Known) -> None: ...

    async def stop(self) -> None: ...

    def take(self) -> Block | None: ...

    def wait(self) -> None:
        """Note that who takes has found nothing, and waits for `on_change`."""

    def raise_what_failed(self) -> None: ...


class NewReader(Protocol):
    """Makes a reader that calls this when there may be a block to take, or reading has ended."""

    def __call__(self, *, on_change: Callable[[], None]) -> Reader: ...


class SourceReader:
    """Read a source from a position on, and hold what it gave until it is taken, a block at a time.

    What is held is bounded: when nothing is taken, the source is not read any further. What was held is there to be
    taken when the source has ended, or failed, or reading was stopped.
    """

    def __init__(self, source: Source, *, settings: Settings, log: Log, on_change: Callable[[], None]) -> None:
        """Make it; `on_change` is called when there may be a block to take, or reading has ended."""
        self._source = source
        self._log = log
        self._on_change = on_change
        self._settings = settings
        self._most_held_bytes = settings.max_blocks_in_flight * settings.max_block_bytes + max(
            settings.max_line_bytes, settings.max_block_bytes
        )
        self._is_spread = source.replayable and settings.shards > 1
        self._is_striped = self._is_spread  # or was moved from where it was
        self._framer = self._plain_framer(Known(""))
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def held_bytes(self) -> int:
        """How much was read and not taken yet."""
        return self._framer.piled_bytes

    @property
    def reading(self) -> Reading:
        """What is to be expected, besides what is held."""
        if self._task is None or not self._task.done():
            return Reading.GOES_ON
        if self._task.cancelled():
            return Reading.STOPPED
        return Reading.ENDED if self._task.exception() is None else Reading.FAILED

    def start(self, known: Known) -> None:
        """Read from where the source is known to stand; nothing stays of what was read before."""
        self._is_striped = self._is_spread or bool(known.before)
        self._framer = self._striped_framer(known) if self._is_striped else self._plain_framer(known)
        self._room.set()
        self._task = asyncio.create_task(self._read(known), name=f"read {self._source.label}")
        self._task.add_done_callback(lambda _: self._on_change())

    def _plain_framer(self, known: Known) -> Framer:
        return Framer(
            max_line_bytes=self._settings.max_line_bytes,
            max_block_bytes=self._settings.max_block_bytes,
            position=known.position,
            fingerprints=self._source.replayable,
        )

    def _striped_framer(self, known: Known) -> Framer:
        settings = self._settings
        return StripedFramer(
            known,
            stripes=Stripes.of(known.name, shards=settings.shards, stripe_bytes=settings.stripe_bytes),
            max_line_bytes=settings.max_line_bytes,
            max_block_bytes=settings.max_block_bytes,
        )

    async def stop(self) -> None:
        """Read no more. Raises nothing: what the source gave before an error is to be taken first."""
        if self._task is not None:
            await cancel_and_wait(self._task)  # again and again: a source may lose a cancellation

    def take(self) -> Block | None:
        """Take the next block; None when no whole line is held."""
        block = self._framer.take(finished=self._last_line_is_whole())
        if self._framer.piled_bytes < self._most_held_bytes:
            self._room.set()
        return block

    def wait(self) -> None:
        """Need not be told: there is one who takes, and all changes are for it."""

    def raise_what_failed(self) -> None:
        """Raise the error that ended reading, if one did: Mistaken, or what the source raised."""
        if self._task is not None and self.reading is Reading.FAILED:
            self._task.result()

    def _last_line_is_whole(self) -> bool:
        """Return whether what is left behind the last line end is a line.

        Not so where an error broke off a source that can be read again: the rest of the line may still come.
        """
        if self.reading is not Reading.FAILED:
            return self.reading is Reading.ENDED
        assert self._task is not None
        return not self._source.replayable or isinstance(self._task.exception(), Another)

    async def _read(self, known: Known) -> None:
        async for chunk in self._behind(known):
            self._framer.feed(chunk)
            self._on_change()
            if self._framer.piled_bytes >= self._most_held_bytes:
                self._room.clear()
                await self._room.wait()

    async def _behind(self, known: Known) -> AsyncIterator[bytes]:
        """Give the bytes behind the stored position, if those before it are the ones that were read then."""
        await self._check_lanes(known)
        chunks = self._source.chunks(known.position)
        half_line = False
        before_bytes = min(known.position, FINGERPRINT_BYTES) if self._source.replayable else 0
        if before_bytes:
            begun = await _at_least(before_bytes, chunks)
            before, behind = begun[:before_bytes], begun[before_bytes:]
            last = Fingerprint.parse(known.last)
            if last is not None and not last.fits_last(before):
                raise Mistaken
            self._framer.restart(known.position, before=before)
            is_cut = not self._is_striped or any(each.position == known.position for each in known.stands_of_all)
            half_line = is_cut and not before.endswith(b"\n")
            if behind:
                self._warn_if(half_line, known)
                half_line = False
                yield behind
        async for chunk in chunks:
            if chunk:
                self._warn_if(half_line, known)
                half_line = False
                yield chunk

    async def _check_lanes(self, known: Known) -> None:
        """See whether the lanes that are further have read just what is there: else nothing is to be appended."""
        further = (each for each in known.stands_of_all if each.position > known.position)
        ends = deque(sorted(further, key=lambda each: each.position))
        if not ends:
            return
        position = known.position - min(known.position, FINGERPRINT_BYTES)
        before = b""
        # Sources give what generators yield, and those hold files open until they are closed.
        async with aclosing(cast(AsyncGenerator[bytes], self._source.chunks(known.position))) as chunks:
            async for chunk in chunks:
                while position + len(chunk) >= ends[0].position:
                    end = ends.popleft()
                    last = Fingerprint.parse(end.last)
                    if last is not None and not last.fits_last(_last_of(before, chunk[: end.position - position])):
                        raise Mistaken
                    if not ends:
                        return
                before = _last_of(before, chunk)
                position += len(chunk)
        raise Mistaken

    def _warn_if(self, half_line: bool, known: Known) -> None:
        """Say that a line goes on whose beginning is counted already: as a whole line it would be counted twice."""
        if half_line:
            self._log.warning(
                "the last line was taken without its end, and has gone on since: what came is another line",
                position=known.position,
            )


def _last_of(before: bytes, chunk: bytes) -> bytes:
    """Return the last bytes of both together, as many as a fingerprint takes."""
    return (before + chunk[-FINGERPRINT_BYTES:])[-FINGERPRINT_BYTES:]


async def _at_least(count: int, chunks: AsyncIterator[bytes]) -> bytes:
    """Read so many bytes, or some more. Raises Mistaken when there are fewer."""
    found = b""
    async for chunk in chunks:
        found += chunk
        if len(found) >= count:
            return found
    raise Mistaken
