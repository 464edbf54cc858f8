"""The generator is determined by its seed, and its garbage is garbage."""

from __future__ import annotations

from collections import Counter

import pytest

from aggregator.counts import Counts
from aggregator.decoding import Decoder
from tally.generator import TYPES, WORDS, Generator, GeneratorSpec
from tally.settings import Settings
from tally.store import Entry
from tests.fakes import FakeClock
from tests.oracle import plain_count

START = 1_632_663_984


def _lines(**spec: object) -> bytes:
    return b"".join(Generator(GeneratorSpec(start=START, **spec)).lines())  # type: ignore[arg-type]


async def _paced(spec: GeneratorSpec, clock: FakeClock) -> bytes:
    async def take() -> bytes:
        return b"".join([chunk async for chunk in Generator(spec, clock=clock).paced()])

    return await clock.passes_for(take())


def _counted(lines: bytes) -> Counts:
    return Decoder(Settings()).count([Entry(f"{START * 1000}-0", lines, "s")])


def test_the_same_seed_gives_the_same_lines_and_another_seed_others() -> None:
    assert _lines(seed=1, count=5000) == _lines(seed=1, count=5000)
    assert _lines(seed=1, count=5000) != _lines(seed=2, count=5000)
    assert _lines(count=5000) != _lines(count=5000), "no seed, no repetition"


@pytest.mark.parametrize("rate", [7_000, 10_000, 1_000_000])
async def test_the_same_seed_gives_the_same_lines_at_any_rate(rate: float) -> None:
    # All of them within the first second, so that they have the same timestamp.
    paced = await _paced(GeneratorSpec(seed=3, count=2000, start=START, rate=rate), FakeClock())
    assert paced == _lines(seed=3, count=2000)


@pytest.mark.parametrize("count", [0, 1, 2000, 2001, 4567])
def test_makes_as_many_lines_as_asked_for(count: int) -> None:
    lines = _lines(seed=1, count=count)
    assert lines.count(b"\n") == count
    assert lines == b"" or lines.endswith(b"\n")


def test_an_endless_one_does_not_end_by_itself() -> None:
    endless = Generator(GeneratorSpec(seed=1)).lines()
    assert sum(next(endless).count(b"\n") for _ in range(10)) >= 10_000


@pytest.mark.parametrize("corrupt", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_garbage_is_as_asked_for_and_every_line_is_an_event_or_rejected(corrupt: float) -> None:
    lines = _lines(seed=5, count=20_000, corrupt=corrupt)
    counts, plain = _counted(lines), plain_count(lines, arrived_seconds=START)
    assert counts.events + counts.rejected == 20_000
    assert (counts.events, counts.rejected) == (plain.events, plain.rejected)
    # Six standard deviations around the share; none at all around 0 and 1.
    assert abs(counts.rejected - 20_000 * corrupt) <= 6 * (20_000 * corrupt * (1 - corrupt)) ** 0.5


def test_types_and_words_are_the_promised_ones_and_all_of_them_occur() -> None:
    plain = plain_count(_lines(seed=6, count=5000, corrupt=0.1), arrived_seconds=START)
    assert set(plain.all_types()) == set(TYPES)
    assert set(plain.all_words()) == set(WORDS)
    assert {"lorem", "ipsum", "dolor"} <= set(WORDS)


def test_garbage_is_of_several_kinds() -> None:
    kinds: Counter[str] = Counter()
    decoder = Decoder(Settings())
    for line in _lines(seed=7, count=2000, corrupt=1).split(b"\n")[:-1]:
        (sample,) = decoder.count([Entry(f"{START * 1000}-0", line, "s")]).samples
        kinds[sample.reason.partition(":")[0] + (" field" if "required field" in sample.reason else "")] += 1
    # Binary, truncated, wrong types, missing fields: one kind in seven each, or more.
    assert set(kinds) == {"not UTF-8", "not JSON", "not an event", "not an event field"}
    assert min(kinds.values()) > 100


async def test_timestamps_go_on_at_the_rate_from_the_start() -> None:
    lines = await _paced(GeneratorSpec(seed=1, rate=2000, count=400, corrupt=0, start=1000), FakeClock())
    stamps = [int(line.rpartition(b":")[2].rstrip(b" }")) for line in lines.splitlines()]
    assert stamps == [1000 + at // 2000 for at in range(400)]
    spec = GeneratorSpec(seed=1, rate=0.5, count=4, corrupt=0, start=1000)
    lines = b"".join(Generator(spec).lines())
    assert [int(line.rpartition(b":")[2].rstrip(b" }")) for line in lines.splitlines()] == [1000, 1002, 1004, 1006]


@pytest.mark.parametrize("rate", [0.1, 30, 5000])
async def test_lines_come_at_the_rate_never_faster(rate: float) -> None:
    clock, count, came = FakeClock(), 1000, 0
    began = clock.now

    async def take() -> None:
        nonlocal came
        async for chunk in Generator(GeneratorSpec(rate=rate, count=count), clock=clock).paced():
            came += chunk.count(b"\n")
            assert came <= (clock.now - began) * rate + 1

    await clock.passes_for(take())
    assert came == count
    assert clock.now - began == pytest.approx(count / rate, rel=0.02)


async def test_one_that_was_held_up_catches_up_at_once() -> None:
    clock = FakeClock()
    chunks = Generator(GeneratorSpec(rate=100), clock=clock).paced()
    assert (await anext(chunks)).count(b"\n") == 1
    clock.now += 10
    assert (await anext(chunks)).count(b"\n") == 1000


@pytest.mark.parametrize(
    ("query", "spec"),
    [
        ("", GeneratorSpec(rate=100)),
        ("?", GeneratorSpec(rate=100)),
        ("?rate=5&corrupt=0.25", GeneratorSpec(rate=5, corrupt=0.25)),
        ("rate=5", GeneratorSpec(rate=5)),
        ("?count=10&seed=-3&start=1.5", GeneratorSpec(rate=100, count=10, seed=-3, start=1.5)),
    ],
)
def test_a_query_is_read(query: str, spec: GeneratorSpec) -> None:
    assert GeneratorSpec.parse(query) == spec


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?rate", r"write it as demo:\?rate=100"),
        ("?speed=5", "does not know 'speed'; it knows rate, count"),
        ("?rate=fast", "rate=fast: not a number"),
        ("?rate=", "not a number"),
        ("?rate=0", "over 0"),
        ("?rate=-1", "over 0"),
        ("?rate=1e9", "at most 10000000"),
        ("?rate=nan", "rate=nan"),
        ("?count=-1", "count=-1: a number of lines"),
        ("?corrupt=1.5", "between 0 and 1"),
        ("?corrupt=nan", "between 0 and 1"),
        ("?start=nan", "start=nan"),
        ("?start=inf", "start=inf"),
    ],
)
def test_a_query_that_is_wrong_is_explained(query: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        GeneratorSpec.parse(query)
