"""What a settler does with each answer of the store: under which names it stages, when it gives up, what it counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal

import pytest

from aggregator.applying import Applier
from aggregator.counts import Counts, NameCounts
from aggregator.floors import UNKNOWN
from aggregator.folding import Folding
from aggregator.log_events import CLAIMED_BY_OTHERS
from aggregator.pacing import Batch, Pace
from aggregator.settling import Settler
from tally.backoff import Backoff
from tally.deltas import Chunk, Place
from tally.settings import Settings
from tally.store.blocks import Missing, PendingBlock, Settled
from tally.store.deltas import UsedNumbers
from tally.words_by_type import Numbered, Numbers
from tests.fakes import FakeClock, FakeLog
from tests.metrics import Change, value
from tests.unit.test_applying import Chunks, Windows

CLAIM_IDLE_SECONDS = 60.0

Answer = Settled | Missing | Literal["stale", "full", "renumbered"]


class Store:
    """Answers what it is told to, each time the next."""

    def __init__(self, *, settle: Sequence[Answer], stage: Sequence[Literal["staged", "stale", "full"]] = ()) -> None:
        self._settle = list(settle)
        self._stage = list(stage)
        self.names: list[str] = []  # under which something was staged
        self.settled: list[tuple[str, int]] = []  # under which name, how many chunks
        self.ours: frozenset[str] = frozenset({"1-0", "2-0"})
        self.renewed = 0
        self.numbers: list[Numbers] = []  # what number_types answers, each time the next
        self.numbered: list[list[str]] = []  # types that were to have one, each time
        self.used: list[UsedNumbers | None] = []  # with which numbers something was settled

    async def renew_pending(self, *, consumer: str, ids: Sequence[str]) -> frozenset[str]:
        assert consumer == "us"
        self.renewed += 1
        return self.ours & frozenset(ids)

    async def stage(self, *, name: str, first: int, chunks: Sequence[Chunk]) -> Literal["staged", "stale", "full"]:
        assert first == 0
        assert chunks
        self.names.append(name)
        return self._stage.pop(0) if self._stage else "staged"

    async def number_types(self, types: Collection[str]) -> Numbers:
        self.numbered.append(list(types))
        return self.numbers.pop(0)

    async def settle(
        self,
        *,
        consumer: str,
        blocks: Sequence[PendingBlock],
        name: str,
        chunks: Sequence[Chunk],
        numbers: UsedNumbers | None,
    ) -> Answer:
        self.used.append(numbers)
        assert consumer == "us"
        assert [block.id for block in blocks] == ["1-0", "2-0"]
        self.settled.append((name, len(chunks)))
        return self._settle.pop(0)


class World:
    def __init__(self, store: Store, words_by_type: str = "") -> None:
        self.clock, self.log, self.chunks = FakeClock(), FakeLog(), Chunks(50)
        settings = Settings(claim_idle_seconds=CLAIM_IDLE_SECONDS, words_by_type=words_by_type)
        stop = asyncio.Event()
        self.applier = Applier(store=self.chunks, folding=Folding(Windows()), clock=self.clock, stop=stop, log=self.log)
        self.settler = Settler(
            store=store,
            applier=self.applier,
            settings=settings,
            consumer="us",
            pace=Pace(claim_idle_seconds=CLAIM_IDLE_SECONDS, max_block_bytes=settings.max_block_bytes),
            backoff=Backoff(),
            clock=self.clock,
            log=self.log,
        )
        self.settler.tried = {"1-0", "2-0", "3-0"}

    async def settle(self, counts: Counts | None = None) -> None:
        batch = Batch(self.clock.now, [PendingBlock("1-0", 10, 1000), PendingBlock("2-0", 10, 1000)])
        names = NameCounts()
        names.types["a"] = 2
        await self.settler.settle(batch, counts or Counts({Place(1, 0): names}, names, Counter({"not_json": 1})))


async def test_a_batch_is_staged_and_settled_under_one_name() -> None:
    store = Store(settle=[Settled(number=7)])
    world = World(store)
    await world.settle()
    assert [name for name, _ in store.settled] == store.names
    assert len(store.names) == 1
    done = world.settler.done
    assert (done.batches, done.events, done.rejected) == (1, 2, 1)
    assert world.settler.tried == {"3-0"}
    assert not world.settler.has_left_over


async def test_a_batch_that_is_settled_is_measured_and_one_that_is_thrown_away_is_not() -> None:
    figures = {name: Change(f"tally_aggregator_{name}") for name in ("batch_bytes_sum", "batch_names_sum")}
    figures |= {
        name: Change(f"tally_aggregator_{name}") for name in ("settle_duration_seconds_count", "event_lag_seconds_sum")
    }
    world = World(Store(settle=[Missing(ids=frozenset({"2-0"})), Settled(number=7)]))
    names = NameCounts(Counter(a=2), Counter(x=1, y=1))
    counts = Counts({Place(1, 0): names}, names, bytes=100, newest_seconds=world.clock.now - 30)
    for _ in range(2):
        assert all(each.so_far == 0 for each in figures.values())
        await world.settle(counts)
    assert [each.so_far for each in figures.values()] == [100, 3, 1, 30]
    assert value("tally_aggregator_last_batch_timestamp_seconds") == world.clock.now


@pytest.mark.parametrize("where", ["stage", "settle"])
async def test_a_list_that_has_expired_is_staged_anew_under_another_name(where: str) -> None:
    if where == "stage":
        store = Store(stage=["stale"], settle=[Settled(number=7)])
    else:
        store = Store(settle=["stale", Settled(number=7)])
    world = World(store)
    await world.settle()
    assert len(set(store.names)) == 2, "what a late call stages under the first cannot be mixed with anything"
    assert store.settled[-1][0] == store.names[-1]
    assert world.settler.done.batches == 1


@pytest.mark.parametrize("where", ["stage", "settle"])
async def test_where_too_much_waits_some_is_applied_first(where: str) -> None:
    if where == "stage":
        store = Store(stage=["full"], settle=[Settled(number=51)])
    else:
        store = Store(settle=["full", Settled(number=51)])
    world = World(store)
    await world.settle()
    assert world.chunks.applied
    assert world.settler.done.batches == 1


async def test_a_batch_of_which_others_hold_a_block_is_thrown_away() -> None:
    store = Store(settle=[Missing(ids=frozenset({"2-0"}))])
    world = World(store)
    world.applier.known = (0, 0, 0)
    await world.settle()
    assert world.settler.done.batches == world.settler.done.events == 0
    assert world.settler.has_left_over, "the other block may still be pending to us"
    assert world.settler.tried == {"1-0", "2-0", "3-0"}
    assert world.log.fields(CLAIMED_BY_OTHERS) == [{"blocks": 1}]
    assert world.applier.known == UNKNOWN, "after a flush others have begun anew, with lower floors"


@pytest.mark.parametrize("are_ours", [True, False])
async def test_a_batch_that_has_waited_long_is_settled_only_if_all_of_it_is_still_ours(are_ours: bool) -> None:
    store = Store(stage=["full"], settle=[Settled(number=51)])
    world = World(store)
    if not are_ours:
        store.ours = frozenset({"1-0"})
    applied = world.chunks.apply_together

    async def slowly(chunk: object) -> object:
        world.clock.now += CLAIM_IDLE_SECONDS / 2
        return await applied(chunk)  # type: ignore[arg-type]

    world.chunks.apply_together = slowly  # type: ignore[assignment,method-assign]
    await world.settle()
    assert store.renewed == 1
    assert world.settler.done.batches == int(are_ours)
    assert len(store.names) == 1 + int(are_ours)


# Words by type.


def _numbers(**numbers: int) -> Numbers:
    return Numbers(max(numbers.values(), default=0), {each: Numbered(number, 1) for each, number in numbers.items()})


def _by_type(*apart: str, others: Sequence[str] = ()) -> Counts:
    """A batch with an event of each of these types, of which some have their words apart."""
    names = NameCounts(Counter([*apart, *others]), Counter({"w": len(apart)}), {each: Counter("w") for each in apart})
    return Counts({Place(1, 0): names}, names)


async def test_types_get_numbers_before_their_words_are_settled() -> None:
    store = Store(settle=[Settled(number=1), Settled(number=2), Settled(number=3)])
    store.numbers = [_numbers(a=1, b=2), _numbers(a=1, b=2, x=3)]
    world = World(store, words_by_type="3")
    await world.settle(_by_type("a", "b"))
    await world.settle(_by_type("b", others=["z"]))
    await world.settle(_by_type("c"))
    assert store.numbered == [["a", "b"], ["c"]], "those that have one are not asked for again"
    a, b = Numbered(1, 1), Numbered(2, 1)
    assert store.used == [UsedNumbers(2, {"a": a, "b": b}), UsedNumbers(2, {"b": b}), UsedNumbers(3, {"a": a})]
    assert not world.settler.has_left_over, "x had the last one, and the words of c are only among all words"


async def test_without_words_by_type_no_numbers_are_asked_for() -> None:
    store = Store(settle=[Settled(number=1)])
    await World(store).settle()
    assert (store.numbered, store.used) == ([], [None])


async def test_a_batch_is_settled_with_the_numbers_that_there_are_by_then() -> None:
    store = Store(settle=["renumbered", Settled(number=1)])
    store.numbers = [_numbers(a=1), _numbers(b=1), _numbers(b=1, a=2)]
    world = World(store, words_by_type="3")
    await world.settle(_by_type("a"))  # Redis was flushed meanwhile
    assert store.numbered == [["a"], [], ["a"]]
    assert store.used[-1] == UsedNumbers(2, {"a": Numbered(2, 1)})
    assert len(set(store.names)) == 2, "the chunks are others"
    assert not world.settler.has_left_over


async def test_a_batch_that_lacks_words_of_a_type_that_has_got_a_number_is_counted_again() -> None:
    store = Store(settle=["renumbered"])
    store.numbers = [_numbers(a=1), _numbers(a=1, z=2)]
    world = World(store, words_by_type="3")
    await world.settle(_by_type("a", others=["z"]))
    assert world.settler.has_left_over
    assert world.settler.done.batches == 0
    assert set(world.settler.numbering.known) == {"a", "z"}, "the next time they are apart"
