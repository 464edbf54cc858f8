"""How long a tail waits for a file to become a copy of one that is gone, before it is read as a new one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ingestor.fingerprints import Fingerprint
from ingestor.sources.base import Context
from ingestor.sources.followed import QUIET_SECONDS, FollowedFile
from ingestor.sources.tail_names import TailName
from ingestor.sources.tail_positions import TailPositions
from ingestor.sources.tail_rotations import COPY_SECONDS, TailRotations
from ingestor.sources.tail_state import TailState
from tally.settings import Settings
from tally.store import Known
from tests.fakes import FakeClock

LINES = b"one\ntwo\nthree\nfour\n"


class Writing(FakeClock):
    """A clock that appends a piece to a file each time that something waits, as long as there are any."""

    def __init__(self, path: Path, pieces: list[bytes]) -> None:
        super().__init__()
        self.path, self.pieces = path, pieces

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        if self.pieces:
            with self.path.open("ab") as file:
                file.write(self.pieces.pop(0))
        return await super().wait(event, seconds)


class Remembering:
    """A store that knows of one file, which is gone."""

    def __init__(self, name: TailName, content: bytes) -> None:
        self.stored = {str(name): Known(str(name), len(content), str(Fingerprint.of(content)))}

    async def known(self, **_: Any) -> dict[str, Known]:
        return self.stored


async def _recognised(
    path: Path, pieces: list[bytes], *, read: bytes = LINES
) -> tuple[FollowedFile, TailName, FakeClock]:
    """Let a file be recognised while these pieces are written to it; so much was read of one that is gone."""
    gone = TailName(str(path), 9, path.stat().st_ino + 1, 1, Fingerprint.of(read))
    clock = Writing(path, pieces)
    store: Any = Remembering(gone, read)
    context = Context(store=store, settings=Settings(), stop=asyncio.Event(), ready=asyncio.Event(), clock=clock)
    state = TailState(f"tail:{path}", context)
    file = FollowedFile(path, clock=clock)
    state.files[file] = asyncio.Event()
    try:
        await asyncio.wait_for(TailRotations(state, TailPositions(state)).recognise(file), 30)
    finally:
        file.close()
    return file, gone, clock


@pytest.mark.parametrize(
    ("begins", "pieces", "waits"),
    [
        pytest.param(LINES, [], 0, id="a whole copy"),
        pytest.param(LINES + b"five\n", [], 0, id="a copy that has grown"),
        pytest.param(LINES[:4], [LINES[4:8], LINES[8:]], 2, id="a copy that is being written"),
    ],
)
async def test_a_copy_goes_on_under_the_name_of_what_is_gone(
    tmp_path: Path, begins: bytes, pieces: list[bytes], waits: int
) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(begins)
    file, gone, clock = await _recognised(path, pieces)
    assert file.stored_name == gone
    assert len(clock.waits) == waits


async def test_another_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(b"other lines, and more of them than before\n")
    file, _, clock = await _recognised(path, [])
    assert (file.stored_name, clock.waits) == (None, [])


async def test_a_file_that_stays_shorter_is_another_one_when_it_was_still_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(LINES[:4])
    file, _, clock = await _recognised(path, [b"t"])
    assert file.stored_name is None
    assert sum(clock.waits) == QUIET_SECONDS + clock.waits[0], "counted from the last write"
    assert path.read_bytes() == LINES[:5]


async def test_a_file_that_grows_for_too_long_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(b"x\n")
    pieces = [b"x", b"", b""] * 100  # never still for long, and never as long as what was read
    file, _, clock = await _recognised(path, pieces, read=b"x\n" + b"x" * 500 + b"\n")
    assert file.stored_name is None
    assert sum(clock.waits) == COPY_SECONDS
