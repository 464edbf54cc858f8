"""Lanes of one source into several shards: what each shard is asked to append, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ingestor.fingerprints import Fingerprint
from ingestor.lane import Sent
from ingestor.metrics import SourceMetrics
from ingestor.striped_lanes import StripedLanes
from tally.settings import Settings
from tally.store import Append, Block, Known, StoreUnavailable
from tally.store.held import Held
from tests.fakes import FakeClock, FakeLog

SETTINGS = Settings(shards=3, stripe_bytes=100, max_blocks_in_flight=4)


class Shard:
    """A store that appends all, or answers as it is told, and notes what it was asked to append."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, str, str]] = []
        self.answers: list[Append | Exception] = []
        self.position_stored = 0
        self.kept = True
        self.kept_asked = 0
        self.room_asked = 0

    async def append(self, *, source: str, blocks: Sequence[Block], bulk: bool = False) -> list[Append]:
        self.asked += [(block.start, block.end, block.before, block.last) for block in blocks]
        await asyncio.sleep(0)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return [answer]
        return [Append("appended", block.end) for block in blocks]

    async def held(self) -> Held | None:
        return None

    async def has_room(self, *, bulk: bool = False) -> bool:
        self.room_asked += 1
        return True

    async def reconcile_backlog(self) -> int:
        return 0

    async def position(self, source: str) -> int:
        return self.position_stored

    async def wait_until_durable(self, source: str, *, timeout_seconds: float) -> bool:
        self.kept_asked += 1
        return self.kept


def block(shard: int, start: int, end: int) -> Block:
    return Block(start, end, b"x" * (end - start - 1), last=f"at {end}", before=f"at {start}", shard=shard)


def lanes_of(shards: list[Shard], *positions: int) -> StripedLanes:
    """Lanes that stand at these positions."""
    lanes = StripedLanes(
        shards,
        settings=SETTINGS,
        stop=asyncio.Event(),
        log=FakeLog(),
        clock=FakeClock(),
        is_bulk=lambda: True,
        metrics=SourceMetrics("striped lanes"),
    )
    lanes.start(Known("s", lanes=tuple(Known("s", each, f"at {each}" if each else "") for each in positions)))
    return lanes


@pytest.fixture
def shards() -> list[Shard]:
    return [Shard(), Shard(), Shard()]


async def test_for_its_shard_a_block_begins_where_the_one_before_it_there_ended(shards: list[Shard]) -> None:
    lanes = lanes_of(shards, 90, 150, 0)
    for each in (block(2, 150, 280), block(0, 280, 300), block(0, 300, 400), block(1, 400, 410)):
        lanes.put(each)
    assert not lanes.has_room, "as many are in flight as with one lane"
    assert await lanes.send() is Sent.APPENDED
    assert shards[0].asked == [(90, 300, "at 90", "at 300"), (300, 400, "at 300", "at 400")]
    assert shards[1].asked == [(150, 410, "at 150", "at 410")]
    assert shards[2].asked == [(0, 280, str(Fingerprint.of(b"")), "at 280")]
    assert (lanes.positions, lanes.appended_bytes) == ((400, 410, 280), 260)
    lanes.put(block(0, 410, 420))
    await lanes.send()
    assert shards[0].asked[-1] == (400, 420, "at 400", "at 420")


async def test_what_a_lane_has_is_passed_over(shards: list[Shard]) -> None:
    lanes = lanes_of(shards, 300, 110, 250)
    for each in (block(1, 110, 200), block(2, 200, 250), block(0, 250, 300), block(0, 300, 320)):
        lanes.put(each)
    await lanes.send()
    assert [[asked[:2] for asked in shard.asked] for shard in shards] == [[(300, 320)], [(110, 200)], []]
    assert lanes.appended_bytes == 110


async def test_at_the_start_of_a_source_one_block_is_sent_after_the_other(shards: list[Shard]) -> None:
    lanes = lanes_of(shards, 0, 0, 0)
    room = []
    for each in (block(0, 0, 50), block(0, 50, 105), block(1, 105, 210)):
        lanes.put(each)
        room.append(lanes.has_room)
        await lanes.send()
    assert (room, lanes.has_room) == ([False] * 3, True)


async def test_a_shard_that_does_not_answer_keeps_its_blocks_and_the_others_have_theirs(shards: list[Shard]) -> None:
    lanes = lanes_of(shards, 100, 150, 10)
    lanes.put(block(0, 300, 310))
    lanes.put(block(1, 400, 410))
    shards[0].answers = [StoreUnavailable("no answer")]
    with pytest.raises(StoreUnavailable):
        await lanes.send()
    assert (lanes.positions, lanes.in_flight_bytes, lanes.is_empty) == ((100, 410, 10), 10, False)
    assert await lanes.send() is Sent.APPENDED
    assert lanes.positions == (310, 410, 10)
    assert len(shards[1].asked) == 1


async def test_what_does_not_pass_is_raised_before_what_does(shards: list[Shard]) -> None:
    lanes = lanes_of(shards, 100, 150, 10)
    lanes.put(block(0, 300, 310))
    lanes.put(block(1, 400, 410))
    shards[0].answers = [StoreUnavailable("no answer")]
    shards[1].answers = [ValueError("a defect")]
    with pytest.raises(ValueError, match="a defect"):
        await lanes.send()


async def test_only_for_the_streams_that_are_full_is_room_waited_for(shards: list[Shard]) -> None:
    lanes = lanes_of(shards, 100, 150, 10)
    lanes.put(block(0, 300, 310))
    lanes.put(block(1, 400, 410))
    shards[1].answers = [Append("full", 150)]
    assert await lanes.send() is Sent.FULL
    assert await lanes.wait_for_room(seconds_after_stop=0)
    assert [shard.room_asked for shard in shards] == [0, 1, 0]
    assert lanes.positions == (310, 150, 10)


async def test_one_lane_that_stands_elsewhere_is_enough_to_know_the_source_anew(shards: list[Shard]) -> None:
    lanes = lanes_of(shards, 100, 150, 10)
    lanes.put(block(0, 300, 310))
    lanes.put(block(1, 400, 410))
    shards[0].answers = [Append("full", 100)]
    shards[1].answers = [Append("moved", 40)]
    assert await lanes.send() is Sent.ELSEWHERE
    assert (lanes.found_elsewhere.stored, lanes.found_elsewhere.ours) == (40, 150)


@pytest.mark.parametrize(
    ("positions", "asked"), [((100, 0, 10), [1, 0, 1]), ((0, 0, 0), [0, 0, 1])], ids=["some", "an empty file"]
)
async def test_it_is_waited_for_the_disks_of_those_that_have_something(
    shards: list[Shard], positions: tuple[int, ...], asked: list[int]
) -> None:
    lanes = lanes_of(shards, *positions)
    assert await lanes.wait_until_kept()
    assert sorted(shard.kept_asked for shard in shards) == sorted(asked)
    assert all(shard.kept_asked for shard, position in zip(shards, positions, strict=True) if position)
