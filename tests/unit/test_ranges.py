"""Windows add up to what was counted: at any moment, with any lengths, whatever is folded and dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.series import first_seen, last_seen
from tally.ranges import TimeRange, Window, Windows, WindowStarts, kept
from tally.store.moved import WindowsMoved, again_while_moved, read_standing, sum_standing
from tally.windows import WindowLength
from tests.effort import examples
from tests.windows_model import WindowsModel

#: One to four lengths, so short that some operations go through all that can happen to them.
ALL_LENGTHS = [
    (WindowLength(1, 4),),
    (WindowLength(1, 6), WindowLength(4, 3)),
    (WindowLength(1, 6), WindowLength(4, 5), WindowLength(12, 3)),
    (WindowLength(1, 30), WindowLength(4, 4), WindowLength(12, 2)),
    (WindowLength(1, 6), WindowLength(3, 5), WindowLength(6, 5), WindowLength(24, 3)),
]
LENGTHS = st.sampled_from(ALL_LENGTHS)

#: What is done to the windows: count events so much later than the last, or so much earlier; move something.
COUNTS = st.tuples(
    st.just("count"),
    st.sampled_from([0, 0, 1, 1, 2, 5, 20, 60]),
    st.sampled_from([0, 0, 0, 1, 3, 7, 15, 40, 100]),
    st.text("abcdefgh", min_size=1, max_size=4),
)
MOVES = st.tuples(st.sampled_from(["fold", "fold", "drop"]), st.integers(0, 3), st.integers(0, 20), st.just(""))
STEPS = st.lists(st.one_of(COUNTS, COUNTS, MOVES, MOVES), min_size=1, max_size=60)


class Run:
    """Does one step after the other, and knows the time."""

    def __init__(self, lengths: Sequence[WindowLength], steps: Sequence[tuple[str, int, int, str]]) -> None:
        self.model = WindowsModel(lengths)
        self.steps = iter(steps)
        self.now = 0

    def step(self) -> bool:
        """Do the next step; return False when there is none."""
        for what, first, second, names in self.steps:
            if what == "count":
                self.now += first
                self.model.count(max(0, self.now - second), names)
            elif first < len(self.model.lengths):
                getattr(self.model, what)(first, second)
            return True
        return False


def added_up(model: WindowsModel, found: TimeRange) -> Counter[str]:
    return sum((model.of(window) for window in found.windows), Counter())


@given(LENGTHS, STEPS)
def test_every_time_range_is_exact_behind_every_step(
    lengths: tuple[WindowLength, ...], steps: list[tuple[str, int, int, str]]
) -> None:
    run = Run(lengths, steps)
    while run.step():
        model, windows = run.model, run.model.look()
        moments = sorted({*model.moments(), 0, run.now // 2, run.now})
        for start in moments[:: max(1, len(moments) // 12)]:
            for end in moments[:: max(1, len(moments) // 12)]:
                found = windows.time_range(start, max(start, end))
                assert added_up(model, found) == model.counted(found.start, found.end), (start, end, found)
                assert len(set(found.windows)) == len(found.windows)


@given(LENGTHS, STEPS)
def test_what_is_kept_is_answered_as_it_is_asked(
    lengths: tuple[WindowLength, ...], steps: list[tuple[str, int, int, str]]
) -> None:
    """A length that is kept by span answers to its own windows from its floor on, the longest from its own on."""
    run = Run(lengths, steps)
    while run.step():
        windows = run.model.look()
        longest = run.model.floors[-1]
        for length, floor in zip(lengths, run.model.floors, strict=True):
            start = max(each for each in (floor, longest, 0) if each is not None)
            first = length.end_of(start)
            for end in range(first, run.now + length.seconds, length.seconds):
                assert windows.has(first, end), (length, first, end)
        if longest is None:
            assert windows.has(0, lengths[-1].end_of(run.now + 1))


@given(LENGTHS, STEPS)
def test_the_first_and_the_last_window_of_a_name_are_as_short_as_is_kept(
    lengths: tuple[WindowLength, ...], steps: list[tuple[str, int, int, str]]
) -> None:
    run = Run(lengths, steps)
    while run.step():
        pass
    model, windows = run.model, run.model.look()
    for name in "abcdefgh":
        wholes = windows.whole({window: model.of(window)[name] for window in windows.all()})
        times = [at for at, each in model.truth if each == name and at >= (model.floors[-1] or 0)]
        for seen, at in ((first_seen(wholes), min(times, default=None)), (last_seen(wholes), max(times, default=None))):
            if at is None:
                assert seen is None
                continue
            assert seen is not None
            length = next(each for each in lengths if each.start_of(at) >= (windows_floor(model, each) or 0))
            assert (seen.window.start, seen.window.seconds) == (length.start_of(at), length.seconds)
            assert seen.count == model.counted(seen.window.start, seen.window.end)[name]


@given(LENGTHS, STEPS)
def test_what_is_kept_begins_and_ends_as_finely_as_its_windows_are(
    lengths: tuple[WindowLength, ...], steps: list[tuple[str, int, int, str]]
) -> None:
    run = Run(lengths, steps)
    while run.step():
        model = run.model
        starts = [sorted(each) for each in model.hashes]
        ends = [WindowStarts((*each[:1], *each[-1:]), floor) for each, floor in zip(starts, model.floors, strict=True)]
        found = kept(lengths, ends)
        times = [at for at, _ in model.truth if at >= (model.floors[-1] or 0)]
        if not times:
            assert found is None
            continue
        assert found is not None
        first = min(times)
        reaching = [each for each in lengths if (windows_floor(model, each) or 0) <= lengths[-1].start_of(first)]
        assert (reaching or lengths[-1:])[0].start_of(first) <= found.start <= first
        assert found.end == lengths[0].end_of(max(times) + 1)


def windows_floor(model: WindowsModel, length: WindowLength) -> int | None:
    return model.floors[list(model.lengths).index(length)]


HOURS = (WindowLength(1, 6), WindowLength(4, 5), WindowLength(12, 3))


def test_a_time_range_that_begins_long_ago_still_ends_in_the_shortest_windows() -> None:
    model = WindowsModel(HOURS)
    for at in range(50):
        model.count(at, "a")  # of the shortest length 44 to 49 are kept, of the next those from 32 on
    windows = model.look()
    for start, end, want in ((3, 46, (0, 46)), (33, 46, (32, 46)), (33, 43, (32, 44)), (45, 47, (45, 47))):
        found = windows.time_range(start, end)
        assert (found.start, found.end) == want


def test_a_name_was_first_seen_in_a_window_of_which_a_part_is_no_longer_kept() -> None:
    model = WindowsModel(HOURS)
    for at, name in ((40, "a"), (41, "b"), (42, "a"), (43, "b"), (46, "c")):
        model.count(at, name)  # of the shortest length those from 41 on are kept
    windows = model.look()

    def seen(name: str) -> tuple[Window | None, Window | None]:
        wholes = windows.whole({window: model.of(window)[name] for window in windows.all()})
        first, last = first_seen(wholes), last_seen(wholes)
        return (first.window if first else None), (last.window if last else None)

    assert seen("a") == (Window(4, 40), Window(1, 42)), "where in it is no longer known"
    assert seen("b") == (Window(1, 41), Window(1, 43))
    assert seen("d") == (None, None)


# What is read in several steps, while more happens.


class Reading:
    """Reads of a model which goes on by some steps between any two reads."""

    def __init__(self, run: Run, pace: Iterator[int]) -> None:
        self.run = run
        self.pace = pace
        self.names: Counter[str] = Counter()

    def go_on(self) -> None:
        for _ in range(next(self.pace, 0)):
            self.run.step()

    async def look(self) -> Windows:
        self.go_on()
        return self.run.model.look(self.go_on)

    async def counts(self, windows: Sequence[Window]) -> list[Counter[str]]:
        found = []
        for window in windows:
            self.go_on()
            found.append(self.run.model.of(window))
        return found

    async def add_up(self, windows: Sequence[Window]) -> Counter[str]:
        return sum(await self.counts(windows), Counter())

    async def take(self, counts: Counter[str]) -> None:
        self.names += counts


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tally.store.moved.MOST_WAIT_SECONDS", 0)


PACES = st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 4]), max_size=150)


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("together", [1, 5, 100])
@examples(60, 600)
@given(LENGTHS, STEPS, STEPS, PACES, st.integers(-5, 100), st.integers(0, 200))
async def test_a_sum_is_exact_whatever_moves_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
    together: int,
    lengths: tuple[WindowLength, ...],
    before: list[tuple[str, int, int, str]],
    meanwhile: list[tuple[str, int, int, str]],
    paces: list[int],
    back: int,
    long: int,
) -> None:
    """It has all that was counted before it began, and nothing that was not when it ended."""
    monkeypatch.setattr("tally.store.moved.WINDOWS_TOGETHER", together)
    run = Run(lengths, [*before, *meanwhile])
    for _ in before:
        run.step()
    start, reading = run.now - back, Reading(run, iter(paces))

    async def read() -> tuple[TimeRange, Counter[str]]:
        reading.names = Counter()
        found = await sum_standing(reading.look, start, start + long, reading.add_up, reading.take)
        return found, reading.names

    counted_before = len(run.model.truth)
    found, counts = await again_while_moved(read)
    assert_between(run.model, counted_before, found.start, found.end, counts)


def assert_between(model: WindowsModel, counted_before: int, start: int, end: int, counts: Counter[str]) -> None:
    at_the_end = model.counted(start, end)
    at_the_start = Counter(name for at, name in model.truth[:counted_before] if start <= at < end)
    assert at_the_start <= counts <= at_the_end, (at_the_start, counts, at_the_end)


@pytest.mark.usefixtures("_no_waiting")
@examples(60, 600)
@given(LENGTHS, STEPS, STEPS, PACES, st.integers(-5, 100), st.integers(1, 30), st.integers(1, 8))
async def test_cells_are_exact_whatever_moves_while_they_are_read(
    lengths: tuple[WindowLength, ...],
    before: list[tuple[str, int, int, str]],
    meanwhile: list[tuple[str, int, int, str]],
    paces: list[int],
    back: int,
    cells: int,
    wide: int,
) -> None:
    run = Run(lengths, [*before, *meanwhile])
    for _ in before:
        run.step()
    reading = Reading(run, iter(paces))
    counted_before, first = len(run.model.truth), run.now - back

    def cut(windows: Windows) -> list[TimeRange]:
        return [windows.time_range(first + at * wide, first + (at + 1) * wide) for at in range(cells)]

    windows, counts = await read_standing(
        reading.look, lambda windows: [window for cell in cut(windows) for window in cell.windows], reading.counts
    )
    for cell in cut(windows):
        found = sum((counts[window] for window in cell.windows), Counter())
        assert_between(run.model, counted_before, cell.start, cell.end, found)


async def test_only_what_moves_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tally.store.moved.WINDOWS_TOGETHER", 1)
    lengths = (WindowLength(1, 6), WindowLength(4, 50), WindowLength(12, 9))
    model = WindowsModel(lengths)
    for at in range(0, 60, 4):
        model.count(at, "ab")
    model.count(230, "a")  # the floor of the second length is 32: eight windows in three of the longest are behind it
    asked: list[Window] = []

    async def look() -> Windows:
        return model.look()

    async def add_up(windows: Sequence[Window]) -> Counter[str]:
        asked.extend(windows)
        counts = sum((model.of(window) for window in windows), Counter[str]())
        if windows[0].start == 12 and len(model.hashes[1]) > 11:
            model.fold(1, 3)
        return counts

    names: Counter[str] = Counter()

    async def take(counts: Counter[str]) -> None:
        names.update(counts)

    await sum_standing(look, 0, 240, add_up, take)
    assert names == model.counted(0, 240)
    assert {start: times for start, times in Counter(each.start for each in asked).items() if times > 1}.keys() <= {
        12,
        16,
        20,
    }


@pytest.mark.parametrize("lengths", [HOURS[:1], HOURS[:2], HOURS], ids=["one", "two", "three"])
async def test_what_is_dropped_while_it_is_read_is_not_taken_for_empty(lengths: tuple[WindowLength, ...]) -> None:
    """A minute that is dropped leaves its hour; where there is none, the time range begins later."""
    model = WindowsModel(lengths)
    for at in range(8):
        model.count(at, "a")
    reads = 0

    async def look() -> Windows:
        return model.look()

    async def counts(windows: Sequence[Window]) -> list[Counter[str]]:
        nonlocal reads
        reads += 1
        for at in range(8, 12) if reads == 1 else ():
            model.count(at, "a")
            for _ in range(8):
                model.drop(0, 0)
        return [model.of(window) for window in windows]

    def cut(windows: Windows) -> TimeRange:
        return windows.time_range(3, 8)

    windows, found = await read_standing(look, lambda windows: cut(windows).windows, counts)
    assert reads == 2
    assert sum((found[window] for window in cut(windows).windows), Counter()) == model.counted(
        cut(windows).start, cut(windows).end
    )
    assert cut(windows).start == {1: 6, 2: 0, 3: 0}[len(lengths)]


async def test_what_cannot_be_had_any_more_is_begun_anew() -> None:
    lengths = (WindowLength(1, 6), WindowLength(4, 3), WindowLength(12, 9))
    model = WindowsModel(lengths)
    for at in range(12):
        model.count(at, "a")

    async def look() -> Windows:
        return model.look()

    async def add_up(windows: Sequence[Window]) -> None:
        model.count(100, "a")
        for _ in range(3):
            model.fold(1, 0)

    async def take(_: None) -> None:
        raise AssertionError("it is not as of one moment")

    with pytest.raises(WindowsMoved):
        await sum_standing(look, 4, 8, add_up, take)


# Two time ranges that are compared.

THREE_LENGTHS = (WindowLength(60, 8), WindowLength(300, 6), WindowLength(1200, 5))
MOMENTS = st.integers(-3000, 12_000)


@st.composite
def some_windows(draw: st.DrawFn) -> Windows:
    """Windows of each length, with gaps and some floors."""
    found = []
    floor = -1200 * draw(st.integers(0, 2))
    for length in reversed(THREE_LENGTHS):
        starts = draw(st.sets(st.integers(0, 10_000 // length.seconds), max_size=20))
        floor += length.seconds * draw(st.integers(0, 10))
        found.append(WindowStarts(tuple(sorted(start * length.seconds for start in starts)), floor=floor))
    return Windows(THREE_LENGTHS, found[::-1])


@given(some_windows(), st.lists(MOMENTS, min_size=3, max_size=3, unique=True).map(sorted))
def test_two_time_ranges_apart_meet(windows: Windows, moments: list[int]) -> None:
    before, start, end = moments
    past, now = windows.apart(before, start, end)
    assert past.start <= past.end == now.start <= now.end
    assert not set(past.windows) & set(now.windows)
    assert past.start == past.end or windows.has(past.start, past.end)
    assert windows.has(now.start, now.end)
    cut_off = windows.time_range(-1e6, start).start
    assert now.start <= max(start, cut_off)
    assert past.start <= max(before, cut_off)


@given(some_windows(), MOMENTS, MOMENTS)
def test_what_a_time_range_was_widened_to_can_be_had(windows: Windows, one: int, other: int) -> None:
    found = windows.time_range(min(one, other), max(one, other))
    assert windows.has(found.start, found.end)
