"""The demo's story: the same each time it is told, and with something in it for each part of the page."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tally.story import DAY_MINUTES, PAST_MINUTES, Story, StorySpec
from tests.oracle import Expected, event_on

BEGAN = 1_632_663_960

#: How many hours of its past are looked at, and in each every so many minutes.
HOURS, EVERY = 24, 5


def told(first: int, count: int, *, seed: int = 1) -> list[bytes]:
    story = Story(StorySpec(seed=seed))
    return [line.text for number in range(first, first + count) for line in story.minute(number, began=BEGAN)]


@pytest.fixture(scope="module")
def hours() -> list[Expected]:
    """What the last hours of the past come to, by some minutes of each."""
    first = PAST_MINUTES - HOURS * 60
    return [
        Expected.of(line for minute in range(0, 60, EVERY) for line in told(first + hour * 60 + minute, 1))
        for hour in range(HOURS)
    ]


def test_a_minute_is_the_same_whenever_and_after_whatever_it_is_told() -> None:
    assert told(1000, 3) == [line for number in (1000, 1001, 1002) for line in told(number, 1)]
    assert told(1000, 3) == told(1000, 3)
    assert told(1000, 3) != told(1000, 3, seed=2)


@pytest.mark.parametrize("number", [0, 700, PAST_MINUTES - 1, PAST_MINUTES, 90 * DAY_MINUTES])
def test_lines_are_whole_and_in_the_order_of_their_time(number: int) -> None:
    lines = Story(StorySpec()).minute(number, began=BEGAN)
    assert 20 < len(lines) < 5000
    assert all(0 <= before.seconds <= after.seconds < 60 for before, after in pairwise(lines))
    for seconds, text in lines:
        assert text.endswith(b"\n")
        assert text.count(b"\n") == 1
        event, _ = event_on(text.removesuffix(b"\n"))
        if event is not None:
            assert event["timestamp"] == BEGAN + number * 60 + int(seconds)


def test_a_day_has_a_night_and_an_evening(hours: list[Expected]) -> None:
    per_hour = [hour.events for hour in hours]
    assert max(per_hour) > 4 * min(per_hour)
    assert per_hour[-1] > 2 * min(per_hour), "it is not first told at night"


def test_some_lines_are_garbage_of_several_kinds(hours: list[Expected]) -> None:
    rejected, lines = sum(hour.rejected for hour in hours), sum(hour.lines for hour in hours)
    assert 0.005 < rejected / lines < 0.011
    assert all(hour.rejected for hour in hours)


def test_something_breaks_and_something_is_on_sale_within_the_last_hours(hours: list[Expected]) -> None:
    broken = [sum(hour.types[each] for each in ("payment.failed", "error.500", "stock.unknown")) for hour in hours]
    assert max(broken[-4:]) > 10 * min(broken[-4:])
    assert max(hour.words["sale"] for hour in hours[-8:]) > 100
    assert 0 in [hour.words["sale"] for hour in hours[-8:]]


def test_a_new_lamp_is_talked_about_when_it_is_first_told() -> None:
    now, before = (Expected.of(told(PAST_MINUTES - minutes, count)).words for minutes, count in ((15, 15), (75, 60)))
    share = {word: count / now.total() for word, count in now.items()}
    risen = [word for word in now if now[word] > 100 and share[word] > 5 * before[word] / before.total()]
    assert len(risen) == 1, "one word is trending"


def test_each_hour_has_a_word_that_was_never_there_before(hours: list[Expected]) -> None:
    heard: Counter[str] = Counter()
    new = []
    for hour in hours:
        new.append(any(not heard[word] for word in hour.words))
        heard.update(hour.words)
    assert sum(new) > len(new) * 0.9


def test_without_a_seed_it_is_always_the_same_story() -> None:
    assert StorySpec.parse("") == StorySpec.parse("?") == StorySpec.parse("?seed=1&hours=48")


@pytest.mark.parametrize(
    "query", ["?seed=x", "?speed=1", "?seed=-1", "seed=1", "?seed=4294967296", "?hours=49", "?hours=-1", "?hours=1.5"]
)
def test_a_story_that_cannot_be_told_is_explained(query: str) -> None:
    with pytest.raises(ValueError, match=r"^demo:story"):
        StorySpec.parse(query)
