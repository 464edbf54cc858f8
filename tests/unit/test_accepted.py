"""Samples of accepted lines: none unless asked for, the newest, a few of each batch, and never a rejected one."""

from __future__ import annotations

from aggregator.accepted import MAX_SAMPLES, Accepted
from aggregator.decoding import Decoder
from aggregator.rejects import SAMPLE_BYTES
from tally.deltas import Sample
from tally.settings import Settings
from tally.store import Entry


def line(number: int, text: str = "x") -> bytes:
    return b'{"event_type":"a","data":"%d %s"}' % (number, text.encode())


def samples(*blocks: bytes, accepted_samples: int = 100) -> list[Sample]:
    batch = Decoder(Settings(accepted_samples=accepted_samples)).begin()
    for at, block in enumerate(blocks):
        batch.add(Entry(f"{at}-0", block, f"s{at}"))
    return [each for each in batch.counts().samples if each.accepted]


def test_the_newest_of_a_batch_are_kept_as_they_came() -> None:
    first, second = b"\n".join(map(line, range(7))), line(7) + b"\n" + line(8)
    assert samples(first) == [Sample(line(number), "", "s0", accepted=True) for number in range(2, 7)]
    assert [(each.line, each.source) for each in samples(first, second)] == [
        *((line(number), "s0") for number in (4, 5, 6)),
        *((line(number), "s1") for number in (7, 8)),
    ]


def test_there_are_none_unless_they_are_asked_for() -> None:
    assert samples(line(1), accepted_samples=0) == []


def test_what_is_no_event_is_none_of_them() -> None:
    block = b"\n".join([line(1), b"{", b"", line(2), b"  "])
    assert [each.line for each in samples(block)] == [line(1), line(2)]
    assert samples(b"{\n" * 10) == []


def test_of_a_long_line_its_beginning_is_kept() -> None:
    (only,) = samples(line(1, "y" * 5000))
    assert only.line == line(1, "y" * 5000)[:SAMPLE_BYTES]


def test_a_block_of_one_line_or_of_line_ends_alone_is_looked_at_to_its_start() -> None:
    for block in (b"", b"\n", b"\n\n\n\n\n\n\n", b"a", b"a\n", b"\na"):
        accepted = Accepted()
        accepted.add(block, "s")
        assert len(accepted.samples(lambda _: True)) == min(MAX_SAMPLES, block.count(b"\n") + 1)
