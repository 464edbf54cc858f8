"""Lines by source: under what a source is counted, and how many of its lines there are in a batch."""

from __future__ import annotations

import pytest

from aggregator.by_source import BySource
from aggregator.counts import SourceCounts
from aggregator.decoding import Decoder
from tally.settings import Settings
from tally.sources import MAX_SOURCE_BYTES, called
from tally.store import Entry

GOOD, BAD = b'{"event_type":"a","data":"b"}', b"{"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("file:/var/log/a.log#1024-0123456789abcdef", "file:/var/log/a.log"),
        ("file:/var/log/a#b.log#37-0123456789abcdef-2", "file:/var/log/a#b.log"),
        ("tail:/var/log/a.log#803-2a-1-37-0123456789abcdef", "tail:/var/log/a.log"),
        ("tcp://0.0.0.0:9000#0123456789ab", "tcp://0.0.0.0:9000"),
        ("-#0123456789ab", "-"),
        ("demo:story#1-1632491160-0", "demo:story"),
        ("somebody else", "somebody else"),
        ("", "(unnamed)"),
        ("#", "#"),
    ],
)
def test_a_source_is_counted_under_what_people_call_it(name: str, source: str) -> None:
    assert called(name) == source


def test_all_lines_of_a_batch_are_in_some_source() -> None:
    batch = Decoder(Settings()).begin()
    for at, (source, lines) in enumerate(
        [
            ("tcp://h:1#a", [GOOD, BAD]),
            ("tcp://h:1#b", [GOOD]),
            ("file:/a#1-f", [GOOD, b"", b"  ", GOOD]),
            ("file:/b#1-f", [BAD, BAD]),
            ("tcp://h:1#a", [GOOD]),
        ]
    ):
        batch.add(Entry(f"{at}-1", b"\n".join(lines), source, 1_700_000_000_123 + at))
    batch.add(Entry("9-1", None, ""))
    counts = batch.counts()
    assert counts.sources == SourceCounts(
        {"tcp://h:1": 4, "file:/a": 2, "file:/b": 2, "(unnamed)": 1},
        {"tcp://h:1": 1, "file:/a": 0, "file:/b": 2, "(unnamed)": 1},
        {
            "tcp://h:1": 1_700_000_000_127,
            "file:/a": 1_700_000_000_125,
            "file:/b": 1_700_000_000_126,
            "(unnamed)": 9,
        },
    )
    assert sum(counts.sources.lines.values()) == counts.totals(blocks=6)["lines"]
    assert sum(counts.sources.rejected.values()) == counts.rejected


@pytest.mark.parametrize("letter", ["a", "ä", "🦆"])
def test_a_name_that_is_too_long_is_counted_with_the_others(letter: str) -> None:
    fits = letter * (MAX_SOURCE_BYTES // len(letter.encode()))
    lines = BySource()
    lines.add(f"{fits}#x", 1, 1, 5.0)
    lines.add(f"{fits}a#x", 1, 0, 6.0)
    lines.add(f"{fits}b#x", 1, 0, 4.0)
    assert lines.counts().lines == {fits: 2, "__other__": 2}
    assert lines.counts().newest_ms == {fits: 5000, "__other__": 6000}
