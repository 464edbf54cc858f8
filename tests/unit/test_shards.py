"""Where things go never changes, and spreads evenly."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import pytest

from tally.settings import Settings
from tally.shards import MOST_SHARDS, parse_some_shards, shard_of, slot_of, tags

SLOTS = 16_384


def test_the_tags_of_any_number_of_shards_are_what_they_were() -> None:
    """Keys have them: with another list nothing that was counted would be found."""
    assert tags(1) == (0,)
    assert tags(8) == (25, 50, 24, 51, 27, 52, 114, 53)
    assert tags(16) == (18, 3, 65, 140, 19, 2, 60, 141, 106, 1, 67, 49, 107, 0, 66, 48)
    every = json.dumps([tags(shards) for shards in range(1, MOST_SHARDS + 1)])
    assert hashlib.sha256(every.encode()).hexdigest()[:32] == "102f46d5bcccbd60b611b4e5bb6e5399"


@pytest.mark.parametrize("shards", range(1, MOST_SHARDS + 1))
@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 6, 8])
def test_nodes_that_share_the_slots_evenly_share_the_shards(shards: int, nodes: int) -> None:
    assert len(set(tags(shards))) == shards
    on_node = Counter(slot_of(tag) * nodes // SLOTS for tag in tags(shards))
    numbers = [on_node[node] for node in range(nodes)]
    assert max(numbers) <= -(-shards // nodes) + 1
    assert min(numbers) >= shards // nodes - 1


def test_where_a_key_goes_is_what_it_was() -> None:
    assert [shard_of(str(number), 16) for number in range(10)] == [5, 6, 12, 1, 6, 0, 12, 2, 10, 5]
    assert shard_of("file:é", 64) == shard_of("file:é".encode(), 64) == 45
    assert {shard_of(str(number), 1) for number in range(10)} == {0}


def test_keys_go_to_all_shards_alike() -> None:
    found = Counter(shard_of(f"key-{number}", 16) for number in range(16_000))
    assert sorted(found) == list(range(16))
    assert max(found.values()) < 1.2 * min(found.values())


def test_the_most_shards_that_can_be_set_are_those_that_have_tags() -> None:
    assert len(tags(Settings(shards=MOST_SHARDS).shards)) == MOST_SHARDS


@pytest.mark.parametrize(
    ("text", "found"),
    [("", (0, 1, 2, 3, 4, 5)), (" ", (0, 1, 2, 3, 4, 5)), ("0", (0,)), ("5, 0,2-3", (0, 2, 3, 5)), ("1-1,1", (1,))],
)
def test_some_shards_are_named_one_by_one_and_by_ranges(text: str, found: tuple[int, ...]) -> None:
    assert parse_some_shards(text, shards=6) == found


@pytest.mark.parametrize("text", ["6", "-1", "1-", "x", "3-1", "0,,1", "1-2-3", "٣", "9999999999"])
def test_shards_that_are_not_there_or_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="shard"):
        parse_some_shards(text, shards=6)
