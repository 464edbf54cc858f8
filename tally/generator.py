"""The built-in generator: events of made-up types and words, with garbage in between. For demos, tests, benchmarks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tally.clock import SYSTEM, Clock

TYPES = ("foo", "bar", "baz", "spam", "ham", "eggs")

_LOREM = """
lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna aliqua
enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo consequat duis aute irure in
reprehenderit voluptate velit esse cillum eu fugiat nulla pariatur excepteur sint occaecat cupidatat non proident sunt
culpa qui officia deserunt mollit anim id est laborum
"""
WORDS = tuple(_LOREM.split())

#: How many different sentences `data` is drawn from; made anew for each generator.
_SENTENCES = 4096

#: How often a paced generator gives lines, at the most.
_TICK_SECONDS = 0.01

#: How many lines an unpaced generator makes at once.
_LINES_AT_ONCE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSpec:
    """What to generate: lines a second (None: as fast as it goes), how many (None: endless), the share of garbage.

    The same seed gives the same lines, but for their timestamps: those are the clock's, unless `start` (Unix
    seconds) is given; then each line of a paced generator is 1/rate later than the one before, and all are at
    `start` without a rate.
    """

    rate: float | None = None
    count: int | None = None
    corrupt: float = 0.1
    seed: int | None = None
    start: float | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate <= 10_000_000:
            raise ValueError(f"rate={self.rate}: lines a second, over 0 and at most 10000000")
        if self.count is not None and self.count < 0:
            raise ValueError(f"count={self.count}: a number of lines, 0 or more")
        if self.start is not None and not abs(self.start) < 1e11:
            raise ValueError(f"start={self.start}: Unix seconds")
        if not 0 <= self.corrupt <= 1:
            raise ValueError(f"corrupt={self.corrupt}: a share between 0 and 1")

    @classmethod
    def parse(cls, query: str) -> GeneratorSpec:
        """Read what stands behind `demo:`, as in `?rate=100&corrupt=0.1`. Raises ValueError with what is wrong."""
        given: dict[str, str] = {}
        if query.strip("?"):
            try:
                given = dict(parse_qsl(query.removeprefix("?"), strict_parsing=True, keep_blank_values=True))
            except ValueError:
                raise ValueError(f"demo:{query}: write it as demo:?rate=100&corrupt=0.1") from None
        kinds = {"rate": float, "count": int, "corrupt": float, "seed": int, "start": float}
        values: dict[str, float] = {"rate": 100.0}
        for name, text in given.items():
            if name not in kinds:
                raise ValueError(f"demo: does not know {name!r}; it knows {', '.join(kinds)}")
            try:
                values[name] = kinds[name](text)
            except ValueError:
                raise ValueError(f"demo:?{name}={text}: not a number") from None
        return cls(**values)  # type: ignore[arg-type]


class Generator:
    """Makes lines as a GeneratorSpec says."""

    def __init__(self, spec: GeneratorSpec, *, clock: Clock = SYSTEM) -> None:
        self._spec = spec
        self._clock = clock
        first = random.Random(spec.seed)  # nosec B311 # the same lines for the same seed
        # One for each draw, or the lines would depend on how many are made at once.
        draws = (random.Random(first.getrandbits(64)) for _ in range(3))  # nosec B311
        self._types, self._texts, self._spoils = draws
        self._sentences = [" ".join(first.choices(WORDS, k=first.randint(1, 8))) for _ in range(_SENTENCES)]
        self._made = 0

    def lines(self) -> Iterator[bytes]:
        """Yield chunks of whole lines, as fast as they can be made."""
        while (count := self._remaining(_LINES_AT_ONCE)) > 0:
            yield self._make(count)

    async def paced(self) -> AsyncIterator[bytes]:
        """Chunks of whole lines at the given rate. One that falls behind catches up at once."""
        began = self._clock.monotonic()
        while (most := self._remaining(_LINES_AT_ONCE)) > 0:
            if self._spec.rate is None:
                await asyncio.sleep(0)
                yield self._make(most)
                continue
            due = int((self._clock.monotonic() - began) * self._spec.rate) + 1 - self._made
            if due > 0:
                yield self._make(min(due, most))
            else:
                await self._clock.sleep(max(_TICK_SECONDS, (1 - due) / self._spec.rate / 2))

    def _remaining(self, most: int) -> int:
        return most if self._spec.count is None else min(most, self._spec.count - self._made)

    def _make(self, count: int) -> bytes:
        spec, chance = self._spec, self._spoils
        types = self._types.choices(TYPES, k=count)
        sentences = self._texts.choices(self._sentences, k=count)
        now = self._clock.time() if spec.start is None else spec.start
        step = 1 / spec.rate if spec.start is not None and spec.rate else 0.0
        first = now + self._made * step
        made = [
            b'{ "event_type": "%s", "data": "%s", "timestamp": %d }'
            % (type_.encode(), data.encode(), first + at * step)
            for at, (type_, data) in enumerate(zip(types, sentences, strict=True))
        ]
        if spec.corrupt:
            for at in range(count):
                if chance.random() < spec.corrupt:
                    made[at] = _spoil(made[at], chance)
        self._made += count
        return b"\n".join(made) + b"\n"


def _spoil(line: bytes, chance: random.Random) -> bytes:
    """Make garbage of a line: one of several kinds, none of which can be an event."""
    kind = chance.randrange(7)
    if kind == 0:
        return b"\xff" + chance.randbytes(chance.randint(1, 40)).replace(b"\n", b"\x00")
    if kind == 1:
        return line[: chance.randint(1, len(line) - 3)]
    if kind == 2:
        return line.replace(b'"data": "', b'"data": ["').replace(b'", "timestamp"', b'"], "timestamp"')
    if kind == 3:
        return b'{ "event_type": %d, "data": "lorem" }' % chance.randrange(1000)
    if kind == 4:
        return b'{ "data": "lorem ipsum", "timestamp": 1632663984 }'
    if kind == 5:
        return b'{ "event_type": "%s" }' % chance.choice(TYPES).encode()
    return b'["lorem", "ipsum"]' if chance.random() < 0.5 else b"lorem ipsum dolor"
