"""Lines of an export: what is written is read again, and nothing else is."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.export_records import (
    MOST_COUNT,
    Counts,
    DeadLetter,
    Floors,
    Header,
    Lane,
    Once,
    Record,
    Sample,
    Source,
    Top,
    Totals,
    Types,
    Vector,
)
from tally.exports import Encoder, NotAnExport, in_lines, lines_of, records_of

HEADER = Header(
    format=1,
    id="0" * 32,
    tally="1.2.3",
    namespace="tally",
    exported_at=1_764_240_000,
    shards=2,
    stripe_bytes=1024,
    layout={"format": "2", "windows": "60x360,3600x336", "digest": "d"},
    layout_history=["{}"],
)

RECORDS: tuple[Record, ...] = (
    HEADER,
    Source(
        "tail:/x#1",
        5,
        (
            Vector(2, 1024, (Lane(7, "7:7-aa"), Lane(0, ""))),
            Vector(1, None, (Lane(5, "5:5-bb"),)),
        ),
    ),
    Once(0, own=False, age="new", since_ms=1, expires_ms=2, keys={b"\xff\x00": b"\xfe"}),
    Once(1, own=True, age="old", since_ms=1, expires_ms=2, keys={}),
    Types(1, {"order": 12}),
    Counts(0, "types", 60, 120, {"order": 3, "": 1}),
    Counts(0, "words@", 0, 0, {"naïve": MOST_COUNT}, of_type="order"),
    Top(0, {"naïve": 3}),
    Floors(0, {60: 0, 3600: 0}),
    Counts(1, "sources:newest", 0, 0, {"tail:/x": 1_764_240_000_000}),
    Sample(1, "rejected", 3, b"\xff", "not UTF-8", "tail:/x"),
    DeadLetter(1, "1-1", {"lines": b"\x00\n"}),
    Totals(0, {"events": 3}),
    Totals(1, {"events": 0}),
)


def lines(records: Sequence[Record] = RECORDS) -> list[bytes]:
    encoder = Encoder()
    return [*(encoder.line(record) for record in records), encoder.end()]


def test_what_is_written_is_read_again() -> None:
    assert tuple(records_of(lines())) == RECORDS


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda whole: whole[:-1], "its end is missing after 14 lines"),
        (lambda whole: [*whole[:-1], whole[-1].rstrip()], "line 15: it is cut off"),
        (lambda whole: [*whole, b"\n"], "line 16: something follows the end"),
        (lambda whole: [*whole[:5], *whole[6:]], "it was changed"),
        (lambda whole: [each.replace(b'"order":3', b'"order":4') for each in whole], "it was changed"),
        (lambda _: [], "it is empty"),
        (lambda whole: whole[1:], "its first line is not a header"),
        (lambda _: [b"\x00\xff\n"], "its first line is not a header"),
        (lambda _: [b'{"event_type":"order","data":"x"}\n'], "its first line is not a header"),
        (
            lambda _: [b'{"is":"header","format":2,"tally":"9.9","new":[]}\n'],
            "an export of format 2, written by Tally 9.9; this version knows format 1",
        ),
    ],
)
def test_what_is_no_whole_export_is_refused(change: Callable[[list[bytes]], list[bytes]], says: str) -> None:
    with pytest.raises(NotAnExport, match=says):
        list(records_of(change(lines())))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"is":"novel"}', "line 2, which Tally 1.2.3 wrote, is no record that this version knows: .*novel"),
        (b'{"is":"types","shard":0,"since":{},"more":1}', "unknown field `more`"),
        (b'{"is":"types","shard":2,"since":{}}', "shard 2 may not stand here"),
        (b'{"is":"counts","shard":0,"table":"types","length":0,"start":0,"counts":{"a":-1}}', "counts"),
        (b'{"is":"counts","shard":0,"table":"types","length":0,"start":0,"counts":{"a":1.5}}', "counts"),
        (b'{"is":"counts","shard":0,"table":"types","length":0,"start":0,"counts":{"a":9007199254740993}}', "counts"),
        (b'{"is":"counts","shard":0,"table":"types","length":0,"start":0,"counts":{"a":1e400}}', "counts"),
        (b'{"is":"counts","shard":0,"table":"types","length":0,"start":0,"counts":{"a":' + b"9" * 30 + b"}}", "counts"),
        (b'{"is":"counts","shard":0,"table":"stream","length":0,"start":0,"counts":{}}', "no table is called"),
        (b'{"is":"counts","shard":0,"table":"words@","length":0,"start":0,"counts":{}}', "no table is called"),
        (b'{"is":"counts","shard":0,"table":"words","length":0,"start":60,"counts":{}}', "all time begins at 0"),
        (b'{"is":"counts","shard":0,"table":"words","length":61,"start":61,"counts":{}}', "no window of words is"),
        (b'{"is":"counts","shard":0,"table":"words","length":60,"start":61,"counts":{}}', "no window of words is"),
        (b'{"is":"floors","shard":0,"starts":{"61":0}}', "a floor of a length"),
        (b'{"is":"source","name":"x","seen_ms":1,"vectors":[]}', "not that of the present shards"),
        (
            b'{"is":"source","name":"x","seen_ms":1,"vectors":[{"shards":2,"stripe_bytes":1024,"lanes":[[0,""]]}]}',
            "a lane a shard",
        ),
        (b'{"is":"sample","shard":0,"kind":"rejected","at_ms":1,"line":"*","reason":"","source":""}', "base64"),
        (lines()[0].strip(), "a header may not stand here"),
        (b"{", "truncated"),
    ],
)
def test_a_record_that_is_not_as_it_should_be_is_refused_with_its_line(line: bytes, says: str) -> None:
    with pytest.raises(NotAnExport, match=says) as refused:
        list(records_of([lines()[0], line + b"\n"]))

    assert str(refused.value).startswith("line 2, which Tally 1.2.3 wrote")


@pytest.mark.parametrize(
    "change", [{"id": "x"}, {"stripe_bytes": None}, {"layout": {"windows": "60"}}, {"shards": 65}, {"shards": 0}]
)
def test_a_header_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(NotAnExport, match="line 1"):
        list(records_of(lines([msgspec.structs.replace(HEADER, **change)])))


@given(at=st.permutations(range(1, len(RECORDS))))
def test_records_come_in_their_order_alone(at: list[int]) -> None:
    ranks = [0, 1, 2, 2, 3, *[4] * 7, 5, 5]
    order = [(ranks[each], getattr(RECORDS[each], "shard", 0)) for each in at]
    whole = lines([HEADER, *(RECORDS[each] for each in at)])

    if order == sorted(order):
        list(records_of(whole))
    else:
        with pytest.raises(NotAnExport, match="may not stand here"):
            list(records_of(whole))


@given(st.dictionaries(st.text(max_size=40), st.integers(0, MOST_COUNT), max_size=50), st.integers(1, 9))
def test_a_hash_is_cut_into_lines_with_each_name_in_one(counts: dict[str, int], names: int) -> None:
    found = list(in_lines(counts.items(), names=names, most_bytes=100))

    assert [each for some in found for each in some.items()] == list(counts.items())
    assert all(0 < len(some) <= names for some in found)
    assert all(len(some) == 1 or sum(len(name.encode()) for name in some) <= 100 for some in found)
    # No line could have taken the first name of the next one.
    sizes = [sum(len(name.encode()) for name in some) for some in found]
    firsts = [len(next(iter(some)).encode()) for some in found]
    following = zip(found, sizes, firsts[1:], strict=False)
    assert all(len(some) == names or size + first > 100 for some, size, first in following)


def test_a_line_that_never_ends_is_not_read_into_memory() -> None:
    endless = io.BytesIO(gzip.compress(b"x" * (64 << 20)))

    with gzip.open(endless) as file, pytest.raises(NotAnExport, match="line 1: it does not end within"):
        list(lines_of(io.BufferedReader(file)))
