"""Which lines are events, what they count as, and that no bytes at all can make the decoder raise."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aggregator.counts import Counts
from aggregator.decoding import Decoder
from aggregator.placing import EARLIEST_SECONDS
from aggregator.rejects import MAX_SAMPLES, SAMPLE_BYTES
from tally.deltas import Place
from tally.keys import OTHER
from tally.rejections import Reason
from tally.settings import Settings
from tally.store import Entry
from tests.oracle import is_nothing, plain_count, words_of
from tests.unit.lines import ARRIVED, EVENT, blank, events, garbage, names

#: The start of the minute in which all arrive.
MINUTE = 1_632_663_960


def _entry(lines: bytes | None, *, source: str = "s") -> Entry:
    return Entry(f"{ARRIVED * 1000}-0", lines, source)


def _count(*blocks: bytes, **settings: Any) -> Counts:
    return Decoder(Settings(**settings)).count([_entry(block) for block in blocks])


def _types(counts: Counts) -> dict[str, int]:
    assert counts.whole.types == sum((window.types for window in counts.windows.values()), Counter())
    return counts.whole.types


def _words(counts: Counts) -> dict[str, int]:
    assert counts.whole.words == sum((window.words for window in counts.windows.values()), Counter())
    return counts.whole.words


def _reason_of(sentence: str) -> Reason:
    """Return the reason that a sample's sentence tells."""
    beginnings: dict[str, Reason] = {
        "longer than": "too_long",
        "not UTF-8": "not_utf8",
        "nested": "too_deep",
        "not JSON": "not_json",
        "not an event": "not_an_event",
    }
    return next(reason for beginning, reason in beginnings.items() if sentence.startswith(beginning))


def _event(data: str = "lorem", event_type: str = "foo", **others: Any) -> bytes:
    return json.dumps({"event_type": event_type, "data": data, **others}, ensure_ascii=False).encode()


# Which lines are events.


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param(EVENT, ["lorem", "ipsum"], id="plain"),
        pytest.param(b'{ "event_type": "foo", "data": "a", "timestamp": 1632663984 }', ["a"], id="the brief's example"),
        pytest.param(EVENT + b"\r", ["lorem", "ipsum"], id="carriage return"),
        pytest.param(b" \t" + EVENT + b" \t", ["lorem", "ipsum"], id="white space around"),
        pytest.param(b"\x00" * 9 + EVENT, ["lorem", "ipsum"], id="NULs in front"),
        pytest.param(b"\xef\xbb\xbf" + EVENT + b"\r", ["lorem", "ipsum"], id="a byte order mark in front"),
        pytest.param(
            b"\x00 \xef\xbb\xbf\xef\xbb\xbf\t\x00\x00 " + EVENT, ["lorem", "ipsum"], id="NULs, marks and white space"
        ),
        pytest.param(EVENT[:20] + b"\x00" * 99 + EVENT, ["lorem", "ipsum"], id="half an event and NULs in front"),
        pytest.param(
            b'{"event_type":"foo","data":"a","timestamp":"1990-12-31T15:59:60-08:00"}',
            ["a"],
            id="RFC 3339, leap second",
        ),
        pytest.param(b'{"data":"a","event_type":"foo"}', ["a"], id="another order"),
        pytest.param(b'{"x":[{"y":[1,2.5e3,null,true]}],"event_type":"foo","data":"a"}', ["a"], id="other fields"),
        pytest.param(b'{"event_type":"foo","data":""}', [], id="empty data"),
        pytest.param(b'{"event_type":"foo","data":"\\u0061\\n\\tb"}', ["a", "b"], id="escapes"),
        pytest.param('{"event_type":"foo","data":"żółć 日本"}'.encode(), ["żółć", "日本"], id="not ASCII"),
        pytest.param(b'{"event_type":"foo","data":"a\\ud83d\\ude00b"}', ["a", "b"], id="a pair of surrogates"),
        pytest.param(b'{"event_type":"foo","data":"a\\u0000b"}', ["a", "b"], id="an escaped NUL"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":null}', ["a"], id="null timestamp"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":-1}', ["a"], id="before 1970"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":1.5}', ["a"], id="float timestamp"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":1e308}', ["a"], id="huge timestamp"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":-1e308}', ["a"], id="huge negative timestamp"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":%s}' % (b"9" * 400), ["a"], id="400 digits"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":-%s}' % (b"9" * 400), ["a"], id="minus 400 digits"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":"2021-09-26T13:46:24Z"}', ["a"], id="RFC 3339"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":"2021-09-26T13:46:24.5+02:00"}', ["a"], id="offset"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":"0001-01-01T00:00:00+14:00"}', ["a"], id="before 1"),
        pytest.param(
            b'{"event_type":"foo","data":"a","timestamp":"9999-12-31T23:59:59-14:00"}', ["a"], id="after 9999"
        ),
    ],
)
def test_counts_an_event(line: bytes, words: list[str]) -> None:
    counts = _count(line)
    assert (_types(counts), _words(counts), counts.rejected) == ({"foo": 1}, Counter(words), 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b'{"event_type":"foo","data":"\xff"}', "not UTF-8", id="not UTF-8 in data"),
        pytest.param(b'{"event_type":"foo","data":"a","x":"\xff"}', "not UTF-8", id="not UTF-8 in a field not read"),
        pytest.param(b'{"event_type":"foo","data":"a","\xc3":1}', "not UTF-8", id="not UTF-8 in a name"),
        pytest.param(b'{"event_type":"foo","data":"\xed\xa0\x80"}', "not UTF-8", id="a surrogate in UTF-8"),
        pytest.param(b"\x00\x9f\x92", "not UTF-8", id="binary"),
        pytest.param("{}".encode("utf-16"), "not UTF-8", id="UTF-16"),
        pytest.param(
            b'{"event_type":"foo","data":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "nested too deeply",
            id="nested in a field not read",
        ),
        pytest.param(b"[" * 100_000, "not", id="nested, not an object"),
        pytest.param(b"lorem ipsum", "not JSON", id="text"),
        pytest.param(b'{"event_type":"foo","data":"lor', "not JSON", id="truncated in data"),
        pytest.param(b'{"event_type":"foo","data":"lorem"', "not JSON", id="truncated at the end"),
        pytest.param(b"{", "not JSON", id="truncated at the start"),
        pytest.param(EVENT + EVENT, "not JSON", id="two events on one line"),
        pytest.param(EVENT + b" " + EVENT, "not JSON", id="two events with a space between"),
        pytest.param(EVENT + b"," + EVENT, "not JSON", id="two events with a comma between"),
        pytest.param(EVENT + b"\r" + EVENT, "not JSON", id="a carriage return between"),
        pytest.param(EVENT + b"x", "not JSON", id="something behind it"),
        pytest.param(EVENT + b"\x00", "not JSON", id="NUL behind it"),
        pytest.param(EVENT + b"\xef\xbb\xbf", "not JSON", id="byte order mark behind it"),
        pytest.param(EVENT + b"\x00" + EVENT, "not JSON", id="two events with a NUL between"),
        pytest.param(b"{\x00" + EVENT[:-1], "not JSON", id="half an event behind NULs"),
        pytest.param(b"\x0c" + EVENT, "not JSON", id="white space that is none to JSON"),
        pytest.param(b'{"event_type":"foo","data":"a\x00b"}', "not JSON", id="a bare NUL"),
        pytest.param(b'{"event_type":"foo","data":"a\tb"}', "not JSON", id="a bare tab"),
        pytest.param(b'{"event_type":"foo","data":"\\ud800"}', "not JSON", id="half a pair of surrogates"),
        pytest.param(b'{"event_type":"foo","data":"a","x":"\\x"}', "not JSON", id="wrong escape in a field not read"),
        pytest.param(b'{"event_type":"foo","data":"a","x":NaN}', "not JSON", id="NaN in a field not read"),
        pytest.param(b'{"event_type":"foo","data":"a","x":01}', "not JSON", id="wrong number in a field not read"),
        pytest.param(b"{'event_type':'foo','data':'a'}", "not JSON", id="single quotes"),
        pytest.param(b'{"event_type":"foo","data":"a",}', "not JSON", id="trailing comma"),
        pytest.param(b"[" + EVENT + b"]", "not an event", id="array of an event"),
        pytest.param(b'["lorem","ipsum"]', "not an event", id="array"),
        pytest.param(b'"lorem"', "not an event", id="string"),
        pytest.param(b"42", "not an event", id="number"),
        pytest.param(b"null", "not an event", id="null"),
        pytest.param(b"{}", "not an event", id="empty object"),
        pytest.param(b'{"data":"lorem"}', "not an event", id="no event_type"),
        pytest.param(b'{"event_type":"foo"}', "not an event", id="no data"),
        pytest.param(b'{"event_type":1,"data":"a"}', "not an event", id="event_type is a number"),
        pytest.param(b'{"event_type":null,"data":"a"}', "not an event", id="event_type is null"),
        pytest.param(b'{"event_type":"foo","data":["a"]}', "not an event", id="data is an array"),
        pytest.param(b'{"event_type":"foo","data":{"a":1}}', "not an event", id="data is an object"),
        pytest.param(b'{"event_type":"foo","data":true}', "not an event", id="data is a boolean"),
        pytest.param(b'{"Event_Type":"foo","data":"a"}', "not an event", id="names have a case"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":true}', "not an event", id="boolean timestamp"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":[1]}', "not an event", id="array timestamp"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":"1632663984"}', "not an event", id="digits as text"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":"2021-09-26"}', "not an event", id="a date"),
        pytest.param(
            b'{"event_type":"foo","data":"a","timestamp":"2021-09-26T13:46:24"}', "not an event", id="no time zone"
        ),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":""}', "not an event", id="empty timestamp"),
        *(
            pytest.param(b'{"event_type":"foo","data":"a","timestamp":"%s"}' % at, "not an event", id=at.decode())
            for at in (
                b"2021-09-26T13:46:60Z",
                b"1990-12-31T23:58:60Z",
                b"1990-12-30T23:59:60Z",
                b"1990-12-31T23:59:60+01:00",
                b"1990-12-31T23:59:60",
                b"1990-12-31T23:59:61Z",
                b"1990-12-31T23:59:60.Z",
                b"1990-13-31T23:59:60Z",
                b"9999-12-31T23:59:60-14:00",
                b":60",
            )
        ),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":1e400}', "not", id="a timestamp out of range"),
        pytest.param(b'{"event_type":"foo","data":"a","timestamp":%s}' % (b"9" * 5000), "not", id="5,000 digits"),
    ],
)
@pytest.mark.parametrize("company", [b"", EVENT], ids=["alone", "between events"])
def test_rejects_a_line_with_a_reason(line: bytes, reason: str, company: bytes) -> None:
    counts = _count(b"\n".join((company, line, company)))
    assert (counts.events, counts.rejected) == (2 if company else 0, 1)
    assert [sample.line for sample in counts.samples] == [line[:SAMPLE_BYTES]]
    assert counts.samples[0].reason.startswith(reason)
    assert counts.rejected_by_reason == {_reason_of(counts.samples[0].reason): 1}


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("company", [b"", EVENT], ids=["alone", "between events"])
def test_a_line_over_the_limit_is_rejected_though_it_is_an_event(over: int, company: bytes) -> None:
    line = _event("x" * (200 + over - len(_event(""))))
    counts = _count(b"\n".join((company, line, company)), max_line_bytes=200)
    assert counts.rejected == over
    if over:
        assert counts.samples[0].reason == "longer than 200 bytes (TALLY_MAX_LINE_BYTES)"
        assert counts.rejected_by_reason == {"too_long": 1}


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b'{"event_type":"foo",\n"data":"a"}', id="one event"),
        pytest.param(b'{"event_type":"foo","data":"a","x":{}\n}', id="a bare brace on its line"),
        pytest.param(EVENT + EVENT + b'\n{"event_type":"foo",\n"data":"a"}', id="as many events as lines"),
        pytest.param(
            b'{"event_type":"foo","x":{}\n,"y":[{}\n],"data":"a"}' + EVENT + EVENT, id="and braces at its line ends"
        ),
        pytest.param(b'{"event_type":"foo","data":"}\n{"}' + EVENT, id="a line end in a string"),
        pytest.param(b'{"event_type":"foo","data":"a","x":"}\n{"}' + EVENT, id="a line end in a string not read"),
    ],
)
def test_an_event_over_several_lines_is_rejected_line_by_line(block: bytes) -> None:
    # msgspec's decode_lines takes all of these.
    lines = block.count(b"\n") + 1
    counts = _count(block)
    assert (counts.events, counts.rejected) == (0, lines)


def test_blank_lines_are_nothing() -> None:
    counts = _count(b"\n \n\t\n" + EVENT + b"\n\r\n\n" + EVENT + b"\n", b"", b"\n", b"\r")
    assert (counts.events, counts.rejected, counts.padded) == (2, 0, 0)
    counts = _count(b"\x00\n\xef\xbb\xbf\r\n" + EVENT + b"\n \x00", b"\x00" * 5000)
    assert (counts.events, counts.rejected, counts.padded) == (1, 0, 4)


def test_lines_with_padding_are_counted_whatever_they_are_otherwise() -> None:
    block = b"\n".join((EVENT, b"\x00" + EVENT, b"\xef\xbb\xbfgarbage", b"garbage\x00", EVENT[:9] + b"\x00" + EVENT))
    counts = _count(block)
    assert (counts.events, counts.rejected, counts.padded) == (3, 2, 3)
    assert [sample.line for sample in counts.samples] == [b"\xef\xbb\xbfgarbage", b"garbage\x00"]


def test_a_sample_shows_the_line_rather_than_its_padding() -> None:
    counts = _count(b"\x00" * SAMPLE_BYTES + b"garbage", b"\x00" * 9 + b"x" * SAMPLE_BYTES)
    assert [sample.line for sample in counts.samples] == [b"\x00garbage", b"\x00" + b"x" * (SAMPLE_BYTES - 1)]
    assert [sample.reason[:8] for sample in counts.samples] == ["not JSON"] * 2


@pytest.mark.parametrize("padding", [b"\x00" * 5000, b"\xef\xbb\xbf" * 2000, b"\x00"])
@pytest.mark.parametrize("over", [0, 1])
def test_padding_is_no_part_of_a_lines_length(padding: bytes, over: int) -> None:
    line = _event("x" * (200 + over - len(_event(""))))
    counts = _count(b"\n".join((EVENT, padding + line)), max_line_bytes=200)
    assert (counts.events, counts.rejected, counts.padded) == (2 - over, over, 1)
    assert [sample.reason for sample in counts.samples] == ["longer than 200 bytes (TALLY_MAX_LINE_BYTES)"] * over


def test_what_was_cut_is_no_event_although_it_ends_with_one() -> None:
    half = b"x" * (200 - len(EVENT)) + b"\x00"
    counts = _count(half + EVENT, max_line_bytes=200)  # 201 bytes, as the ingestor cuts a line down to
    assert (counts.events, counts.rejected) == (0, 1)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_of_a_block_may_end_either_way(end: bytes) -> None:
    counts = _count(end.join([EVENT] * 5), end.join([EVENT] * 5) + end[:-1])
    assert (_types(counts), counts.rejected) == ({"foo": 10}, 0)


def test_an_entry_without_lines_is_rejected_once() -> None:
    counts = Decoder(Settings()).count([_entry(None, source="elsewhere"), _entry(EVENT)])
    assert (counts.events, counts.rejected, counts.bytes) == (1, 1, len(EVENT))
    assert (counts.samples[0].source, counts.samples[0].line) == ("elsewhere", b"")
    assert "lines" in counts.samples[0].reason
    assert counts.rejected_by_reason == {"no_lines": 1}


def test_a_flood_of_garbage_leaves_a_bounded_number_of_bounded_samples() -> None:
    counts = _count(b"\n".join(b"%d" % at + b"x" * 5000 for at in range(100)))
    assert counts.rejected == 100
    assert len(counts.samples) == MAX_SAMPLES
    assert {len(sample.line) for sample in counts.samples} == {SAMPLE_BYTES}
    newest = range(100 - MAX_SAMPLES, 100)
    assert [int(sample.line.partition(b"x")[0]) for sample in counts.samples] == list(newest)


def test_a_sample_names_the_source_of_its_block() -> None:
    counts = Decoder(Settings()).count([_entry(b"bad", source="file:/a"), _entry(b"worse", source="exec:b")])
    assert [(sample.line, sample.source) for sample in counts.samples] == [(b"bad", "file:/a"), (b"worse", "exec:b")]


# All at once or line by line: the same, and what a plain count finds.


def _compare(block: bytes) -> None:
    """The block at once, each line as a block of its own, and the plain count: all three alike."""
    at_once = _count(block)
    each = Decoder(Settings()).count([_entry(line) for line in block.split(b"\n")])
    plain = plain_count(block, arrived_seconds=ARRIVED)

    assert (at_once.windows, at_once.samples) == (each.windows, each.samples)
    assert at_once.rejected_by_reason == each.rejected_by_reason
    assert (at_once.events, at_once.rejected, at_once.padded) == (plain.events, plain.rejected, plain.padded)
    assert {place.start: window.types for place, window in at_once.windows.items()} == plain.types
    assert {place.start: window.words for place, window in at_once.windows.items()} == plain.words


@given(st.lists(events(), min_size=1, max_size=12))
def test_a_block_of_events_counts_as_its_lines_do_and_as_plain_json_does(lines: list[bytes]) -> None:
    _compare(b"\n".join(lines))


@given(st.lists(events() | garbage | blank, max_size=12))
def test_a_block_with_garbage_counts_as_its_lines_do_and_as_plain_json_does(lines: list[bytes]) -> None:
    _compare(b"\n".join(lines))


_SCRAPS = [b"\n", b"\n", b"\r\n", b"}\n{", b" ", b"{", b"}", b"[", b"]", b",", b'"', b'"x":', b"{}", EVENT]
_SCRAPS += [b'{"event_type":"foo",', b'"data":"a"', b'"data":"a"}', b'{"event_type":"foo","data":"a","x":']


@given(st.lists(st.sampled_from(_SCRAPS), max_size=14).map(b"".join))
@example(EVENT + EVENT + b'\n{"event_type":"foo",\n"data":"a"}')
def test_scraps_of_events_count_as_their_lines_do_and_as_plain_json_does(block: bytes) -> None:
    _compare(block)


@given(st.lists(st.binary(max_size=80) | events(), max_size=6), st.sampled_from([b"", b"\n", b"\x00"]))
@example([b"\0" * 70 + b"x", b"\0" * 70 + EVENT[:60]], b"\n")
@example([b"\xff" * 70, b"\xef\xbb\xbf" + b"\xff" * 60], b"\n")
@example([b"\0 " * 40, b"\0{}", b"\0{", EVENT[:20] + b"\0" + EVENT[:20]], b"\n")
def test_no_bytes_make_it_raise_and_every_line_is_accounted_for(pieces: list[bytes], between: bytes) -> None:
    block = between.join(pieces)
    decoder = Decoder(Settings(max_line_bytes=64))
    counts = decoder.count([_entry(block)])
    sentences = map(decoder.reason, block.split(b"\n"))
    assert counts.rejected_by_reason == Counter(_reason_of(each) for each in sentences if each is not None)
    assert counts.events + counts.rejected == sum(1 for line in block.split(b"\n") if not is_nothing(line))
    assert counts.bytes == len(block)


# Windows.


@pytest.mark.parametrize(
    ("timestamp", "start"),
    [
        pytest.param(0, 0, id="1970"),
        pytest.param(59, 0, id="the last second of a minute"),
        pytest.param(60, 60, id="the first second of a minute"),
        pytest.param(59.999999, 0, id="a fraction"),
        pytest.param(-1, -60, id="before 1970"),
        pytest.param(-0.5, -60, id="a fraction before 1970"),
        pytest.param(None, MINUTE, id="null: its arrival"),
        pytest.param(ARRIVED + 3600, MINUTE + 3600, id="an hour ahead is believed"),
        pytest.param(ARRIVED + 3601, MINUTE, id="more is not: its arrival"),
        pytest.param(1e308, MINUTE, id="for ever ahead"),
        pytest.param("2021-09-26T13:46:24Z", MINUTE, id="RFC 3339"),
        pytest.param("2021-09-26T13:46:24+02:00", MINUTE - 7200, id="RFC 3339 with an offset"),
        pytest.param("1970-01-01T00:00:59.999Z", 0, id="RFC 3339 with a fraction"),
        pytest.param("2031-01-01T00:00:00Z", MINUTE, id="RFC 3339 far ahead"),
        pytest.param(EARLIEST_SECONDS, EARLIEST_SECONDS, id="the year 1"),
        pytest.param(EARLIEST_SECONDS - 1, EARLIEST_SECONDS, id="before the year 1"),
        pytest.param(-1e308, EARLIEST_SECONDS, id="long before the year 1"),
        pytest.param("0001-01-01T00:00:00+14:00", EARLIEST_SECONDS, id="RFC 3339 before the year 1"),
        pytest.param("1990-12-31T23:59:60Z", 662_687_940, id="RFC 3339's leap second: its own minute"),
        pytest.param("1990-12-31T15:59:60.5-08:00", 662_687_940, id="RFC 3339's leap second with an offset"),
        pytest.param("1990-12-31t23:59:60z", 662_687_940, id="in small letters"),
    ],
)
@pytest.mark.parametrize("company", [[], [MINUTE], [None]], ids=["alone", "after a number", "after one without"])
def test_an_event_belongs_to_the_window_of_its_timestamp(
    timestamp: float | str | None, start: int, company: list[float | None]
) -> None:
    lines = [_event(event_type="other", timestamp=at) for at in company] + [_event(timestamp=timestamp)]
    counts = _count(b"\n".join(lines))
    assert [place.start for place, window in counts.windows.items() if window.types["foo"]] == [start]
    assert counts.events == len(lines)


def test_an_event_without_a_timestamp_belongs_to_the_window_of_its_arrival() -> None:
    assert list(_count(EVENT).windows) == [Place(1, MINUTE)]


def test_windows_have_the_shortest_length_that_is_set() -> None:
    assert list(_count(_event(timestamp=3700), windows="3600x4,7200x4").windows) == [Place(1, 3600)]


def test_each_window_has_the_words_of_its_own_events() -> None:
    block = b"\n".join(_event(data, timestamp=at) for at, data in [(0, "a b"), (60, "b"), (1, "b"), (61, "c")])
    windows = _count(block).windows
    assert {place.start: dict(window.words) for place, window in windows.items()} == {
        0: {"a": 1, "b": 2},
        60: {"b": 1, "c": 1},
    }


# Words.


_texts = st.lists(
    st.sampled_from(
        [
            *("don't", "l’été", "co-op", "--", "'", "x", "Straße", "ΐ", "İ", ",", "_", "e", "ü", "हि", "न्दी"),
            # White space; marks, joiners, letters in parts, an emoji.
            *" \u2003\x1c\x85",
            *"\u0301\u0323\ufe0f\u200c\u200d\u212b\u1112\u1161\u11ab\U0001f468",
        ]
    )
    | st.text(max_size=5),
    max_size=20,
).map("".join)


@given(_texts)
def test_words_are_what_the_pattern_finds_in_the_whole_text(text: str) -> None:
    assert _words(_count(_event(text))) == Counter(words_of(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Lorem lorem", {"Lorem": 1, "lorem": 1}),
        ("don't won’t co-op", {"don't": 1, "won’t": 1, "co-op": 1}),
        ("'quoted' -dash- a--b", {"quoted": 1, "dash": 1, "a": 1, "b": 1}),
        ("end. (both), x/y", {"end": 1, "both": 1, "x": 1, "y": 1}),
        ("12 3.5 snake_case", {"12": 1, "3": 1, "5": 1, "snake_case": 1}),
        ("... !! ", {}),
    ],
)
def test_a_word_keeps_its_case_its_apostrophes_and_its_hyphens(text: str, words: dict[str, int]) -> None:
    assert _words(_count(_event(text))) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("हिन्दी भाषा।", ["हिन्दी", "भाषा"], id="Hindi"),
        pytest.param("தமிழ், தமிழ்நாடு", ["தமிழ்", "தமிழ்நாடு"], id="Tamil"),
        pytest.param("ශ්‍රී ලංකාව", ["ශ්‍රී", "ලංකාව"], id="Sinhala, with a joiner"),
        pytest.param("র‍্যাব", ["র‍্যাব"], id="Bengali, a mark behind a joiner"),
        pytest.param("می‌خواهم مُحَمَّد", ["می‌خواهم", "مُحَمَّد"], id="Persian with a non-joiner, Arabic with vowels"),
        pytest.param("שָׁלוֹם", ["שָׁלוֹם"], id="Hebrew with points"),
        pytest.param("ภาษาไทยง่าย", ["ภาษาไทยง่าย"], id="Thai has no spaces: a whole run"),
        pytest.param("中文，日本語。", ["中文", "日本語"], id="nor have Chinese and Japanese"),
        pytest.param("Việt Nam", ["Việt", "Nam"], id="Vietnamese"),
        pytest.param("re\u0301sume\u0301 résumé", ["résumé"] * 2, id="in two parts, and in one"),
        pytest.param(
            "\u1112\u1161\u11ab\u1100\u1173\u11af", ["한글"], id="Korean, as macOS has it in the names of files"
        ),
        pytest.param("\u212bngstro\u0308m", ["Ångström"], id="a sign for a letter"),
        pytest.param(
            "\u2764\ufe0f \U0001f44d\U0001f3fd \U0001f468\u200d\U0001f4bb", [], id="emoji with what follows them"
        ),
        pytest.param("a\u200d b\u200c, \u200dc", ["a", "b", "c"], id="a joiner that joins nothing"),
        pytest.param(
            "\U0001e900\U0001e944\U00011103\U00011127",
            ["\U0001e900\U0001e944\U00011103\U00011127"],
            id="beyond the first plane",
        ),
    ],
)
def test_letters_and_their_marks_are_one_word_in_one_form(text: str, words: list[str]) -> None:
    assert _words(_count(_event(text))) == Counter(normalize("NFC", word) for word in words)


def test_types_stay_as_they_are() -> None:
    counts = _count(_event(event_type="re\u0301sume\u0301"), _event(event_type="résumé"))
    assert _types(counts) == {"re\u0301sume\u0301": 1, "résumé": 1}


def test_words_stay_as_they_are_where_that_is_set() -> None:
    counts = _count(_event("re\u0301sume\u0301 résumé"), normalize_words=False)
    assert _words(counts) == {"re\u0301sume\u0301": 1, "résumé": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Lorem LOREM lorem", {"lorem": 3}),
        ("Straße STRASSE", {"strasse": 2}),
        pytest.param("ταΐζω ΤΑΐΖΩ", {"ταΐζω": 2}, id="a letter that folds to several"),
        pytest.param("İstanbul", {"İstanbul".casefold(): 1}, id="a letter that folds to a combining mark"),
    ],
)
def test_folding_case_makes_one_word_of_its_spellings_and_splits_none(text: str, words: dict[str, int]) -> None:
    assert _words(_count(_event(text), fold_case=True)) == words


def test_another_pattern_makes_other_words() -> None:
    assert _words(_count(_event("a1b22 c"), word_pattern="[0-9]+")) == {"1": 1, "22": 1}


def test_a_word_never_goes_over_white_space_whatever_the_pattern() -> None:
    assert _words(_count(_event("a b"), word_pattern=".+")) == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("x" * 8, True),
        ("x" * 9, False),
        ("żó" * 2, True),
        ("żóżóż", False),
        ("\U00020000" * 2, True),
        ("\U00020000" * 3, False),
    ],
)
def test_names_over_the_bound_go_to_other(name: str, fits: bool) -> None:
    counts = _count(_event(f"{name} {name} short", event_type=name), max_name_bytes=8)
    kept = name if fits else OTHER
    assert _types(counts) == {kept: 1}
    assert _words(counts) == {kept: 2, "short": 1}


@given(st.lists(names, min_size=1, max_size=8), st.integers(1, 12))
def test_bounding_names_keeps_the_sum(names: list[str], max_name_bytes: int) -> None:
    assume(not any("\n" in name for name in names))
    block = b"\n".join(_event(name, event_type=name) for name in names)
    counts = _count(block, max_name_bytes=max_name_bytes)
    assert counts.events == len(names)
    assert counts.words == sum(len(words_of(name)) for name in names)
    every = {*_types(counts), *_words(counts)} - {OTHER}
    assert all(len(name.encode()) <= max_name_bytes for name in every)


def test_a_decoder_keeps_nothing_from_one_batch_to_the_next() -> None:
    decoder = Decoder(Settings())
    first = decoder.count([_entry(EVENT + b"\nbad")])
    again = decoder.count([_entry(EVENT + b"\nbad")])
    assert first == again
    assert re.fullmatch("not JSON: .*", again.samples[0].reason)


# The newest event.


@pytest.mark.parametrize(
    ("timestamps", "newest"),
    [
        ([[None], [None]], ARRIVED),
        ([[MINUTE, MINUTE + 7, MINUTE + 3], [MINUTE + 1]], MINUTE + 7),
        ([[MINUTE - 86_400.25]], MINUTE - 86_400.25),
        ([["2021-09-26T13:46:07.5Z", "2021-09-26T13:46:01Z"]], MINUTE + 7.5),
        ([[MINUTE - 7200, MINUTE - 3600]], MINUTE - 3600),
        ([[MINUTE - 7200, "2021-09-26T13:46:07Z"]], MINUTE + 7),
        ([[MINUTE, None]], ARRIVED),
        ([[MINUTE, ARRIVED + 86_400]], ARRIVED),
    ],
    ids=["none", "numbers", "a fraction", "texts", "several windows", "both", "one without", "one ahead"],
)
def test_it_is_known_when_the_newest_event_was(timestamps: list[list[Any]], newest: float) -> None:
    blocks = [
        b"\n".join(_event(**({} if at is None else {"timestamp": at})) for at in of_block) for of_block in timestamps
    ]
    assert _count(*blocks, b"garbage").newest_seconds == newest


def test_there_is_no_newest_event_where_there_is_none() -> None:
    assert _count(b"garbage").newest_seconds is None
