"""The lines that are counted, and what an independent count says of them."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.processes import BenchError
from bench.texts import text_lines
from tally.generator import TYPES, Generator, GeneratorSpec
from tests.oracle import Expected

InputKind = Literal["garbage", "clean", "rich", "text", "history"]

DESCRIPTIONS: dict[str, str] = {
    "garbage": "`tally generate --corrupt 0.1`: one line in ten is garbage",
    "clean": "`tally generate --corrupt 0`",
    "rich": "200,000 distinct words, Zipf; every text is different",
    "text": "made like real one-line texts, without times (`bench/texts.py`)",
    "history": "the same texts, with times over ten years",
}

_TEN_YEARS_SECONDS = 10 * 365 * 86_400

#: The rich input's vocabulary; the word of rank r comes up in proportion to 1/r.
RICH_WORDS = 200_000


@dataclass(frozen=True, slots=True)
class Input:
    """A file of lines with its true counts."""

    kind: str
    description: str
    path: Path
    bytes: int
    truth: Expected

    @property
    def lines(self) -> int:
        return self.truth.lines


def make_input(kind: InputKind, folder: Path, *, lines: int, seed: int) -> Input:
    """Write so many lines and count them."""
    path = folder / f"{kind}-{lines}.ndjson"
    with path.open("wb") as file:
        file.writelines(input_lines(kind, lines, seed=seed))
    return _counted(kind, DESCRIPTIONS[kind], path)


def input_of_file(path: Path, folder: Path, *, lines: int) -> Input:
    """Copy the first lines of any file, so many at the most, and count them."""
    copy = folder / "file.ndjson"
    with path.open("rb") as whole, copy.open("wb") as file:
        file.writelines(itertools.islice(whole, lines))
    source = _counted("file", f"`{path.name}`", copy)
    if not source.lines:
        raise BenchError(f"{path}: no lines")
    return source


def head_of(source: Input, *, lines: int) -> Input:
    """Return the first lines of another input, for contenders that would need minutes for all."""
    path = source.path.with_name(f"{source.kind}-head-{lines}.ndjson")
    with source.path.open("rb") as whole, path.open("wb") as file:
        file.writelines(itertools.islice(whole, lines))
    return _counted(source.kind, source.description, path)


def _counted(kind: str, description: str, path: Path) -> Input:
    with path.open("rb") as file:
        return Input(kind, description, path, path.stat().st_size, Expected.of(file))


def input_lines(kind: InputKind, count: int, *, seed: int) -> Iterator[bytes]:
    if kind == "rich":
        return _rich_lines(count, seed=seed)
    if kind == "text":
        return text_lines(count, seed=seed)
    if kind == "history":
        now = int(time.time())
        return text_lines(count, seed=seed, first_seconds=now - _TEN_YEARS_SECONDS, last_seconds=now)
    return Generator(GeneratorSpec(count=count, corrupt=0.1 if kind == "garbage" else 0.0, seed=seed)).lines()


def _rich_lines(count: int, *, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    vocabulary = [f"{chance.choice('abcdefghijklmnopqrstuvwxyz')}{number:x}" for number in range(RICH_WORDS)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, RICH_WORDS + 1)))
    now = int(time.time())
    for first in range(0, count, 10_000):
        size = min(10_000, count - first)
        types = chance.choices(TYPES, k=size)
        lengths = chance.choices(range(1, 9), k=size)
        words = iter(chance.choices(vocabulary, cum_weights=weights, k=sum(lengths)))
        for type_, length in zip(types, lengths, strict=True):
            text = " ".join(itertools.islice(words, length))
            yield f'{{ "event_type": "{type_}", "data": "{text}", "timestamp": {now} }}\n'.encode()
