"""What `tally size` reckons with: bounds, windows that hold nothing of their own, shards."""

from __future__ import annotations

import json

import pytest

from tally.settings import Settings
from tally.sizing import PACKED_NAMES, SERVER_BYTES, UNDER_WAY_BYTES, Expected, Size, names_bytes, size_of
from tests.cli.commands import assert_refused, tally

FEW = Expected(words=100, types=5, window_words=[10, 20, 30], keys=0)


def _numbers(size: Size) -> dict[str, int]:
    return {each.what.partition(",")[0].partition(" s")[0]: each.number for each in size.items}


def test_without_anything_all_is_at_its_bound() -> None:
    settings = Settings(max_words=1234, max_types=56, max_idempotency_keys=789, max_rejected_samples=12)
    numbers = _numbers(size_of(settings, Expected()))
    assert numbers["words of all time"] == 1234
    assert numbers["event types of all time"] == 56
    assert numbers["Idempotency-Keys"] == 789
    assert numbers["samples of rejected lines"] == 12
    assert size_of(settings, Expected(words=5000, types=5000, keys=5000)) == size_of(settings, Expected())


@pytest.mark.parametrize(
    ("windows", "held"),
    [
        ("60x360,3600x336,86400x400", [360, 336, 386]),  # of the days 14 are in hours yet
        ("60x360,3600x336", [360, 336]),  # both hold what is new
        ("3600x48", [48]),
        ("60x360,3600x336,86400x10", [360, 336, 0]),
    ],
)
def test_windows_that_the_length_before_still_holds_take_nothing(windows: str, held: list[int]) -> None:
    size = size_of(Settings(windows=windows), FEW)
    assert [each.number for each in size.items if each.what.startswith("windows")] == held


def test_each_length_has_its_own_number_of_words_and_the_last_one_goes_for_the_rest() -> None:
    settings = Settings(max_window_words=25)
    whats = [each.what for each in size_of(settings, FEW).items if each.what.startswith("windows")]
    assert [what.partition("each of ")[2] for what in whats] == [
        "10 words and 5 types",
        "20 words and 5 types",
        "25 words and 5 types",
    ]
    one = Expected(words=15, window_words=[20], types=5, keys=0)
    whats = [each.what for each in size_of(settings, one).items if each.what.startswith("windows")]
    assert all("each of 15 words" in what for what in whats), "no more than there are at all"


def test_each_type_that_has_words_of_its_own_has_them_of_all_time_and_in_each_window() -> None:
    settings = Settings(words_by_type="3", max_type_words=25, windows="60x360,3600x336,86400x400")
    few = Expected(words=100, types=5, window_words=[10, 20, 30], type_words=[5, 50], keys=0)
    found = [(each.what, each.number) for each in size_of(settings, few).items if "of one type" in each.what]
    assert found == [
        ("words of one type, 25", 3),
        ("words of one type in a window of 60 s, 5", 3 * 360),
        ("words of one type in a window of 3,600 s, 20", 3 * 336),
        ("words of one type in a window of 86,400 s, 25", 3 * 386),
    ]
    all_of_them = size_of(settings, Expected(words=100, types=2, keys=0)).items
    assert next(each.number for each in all_of_them if each.what.startswith("words of one type")) == 2, (
        "there are no more"
    )
    assert not any("of one type" in each.what for each in size_of(Settings(), FEW).items)


def test_every_shard_may_hold_every_name() -> None:
    one, four = (size_of(Settings(shards=shards), FEW) for shards in (1, 4))
    assert four.shard_bytes == one.shard_bytes
    assert four.bytes - SERVER_BYTES - UNDER_WAY_BYTES == 4 * one.shard_bytes
    assert four.maxmemory_bytes > four.bytes
    assert four.machine_bytes > four.maxmemory_bytes


def test_small_hashes_are_packed() -> None:
    assert names_bytes(PACKED_NAMES, 10) < names_bytes(PACKED_NAMES + 1, 10) / 2
    assert names_bytes(10, 300) > 10 * 300


# The command.


def test_the_command_prints_a_table_and_what_to_set() -> None:
    done = tally("size", "--words", "200000", "--window-words", "500,8000,40000", env={"TALLY_SHARDS": "2"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "200,000" in done.stdout
    assert "each of 8,000 words" in done.stdout
    assert "all of 2 shards" in done.stdout
    found = json.loads(
        tally(
            "size", "--words", "200000", "--window-words", "500,8000,40000", "--json", env={"TALLY_SHARDS": "2"}
        ).stdout
    )
    assert f"Set maxmemory to {found['maxmemory_bytes'] >> 20}mb" in done.stdout
    assert found["shard_bytes"] == sum(each["bytes"] for each in found["items"])


@pytest.mark.parametrize("given", ["", "1,x", "-5", "1.5", "²"])
def test_the_command_refuses_what_are_no_numbers(given: str) -> None:
    assert_refused(tally("size", "--window-words", given), 2, "give whole numbers with commas between")
