"""What of the settings is a part of the layout, and how two layouts are told apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import aggregator
from tally.layout import MAX_CHARACTERS, SETTINGS, Layout, LayoutRefused, check_format, refuse
from tally.settings import Settings

#: Settings that the aggregator's decoder reads and that change nothing about what a count means: bounds.
BOUNDS = {"accepted_samples", "max_line_bytes", "max_name_bytes"}

#: How a setting is called where it is read, if otherwise.
READ_AS = {
    "type_path": "type_field",
    "text_paths": "text_field",
    "time_path": "time_field",
    "stop_word_set": "stop_words",
    "window_lengths": "windows",
    "types_with_words": "words_by_type",
}


def _stored(settings: Settings, **fields: str) -> Layout:
    written = {**Layout.of(settings).fields, "since": "1", **fields}
    return Layout.stored({name.encode(): text.encode() for name, text in written.items()})


def test_every_setting_that_the_decoder_reads_is_a_part_of_it_or_a_bound() -> None:
    folder = Path(str(aggregator.__file__)).parent
    names = ("decoding.py", "events.py", "lines.py", "placing.py", "words.py")
    source = "".join((folder / name).read_text(encoding="utf-8") for name in names)
    read = {READ_AS.get(name, name) for name in re.findall(r"settings\.(\w+)", source)} & Settings.model_fields.keys()
    assert read - BOUNDS == {*SETTINGS, "windows", "words_by_type"}


def test_words_by_type_are_no_part_of_it_where_they_are_off() -> None:
    assert "words_by_type" not in Layout.of(Settings()).fields
    assert Layout.of(Settings(words_by_type="0")).fields == Layout.of(Settings(max_type_words=5)).fields
    (difference,) = _stored(Settings()).differences(Layout.of(Settings(words_by_type="20")))
    assert (difference.variable, difference.stored, difference.here) == ("TALLY_WORDS_BY_TYPE", "(empty)", "20")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"windows": "60x360,3600x336"}, {"windows": " 60 x 400, 3600x48"}),
        ({"stop_words": "a,b"}, {"stop_words": "b, a,a"}),
        ({"stop_words": "A", "fold_case": True}, {"stop_words": "a", "fold_case": True}),
        ({"stop_words": "\u00e9"}, {"stop_words": "e\u0301"}),
        ({"type_field": "a.b"}, {"type_field": " a.b "}),
        ({"max_words": 10}, {"max_words": 20}),
        ({"words_by_type": "20"}, {"words_by_type": " 020", "max_type_words": 7}),
        ({"words_by_type": "b,a"}, {"words_by_type": "a, b,,a"}),
        ({"max_name_bytes": 10}, {"max_line_bytes": 100}),
    ],
)
def test_settings_that_count_alike_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert _stored(Settings(**one)).differences(Layout.of(Settings(**other))) == []


@pytest.mark.parametrize(
    ("setting", "value", "was", "became"),
    [
        ("windows", "60x360,7200x336", "lengths of 60,3600,86400 s", "lengths of 60,7200 s"),
        ("type_field", "kind", "event_type", "kind"),
        ("text_field", "", "data", "(empty)"),
        ("text_field", "a,b.c", "data", "a,b.c"),
        ("time_field", "", "timestamp", "(empty)"),
        ("time_unit", "seconds", "(empty)", "seconds"),
        ("word_pattern", r"\S+", Settings().word_pattern, r"\S+"),
        ("fold_case", True, "false", "true"),
        ("normalize_words", False, "true", "false"),
        ("stop_words", "the,a\x1b[2J", "(empty)", "a\\x1b[2J,the"),
        ("min_word_length", 2, "1", "2"),
    ],
)
def test_what_counts_otherwise_is_named_with_both_values(setting: str, value: Any, was: str, became: str) -> None:
    here = Layout.of(Settings(**{setting: value}))
    (difference,) = _stored(Settings()).differences(here)
    assert difference.variable == f"TALLY_{setting.upper()}"
    assert (difference.stored, difference.here) == (was, became)
    sentence = str(refuse([difference]))
    assert f"TALLY_{setting.upper()} was {was}, and here it is {became}" in sentence
    assert "tally layout --accept" in sentence


def test_the_layout_of_one_shard_is_what_it_was_before_there_were_several() -> None:
    fields = Layout.of(Settings()).fields
    assert fields["digest"] == "9ffff046c0e0f26f27644fd974cbc4b5"
    assert not {"shards", "stripe_bytes"} & fields.keys()
    assert Layout.of(Settings(stripe_bytes=1024)).fields == fields, "where there is one shard, there are no stripes"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("stored", "here", "said"),
    [
        ({}, {"shards": 4}, "TALLY_SHARDS was 1, and here it is 4"),
        ({"shards": 4}, {}, "TALLY_SHARDS was 4, and here it is 1"),
        ({"shards": 4}, {"shards": 8, "fold_case": True}, "TALLY_SHARDS was 4, and here it is 8"),
        ({"shards": 4}, {"shards": 4, "stripe_bytes": 1024}, "TALLY_STRIPE_BYTES was 983040, and here it is 1024"),
    ],
)
def test_what_is_spread_otherwise_is_refused_and_no_accept_is_offered(
    stored: dict[str, Any], here: dict[str, Any], said: str, whole: bool
) -> None:
    before = Layout.of(Settings(**stored))
    before = before if whole else Layout(before.of_format)
    (difference,) = before.differences(Layout.of(Settings(**here)))
    assert said in str(refuse([difference]))
    assert "--accept" not in str(refuse([difference]))
    with pytest.raises(LayoutRefused, match=re.escape(said)):
        before.check_spread(Layout.of(Settings(**here)))
    assert Layout({}).differences(Layout.of(Settings(**here))) == [], "where nothing is stored, nothing differs"


def test_a_long_setting_is_stored_in_short_and_told_apart_all_the_same() -> None:
    words = ",".join(f"word{number}" for number in range(10_000))
    one, other = Layout.of(Settings(stop_words=words)), Layout.of(Settings(stop_words=words + ",another"))
    assert len(one.fields["stop_words"]) < MAX_CHARACTERS
    assert one.digest != other.digest
    assert one.fields["stop_words"] != other.fields["stop_words"]


def test_what_cannot_be_printed_tells_settings_apart_and_is_shown() -> None:
    joined, apart = Settings(stop_words="x\u200dy"), Settings(stop_words="x\u200cy")
    (difference,) = _stored(joined).differences(Layout.of(apart))
    assert (difference.stored, difference.here) == ("x\\u200dy", "x\\u200cy")
    (difference,) = _stored(Settings()).differences(Layout.of(Settings(stop_words="(empty)")))
    assert (difference.stored, difference.here) == ("(empty)", "(empty)"), "an odd word, and a difference all the same"


def test_a_digest_that_nothing_explains_is_a_difference() -> None:
    (difference,) = _stored(Settings(), digest="x").differences(Layout.of(Settings()))
    assert difference.stored == "x"


def test_what_only_a_later_program_knows_is_a_difference() -> None:
    stored = _stored(Settings(), stemming="english", digest="x")
    (difference,) = stored.differences(Layout.of(Settings()))
    assert (difference.variable, difference.stored, difference.here) == ("TALLY_STEMMING", "english", "(not known)")


@pytest.mark.parametrize("stored", ["1", "3", "10", "0", "-1", "", "one", "\u0662"])
def test_a_format_that_is_not_known_is_refused(stored: str) -> None:
    with pytest.raises(LayoutRefused, match="format"):
        check_format(stored)


def test_a_format_alone_differs_from_nothing() -> None:
    assert Layout.stored({b"format": b"2"}).differences(Layout.of(Settings())) == []
    assert Layout.stored({}).differences(Layout.of(Settings())) == []


def test_windows_that_cannot_be_read_are_said() -> None:
    with pytest.raises(LayoutRefused, match="windows that cannot be read"):
        _ = _stored(Settings(), windows="60").window_lengths
