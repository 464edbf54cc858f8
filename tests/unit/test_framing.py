"""Whatever is read in whatever pieces, the same lines come out, and every byte has its place in one block."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint
from ingestor.framing import Framer
from tally.store import Block
from tests.oracle import text_of

#: Mostly what matters to framing: line ends, and bytes that other tools stumble over.
_PIECES = st.sampled_from(
    [
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\x00",
        b"\x00" * 30,
        b"\xef\xbb\xbf",
        b" ",
        b"\xff\xfe",
        b"a",
        b"bc",
        b"defghi",
        b"x" * 11,
        b"y" * 40,
    ]
)
_STREAMS = st.lists(_PIECES | st.binary(max_size=6), max_size=60).map(b"".join)
_LIMITS = st.integers(3, 24)


def _chunks(stream: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The stream in pieces of these sizes, then the rest at once."""
    at = 0
    for size in sizes:
        yield stream[at : at + size]
        at += size
    yield stream[at:]


def _blocks_of(framer: Framer, stream: bytes, sizes: list[int], takes: list[int]) -> list[Block]:
    """Feed the stream in pieces, taking so many times after each; then take what is left."""
    blocks: list[Block] = []
    for at, chunk in enumerate(_chunks(stream, sizes)):
        framer.feed(chunk)
        for _ in range(takes[at] if at < len(takes) else 0):
            block = framer.take()
            if block is not None:
                blocks.append(block)
    while (block := framer.take(finished=True)) is not None:
        blocks.append(block)
    return blocks


def _lines_of(blocks: list[Block]) -> list[bytes]:
    return [line for block in blocks for line in block.lines.split(b"\n")]


def _expected_lines(stream: bytes, *, max_line_bytes: int, max_block_bytes: int) -> list[bytes]:
    """The lines as a plain split gives them; those that fit neither limit, cut to one byte over the line's.

    Of those one NUL stands for what pads them, and is not reckoned.
    """
    lines = stream.split(b"\n")
    if not lines[-1]:
        lines.pop()
    longest = max(max_line_bytes, max_block_bytes)

    def bounded(line: bytes) -> bytes:
        if len(line) <= longest:
            return line
        text = text_of(line)
        if text == line or not line[: longest + 1].strip(b" \t\r"):
            return line[: max_line_bytes + 1]
        return (
            line
            if len(line) == len(text) + 1 <= longest + 1
            else b"\0" + text[: len(text) if len(text) <= longest else max_line_bytes + 1]
        )

    return list(map(bounded, lines))


@given(
    stream=_STREAMS,
    sizes=st.lists(st.integers(0, 30), max_size=40),
    takes=st.lists(st.integers(0, 3), max_size=40),
    max_line_bytes=_LIMITS,
    max_block_bytes=_LIMITS,
)
@example(stream=b"y" * 40 + b"\nab\n", sizes=[1] * 45, takes=[1] * 45, max_line_bytes=5, max_block_bytes=5)
def test_any_stream_in_any_pieces_gives_its_lines_in_blocks_without_a_gap(
    stream: bytes, sizes: list[int], takes: list[int], max_line_bytes: int, max_block_bytes: int
) -> None:
    framer = Framer(max_line_bytes=max_line_bytes, max_block_bytes=max_block_bytes)
    blocks = _blocks_of(framer, stream, sizes, takes)

    assert _lines_of(blocks) == _expected_lines(stream, max_line_bytes=max_line_bytes, max_block_bytes=max_block_bytes)
    edges = [0, *(block.end for block in blocks)]
    assert [block.start for block in blocks] == edges[:-1], "each block starts where the one before ended"
    assert edges[-1] == len(stream) == framer.position
    assert all(block.end > block.start for block in blocks)
    assert framer.piled_bytes == 0


@given(stream=_STREAMS, sizes=st.lists(st.integers(0, 30), max_size=40), max_line=_LIMITS, max_block=_LIMITS)
@example(stream=b"\0" * 5000 + b"a\n" + b"\0" * 50 + b"b\n", sizes=[1500, 1500, 1500, 503], max_line=9, max_block=9)
def test_a_block_knows_the_last_bytes_that_were_read_whether_or_not_they_are_in_it(
    stream: bytes, sizes: list[int], max_line: int, max_block: int
) -> None:
    framer = Framer(max_line_bytes=max_line, max_block_bytes=max_block, fingerprints=True)
    for block in _blocks_of(framer, stream, sizes, [1] * 40):
        assert block.last == str(Fingerprint.of(stream[: block.end][-FINGERPRINT_BYTES:]))
        assert block.before == str(Fingerprint.of(stream[: block.start][-FINGERPRINT_BYTES:]))


@given(stream=_STREAMS, sizes=st.lists(st.integers(0, 30), max_size=40), max_line=_LIMITS, max_block=_LIMITS)
def test_only_a_single_line_is_longer_than_a_block(
    stream: bytes, sizes: list[int], max_line: int, max_block: int
) -> None:
    framer = Framer(max_line_bytes=max_line, max_block_bytes=max_block)
    for block in _blocks_of(framer, stream, sizes, [2] * 40):
        if len(block.lines) > max_block + 1:
            assert b"\n" not in block.lines
            assert len(block.lines) - block.lines.startswith(b"\0") <= max_line + 1


@given(stream=_STREAMS, sizes=st.lists(st.integers(0, 30), max_size=40), max_line=_LIMITS, max_block=_LIMITS)
def test_reading_again_from_any_blocks_end_gives_exactly_the_rest(
    stream: bytes, sizes: list[int], max_line: int, max_block: int
) -> None:
    framer = Framer(max_line_bytes=max_line, max_block_bytes=max_block)
    blocks = _blocks_of(framer, stream, sizes, [1] * 40)
    for at, block in enumerate(blocks):
        framer.feed(b"left over from before\n")
        framer.restart(block.end)
        rest = _blocks_of(framer, stream[block.end :], sizes[::-1], [1] * 40)
        assert _lines_of(rest) == _lines_of(blocks[at + 1 :])
        assert [rest[0].start, rest[-1].end] == [block.end, len(stream)] if rest else block.end == len(stream)


@given(stream=_STREAMS, sizes=st.lists(st.integers(1, 30), max_size=40), max_line=_LIMITS, max_block=_LIMITS)
def test_what_is_not_yet_a_block_never_exceeds_the_longer_limit(
    stream: bytes, sizes: list[int], max_line: int, max_block: int
) -> None:
    framer = Framer(max_line_bytes=max_line, max_block_bytes=max_block)
    for chunk in _chunks(stream, sizes):
        framer.feed(chunk)
        while framer.take() is not None:
            pass
        assert framer.piled_bytes <= max(max_line, max_block) + 1


def test_an_endless_line_is_held_in_bounds_and_comes_out_once_cut_when_it_ends() -> None:
    framer = Framer(max_line_bytes=100, max_block_bytes=1000)
    framer.feed(b"before\n")
    assert framer.take() == Block(0, 7, b"before")
    for _ in range(200):
        framer.feed(b"z" * 65_536)
        assert framer.take() is None
        assert framer.piled_bytes <= 1000
        assert framer.position == 7, "the position stays at the line until it is over, or a restart would split it"
    framer.feed(b"zz\nafter\n")
    length = 200 * 65_536 + 2
    assert framer.take() == Block(7, 7 + length + 1, b"z" * 101)
    assert framer.take() == Block(7 + length + 1, 7 + length + 7, b"after")


def test_an_endless_line_comes_out_at_the_sources_end_too() -> None:
    framer = Framer(max_line_bytes=3, max_block_bytes=4)
    framer.feed(b"123456789")
    assert framer.take() is None
    assert framer.take(finished=True) == Block(0, 9, b"1234")
    assert framer.take(finished=True) is None


@pytest.mark.parametrize(
    ("length", "sent_bytes"),
    [
        pytest.param(9, 9, id="under both"),
        pytest.param(10, 10, id="a line's limit"),
        pytest.param(11, 11, id="over a line's limit, fits a block: whole, the aggregator rejects it"),
        pytest.param(16, 16, id="as long as a block"),
        pytest.param(17, 11, id="over both: cut"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_lines_length_decides_whether_it_is_cut(length: int, sent_bytes: int, end: bytes) -> None:
    framer = Framer(max_line_bytes=10, max_block_bytes=16)
    framer.feed(b"q" * length + end)
    assert framer.take(finished=True) == Block(0, length + len(end), b"q" * sent_bytes)


def test_a_line_within_its_limit_travels_alone_though_it_is_longer_than_a_block() -> None:
    framer = Framer(max_line_bytes=100, max_block_bytes=10)
    framer.feed(b"ab\n" + b"c" * 100 + b"\nde\n")
    assert [framer.take(), framer.take(), framer.take(), framer.take()] == [
        Block(0, 3, b"ab"),
        Block(3, 104, b"c" * 100),
        Block(104, 107, b"de"),
        None,
    ]


def test_a_last_line_without_an_end_is_a_line_only_when_the_source_has_ended() -> None:
    framer = Framer(max_line_bytes=100, max_block_bytes=100)
    framer.feed(b"whole\nhalf")
    assert framer.take() == Block(0, 6, b"whole")
    assert framer.take() is None
    assert framer.position == 6
    assert framer.take(finished=True) == Block(6, 10, b"half")
    assert framer.position == 10


@pytest.mark.slow
@pytest.mark.parametrize("padding", [b"\0", b"\xef\xbb\xbf", b" \0\t\0\r"])
def test_no_padding_is_so_long_that_it_costs_the_event_behind_it(padding: bytes) -> None:
    framer = Framer(max_line_bytes=100, max_block_bytes=1000)
    framer.feed(b"before\n")
    length = 0
    for _ in range(200):
        framer.feed(padding * 65_536)
        length += len(padding) * 65_536
        while (block := framer.take()) is not None:
            assert block == Block(0, 7, b"before")
        assert framer.piled_bytes <= 1000
        assert framer.position == 7, "the position stays at the line until it is over"
    framer.feed(b"x" * 1000 + b"\nafter\n")
    assert framer.take() == Block(7, 7 + length + 1001, b"\0" + b"x" * 1000)
    assert framer.take() == Block(7 + length + 1001, 7 + length + 1007, b"after")


def test_padding_without_a_line_is_one_at_the_sources_end() -> None:
    framer = Framer(max_line_bytes=10, max_block_bytes=10)
    framer.feed(b"\0" * 100)
    assert framer.take() is None
    assert framer.take(finished=True) == Block(0, 100, b"\0")
    assert framer.take(finished=True) is None


def test_a_line_that_is_too_long_without_its_padding_too_is_cut_behind_it() -> None:
    framer = Framer(max_line_bytes=10, max_block_bytes=16)
    framer.feed(b"\0" * 100 + b"q" * 17 + b"\n")
    assert framer.take() == Block(0, 118, b"\0" + b"q" * 11)


def test_carriage_returns_and_nul_bytes_pass_unchanged() -> None:
    framer = Framer(max_line_bytes=100, max_block_bytes=100)
    framer.feed(b"a\r\n\x00b\x00\n\r\n")
    assert framer.take() == Block(0, 9, b"a\r\n\x00b\x00\n\r")


def test_a_block_takes_as_many_whole_lines_as_fit() -> None:
    framer = Framer(max_line_bytes=100, max_block_bytes=10)
    framer.feed(b"1234\n5678\nabcd\n")
    assert framer.take() == Block(0, 10, b"1234\n5678")
    assert framer.take() == Block(10, 15, b"abcd")


def test_positions_go_on_from_where_the_source_was_resumed() -> None:
    framer = Framer(max_line_bytes=100, max_block_bytes=100, position=2**40)
    framer.feed(b"a\n")
    assert framer.take() == Block(2**40, 2**40 + 2, b"a")
