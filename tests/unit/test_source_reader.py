"""What a reader holds of its source, and what it makes of the end of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from ingestor.fingerprints import FINGERPRINT_BYTES
from ingestor.source_reader import Mistaken, Reading, SourceReader
from ingestor.sources.base import CHUNK_BYTES, Another
from tally.runtime import Failure
from tally.settings import Settings
from tally.store import Known
from tests.fakes import FakeLog
from tests.unit.appending import Lines, read_of


def _reader(source: Lines, *, log: Any = None, **settings: Any) -> SourceReader:
    return SourceReader(source, settings=Settings(**settings), log=log or FakeLog(), on_change=lambda: None)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


def _take_all(reader: SourceReader) -> list[bytes]:
    taken = []
    while (block := reader.take()) is not None:
        taken.append(block.lines)
    return taken


@pytest.mark.parametrize(
    ("replayable", "end", "taken", "left_bytes"),
    [
        pytest.param(True, b"", [b"a", b"half"], 0, id="the end of a file"),
        pytest.param(False, b"", [b"a", b"half"], 0, id="the end of a pipe"),
        pytest.param(True, Failure("broken"), [b"a"], 4, id="a file that cannot be read: the rest may come"),
        pytest.param(False, Failure("broken"), [b"a", b"half"], 0, id="a pipe that broke: no more comes"),
        pytest.param(True, Another(), [b"a", b"half"], 0, id="a file that was read to its end, and replaced"),
    ],
)
async def test_what_ends_a_source_decides_whether_its_last_bytes_are_a_line(
    replayable: bool, end: bytes | Exception, taken: list[bytes], left_bytes: int
) -> None:
    source = Lines(replayable=replayable)
    reader = _reader(source)
    reader.start(Known("s"))
    source.give(b"a\nhalf")
    await _until(lambda: reader.held_bytes > 0)
    assert (_take_all(reader), reader.reading) == ([b"a"], Reading.GOES_ON)
    source.give(end)
    await _until(lambda: reader.reading is not Reading.GOES_ON)
    assert reader.reading is (Reading.FAILED if isinstance(end, Exception) else Reading.ENDED)
    assert ([b"a", *_take_all(reader)], reader.held_bytes) == (taken, left_bytes)
    if isinstance(end, Exception):
        with pytest.raises(type(end)):
            reader.raise_what_failed()
    else:
        reader.raise_what_failed()


async def test_a_reader_that_is_stopped_gives_what_it_holds_but_no_half_line() -> None:
    source = Lines(replayable=False)
    reader = _reader(source)
    reader.start(Known("s"))
    source.give(b"a\nb\nhalf")
    await _until(lambda: reader.held_bytes > 0)
    await reader.stop()
    assert reader.reading is Reading.STOPPED
    assert (_take_all(reader), reader.held_bytes) == ([b"a\nb"], 4)
    reader.raise_what_failed()


async def test_a_source_of_which_nothing_is_taken_is_not_read_any_further() -> None:
    line = b"x" * 1023 + b"\n"
    source = Lines(replayable=False)
    reader = _reader(source, max_block_bytes=1024, max_line_bytes=1024, max_blocks_in_flight=2)
    reader.start(Known("s"))
    source.give(*[line] * 10)
    await _until(lambda: reader.held_bytes >= 3 * 1024)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (reader.held_bytes, source.given.qsize()) == (3 * 1024, 7)
    assert reader.take() is not None
    await _until(lambda: source.given.qsize() == 6)
    assert reader.held_bytes <= 3 * 1024 + CHUNK_BYTES


async def test_a_reader_that_starts_again_has_nothing_of_before() -> None:
    source = Lines(replayable=False)
    reader = _reader(source)
    reader.start(Known("s"))
    source.give(b"old\nhalf")
    await _until(lambda: reader.held_bytes > 0)
    await reader.stop()
    reader.start(Known("s", 100))
    source.give(b"new\n")
    await _until(lambda: reader.held_bytes > 0)
    block = reader.take()
    assert block is not None
    assert (block.start, block.end, block.lines) == (100, 104, b"new")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        pytest.param([b"abX\nd\n"], Mistaken, id="other bytes"),
        pytest.param([b"ab", b""], Mistaken, id="not so many"),
        pytest.param([b"", b""], Mistaken, id="none"),
        pytest.param([b"abc\n", b""], None, id="just those"),
        pytest.param([b"a", b"bc\nd", b"\n", b""], None, id="in pieces"),
    ],
)
async def test_the_bytes_before_the_position_are_compared_with_those_that_were_read(
    given: list[bytes], error: type[Exception] | None
) -> None:
    source = Lines(replayable=True)
    reader = _reader(source)
    reader.start(read_of("s", b"abc\n"))
    source.give(*given)
    await _until(lambda: reader.reading is not Reading.GOES_ON)
    if error is None:
        reader.raise_what_failed()
        assert b"\n".join(_take_all(reader)) == b"".join(given)[4:].rstrip(b"\n")
    else:
        assert _take_all(reader) == []
        with pytest.raises(error):
            reader.raise_what_failed()


@pytest.mark.parametrize(
    ("read", "given", "warnings"),
    [
        pytest.param(b"abc\n", [b"abc\nd\n", b""], 0, id="behind a line"),
        pytest.param(b"abc", [b"abc", b""], 0, id="behind half a line, and nothing more"),
        pytest.param(b"abc", [b"abcd\n", b"e\n", b""], 1, id="behind half a line"),
        pytest.param(b"abc", [b"abc", b"d\n", b"e\n", b""], 1, id="behind half a line, later"),
    ],
)
async def test_a_line_that_was_counted_without_its_end_and_goes_on_is_warned_of(
    read: bytes, given: list[bytes], warnings: int
) -> None:
    source, log = Lines(replayable=True), FakeLog()
    reader = _reader(source, log=log)
    reader.start(read_of("s", read))
    source.give(*given)
    await _until(lambda: reader.reading is Reading.ENDED)
    assert len(log.said) == warnings


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(b"a\nbc\nd\nef\n", None, id="the same"),
        pytest.param(b"a\nbc\nX\nef\n", Mistaken, id="another, where a lane ends that is further"),
        pytest.param(b"a\nbc\n", Mistaken, id="shorter than what a lane has"),
    ],
)
async def test_nothing_is_given_of_a_source_of_which_one_lane_has_read_something_else(
    content: bytes, error: type[Exception] | None
) -> None:
    """Those that are behind would append lines of it under a name that is not its own."""
    read = b"a\nbc\nd\n"
    lanes = (read_of("s", read[:2]), read_of("s", read))
    source = Always(content)
    reader = _reader(source, shards=2, stripe_bytes=64)
    reader.start(Known("s", 2, lanes[0].last, lanes=lanes))
    await _until(lambda: reader.reading is not Reading.GOES_ON)
    if error is None:
        reader.raise_what_failed()
        assert b"\n".join(_take_all(reader)) == b"bc\nd\nef"
    else:
        assert _take_all(reader) == []
        with pytest.raises(error):
            reader.raise_what_failed()


class Always(Lines):
    """A source that gives the same whenever it is read, a byte at a time."""

    def __init__(self, content: bytes) -> None:
        super().__init__(replayable=True)
        self.content = content

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        for byte in self.content[max(0, position - FINGERPRINT_BYTES) :]:
            yield bytes((byte,))


async def test_reading_is_stopped_also_where_a_source_loses_a_cancellation() -> None:
    class Deaf(Lines):
        async def chunks(self, position: int) -> AsyncIterator[bytes]:
            with suppress(asyncio.CancelledError):
                await self.given.get()
            async for chunk in super().chunks(position):
                yield chunk

    reader = _reader(Deaf(replayable=False))
    reader.start(Known("s"))
    await asyncio.sleep(0)
    await asyncio.wait_for(reader.stop(), 10)
    assert reader.reading is Reading.STOPPED
