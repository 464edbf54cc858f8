"""What is measured is what it is said to be: texts distributed as real ones, and DuckDB finding the same words."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import quantiles
from unicodedata import ucd_3_2_0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.ping import waits_of_one
from bench.rivals import read_with_duckdb
from bench.texts import text_lines
from tests.effort import examples
from tests.oracle import Expected, words_of

LINES = 100_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [json.loads(line)["data"] for line in text_lines(LINES, seed=7)]


@pytest.fixture(scope="module")
def words(texts: list[str]) -> Counter[str]:
    return Counter(itertools.chain.from_iterable(map(words_of, texts)))


def test_lines_are_as_long_as_real_ones(texts: list[str]) -> None:
    percentiles = quantiles((len(words_of(text)) for text in texts), n=100)
    assert [percentiles[at - 1] for at in (8, 25, 50, 75, 97)] == [1, 4, 7, 10, 20]


@pytest.mark.parametrize(("top", "share"), [(10, 0.20), (100, 0.38), (1_000, 0.59)])
def test_the_most_frequent_words_are_as_frequent_as_real_ones(words: Counter[str], top: int, share: float) -> None:
    assert _share_of_top(words, top) == pytest.approx(share, abs=0.02)


def test_the_first_ten_thousand_words_are_a_little_more_than_they_are_of_nine_times_the_lines(
    words: Counter[str],
) -> None:
    assert 0.82 <= _share_of_top(words, 10_000) <= 0.88


def test_most_distinct_words_come_up_once(words: Counter[str]) -> None:
    assert sum(times == 1 for times in words.values()) / len(words) == pytest.approx(0.70, abs=0.04)


@pytest.mark.parametrize(("lines", "distinct"), [(1_000, 3_119), (10_000, 20_085), (100_000, 104_378)])
def test_new_pieces_come_as_fast_as_in_real_texts(texts: list[str], lines: int, distinct: int) -> None:
    pieces = set(itertools.chain.from_iterable(map(str.split, texts[:lines])))
    assert len(pieces) == pytest.approx(distinct, rel=0.12)


def test_as_many_pieces_have_punctuation_and_as_many_lines_are_not_ascii(texts: list[str]) -> None:
    pieces = Counter(itertools.chain.from_iterable(map(str.split, texts)))
    # A mark is no punctuation, although it is not alphanumeric.
    punctuated = [piece for piece in pieces if any(map("#/.,:;=!()\"'`-".__contains__, piece))]
    assert sum(map(pieces.__getitem__, punctuated)) / pieces.total() == pytest.approx(0.14, abs=0.02)
    assert len(punctuated) / len(pieces) == pytest.approx(0.5, abs=0.06)
    assert sum(not text.isascii() for text in texts) / LINES == pytest.approx(0.06, abs=0.01)


def test_times_are_spread_in_order_and_the_texts_stay() -> None:
    without = [json.loads(line)["data"] for line in text_lines(3000, seed=1)]
    events = [json.loads(line) for line in text_lines(3000, seed=1, first_seconds=1000, last_seconds=4000)]
    assert [event["data"] for event in events] == without
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
    assert all(1000 + at <= time <= 1001 + at for at, time in enumerate(times))


# DuckDB.


def _counted_by_duckdb(texts: list[str], path: Path, capsys: pytest.CaptureFixture[str], pattern_over: str) -> Expected:
    path.write_text("".join(json.dumps({"event_type": "a", "data": text}) + "\n" for text in texts))
    read_with_duckdb(str(path), pattern_over, strict=False)
    found = json.loads(capsys.readouterr().out)
    return Expected(types=Counter(found["types"]), words=Counter(found["words"]), events=len(texts))


def test_duckdb_finds_the_same_words_whatever_characters_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what was there in Unicode 3.2: what is newer is known to one of them before the other."""
    known: dict[str, list[str]] = defaultdict(list)  # by category
    for each in map(chr, range(1, sys.maxunicode + 1)):
        known[ucd_3_2_0.category(each)].append(each)
    known["Lo"] = known["Lo"][::20]  # mostly signs of Chinese and Korean
    several = itertools.chain.from_iterable(known[name] for name in known if name not in ("Cn", "Co", "Cs"))
    texts = [f"{each} {each}a b{each} c{each}d e{each}{each}f -{each}'{each}’{each}" for each in several]
    truth = Expected.of(json.dumps({"event_type": "a", "data": text}).encode() for text in texts)
    for pattern_over in ("texts", "pieces"):
        assert not truth.difference(_counted_by_duckdb(texts, tmp_path / "events", capsys, pattern_over))


_odd = st.text(st.sampled_from("aeéßК한\u1112\u1161한\u0301\u0323\u200c\u200d'’-_.,  \t\u2003かば\u3099\u093f1"))


@examples(short=10, thorough=100)
@given(st.lists(_odd, min_size=30, max_size=60))
def test_duckdb_finds_the_same_words_in_odd_texts(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], texts: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "odd-texts"
    truth = Expected.of(json.dumps({"event_type": "a", "data": text}).encode() for text in texts)
    for pattern_over in ("texts", "pieces"):
        assert not truth.difference(_counted_by_duckdb(texts, path, capsys, pattern_over))


# PING.


def test_a_server_that_is_held_keeps_waiting_what_would_have_been_sent_meanwhile() -> None:
    waits = waits_of_one(100.0, 0.035)
    assert [at for at, _ in waits] == pytest.approx([100.0, 100.01, 100.02, 100.03])
    assert [seconds for _, seconds in waits] == pytest.approx([0.035, 0.025, 0.015, 0.005])


def _share_of_top(words: Counter[str], top: int) -> float:
    return sum(times for _, times in words.most_common(top)) / words.total()
