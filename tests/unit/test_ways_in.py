"""Whichever way a stream of lines takes, and in whatever pieces it comes: it counts as a plain count of it does."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from aggregator.counts import Counts
from aggregator.decoding import Decoder
from ingestor.bodies import BodyReader
from ingestor.framing import Framer
from ingestor.line_buffer import LineBuffer
from tally.cli.report import read_lines
from tally.cli.report import report_on as check
from tally.settings import Settings
from tally.store import Entry
from tests.oracle import Plain, plain_count
from tests.unit.lines import ARRIVED, EVENT, blank, events, garbage

#: Some lines are longer than that, and blocks as well.
MAX_LINE_BYTES = 96

_long = st.sampled_from(
    [
        b"\0" * 300 + EVENT,
        b"\xef\xbb\xbf" * 60 + EVENT,
        b"\0" * 97,
        b"\0" * 97 + EVENT + b" " * (MAX_LINE_BYTES - len(EVENT)),
        b"\0" * 97 + EVENT + b" " * (MAX_LINE_BYTES - len(EVENT)) + b"x",
        b"\0" + EVENT + b" " * (MAX_LINE_BYTES - len(EVENT)) + b"\r",
        b"x" * 300,
        EVENT * 9,
        EVENT[:20] + b"\0" * 300 + EVENT,
        EVENT[:20] + b"\0" * (MAX_LINE_BYTES - 20 - len(EVENT)) + EVENT,
        EVENT[:20] + b"\0" * (MAX_LINE_BYTES - 19 - len(EVENT)) + EVENT,
    ]
)
_streams = st.lists(events() | garbage | blank | _long, max_size=10).map(b"\n".join)
_sizes = st.lists(st.integers(1, 150), max_size=30)


def _pieces(stream: bytes, sizes: list[int]) -> Iterable[bytes]:
    edges = [0, *itertools.takewhile(lambda at: at < len(stream), itertools.accumulate(sizes)), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def _framed(pieces: Iterable[bytes]) -> list[bytes]:
    """The blocks that come of them."""
    framer = Framer(max_line_bytes=MAX_LINE_BYTES, max_block_bytes=MAX_LINE_BYTES)
    blocks = []
    for piece in [*pieces, b""]:
        framer.feed(piece)
        while (block := framer.take(finished=not piece)) is not None:
            blocks.append(block.lines)
    return blocks


def _assert_counted(blocks: list[bytes], plain: Plain) -> None:
    settings = Settings(max_line_bytes=MAX_LINE_BYTES)
    counts: Counts = Decoder(settings).count(Entry(f"{ARRIVED * 1000}-0", block, "s") for block in blocks)
    assert (counts.events, counts.rejected, counts.padded) == (plain.events, plain.rejected, plain.padded)
    assert {place.start: window.types for place, window in counts.windows.items()} == plain.types
    assert {place.start: window.words for place, window in counts.windows.items()} == plain.words


def _plain(stream: bytes) -> Plain:
    return plain_count(stream, arrived_seconds=ARRIVED, max_line_bytes=MAX_LINE_BYTES)


@given(_streams, _sizes)
def test_files_pipes_and_what_is_followed(stream: bytes, sizes: list[int]) -> None:
    _assert_counted(_framed(_pieces(stream, sizes)), _plain(stream))


@given(_streams, _sizes)
def test_connections(stream: bytes, sizes: list[int]) -> None:
    partial = LineBuffer(max_line_bytes=MAX_LINE_BYTES)
    lines = [*map(partial.feed, _pieces(stream, sizes)), partial.finish()]
    _assert_counted(_framed(filter(None, lines)), _plain(stream))


@given(_streams.filter(len), _sizes)
def test_bodies(stream: bytes, sizes: list[int]) -> None:
    reader = BodyReader(
        content_type="application/x-ndjson",
        content_encoding=None,
        max_body_bytes=1 << 20,
        max_body_lines=1000,
        max_line_bytes=MAX_LINE_BYTES,
        max_block_bytes=MAX_LINE_BYTES,
    )
    for piece in _pieces(stream, sizes):
        for _ in reader.feed(piece):
            pass
    body = reader.finish()
    plain = _plain(stream)
    assert body.count == plain.events + plain.rejected
    _assert_counted(body.blocks, plain)


@given(_streams)
def test_tally_check(stream: bytes) -> None:
    settings = Settings(max_line_bytes=MAX_LINE_BYTES)
    lines = read_lines(io.BytesIO(stream), max_line_bytes=MAX_LINE_BYTES, most_lines=0)
    report = check(lines, settings, now_seconds=ARRIVED)
    plain = _plain(stream)
    assert (report.events, report.rejected, report.padded) == (plain.events, plain.rejected, plain.padded)
    assert report.words == sum(words.total() for words in plain.words.values())
    assert Counter(plain.all_types()) >= Counter(report.top_types)
