"""Of several shards' states one is made: nothing that is wrong in one of them is lost in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tally.ranges import Kept
from tally.store import StoreUnavailable
from tally.store.blocks import Consumer
from tally.store.merged_status import _all_kept, _all_keys, _latest, _one_backlog, _processes
from tally.store.status import Backlog, IdempotencyKeys, ShardState, SourceState, Status
from tally.store.together import together

EMPTY = Backlog(blocks=0, settled_blocks=0, bytes=0, lines=0, oldest_seconds=None, full=False, bulk_full=False)
SOME = Backlog(
    blocks=2,
    settled_blocks=1,
    bytes=30,
    lines=4,
    oldest_seconds=1.5,
    full=False,
    bulk_full=False,
    appended_at=70.0,
)


def test_what_waits_is_added_up_and_one_full_shard_is_enough() -> None:
    assert _one_backlog([EMPTY, EMPTY]) == EMPTY
    assert _one_backlog([SOME, EMPTY, replace(SOME, oldest_seconds=0.5, bulk_full=True, appended_at=90.0)]) == Backlog(
        blocks=4, settled_blocks=2, bytes=60, lines=8, oldest_seconds=1.5, full=False, bulk_full=True, appended_at=90.0
    )
    full = _one_backlog([EMPTY, replace(SOME, full=True, bulk_full=True)])
    assert (full.full, full.bulk_full) == (True, True)


def test_idempotency_keys_are_all_known_since_the_last_shard_knows_all_of_its_own() -> None:
    none = IdempotencyKeys(0, None)
    assert _all_keys([none, none]) == none
    assert _all_keys([IdempotencyKeys(3, 50.0), none, IdempotencyKeys(4, 70.0)]) == IdempotencyKeys(7, 70.0)


def test_what_any_shard_keeps_is_kept() -> None:
    assert _all_kept([None, None]) is None
    assert _all_kept([Kept(60, 120), None, Kept(0, 90)]) == Kept(0, 120)


def test_a_process_is_one_and_as_idle_as_in_the_shard_that_it_neglects_most() -> None:
    found = _processes(
        [[Consumer("b", 1, 0.1), Consumer("a", 0, 3.0)], [Consumer("b", 2, 40.0)], [Consumer("b", 0, 0.2)]]
    )
    assert found == [Consumer("a", 0, 3.0), Consumer("b", 3, 40.0)]


def test_a_source_of_all_shards_is_one_as_far_as_its_farthest_part() -> None:
    found = _latest(
        [
            SourceState("file:a", 500, 20.0),
            SourceState("tcp:1", 9, None),
            SourceState("file:a", 700, 10.0),
            SourceState("tcp:2", 8, 30.0),
        ]
    )
    assert found == [SourceState("tcp:2", 8, 30.0), SourceState("file:a", 700, 20.0), SourceState("tcp:1", 9, None)]


@pytest.mark.parametrize(("served", "stuck"), [((1, 1), False), ((0, 1), True), ((1, 0), False)])
def test_it_is_stuck_where_one_shard_has_a_backlog_and_nobody(served: tuple[int, int], stuck: bool) -> None:
    shards = [ShardState(0, 5, 100, 3.0, served[0], 0, 0, 0), ShardState(1, 0, 0, None, served[1], 0, 0, 0)]
    status = Status(
        namespace="tally",
        rejected_by_reason={},
        other_types=0,
        other_words=0,
        totals={},
        backlog=replace(SOME, blocks=5),
        idempotency_keys=IdempotencyKeys(0, None),
        dead_letters=0,
        distinct_types=0,
        distinct_words=0,
        aggregators=[Consumer("a", 0, 0.0)],
        sources=[],
        sources_total=0,
        kept=Kept(60, 120),
        shards=shards,
    )
    assert status.stuck == stuck
    assert "shards" in status.as_dict()
    assert status.as_dict()["kept"] == {"from": 60, "to": 120}
    assert replace(status, kept=None).as_dict()["kept"] is None
    assert "shards" not in replace(status, shards=None).as_dict()


async def test_of_what_is_unavailable_it_is_said_which_shard_and_others_are_waited_for() -> None:
    ended: list[int] = []

    async def ask(number: int) -> int:
        ended.append(number)
        if number == 1:
            raise StoreUnavailable("it is away", public="away")
        return number

    with pytest.raises(StoreUnavailable, match="shard 1: it is away") as raised:
        await together([ask(0), ask(1), ask(2)])
    assert (raised.value.public, ended) == ("away", [0, 1, 2])
    assert await together([ask(0), ask(2)]) == [0, 2]
    with pytest.raises(StoreUnavailable, match=r"^it is away"):
        await together([ask(1)])
