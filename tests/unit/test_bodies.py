"""Bodies of requests: whatever their shape and however they are cut, they become the same lines."""

from __future__ import annotations

import gzip
import itertools
import json
import sys
import zlib
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestor.bodies import MAX_MEMBERS, PIECE_BYTES, BodyReader, BodyRefused, Lines

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODERS: dict[str | None, Any] = {
    None: bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
}


def read(
    chunks: list[bytes], *, kind: str | None = "application/x-ndjson", encoding: str | None = None, **limits: int
) -> Lines:
    reader = BodyReader(
        content_type=kind,
        content_encoding=encoding,
        **{
            "max_body_bytes": 1 << 20,
            "max_body_lines": 1_000_000,
            "max_line_bytes": 1000,
            "max_block_bytes": 1024,
            **limits,
        },
    )
    for chunk in chunks:
        deque(reader.feed(chunk), maxlen=0)
    return reader.finish()


def cut(body: bytes, at: set[int]) -> list[bytes]:
    cuts = sorted({each for each in at if each <= len(body)} | {0, len(body)})
    return [body[start:end] for start, end in itertools.pairwise(cuts)]


@given(
    st.lists(st.sampled_from([b"", b" \t", b"x" * 300, b'{"a":1}', b"\xff\x00", "é".encode()]), max_size=30),
    st.sets(st.integers(0, 3000), max_size=10),
    st.sampled_from([None, "gzip", "deflate", "zstd"]),
)
def test_lines_stay_as_they_are(lines: list[bytes], cuts: set[int], encoding: str | None) -> None:
    body = b"\n".join(lines) or b"\n"
    found = read(cut(ENCODERS[encoding](body), cuts), encoding=encoding)
    assert b"\n".join(found.blocks) == body.removesuffix(b"\n")
    assert found.count == sum(bool(line.strip()) for line in lines)
    assert all(len(block) <= 1024 for block in found.blocks)
    assert found.digest == read([body], max_block_bytes=4096).digest, "it says what was sent, not how"


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda each: st.lists(each, max_size=3),
    max_leaves=4,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=8),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
    st.sets(st.integers(0, 500), max_size=5),
)
def test_an_array_becomes_a_line_an_element(values: list[Any], indent: Any, ascii_: bool, cuts: set[int]) -> None:
    body = json.dumps(values, indent=indent, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")
    found = read(cut(body, cuts), kind="application/json; charset=utf-8", max_line_bytes=1 << 20)
    lines = b"\n".join(found.blocks).split(b"\n") if found.blocks else []
    assert [json.loads(line.decode("utf-8", "surrogatepass")) for line in lines] == values
    assert found.count == len(values)


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b'[{"a": 1e5}, {"b":\n 0.10}]', [b'{"a": 1e5}', b'{"b":  0.10}']),
        (b'{"a": 1}', [b'{"a": 1}']),
        (b'\n {"a":\r\n1}\n', [b'{"a":\r 1}']),
        (b'{"a":1}{"b":2}\n{"c":3}', [b'{"a":1}', b'{"b":2}', b'{"c":3}']),
        (b'[1, "x", {"a":2}]', [b"1", b'"x"', b'{"a":2}']),
        (b'[{"a":"\xff"}]', [b'{"a":"\xff"}']),
        (b"[]", []),
    ],
)
def test_json_becomes_lines_with_the_bytes_of_the_elements(body: bytes, lines: list[bytes]) -> None:
    found = read([body], kind="application/json")
    assert b"\n".join(found.blocks).split(b"\n") == (lines or [b""])
    assert found.count == len(lines)


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"\xef\xbb\xbf",
        b"5",
        b'"x"',
        b"null",
        b"[",
        b"[1,]",
        b'{"a":1},{"b":2}',
        b'[{"a":"x\ny"}]',
        b'{"a":1}x',
        b"[" * 100_000,
    ],
)
def test_what_is_not_json_of_events_is_refused(body: bytes) -> None:
    with pytest.raises(BodyRefused) as caught:
        read([body], kind="application/json")
    assert caught.value.type.status == 400
    assert caught.value.detail


@pytest.mark.parametrize(
    ("kind", "encoding", "says"),
    [
        (
            None,
            None,
            "Content-Type is missing, and the body is no JSON object or array; send one of application/x-ndjson",
        ),
        ("application/x-www-form-urlencoded", None, "send one of application/x-ndjson"),
        ("garbage", None, "send one of application/x-ndjson"),
        ("application/json; charset=utf-16", None, "send UTF-8"),
        ("text/plain", "br", "send gzip, zstd, deflate or none"),
        ("text/plain", "gzip, gzip", "send gzip, zstd, deflate or none"),
    ],
)
def test_what_is_not_supported_is_said_with_what_is(kind: str | None, encoding: str | None, says: str) -> None:
    with pytest.raises(BodyRefused) as caught:
        read([b"x"], kind=kind, encoding=encoding)
    assert caught.value.type.status == 415
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "application/cloudevents+json; charset=utf-8",
        "garbage",
    ],
)
@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b'{"a": 1}', [b'{"a": 1}']),
        (b'{"a": 1}\n{"a": 2}\n', [b'{"a": 1}', b'{"a": 2}']),
        (b'{"a": 1}{"a": 2}', [b'{"a": 1}', b'{"a": 2}']),  # as `curl -d @FILE` makes of lines
        (b'\r\n [{"a": 1},\n {"a": 2}]', [b'{"a": 1}', b'{"a": 2}']),
        (b'\xef\xbb\xbf{"a": 1}', [b'\0{"a": 1}']),  # the NUL is for the aggregators to count
        (b'\0\n\xef\xbb\xbf [{"a": 1}, {"a": 2}]', [b'\0{"a": 1}', b'{"a": 2}']),
    ],
)
def test_what_is_json_is_taken_whatever_its_media_type(kind: str | None, body: bytes, lines: list[bytes]) -> None:
    for chunks in ([body], [body[at : at + 1] for at in range(len(body))]):
        found = read(chunks, kind=kind)
        assert (b"\n".join(found.blocks).split(b"\n"), found.count) == (lines, len(lines))
        assert found.digest == read([b"\n".join(lines)]).digest, "the same lines"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/json", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_body_without_any_byte_is_refused(kind: str | None, encoding: str | None) -> None:
    for chunks in ([], [b""], [ENCODERS[encoding](b"")]):
        with pytest.raises(BodyRefused) as caught:
            read(chunks, kind=kind, encoding=encoding)
        assert (caught.value.type.status, caught.value.type.title) == (400, "The body is empty")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_of_blank_lines_has_no_line(kind: str | None) -> None:
    assert read([b"\n", b" \r\n"], kind=kind).count == 0


@pytest.mark.parametrize("kind", ["TEXT/PLAIN", "text/plain;charset=UTF-8", 'application/x-ndjson; charset="utf-8"'])
def test_media_types_are_read_as_http_means_them(kind: str) -> None:
    assert read([b"x"], kind=kind).count == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_decompression_bomb_is_stopped_at_the_limit(encoding: str) -> None:
    bomb = ENCODERS[encoding](bytes(50_000_000))
    reader = BodyReader(
        content_type="text/plain",
        content_encoding=encoding,
        max_body_bytes=1 << 20,
        max_body_lines=1_000_000,
        max_line_bytes=1000,
        max_block_bytes=1024,
    )
    with pytest.raises(BodyRefused) as caught:
        deque(reader.feed(bomb), maxlen=0)
    assert caught.value.type.status == 413
    assert reader.buffered_bytes <= (1 << 20) + (1 << 18)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_compressed_body_that_is_cut_or_damaged_is_refused(encoding: str) -> None:
    body = ENCODERS[encoding](b'{"a":1}\n' * 1000)
    for chunks in ([body[:-1]], [b"garbage"], [body + b"garbage"]):
        with pytest.raises(BodyRefused) as caught:
            read(chunks, encoding=encoding)
        assert caught.value.type.status == 400


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_members_one_behind_the_other_are_one_body(encoding: str) -> None:
    encode = ENCODERS[encoding]
    body = encode(b"one\n") + encode(b"") + encode(b"two\n")
    for chunks in ([body], [body[at : at + 1] for at in range(len(body))]):
        assert read(chunks, encoding=encoding).blocks == [b"one\ntwo"]


def test_a_zstd_frame_with_a_huge_window_is_refused() -> None:
    options: Any = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    compressor = zstd.ZstdCompressor(options=options)
    body = compressor.compress(bytes(1000)) + compressor.flush()
    with pytest.raises(BodyRefused) as caught:
        read([body], encoding="zstd")
    assert caught.value.type.status == 400


def test_a_line_over_the_limit_is_cut_and_counts_as_one() -> None:
    found = read([b'{"a":1}\n' + b"x" * 5000 + b'\n{"b":2}\n'])
    assert b"\n".join(found.blocks) == b'{"a":1}\n' + b"x" * 1001 + b'\n{"b":2}'
    assert found.count == 3


def test_a_body_is_held_only_up_to_the_limit() -> None:
    with pytest.raises(BodyRefused) as caught:
        read([b"x"] * 1025, max_body_bytes=1024)
    assert caught.value.type.status == 413
    assert "TALLY_MAX_BODY_BYTES" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"\n a \n\n \nb\n\r\nc\n\n"),
        ("application/json", b"[1,\n2,\n3]"),
        ("application/json", b'{"a":1}{"b":1}\n{"c":1}'),
    ],
)
def test_lines_are_bounded_and_blank_ones_are_none(kind: str, body: bytes) -> None:
    assert read([body], kind=kind, max_body_lines=3).count == 3
    with pytest.raises(BodyRefused) as caught:
        read([body], kind=kind, max_body_lines=2)
    assert (caught.value.type.status, caught.value.type.title) == (413, "The body is too large")
    assert "TALLY_MAX_BODY_LINES" in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "member"),
    [
        ("gzip", gzip.compress(b"")),
        ("deflate", zlib.compress(b"")),
        ("zstd", zstd.compress(b"")),
        ("zstd", b"\x50\x2a\x4d\x18\x00\x00\x00\x00"),
        ("gzip", gzip.compress(b"{}\n")),
    ],
    ids=["gzip", "deflate", "zstd", "zstd skippable", "gzip not empty"],
)
def test_the_members_of_a_compressed_body_are_bounded(encoding: str, member: bytes) -> None:
    last = ENCODERS[encoding](b'{"a":1}')
    most = MAX_MEMBERS - 1
    assert b"\n".join(read([member * most, last], encoding=encoding).blocks).endswith(b'{"a":1}')
    with pytest.raises(BodyRefused) as caught:
        read([member * (most + 1), last], encoding=encoding)
    assert (caught.value.type.status, caught.value.type.title) == (413, "The body is too large")


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
def test_others_are_let_in_between_pieces_of_a_body_that_comes_at_once(encoding: str | None, kind: str) -> None:
    body = ENCODERS[encoding](b"[" + b"{},\n" * 250_000 + b"{}]")
    reader = BodyReader(
        content_type=kind,
        content_encoding=encoding,
        max_body_bytes=1 << 20,
        max_body_lines=1_000_000,
        max_line_bytes=1000,
        max_block_bytes=1024,
    )
    held, steps = 0, 0
    for _ in reader.feed(body):
        assert reader.buffered_bytes - held <= PIECE_BYTES
        held = reader.buffered_bytes
        steps += 1
    assert steps >= (1_000_000 // PIECE_BYTES)
    assert reader.finish().count == 250_001
