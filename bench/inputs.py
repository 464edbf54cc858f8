"""The lines that are counted, and an independent count of them with nothing but the standard library."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tally.generator import TYPES, Generator, GeneratorSpec

Kind = Literal["garbage", "clean", "rich"]

DESCRIPTIONS: dict[Kind, str] = {
    "garbage": "`tally generate --corrupt 0.1`: one line in ten is garbage",
    "clean": "`tally generate --corrupt 0`",
    "rich": "200,000 distinct words, Zipf; every text is different",
}

#: The rich input's vocabulary; the word of rank r comes up in proportion to 1/r.
RICH_WORDS = 200_000

# All words of these lines are ASCII; there the default pattern finds the same.
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(slots=True)
class Counted:
    """What is to be found out: counts by type and by word, and how many lines were events or not."""

    types: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    rejected: int = 0

    def difference(self, other: Counted) -> str:
        """In a few words, how `other` differs; empty when it does not."""
        parts = []
        if other.types != self.types:
            parts.append(f"{other.types.total() - self.types.total():+,} events")
        if other.words != self.words:
            parts.append(f"{other.words.total() - self.words.total():+,} words")
        if other.rejected != self.rejected:
            parts.append(f"{other.rejected - self.rejected:+,} rejected")
        if parts and all(part.startswith("+0") for part in parts):
            return "the same sums, but not the same counts"
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Input:
    """A file of lines with its true counts."""

    kind: Kind
    path: Path
    bytes: int
    truth: Counted

    @property
    def lines(self) -> int:
        return self.truth.lines


def make_input(kind: Kind, folder: Path, *, lines: int, seed: int) -> Input:
    """Write so many lines and count them."""
    path = folder / f"{kind}-{lines}.ndjson"
    with path.open("wb") as file:
        if kind == "rich":
            file.writelines(_rich_lines(lines, seed=seed))
        else:
            corrupt = 0.1 if kind == "garbage" else 0.0
            file.writelines(Generator(GeneratorSpec(count=lines, corrupt=corrupt, seed=seed)).lines())
    return Input(kind, path, path.stat().st_size, count_independently(path))


def head_of(source: Input, *, lines: int) -> Input:
    """The first lines of another input, for contenders that would need minutes for all."""
    path = source.path.with_name(f"{source.kind}-{lines}.ndjson")
    with source.path.open("rb") as whole, path.open("wb") as file:
        file.writelines(itertools.islice(whole, lines))
    return Input(source.kind, path, path.stat().st_size, count_independently(path))


def count_independently(path: Path) -> Counted:
    """Count with `json` and `re`, a line at a time, sharing no code with the services."""
    found = Counted()
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            found.lines += 1
            event = parse_event(line)
            if event is None:
                found.rejected += 1
                continue
            found.types[event[0]] += 1
            found.words.update(words_of(event[1]))
    return found


def parse_event(line: bytes) -> tuple[str, str] | None:
    """The event's type and data; None when the line is no event."""
    try:
        event = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    type_, data = event.get("event_type"), event.get("data")
    return (type_, data) if isinstance(type_, str) and isinstance(data, str) else None


def words_of(text: str) -> Iterable[str]:
    """The words of a text."""
    found: list[str] = _WORD.findall(text)
    return found


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
