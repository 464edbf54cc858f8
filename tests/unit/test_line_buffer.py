"""A connection's unfinished line: whole lines come out whole, however they were cut; what is held is bounded."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ingestor.line_buffer import CUT_MARK, LineBuffer
from tally.padding import is_blank
from tests.oracle import text_of

LIMIT = 64


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """A stream of short and long lines, cut anywhere."""
    parts = [b"a", b"bc", b"\n", b"d" * 50, b"e" * 70, b"\n\n", b"\0" * 50, b"\xef\xbb\xbf"]
    stream = b"".join(draw(st.lists(st.sampled_from(parts), max_size=40)))
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=15)) | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(cuts)]


@given(pieces())
def test_lines_come_out_as_they_went_in_but_for_the_rest_of_too_long_ones(chunks: list[bytes]) -> None:
    partial = LineBuffer(max_line_bytes=LIMIT)
    came = []
    for chunk in chunks:
        lines = partial.feed(chunk)
        assert not lines or lines.endswith(b"\n")
        assert len(partial) <= LIMIT + 1
        came.append(lines)
    came.append(partial.finish())
    assert len(partial) == 0
    given_lines = b"".join(chunks).split(b"\n")
    whole = b"".join(came).split(b"\n")
    assert whole.pop() == b"", "each has its end"
    if given_lines[-1] == b"":
        given_lines.pop()
    assert len(whole) == len(given_lines)
    for line, given_line in zip(whole, given_lines, strict=True):
        text, given_text = text_of(line), text_of(given_line)
        assert text == given_text or (len(given_text) > LIMIT < len(text) and given_text.startswith(text))
        assert (text == line) == (given_text == given_line), "whether it was padded can be told"


def test_a_line_that_never_ends_is_held_up_to_the_limit_and_given_once() -> None:
    partial = LineBuffer(max_line_bytes=LIMIT)
    came = [partial.feed(b"x" * 10) for _ in range(1000)]
    assert len(partial) == 0
    assert b"".join(came) == b"x" * (LIMIT + 1) + b"\n"
    assert partial.feed(b"the rest\nnext\n") == b"next\n"


def test_padding_that_never_ends_is_not_held_and_costs_no_event() -> None:
    partial = LineBuffer(max_line_bytes=LIMIT)
    for _ in range(1000):
        assert partial.feed(b"\0" * 60 + b"\xef\xbb\xbf") == b""
        assert len(partial) <= LIMIT + 1
    event = b"e" * LIMIT
    assert partial.feed(event) == b""
    assert partial.feed(b"\n") == b"\0" + event + b"\n"


def test_a_padded_line_that_is_cut_is_not_blank() -> None:
    partial = LineBuffer(max_line_bytes=LIMIT)
    partial.feed(b"\0\xef\xbb\xbf")
    assert not is_blank(partial.cut())


def test_a_line_that_is_cut_cannot_be_an_event() -> None:
    partial = LineBuffer(max_line_bytes=LIMIT)
    assert partial.feed(b'{"event_type": "a", "data": "b"}') == b""
    assert partial.cut() == b'{"event_type": "a", "data": "b"}' + CUT_MARK + b"\n"
    assert len(partial) == 0
    assert partial.feed(b"   \nnext\n") == b"next\n"


def test_a_connection_that_ends_in_a_line_that_is_being_skipped_gives_it_no_second_time() -> None:
    partial = LineBuffer(max_line_bytes=LIMIT)
    assert partial.feed(b"x" * 100) == b"x" * (LIMIT + 1) + b"\n"
    partial.feed(b"more")
    assert partial.finish() == b""
